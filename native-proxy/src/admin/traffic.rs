//! What went on in the last seconds: decisions a second, and how long calls took, policy by policy.

use super::quantile;
use crate::worker::{Histogram, WorkerStats};
use bimetal_core::event::Decided;
use bimetal_core::outcome::Outcome;
use bimetal_core::{Duration, Instant};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, VecDeque};

/// Over which time rates and quantiles are told.
const SPAN: Duration = Duration::from_secs(10);

/// What was counted of a policy since the proxy began.
#[derive(Clone, Debug, Default)]
struct Sum {
    decisions: [u64; Decided::COUNT],
    failures: u64,
    latency: Histogram,
}

/// Sums of the last seconds, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    seen: VecDeque<(Instant, BTreeMap<String, Sum>)>,
}

impl Traffic {
    /// Takes what the workers have counted until `now`; gives a row for each policy.
    pub(super) fn rows(&mut self, now: Instant, stats: &[&WorkerStats]) -> BTreeMap<String, Value> {
        self.seen.push_back((now, sums(stats)));
        // The last one before the span stays: the span begins with it.
        while self.seen.get(1).is_some_and(|(at, _)| now.since(*at) >= SPAN) {
            self.seen.pop_front();
        }
        let (Some((from, first)), Some((_, last))) = (self.seen.front(), self.seen.back()) else {
            return BTreeMap::new();
        };
        let secs = now.since(*from).as_secs_f64();
        let nothing = Sum::default();
        let row = |(policy, sum): (&String, &Sum)| {
            let before = first.get(policy).unwrap_or(&nothing);
            (policy.clone(), row(policy, sum, before, secs))
        };
        last.iter().map(row).collect()
    }
}

fn sums(stats: &[&WorkerStats]) -> BTreeMap<String, Sum> {
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    for series in stats.iter().flat_map(|stats| &stats.series) {
        let sum = sums.entry(series.policy.clone()).or_default();
        let counts = &series.counts;
        sum.decisions.iter_mut().zip(counts.decisions).for_each(|(all, more)| *all += more);
        sum.failures += counts.outcome(Outcome::Failure);
    }
    for (policy, histogram) in stats.iter().flat_map(|stats| &stats.durations) {
        if !histogram.counts.iter().all(|count| *count == 0) {
            sums.entry(policy.clone()).or_default().latency.merge(histogram);
        }
    }
    sums
}

fn row(policy: &str, sum: &Sum, before: &Sum, secs: f64) -> Value {
    let per_s = |all: u64, before: u64| match secs {
        0.0 => Value::Null,
        secs => json!((all.saturating_sub(before) as f64 / secs * 10.0).round() / 10.0),
    };
    let decisions = Decided::all().map(|decided| {
        let place = decided.place();
        let count = |sum: &Sum| sum.decisions.get(place).copied().unwrap_or_default();
        (decided.name().to_owned(), per_s(count(sum), count(before)))
    });
    let latency = sum.latency.since(&before.latency);
    let quantile = |share| quantile::of(&latency, share);
    json!({
        "policy": policy,
        "per_s": decisions.collect::<Map<_, _>>(),
        "failures_per_s": per_s(sum.failures, before.failures),
        "latency_ms": {"p50": quantile(0.5), "p95": quantile(0.95), "p99": quantile(0.99)},
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::stats::Series;
    use bimetal_core::series::Counts;

    fn stats(admitted: u64, failures: u64, millis: &[u64]) -> WorkerStats {
        let mut counts = Counts { outcomes: [0, failures, 0, 0], ..Counts::default() };
        counts.decisions[0] = admitted;
        let series = vec![Series { policy: "p".into(), scope: "a".into(), counts }];
        let mut histogram = Histogram::default();
        millis.iter().for_each(|one| histogram.record(Duration::from_millis(*one)));
        WorkerStats { series, durations: vec![("p".into(), histogram)], ..WorkerStats::default() }
    }

    fn at(secs: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(secs)
    }

    #[test]
    fn rates_and_quantiles_are_of_the_last_seconds() {
        let mut traffic = Traffic::default();
        let first = traffic.rows(at(0), &[&stats(100, 1, &[1, 1])]);
        assert_eq!(first["p"]["per_s"]["admitted"], Value::Null, "nothing to compare with");
        let rows = traffic.rows(at(2), &[&stats(110, 1, &[1, 1]), &stats(10, 4, &[300, 300, 300])]);
        assert_eq!(rows["p"]["per_s"]["admitted"], 10.0);
        assert_eq!(rows["p"]["failures_per_s"], 2.0);
        assert_eq!(rows["p"]["latency_ms"]["p50"], 375.0, "of the three that are new");
        // What lies before the span is forgotten.
        for secs in 3..40 {
            traffic.rows(at(secs), &[&stats(200, 5, &[1, 1, 300, 300, 300])]);
        }
        let rows = traffic.rows(at(40), &[&stats(250, 5, &[1, 1, 300, 300, 300])]);
        assert_eq!(rows["p"]["per_s"]["admitted"], 5.0);
        assert_eq!(rows["p"]["latency_ms"]["p50"], Value::Null);
        assert!(traffic.seen.len() <= 12);
    }
}
