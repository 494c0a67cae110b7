//! The page of metrics, in Prometheus' text format, as [`bimetal_core::metric`] describes them:
//! summed over the workers.

use crate::account::{AnsweredBy, End};
use crate::attempt::ErrorKind;
use crate::framing::Refusal;
use crate::proxy::Shared;
use crate::worker::{CLASSES, Histogram, WorkerStats};
use bimetal_core::metric::{self, COUNTED, Metric};
use bimetal_core::series::{Counts, SHARED_LABEL};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::Ordering;

/// The whole page.
pub(super) fn page(shared: &Shared, stats: &[WorkerStats]) -> String {
    let mut page = Page::default();
    counted(&mut page, stats);
    durations(&mut page, stats);
    own(&mut page, shared, stats);
    page.text
}

/// What the core counts for each policy and scope.
fn counted(page: &mut Page, stats: &[WorkerStats]) {
    let series = merged(stats);
    let mut place = 0;
    for group in COUNTED.chunk_by(|one, next| one.metric.name == next.metric.name) {
        page.head(group[0].metric);
        for ((policy, scope), counts) in &series {
            for (counted, value) in group.iter().zip(metric::values(counts).skip(place)) {
                let others = counted.labels().map(|(_, value)| value);
                let labels: Vec<_> = [*policy, *scope].into_iter().chain(others).collect();
                page.line(counted.metric, &labels, value);
            }
        }
        place += group.len();
    }
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
    let metric = &metric::REQUEST_DURATION_SECONDS;
    page.head(metric);
    let mut all: BTreeMap<&str, Histogram> = BTreeMap::new();
    for (policy, histogram) in stats.iter().flat_map(|worker| &worker.durations) {
        all.entry(policy).or_default().merge(histogram);
    }
    for (policy, histogram) in &all {
        let labels = [*policy, SHARED_LABEL];
        let mut count = 0;
        let bounds = metric.bounds.iter().map(|(_, text)| *text).chain(["+Inf"]);
        for (bound, more) in bounds.zip(histogram.counts) {
            count += more;
            page.part(metric, "_bucket", &labels, Some(bound), &count);
        }
        page.part(metric, "_sum", &labels, None, &(histogram.sum as f64 / 1e9));
        page.part(metric, "_count", &labels, None, &count);
    }
}

/// What is not of one policy.
fn own(page: &mut Page, shared: &Shared, stats: &[WorkerStats]) {
    let sum = |count: fn(&WorkerStats) -> u64| stats.iter().map(count).sum::<u64>();
    page.only(&metric::DECISION_ERRORS, sum(|report| report.decision_errors));
    page.only(&metric::SCOPES, sum(|report| report.totals.scopes));
    let outstanding = sum(|report| report.totals.issued - report.totals.settled);
    page.only(&metric::CALLS_OUTSTANDING, outstanding);
    page.only(&metric::EVENTS_LOST, sum(|report| report.totals.events_lost));
    page.only(&metric::PANICS, sum(|report| report.panics));
    page.head(&metric::REFUSED);
    for (place, reason) in Refusal::REASONS.into_iter().enumerate() {
        let counts = stats.iter().filter_map(|worker| worker.refusals.get(place));
        page.line(&metric::REFUSED, &[reason], counts.sum());
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
    page.head(&metric::UPSTREAM_FAILURES);
    for ((upstream, reason), count) in failures {
        page.line(&metric::UPSTREAM_FAILURES, &[upstream, reason], count);
    }
    page.only(&metric::CONNECTIONS, sum(|report| report.connections as u64));
    let mut upstreams: BTreeMap<&str, u64> = BTreeMap::new();
    for (name, open) in stats.iter().flat_map(|worker| &worker.upstreams) {
        *upstreams.entry(name).or_default() += *open as u64;
    }
    page.head(&metric::UPSTREAM_CONNECTIONS);
    for (name, open) in upstreams {
        page.line(&metric::UPSTREAM_CONNECTIONS, &[name], open);
    }
    page.head(&metric::RELOADS);
    page.line(&metric::RELOADS, &["applied"], shared.reloads.load(Ordering::Relaxed));
    page.line(&metric::RELOADS, &["refused"], shared.refused_reloads.load(Ordering::Relaxed));
    page.only(&metric::UNSUPPORTED_SKIPPED, settings.skipped.len() as u64);
    page.only(&metric::WORKERS, stats.len() as u64);
}

/// How requests ended and which answers they got, whoever gave them.
fn requests(page: &mut Page, stats: &[WorkerStats]) {
    page.head(&metric::REQUESTS_ENDED);
    for (place, end) in End::NAMES.into_iter().enumerate() {
        let count = stats.iter().map(|worker| worker.ends[place]).sum();
        page.line(&metric::REQUESTS_ENDED, &[end], count);
    }
    page.head(&metric::ANSWERS);
    for (whose, by) in AnsweredBy::NAMES.into_iter().enumerate() {
        for (place, class) in CLASSES.into_iter().enumerate() {
            let count = stats.iter().map(|worker| worker.answers[whose][place]).sum();
            page.line(&metric::ANSWERS, &[by, class], count);
        }
    }
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn head(&mut self, metric: &Metric) {
        let Metric { name, help, .. } = metric;
        let kind = metric.kind.name();
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// A metric of one line.
    fn only(&mut self, metric: &Metric, value: u64) {
        self.head(metric);
        self.line(metric, &[], value);
    }

    /// A line; `values` are those of the metric's labels.
    fn line(&mut self, metric: &Metric, values: &[&str], value: u64) {
        self.part(metric, "", values, None, &value);
    }

    /// A line of a histogram's part; a bucket has a `bound`.
    fn part(
        &mut self,
        metric: &Metric,
        part: &str,
        values: &[&str],
        bound: Option<&str>,
        value: &dyn std::fmt::Display,
    ) {
        debug_assert_eq!(metric.labels.len(), values.len(), "{}", metric.name);
        self.text.push_str(metric.name);
        self.text.push_str(part);
        let labels = metric.labels.iter().zip(values).map(|(label, value)| (*label, *value));
        let mut is_first = true;
        for (label, value) in labels.chain(bound.map(|bound| ("le", bound))) {
            self.text.push(if is_first { '{' } else { ',' });
            is_first = false;
            self.text.push_str(label);
            self.text.push_str("=\"");
            escape(value, &mut self.text);
            self.text.push('"');
        }
        if !is_first {
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
        page.line(&metric::UPSTREAM_CONNECTIONS, &["a\"} 1\n\\"], 7);
        let wanted = "bimetal_upstream_connections{upstream=\"a\\\"} 1\\n\\\\\"} 7\n";
        assert_eq!(page.text, wanted);
    }
}
