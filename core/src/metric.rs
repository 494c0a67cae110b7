//! Every metric, described once: the hosts print from here, and the table in `docs/metrics.md` is
//! held to it.
//!
//! A metric of a policy's counts is one line of [`COUNTED`] for each of its values; what is counted
//! elsewhere has its descriptor only, and the host that counts it brings the values.

mod all;

pub use all::*;

use crate::anomaly::Signal;
use crate::decision::Rule;
use crate::event::{Decided, State};
pub use crate::host::Host;
use crate::outcome::Outcome;
use crate::retry::RetryResult;
use crate::series::{Counts, TRANSITIONS, TransitionKind};
use crate::time::Duration;
use all::{
    BREAKER_REPLICAS, BREAKER_TRANSITIONS, LATE, OUTCOMES, REQUESTS, RETRIES, RETRY_BUDGET, SHADOW,
    UNPROTECTED, WASTED,
};

/// One metric.
#[derive(Debug)]
pub struct Metric {
    /// Its name, in every host that has it.
    pub name: &'static str,
    /// How its values go on.
    pub kind: Kind,
    /// What its values are.
    pub unit: Unit,
    /// The names of its labels, in the order of a line.
    pub labels: &'static [&'static str],
    /// What it says; empty in the filter, which has nobody to show it to.
    pub help: &'static str,
    /// The hosts that have it.
    pub hosts: &'static [Host],
    /// Of a histogram: the upper bounds of its buckets but the last, each with its text in the
    /// metric's unit. None where the host has bounds of its own.
    pub bounds: &'static [(Duration, &'static str)],
}

/// How the values of a metric go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Rises and falls: a sum of what each worker says.
    Gauge,
    /// Counts values by size.
    Histogram,
}

impl Kind {
    /// The word for it in Prometheus' text format.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// What the values of a metric are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A number of things.
    Count,
    /// A time in seconds.
    Seconds,
    /// A time in whole milliseconds.
    Milliseconds,
}

/// One number of a policy's [`Counts`]: a line of a metric for each policy and scope.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    /// The metric.
    pub metric: &'static Metric,
    /// Values of the labels behind policy and scope; unused ones are empty.
    values: [&'static str; 3],
}

impl Counted {
    const fn one(metric: &'static Metric, value: &'static str) -> Self {
        Self { metric, values: [value, "", ""] }
    }

    const fn transition(kind: TransitionKind) -> Self {
        let values = [kind.from.name(), kind.to.name(), kind.cause];
        Self { metric: &BREAKER_TRANSITIONS, values }
    }

    /// Names and values of the labels behind policy and scope.
    pub fn labels(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.metric.labels.iter().copied().skip(2).zip(self.values)
    }
}

/// Decisions twice, outcomes, states, transitions, retries, those in shadow, their budget, anomalies, late,
/// unprotected and wasted.
const NUMBERS: usize = 2 * Decided::COUNT
    + Outcome::ALL.len()
    + State::ALL.len()
    + TRANSITIONS.len()
    + RetryResult::COUNT
    + Signal::COUNT
    + 5;

/// Every number of a policy's [`Counts`], in the order of [`values`]. Those of one metric stand
/// together.
pub static COUNTED: [Counted; NUMBERS] = counted();

const fn counted() -> [Counted; NUMBERS] {
    let mut all = [Counted::one(&WASTED, ""); NUMBERS];
    let left = decisions(&mut all, &REQUESTS);
    let left = outcomes(left);
    let left = states(left);
    let left = transitions(left);
    let left = decisions(left, &SHADOW);
    let left = push(left, Counted::one(&SHADOW, "retry"));
    let left = retries(left);
    let left = push(left, Counted::one(&RETRY_BUDGET, ""));
    let left = anomalies(left);
    // What is left is the last one.
    let left = push(left, Counted::one(&LATE, ""));
    let _ = push(left, Counted::one(&UNPROTECTED, ""));
    all
}

/// Puts `one` into the first place; gives those behind it.
const fn push(places: &mut [Counted], one: Counted) -> &mut [Counted] {
    match places.split_first_mut() {
        Some((first, left)) => {
            *first = one;
            left
        }
        None => &mut [],
    }
}

const fn decisions<'a>(places: &'a mut [Counted], metric: &'static Metric) -> &'a mut [Counted] {
    let mut left = push(places, Counted::one(metric, Decided::Admitted.name()));
    let mut rules: &[Rule] = &Rule::ALL;
    while let Some((rule, more)) = rules.split_first() {
        left = push(left, Counted::one(metric, Decided::Rejected(*rule).name()));
        rules = more;
    }
    left
}

const fn outcomes(places: &mut [Counted]) -> &mut [Counted] {
    let mut left = places;
    let mut outcomes: &[Outcome] = &Outcome::ALL;
    while let Some((outcome, more)) = outcomes.split_first() {
        left = push(left, Counted::one(&OUTCOMES, outcome.name()));
        outcomes = more;
    }
    left
}

const fn states(places: &mut [Counted]) -> &mut [Counted] {
    let mut left = places;
    let mut states: &[State] = &State::ALL;
    while let Some((state, more)) = states.split_first() {
        left = push(left, Counted::one(&BREAKER_REPLICAS, state.name()));
        states = more;
    }
    left
}

const fn transitions(places: &mut [Counted]) -> &mut [Counted] {
    let mut left = places;
    let mut kinds: &[TransitionKind] = &TRANSITIONS;
    while let Some((kind, more)) = kinds.split_first() {
        left = push(left, Counted::transition(*kind));
        kinds = more;
    }
    left
}

