//! The page of metrics, in Prometheus' text format or as OpenMetrics, as [`bimetal_core::metric`] describes them:
//! summed over the workers.

mod exchanges;
mod page;

use crate::account::{AnsweredBy, End};
use crate::attempt::ErrorKind;
use crate::framing::Refusal;
use crate::interactions::Kind;
use crate::proxy::Shared;
use crate::upstream::EndpointState;
use crate::worker::histogram::Exemplars;
use crate::worker::{CLASSES, FallbackCounts, Histogram, LimitRow, WorkerStats};
use bimetal_core::Duration;
use bimetal_core::fallback::FallbackKind;
use bimetal_core::metric::{self, ANOMALIES, COUNTED, Metric};
use bimetal_core::series::{Counts, SHARED_LABEL};
pub(super) use page::Form;
use page::Page;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

/// The whole page.
pub(super) fn page(shared: &Shared, stats: &[WorkerStats], form: Form) -> String {
    let mut page = Page::new(form);
    let settings = shared.settings();
    let is_watched = |policy: &str, signal: &str| {
        let mut policies = settings.document.policies.iter();
        let policy = policies.find(|known| &*known.name == policy);
        let watched = policy.and_then(|policy| policy.anomaly.as_ref());
        watched.is_some_and(|all| all.signals.iter().any(|one| one.name() == signal))
    };
    counted(&mut page, stats, &is_watched);
    durations(&mut page, stats);
    limits(&mut page, stats);
    timeouts(&mut page, stats);
    own(&mut page, shared, stats);
    page.end()
}

