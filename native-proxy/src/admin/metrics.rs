//! The page of metrics, in Prometheus' text format: every name and label of the contract, summed
//! over the workers.

use crate::account::{AnsweredBy, End};
use crate::attempt::ErrorKind;
use crate::framing::Refusal;
use crate::proxy::Shared;
use crate::worker::{BOUNDS, CLASSES, Histogram, WorkerStats};
use bimetal_core::event::{Decided, State};
use bimetal_core::outcome::Outcome;
use bimetal_core::series::{Counts, SHARED_LABEL, TRANSITIONS};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::Ordering;

const OUTCOMES: [Outcome; 4] =
    [Outcome::Success, Outcome::Failure, Outcome::Slow, Outcome::Neutral];

/// Label names and values of one line.
type Labels<'a> = [(&'a str, &'a str)];

/// The whole page.
pub(super) fn page(shared: &Shared, stats: &[WorkerStats]) -> String {
    let mut page = Page::default();
    let series = merged(stats);
    let with = |write: &mut dyn FnMut(&str, &str, &Counts)| {
        series.iter().for_each(|((policy, scope), counts)| write(policy, scope, counts));
    };
    page.head("bimetal_requests_total", "counter", "Calls by what was decided.");
    with(&mut |policy, scope, counts| {
        for (decision, count) in Decided::all().map(Decided::name).zip(counts.decisions) {
            page.line(&[("policy", policy), ("scope", scope), ("decision", decision)], count);
        }
    });
    page.head("bimetal_outcomes_total", "counter", "Admitted calls by what they counted as.");
    with(&mut |policy, scope, counts| {
        for outcome in OUTCOMES {
            let labels = [("policy", policy), ("scope", scope), ("outcome", outcome.name())];
            page.line(&labels, counts.outcome(outcome));
        }
    });
    page.head("bimetal_breaker_replicas", "gauge", "Workers whose breaker is in a state.");
    with(&mut |policy, scope, counts| {
        for (state, count) in State::ALL.iter().zip(counts.states) {
            page.line(
                &[("policy", policy), ("scope", scope), ("state", state.name())],
                count.into(),
            );
        }
    });
    page.head("bimetal_breaker_transitions_total", "counter", "Changes of breakers' states.");
    with(&mut |policy, scope, counts| {
        for (kind, count) in TRANSITIONS.iter().zip(counts.transitions) {
            let (from, to) = (kind.from.name(), kind.to.name());
            let labels = [
                ("policy", policy),
                ("scope", scope),
                ("from", from),
                ("to", to),
                ("cause", kind.cause),
            ];
            page.line(&labels, count);
        }
    });
    page.head("bimetal_shadow_total", "counter", "Decisions that were not applied.");
    with(&mut |policy, scope, counts| {
        for (decision, count) in Decided::all().map(Decided::name).zip(counts.shadow) {
            page.line(&[("policy", policy), ("scope", scope), ("decision", decision)], count);
        }
    });
    page.head("bimetal_late_total", "counter", "Results that came too late to touch the breaker.");
    with(&mut |policy, scope, counts| {
        page.line(&[("policy", policy), ("scope", scope)], counts.late);
    });
    page.head(
        "bimetal_unprotected_total",
        "counter",
        "Calls passed because the table of scopes was full.",
    );
    with(&mut |policy, scope, counts| {
        page.line(&[("policy", policy), ("scope", scope)], counts.unprotected);
    });
    durations(&mut page, stats);
    own(&mut page, shared, stats);
    page.text
}

fn merged(stats: &[WorkerStats]) -> BTreeMap<(&str, &str), Counts> {
    let mut series: BTreeMap<_, Counts> = BTreeMap::new();
    for row in stats.iter().flat_map(|worker| &worker.series) {
        add(series.entry((&*row.policy, &*row.scope)).or_default(), &row.counts);
    }
    series
}

fn add(all: &mut Counts, one: &Counts) {
    fn each<T: Copy + std::ops::AddAssign>(all: &mut [T], one: &[T]) {
        all.iter_mut().zip(one).for_each(|(all, one)| *all += *one);
    }
    each(&mut all.decisions, &one.decisions);
    each(&mut all.shadow, &one.shadow);
    each(&mut all.outcomes, &one.outcomes);
    each(&mut all.transitions, &one.transitions);
    each(&mut all.states, &one.states);
    all.late += one.late;
    all.unprotected += one.unprotected;
}

fn durations(page: &mut Page, stats: &[WorkerStats]) {
    let name = "bimetal_request_duration_seconds";
    page.head(
        name,
        "histogram",
        "From a request's head to the end of its answer, for calls that were not rejected.",
    );
    let mut all: BTreeMap<&str, Histogram> = BTreeMap::new();
    for (policy, histogram) in stats.iter().flat_map(|worker| &worker.durations) {
        all.entry(policy).or_default().merge(histogram);
    }
    for (policy, histogram) in &all {
        let labels = [("policy", *policy), ("scope", SHARED_LABEL)];
        let mut count = 0;
        let bounds = BOUNDS.iter().map(|(_, text)| *text).chain(["+Inf"]);
        for (bound, more) in bounds.zip(histogram.counts) {
            count += more;
            page.named(&format!("{name}_bucket"), &[labels[0], labels[1], ("le", bound)], &count);
        }
        page.named(&format!("{name}_sum"), &labels, &(histogram.sum as f64 / 1e9));
        page.named(&format!("{name}_count"), &labels, &count);
    }
}