const fn retries(places: &mut [Counted]) -> &mut [Counted] {
    let mut left = places;
    let mut results: &[RetryResult] = &RetryResult::ALL;
    while let Some((result, more)) = results.split_first() {
        left = push(left, Counted::one(&RETRIES, result.name()));
        results = more;
    }
    left
}

const fn anomalies(places: &mut [Counted]) -> &mut [Counted] {
    let mut left = places;
    let mut signals: &[Signal] = &Signal::ALL;
    while let Some((signal, more)) = signals.split_first() {
        left = push(left, Counted::one(&ANOMALIES, signal.name()));
        signals = more;
    }
    left
}

/// The numbers of `counts`, in the order of [`COUNTED`].
pub fn values(counts: &Counts) -> impl Iterator<Item = u64> {
    let states = counts.states.iter().map(|count| u64::from(*count));
    let decisions = counts.decisions.iter().chain(&counts.outcomes).copied();
    let changes = counts.transitions.iter().chain(&counts.shadow).copied();
    let changes = changes.chain([counts.shadow_retries]);
    let retries = counts.retries.iter().copied().chain([counts.retry_budget]);
    let single = [counts.late, counts.unprotected, counts.wasted];
    let anomalies = counts.anomalies.iter().copied();
    decisions.chain(states).chain(changes).chain(retries).chain(anomalies).chain(single)
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// Counts of which each is another number.
    fn counts() -> Counts {
        Counts {
            decisions: [1, 42, 2, 22, 24, 26],
            shadow: [3, 43, 4, 23, 25, 27],
            shadow_retries: 29,
            outcomes: [5, 6, 7, 8],
            late: 9,
            unprotected: 10,
            wasted: 28,
            retries: [30, 31, 32, 33, 34, 35, 36, 37, 38, 39],
            retry_budget: 40,
            anomalies: [54, 55, 56],
            transitions: [11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 44, 45, 46, 47],
            states: [19, 20, 21],
        }
    }

    #[test]
    fn each_number_stands_under_its_name() {
        let counts = counts();
        let values: Vec<_> = values(&counts).collect();
        assert_eq!(values.len(), COUNTED.len());
        let value = |metric: &str, labels: &[&str]| {
            let is_it = |counted: &Counted| {
                counted.metric.name == metric
                    && counted.labels().map(|(_, value)| value).eq(labels.iter().copied())
            };
            values[COUNTED.iter().position(is_it).unwrap_or(usize::MAX)]
        };
        for decided in Decided::all() {
            let name = &[decided.name()];
            let place = decided.place();
            assert_eq!(value("bimetal_requests_total", name), counts.decisions[place]);
            assert_eq!(value("bimetal_shadow_total", name), counts.shadow[place]);
        }
        for outcome in Outcome::ALL {
            let name = &[outcome.name()];
            assert_eq!(value("bimetal_outcomes_total", name), counts.outcome(outcome));
        }
        for state in State::ALL {
            let count = u64::from(counts.states[state as usize]);
            assert_eq!(value("bimetal_breaker_replicas", &[state.name()]), count);
        }
        for (kind, count) in TRANSITIONS.iter().zip(counts.transitions) {
            let labels = [kind.from.name(), kind.to.name(), kind.cause];
            assert_eq!(value("bimetal_breaker_transitions_total", &labels), count);
        }
        for (result, count) in RetryResult::ALL.iter().zip(counts.retries) {
            assert_eq!(value("bimetal_retries_total", &[result.name()]), count);
        }
        assert_eq!(value("bimetal_shadow_total", &["retry"]), 29);
        assert_eq!(value("bimetal_retry_budget", &[]), 40);
        for (signal, count) in Signal::ALL.iter().zip(counts.anomalies) {
            assert_eq!(value("bimetal_anomalies_total", &[signal.name()]), count);
        }
        assert_eq!(value("bimetal_late_total", &[]), 9);
        assert_eq!(value("bimetal_unprotected_total", &[]), 10);
        assert_eq!(value("bimetal_wasted_total", &[]), 28);
    }

    #[test]
    fn those_of_one_metric_stand_together() {
        let groups = COUNTED.chunk_by(|one, next| one.metric.name == next.metric.name);
        let mut names: Vec<_> = groups.map(|group| group[0].metric.name).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    #[test]
    fn a_metric_is_described_once_and_by_the_rules() {
        for (index, metric) in ALL.iter().enumerate() {
            let name = metric.name;
            assert!(!ALL[..index].iter().any(|other| other.name == name), "{name} twice");
            assert!(name.starts_with("bimetal_"), "{name}");
            let is_counter = metric.kind == Kind::Counter;
            assert_eq!(name.ends_with("_total"), is_counter, "{name}: Prometheus' rule of names");
            assert_eq!(name.ends_with("_seconds"), metric.unit == Unit::Seconds, "{name}");
            assert_eq!(name.ends_with("_ms"), metric.unit == Unit::Milliseconds, "{name}");
            assert!(metric.help.ends_with('.'), "{name}");
            assert!(!metric.hosts.is_empty(), "{name}");
        }
        for counted in COUNTED {
            assert_eq!(counted.metric.labels[..2], [POLICY, SCOPE], "{}", counted.metric.name);
            let labels = counted.metric.labels.len() - 2;
            let values = counted.values.iter().filter(|value| !value.is_empty()).count();
            assert_eq!(values, labels, "{}", counted.metric.name);
        }
    }

    #[test]
    fn bounds_rise_and_are_what_their_texts_say() {
        for (index, (bound, text)) in DURATION_BOUNDS.iter().enumerate() {
            let seconds: f64 = text.parse().unwrap_or_default();
            assert!((seconds * 1e9 - bound.as_nanos() as f64).abs() < 0.5, "{text}");
            assert!(DURATION_BOUNDS[..index].iter().all(|(before, _)| before < bound), "{text}");
        }
    }
}