/// What the core counts for each policy and scope. Anomalies that nobody watches for have no line.
fn counted(page: &mut Page, stats: &[WorkerStats], is_watched: &dyn Fn(&str, &str) -> bool) {
    let series = merged(stats);
    let mut place = 0;
    for group in COUNTED.chunk_by(|one, next| one.metric.name == next.metric.name) {
        page.head(group[0].metric);
        for ((policy, scope), counts) in &series {
            for (counted, value) in group.iter().zip(metric::values(counts).skip(place)) {
                let others = counted.labels().map(|(_, value)| value);
                let labels: Vec<_> = [*policy, *scope].into_iter().chain(others).collect();
                if counted.metric.name == ANOMALIES.name
                    && value == 0
                    && !is_watched(policy, labels[2])
                {
                    continue;
                }
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
    // By name, so that a count cannot be left out.
    let Counts {
        decisions,
        shadow,
        shadow_retries,
        outcomes,
        late,
        unprotected,
        wasted,
        retries,
        retry_budget,
        anomalies,
        transitions,
        states,
    } = one;
    each(&mut all.decisions, decisions);
    each(&mut all.shadow, shadow);
    each(&mut all.outcomes, outcomes);
    each(&mut all.retries, retries);
    each(&mut all.anomalies, anomalies);
    each(&mut all.transitions, transitions);
    each(&mut all.states, states);
    all.shadow_retries += shadow_retries;
    all.late += late;
    all.unprotected += unprotected;
    all.wasted += wasted;
    all.retry_budget += retry_budget;
}

fn durations(page: &mut Page, stats: &[WorkerStats]) {
    let metric = &metric::REQUEST_DURATION_SECONDS;
    page.head(metric);
    let mut all: BTreeMap<&str, Histogram> = BTreeMap::new();
    for (policy, histogram) in stats.iter().flat_map(|worker| &worker.durations) {
        all.entry(policy).or_default().merge(histogram);
    }
    let mut exemplars: BTreeMap<&str, Exemplars> = BTreeMap::new();
    for (policy, kept) in stats.iter().flat_map(|worker| &worker.exemplars) {
        exemplars.entry(policy).or_default().merge(kept);
    }
    for (policy, histogram) in &all {
        let kept = exemplars.get(policy).cloned().unwrap_or_default();
        self::histogram(page, metric, &[*policy, SHARED_LABEL], histogram, &kept);
    }
}

/// The limits of calls under way. One that workers share is the same for all of them.
fn limits(page: &mut Page, stats: &[WorkerStats]) {
    let mut all: BTreeMap<(&str, &str), LimitRow> = BTreeMap::new();
    for row in stats.iter().flat_map(|worker| &worker.limits) {
        all.entry((&row.policy, &row.scope)).or_default().merge(row);
    }
    page.head(&metric::CONCURRENCY_LIMIT);
    for ((policy, scope), row) in &all {
        page.line(&metric::CONCURRENCY_LIMIT, &[policy, scope], u64::from(row.limit));
    }
    page.head(&metric::LIMIT_FILL);
    for ((policy, scope), row) in &all {
        page.part(&metric::LIMIT_FILL, "", &[policy, scope], None, &row.fill);
    }
    // For slots and for tokens.
    let mut queues: BTreeMap<(&str, &str), u64> =
        all.iter().map(|(labels, row)| (*labels, row.waiting)).collect();
    for (policy, scope, waiting) in stats.iter().flat_map(|worker| &worker.queues) {
        *queues.entry((policy, scope)).or_default() += waiting;
    }
    page.head(&metric::QUEUE_LENGTH);
    for ((policy, scope), waiting) in queues {
        page.line(&metric::QUEUE_LENGTH, &[policy, scope], waiting);
    }
}

/// Time limits that follow their upstreams, in each worker by itself: the longest.
fn timeouts(page: &mut Page, stats: &[WorkerStats]) {
    let mut all: BTreeMap<(&str, &str), Duration> = BTreeMap::new();
    for row in stats.iter().flat_map(|worker| &worker.timeouts) {
        let longest = all.entry((&row.policy, &row.scope)).or_default();
        *longest = (*longest).max(row.limit);
    }
    page.head(&metric::REQUEST_TIMEOUT);
    for ((policy, scope), limit) in all {
        let seconds = limit.as_secs_f64();
        page.part(&metric::REQUEST_TIMEOUT, "", &[policy, scope], None, &seconds);
    }
}

/// What is not of one policy.
fn own(page: &mut Page, shared: &Shared, stats: &[WorkerStats]) {
    let sum = |count: fn(&WorkerStats) -> u64| stats.iter().map(count).sum::<u64>();
    page.only(&metric::DECISION_ERRORS, sum(|report| report.decision_errors));
    page.only(&metric::SCOPES, sum(|report| report.totals.scopes));
    page.only(&metric::LIMIT_KEYS, sum(|report| report.totals.limit_keys));
    let outstanding = sum(|report| report.totals.issued - report.totals.settled);
    page.only(&metric::CALLS_OUTSTANDING, outstanding);
    page.only(&metric::EVENTS_LOST, sum(|report| report.totals.events_lost));
    let dropped = shared.traces.as_ref().map_or(0, |traces| traces.dropped());
    page.only(&metric::SPANS_DROPPED, dropped);
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
    warnings(page, shared, stats);
    fallbacks(page, shared, stats);
    page.only(&metric::CONNECTIONS, sum(|report| report.connections as u64));
    let mut upstreams: BTreeMap<&str, u64> = BTreeMap::new();
    for (name, open) in stats.iter().flat_map(|worker| &worker.upstreams) {
        *upstreams.entry(name).or_default() += *open as u64;
    }
    page.head(&metric::UPSTREAM_CONNECTIONS);
    for (name, open) in upstreams {
        page.line(&metric::UPSTREAM_CONNECTIONS, &[name], open);
    }
    endpoints(page, shared);
    page.head(&metric::RELOADS);
    page.line(&metric::RELOADS, &["applied"], shared.reloads.load(Ordering::Relaxed));
    page.line(&metric::RELOADS, &["refused"], shared.refused_reloads.load(Ordering::Relaxed));
    page.only(&metric::UNSUPPORTED_SKIPPED, settings.skipped.len() as u64);
    page.only(&metric::WORKERS, stats.len() as u64);
    exchanges::add(page, shared);
}

fn histogram(
    page: &mut Page,
    metric: &Metric,
    labels: &[&str],
    histogram: &Histogram,
    kept: &Exemplars,
) {
    let mut count = 0;
    let bounds = metric.bounds.iter().map(|(_, text)| *text).chain(["+Inf"]);
    for ((bound, more), exemplar) in bounds.zip(histogram.counts).zip(kept.0) {
        count += more;
        page.bucket(metric, labels, bound, count, exemplar);
    }
    page.part(metric, "_sum", labels, None, &(histogram.sum as f64 / 1e9));
    page.part(metric, "_count", labels, None, &count);
}

/// Of each policy that warns every kind, also what was not noticed yet.
fn warnings(page: &mut Page, shared: &Shared, stats: &[WorkerStats]) {
    let settings = shared.settings();
    let warning = settings.document.policies.iter().filter(|policy| policy.warnings.is_some());
    let mut counts: BTreeMap<(&str, Kind), u64> = BTreeMap::new();
    counts.extend(warning.flat_map(|policy| Kind::ALL.map(|kind| ((&*policy.name, kind), 0))));
    for (policy, kind, count) in stats.iter().flat_map(|stats| &stats.warnings) {
        *counts.entry((policy, *kind)).or_default() += count;
    }
    page.head(&metric::WARNINGS);
    for ((policy, kind), count) in counts {
        page.line(&metric::WARNINGS, &[policy, SHARED_LABEL, kind.name()], count);
    }
}

/// Of each policy that has a fallback every kind, also what was not needed yet.
fn fallbacks(page: &mut Page, shared: &Shared, stats: &[WorkerStats]) {
    let settings = shared.settings();
    let with = settings.document.policies.iter().filter(|policy| policy.fallback.is_some());
    let mut counts: BTreeMap<&str, FallbackCounts> = BTreeMap::new();
    counts.extend(with.map(|policy| (&*policy.name, FallbackCounts::default())));
    for (policy, more) in stats.iter().flat_map(|stats| &stats.fallbacks) {
        let all = counts.entry(policy).or_default();
        all.iter_mut().zip(more).for_each(|(all, more)| *all += more);
    }
    page.head(&metric::FALLBACKS);
    for (policy, counts) in counts {
        for (kind, count) in FallbackKind::ALL.iter().zip(counts) {
            page.line(&metric::FALLBACKS, &[policy, SHARED_LABEL, kind.name()], count);
        }
    }
}

fn endpoints(page: &mut Page, shared: &Shared) {
    let groups = shared.directory.groups();
    page.head(&metric::ENDPOINTS);
    for group in &groups {
        for (state, count) in EndpointState::ALL.iter().zip(group.states()) {
            page.line(&metric::ENDPOINTS, &[&group.settings.name, state.name()], count);
        }
    }
    page.head(&metric::EJECTIONS);
    for group in &groups {
        page.line(&metric::EJECTIONS, &[&group.settings.name], group.ejections());
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::histogram::Exemplar;
    use crate::worker::stats::Series;
    use std::time::SystemTime;

    #[test]
    fn each_count_stands_in_its_line_summed_over_the_workers() {
        let counts = Counts {
            decisions: [1, 42, 26, 24, 2, 22],
            shadow: [3, 43, 27, 25, 4, 23],
            outcomes: [5, 6, 7, 8],
            late: 9,
            unprotected: 10,
            wasted: 28,
            retries: [40, 41, 42, 43, 44, 45, 46, 47, 48, 49],
            retry_budget: 50,
            shadow_retries: 70,
            anomalies: [61, 62, 63],
            transitions: [11, 12, 13, 14, 15, 16, 17, 18, 31, 32, 33, 51, 52, 53, 54],
            states: [19, 20, 21],
        };
        let series = Series { policy: "p".into(), scope: "s".into(), counts };
        let worker = WorkerStats { series: vec![series], ..WorkerStats::default() };
        let mut page = Page::default();
        counted(&mut page, &[worker.clone(), worker], &|_, _| false);
        let values = page.text.lines().filter(|line| !line.starts_with('#'));
        let values: Vec<_> = values.map(|line| line.rsplit_once(' ').unwrap().1).collect();
        let wanted = [
            2, 84, 52, 48, 4, 44, 10, 12, 14, 16, 38, 40, 42, 22, 24, 26, 28, 30, 32, 34, 36, 62,
            64, 66, 102, 104, 106, 108, 6, 86, 54, 50, 8, 46, 140, 80, 82, 84, 86, 88, 90, 92, 94,
            96, 98, 100, 122, 124, 126, 18, 20, 56,
        ];
        assert_eq!(values, wanted.map(|value| value.to_string()));
        for line in [
            r#"bimetal_requests_total{policy="p",scope="s",decision="breaker"} 4"#,
            r#"bimetal_breaker_transitions_total{policy="p",scope="s",from="half_open",to="open",cause="probe_slow"} 32"#,
            r#"bimetal_late_total{policy="p",scope="s"} 18"#,
        ] {
            assert!(page.text.lines().any(|one| one == line), "{line}:\n{}", page.text);
        }
    }

    #[test]
    fn limits_of_one_label_are_told_together() {
        let row = |is_shared, limit, fill, waiting| {
            let (policy, scope) = ("p".into(), if is_shared { "s" } else { "own" }.into());
            LimitRow { policy, scope, is_shared, limit, fill, waiting }
        };
        let worker = |limits| WorkerStats { limits, ..WorkerStats::default() };
        let one = worker(vec![row(true, 8, 0.5, 2), row(false, 3, 0.0, 0)]);
        let other = worker(vec![row(true, 8, 0.25, 1), row(false, 3, 1.0, 4)]);
        let mut page = Page::default();
        limits(&mut page, &[one, other]);
        let values = page.text.lines().filter(|line| !line.starts_with('#'));
        let wanted = [
            r#"bimetal_concurrency_limit{policy="p",scope="own"} 6"#,
            r#"bimetal_concurrency_limit{policy="p",scope="s"} 8"#,
            r#"bimetal_limit_fill{policy="p",scope="own"} 1"#,
            r#"bimetal_limit_fill{policy="p",scope="s"} 0.5"#,
            r#"bimetal_queue_length{policy="p",scope="own"} 4"#,
            r#"bimetal_queue_length{policy="p",scope="s"} 3"#,
        ];
        assert_eq!(values.collect::<Vec<_>>(), wanted);
    }

    #[test]
    fn labels_cannot_break_out() {
        let mut page = Page::default();
        page.line(&metric::UPSTREAM_CONNECTIONS, &["a\"} 1\n\\"], 7);
        let wanted = "bimetal_upstream_connections{upstream=\"a\\\"} 1\\n\\\\\"} 7\n";
        assert_eq!(page.text, wanted);
    }

    #[test]
    fn openmetrics_is_for_those_who_ask_for_it() {
        // Prometheus 2.42 and 3.4, a browser, curl, a scraper that prefers text, one that refuses it.
        for (accept, form) in [
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Form::Open,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=1.0.0;q=0.4,*/*;q=0.1",
                Form::Open,
            ),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Form::Text),
            ("*/*", Form::Text),
            ("text/plain, application/openmetrics-text;q=0.2", Form::Text),
            ("application/openmetrics-text;q=0", Form::Text),
        ] {
            assert_eq!(Form::asked(&[accept]), form, "{accept}");
        }
        assert_eq!(Form::asked(&[]), Form::Text);
        assert_eq!(Form::asked(&["text/plain;q=0.1", "Application/OpenMetrics-Text"]), Form::Open);
    }

    /// fabriziosalmi/zion 172, prometheus/client_java 668: exemplars in the text format make a page that
    /// nobody can read.
    #[test]
    fn exemplars_are_in_openmetrics_alone() {
        let mut histogram = Histogram::default();
        histogram.record(Duration::from_millis(3));
        let mut exemplars = Exemplars::default();
        exemplars.record(Exemplar {
            trace: [0xab; 16],
            took: Duration::from_millis(3),
            at: SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_500),
        });
        let stats = WorkerStats {
            durations: vec![("p".into(), histogram)],
            exemplars: vec![("p".into(), exemplars)],
            ..WorkerStats::default()
        };
        let written = |form| {
            let mut page = Page::new(form);
            page.only(&metric::PANICS, 7);
            durations(&mut page, std::slice::from_ref(&stats));
            page.end()
        };
        let (text, open) = (written(Form::Text), written(Form::Open));
        let line = r#"bimetal_request_duration_seconds_bucket{policy="p",scope="*",le="0.005"} 1"#;
        let marked = format!("{line} # {{trace_id=\"{}\"}} 0.003 1.500", "ab".repeat(16));
        assert!(text.lines().any(|one| one == line), "{text}");
        assert!(open.lines().any(|one| one == marked), "{open}");
        assert_eq!((text.matches("trace_id").count(), open.matches("trace_id").count()), (0, 1));
        assert!(!text.contains("EOF") && open.ends_with("\n# EOF\n"), "{open}");
        // prometheus-net 407: a counter's name is without its suffix there, and its line with it.
        assert!(open.contains("# TYPE bimetal_panics counter\nbimetal_panics_total 7\n"), "{open}");
        assert!(text.contains("# TYPE bimetal_panics_total counter\n"), "{text}");
    }
}