/// What is not of one policy.
fn own(page: &mut Page, shared: &Shared, stats: &[WorkerStats]) {
    let sum = |count: fn(&WorkerStats) -> u64| stats.iter().map(count).sum::<u64>();
    page.head(
        "bimetal_decision_errors_total",
        "counter",
        "Decisions that failed; the call passed.",
    );
    page.line(&[], sum(|report| report.decision_errors));
    page.head("bimetal_scopes", "gauge", "Scopes in the tables of all workers.");
    page.line(&[], sum(|report| report.totals.scopes));
    page.head("bimetal_calls_outstanding", "gauge", "Admitted calls that are not settled yet.");
    page.line(&[], sum(|report| report.totals.issued - report.totals.settled));
    page.head("bimetal_events_lost_total", "counter", "Events that nobody took in time.");
    page.line(&[], sum(|report| report.totals.events_lost));
    page.head("bimetal_panics_total", "counter", "Connections that ended by a panic.");
    page.line(&[], sum(|report| report.panics));
    page.head("bimetal_refused_total", "counter", "Requests refused for their form or size.");
    for (place, reason) in Refusal::REASONS.into_iter().enumerate() {
        let counts = stats.iter().filter_map(|worker| worker.refusals.get(place));
        page.line(&[("reason", reason)], counts.sum());
    }
    requests(page, stats);
    let settings = shared.settings();
    let mut failures: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for upstream in &settings.upstreams {
        // What did not happen yet is 0 and not absent.
        failures.extend(ErrorKind::FAILURES.map(|kind| ((&*upstream.name, kind.name()), 0)));
    }
    for (upstream, reason, count) in stats.iter().flat_map(|stats| &stats.failures) {
        *failures.entry((upstream, reason)).or_default() += count;
    }
    page.head(
        "bimetal_upstream_failures_total",
        "counter",
        "Tries without a whole answer, and answers that broke off, by what went wrong.",
    );
    for ((upstream, reason), count) in failures {
        page.line(&[("upstream", upstream), ("reason", reason)], count);
    }
    page.head("bimetal_connections", "gauge", "Connections from clients.");
    page.line(&[], sum(|report| report.connections as u64));
    let mut upstreams: BTreeMap<&str, u64> = BTreeMap::new();
    for (name, open) in stats.iter().flat_map(|worker| &worker.upstreams) {
        *upstreams.entry(name).or_default() += *open as u64;
    }
    page.head("bimetal_upstream_connections", "gauge", "Connections to upstreams.");
    for (name, open) in upstreams {
        page.line(&[("upstream", name)], open);
    }
    page.head("bimetal_reloads_total", "counter", "Configurations that came after the first.");
    page.line(&[("result", "applied")], shared.reloads.load(Ordering::Relaxed));
    page.line(&[("result", "refused")], shared.refused_reloads.load(Ordering::Relaxed));
    page.head(
        "bimetal_unsupported_skipped",
        "gauge",
        "Parts of the configuration that were left out.",
    );
    page.line(&[], settings.skipped.len() as u64);
    page.head("bimetal_workers", "gauge", "Workers.");
    page.line(&[], stats.len() as u64);
}

/// How requests ended and which answers they got, whoever gave them.
fn requests(page: &mut Page, stats: &[WorkerStats]) {
    page.head("bimetal_requests_ended_total", "counter", "Every request, by how it ended.");
    for (place, end) in End::NAMES.into_iter().enumerate() {
        page.line(&[("end", end)], stats.iter().map(|worker| worker.ends[place]).sum());
    }
    page.head("bimetal_answers_total", "counter", "Answers given, by whose they are.");
    for (whose, by) in AnsweredBy::NAMES.into_iter().enumerate() {
        for (place, class) in CLASSES.into_iter().enumerate() {
            let count = stats.iter().map(|worker| worker.answers[whose][place]).sum();
            page.line(&[("by", by), ("class", class)], count);
        }
    }
}

#[derive(Default)]
struct Page {
    text: String,
    name: &'static str,
}

impl Page {
    fn head(&mut self, name: &'static str, kind: &str, help: &str) {
        self.name = name;
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn line(&mut self, labels: &Labels<'_>, value: u64) {
        self.named(self.name, labels, &value);
    }

    fn named(&mut self, name: &str, labels: &Labels<'_>, value: &dyn std::fmt::Display) {
        self.text.push_str(name);
        for (index, (label, value)) in labels.iter().enumerate() {
            self.text.push(if index == 0 { '{' } else { ',' });
            self.text.push_str(label);
            self.text.push_str("=\"");
            escape(value, &mut self.text);
            self.text.push('"');
        }
        if !labels.is_empty() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

/// A label's value as the format wants it; a client may have chosen it.
fn escape(value: &str, into: &mut String) {
    for letter in value.chars() {
        match letter {
            '\\' => into.push_str("\\\\"),
            '"' => into.push_str("\\\""),
            '\n' => into.push_str("\\n"),
            other => into.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_cannot_break_out() {
        let mut page = Page::default();
        page.head("x", "counter", "X.");
        page.line(&[("scope", "a\"} 1\n\\")], 7);
        assert_eq!(page.text, "# HELP x X.\n# TYPE x counter\nx{scope=\"a\\\"} 1\\n\\\\\"} 7\n");
    }
}
