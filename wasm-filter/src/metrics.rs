//! Publishes the core's counts as Envoy metrics, as [`bimetal_core::metric`] describes them.
//!
//! Envoy's Wasm metrics have no labels, so labels go into the name in the form that Istio takes
//! apart again (`key=.=value;.;` before the metric's name). A metric is defined when it first
//! counts something and its id is kept, because Envoy spends memory on each definition. Counts are
//! published as differences on the tick, and durations are recorded there: no request waits for
//! them.

use crate::port::{Host, HostError, MetricKind};
use bimetal_core::Engine;
use bimetal_core::fallback::FallbackKind;
use bimetal_core::metric::{
    self, CALLS_OUTSTANDING, COUNTED, Counted, DECISION_ERRORS, EVENTS_LOST, FALLBACKS, LIMIT_KEYS,
    POLICY, QUEUE_LENGTH, REQUEST_DURATION_MS, SCOPE, SCOPES, UNSHARED, UNSUPPORTED_SKIPPED,
};
use bimetal_core::series::SHARED_LABEL;
use std::sync::Arc;

/// Numbers of one row.
const FIELDS: usize = COUNTED.len();

/// A metric that may not be defined yet.
#[derive(Clone, Copy, Debug, Default)]
enum Metric {
    #[default]
    Unknown,
    Defined(u32),
    /// The host does not take it. Not tried again: each attempt would cost memory.
    Refused,
}

/// What one row has published.
#[derive(Clone, Debug)]
struct Row {
    published: [u64; FIELDS],
    metrics: [Metric; FIELDS],
}

/// What a worker has published so far.
#[derive(Debug, Default)]
pub struct Publisher {
    // In the order of the engine's series, which only grows.
    rows: Vec<Row>,
    durations: Vec<(Arc<str>, Metric)>,
    /// Answers of policies' own: how many there were, and what is published of that.
    fallbacks: Vec<(Arc<str>, u64, Counter)>,
    /// Calls that wait, by policy and scope label.
    queues: Vec<Queue>,
    /// Durations since the last tick.
    waiting: Vec<Sample>,
    errors: Counter,
    unshared: Counter,
    lost: Counter,
    scopes: Counter,
    limit_keys: Counter,
    outstanding: Counter,
    skipped: Metric,
}

/// What the filter counts by itself, since its worker began.
#[derive(Clone, Copy, Debug, Default)]
pub struct Own {
    /// Host calls that failed.
    pub errors: u64,
    /// How often a scope found no place on the board.
    pub unshared: u64,
}

/// Calls that wait under one policy and scope label.
#[derive(Debug)]
struct Queue {
    policy: String,
    scope: String,
    waiting: u64,
    counter: Counter,
}

/// How long one call took.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// Its policy's place in `durations`.
    place: usize,
    millis: u64,
}

/// Most durations that wait for the tick. A worker that is faster records them earlier.
const MAX_WAITING: usize = 4096;

#[derive(Clone, Copy, Debug, Default)]
struct Counter {
    published: u64,
    metric: Metric,
}

impl Publisher {
    /// Publishes what changed since the last time.
    ///
    /// # Errors
    /// The last host call that failed; the others were made. What could not be published is tried
    /// again.
    pub fn publish(
        &mut self,
        host: &impl Host,
        engine: &Engine,
        own: Own,
    ) -> Result<(), HostError> {
        // Defined before there is an error, because an alert needs its zero; and tried again where the
        // host would not, because then there is something to tell.
        if matches!(self.errors.metric, Metric::Refused) {
            self.errors.metric = Metric::Unknown;
        }
        let errors_total = || DECISION_ERRORS.name.to_owned();
        let zero = id(host, &mut self.errors.metric, DECISION_ERRORS.kind, errors_total);
        let mut result = zero.map(drop).and(self.record_waiting(host));
        for (index, (policy, scope, counts)) in engine.series().enumerate() {
            if self.rows.len() <= index {
                let metrics = [Metric::Unknown; FIELDS];
                self.rows.push(Row { published: [0; FIELDS], metrics });
            }
            let Some(row) = self.rows.get_mut(index) else {
                continue;
            };
            let fields = row.published.iter_mut().zip(&mut row.metrics);
            for ((counted, value), (published, metric)) in
                COUNTED.iter().zip(metric::values(counts)).zip(fields)
            {
                let name = || name(counted, policy, scope);
                let kind = counted.metric.kind;
                result = move_to(host, metric, published, value, kind, name).and(result);
            }
        }
        result = self.publish_fallbacks(host).and(result);
        self.look_at_queues(engine);
        result = self.publish_queues(host).and(result);
        let totals = engine.totals();
        let outstanding = totals.issued.saturating_sub(totals.settled);
        for (counter, value, described) in [
            (&mut self.errors, own.errors, &DECISION_ERRORS),
            (&mut self.unshared, own.unshared, &UNSHARED),
            (&mut self.lost, totals.events_lost, &EVENTS_LOST),
            (&mut self.scopes, totals.scopes, &SCOPES),
            (&mut self.limit_keys, totals.limit_keys, &LIMIT_KEYS),
            (&mut self.outstanding, outstanding, &CALLS_OUTSTANDING),
        ] {
            let Counter { published, metric } = counter;
            let name = || described.name.to_owned();
            result = move_to(host, metric, published, value, described.kind, name).and(result);
        }
        result
    }

    /// An answer of the policy's own was given.
    pub fn fell_back(&mut self, policy: &Arc<str>) {
        match self.fallbacks.iter_mut().find(|(name, ..)| name == policy) {
            Some((_, count, _)) => *count += 1,
            None => self.fallbacks.push((policy.clone(), 1, Counter::default())),
        }
    }

    fn publish_fallbacks(&mut self, host: &impl Host) -> Result<(), HostError> {
        let mut result = Ok(());
        for (policy, count, Counter { published, metric }) in &mut self.fallbacks {
            let name = || {
                let kind = label("kind", FallbackKind::Fixed.name());
                let scope = label(SCOPE, SHARED_LABEL);
                format!("{}{kind}{scope}{}", label(POLICY, policy), FALLBACKS.name)
            };
            result = move_to(host, metric, published, *count, FALLBACKS.kind, name).and(result);
        }
        result
    }

    fn look_at_queues(&mut self, engine: &Engine) {
        self.queues.iter_mut().for_each(|queue| queue.waiting = 0);
        for (policy, scope, waiting) in engine.waiting_for_slots() {
            let is_it = |queue: &&mut Queue| queue.policy == policy && queue.scope == scope;
            match self.queues.iter_mut().find(is_it) {
                Some(queue) => queue.waiting += waiting,
                None => self.queues.push(Queue {
                    policy: policy.to_owned(),
                    scope: scope.to_owned(),
                    waiting,
                    counter: Counter::default(),
                }),
            }
        }
    }

    fn publish_queues(&mut self, host: &impl Host) -> Result<(), HostError> {
        let mut result = Ok(());
        for Queue { policy, scope, waiting, counter } in &mut self.queues {
            let Counter { published, metric } = counter;
            let name =
                || format!("{}{}{}", label(POLICY, policy), label(SCOPE, scope), QUEUE_LENGTH.name);
            let kind = QUEUE_LENGTH.kind;
            result = move_to(host, metric, published, *waiting, kind, name).and(result);
        }
        result
    }

    /// For a document that judges requests: how many parts of it were skipped.
    ///
    /// # Errors
    /// When the host refuses it.
    pub fn in_force(&mut self, host: &impl Host, skipped: usize) -> Result<(), HostError> {
        // Set, not added to: every worker says the same of the same document.
        let name = || UNSUPPORTED_SKIPPED.name.to_owned();
        match id(host, &mut self.skipped, UNSUPPORTED_SKIPPED.kind, name)? {
            Some(gauge) => host.record(gauge, skipped as u64),
            None => Ok(()),
        }
    }

    /// Takes back what the gauges say of this worker, which is about to end: they are sums over
    /// all workers, and would count it for ever.
    ///
    /// # Errors
    /// As [`Publisher::publish`].
    pub fn withdraw(&mut self, host: &impl Host) -> Result<(), HostError> {
        let mut result = self.record_waiting(host);
        for row in &mut self.rows {
            let fields = row.published.iter_mut().zip(&mut row.metrics);
            for (counted, (published, metric)) in COUNTED.iter().zip(fields) {
                let kind = counted.metric.kind;
                if kind == MetricKind::Gauge {
                    result = move_to(host, metric, published, 0, kind, String::new).and(result);
                }
            }
        }
        self.queues.iter_mut().for_each(|queue| queue.waiting = 0);
        result = self.publish_queues(host).and(result);
        let gauges = [&mut self.scopes, &mut self.limit_keys, &mut self.outstanding];
        for Counter { published, metric } in gauges {
            let name = String::new;
            result = move_to(host, metric, published, 0, MetricKind::Gauge, name).and(result);
        }
        result
    }

    /// Notes how long a call of `policy` took, in milliseconds. It is recorded on the tick.
    ///
    /// # Errors
    /// When so many waited that they were recorded now, and the host refused it.
    pub fn took(
        &mut self,
        host: &impl Host,
        policy: &Arc<str>,
        millis: u64,
    ) -> Result<(), HostError> {
        let same = |(name, _): &(Arc<str>, Metric)| Arc::ptr_eq(name, policy) || name == policy;
        let place = self.durations.iter().position(same).unwrap_or_else(|| {
            self.durations.push((policy.clone(), Metric::Unknown));
            self.durations.len() - 1
        });
        self.waiting.push(Sample { place, millis });
        if self.waiting.len() < MAX_WAITING { Ok(()) } else { self.record_waiting(host) }
    }

    /// Records the durations that wait. One that the host refuses is lost, and counted as an error.
    fn record_waiting(&mut self, host: &impl Host) -> Result<(), HostError> {
        let mut result = Ok(());
        for Sample { place, millis } in self.waiting.drain(..) {
            let Some((policy, metric)) = self.durations.get_mut(place) else {
                continue;
            };
            let described = &REQUEST_DURATION_MS;
            let name = || format!("{}{}", label(POLICY, policy), described.name);
            let recorded = match id(host, metric, described.kind, name) {
                Ok(Some(id)) => host.record(id, millis),
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            result = recorded.and(result);
        }
        result
    }
}

/// Brings a metric from what was published to `value`. Adding zero is an error in Envoy.
fn move_to(
    host: &impl Host,
    metric: &mut Metric,
    published: &mut u64,
    value: u64,
    kind: MetricKind,
    name: impl FnOnce() -> String,
) -> Result<(), HostError> {
    if value == *published {
        return Ok(());
    }
    let Some(id) = id(host, metric, kind, name)? else {
        return Ok(());
    };
    let by = value.cast_signed().wrapping_sub(published.cast_signed());
    host.add_to_metric(id, by)?;
    *published = value;
    Ok(())
}

fn id(
    host: &impl Host,
    metric: &mut Metric,
    kind: MetricKind,
    name: impl FnOnce() -> String,
) -> Result<Option<u32>, HostError> {
    match *metric {
        Metric::Defined(id) => Ok(Some(id)),
        Metric::Refused => Ok(None),
        Metric::Unknown => match host.define_metric(kind, &name()) {
            Ok(id) => {
                *metric = Metric::Defined(id);
                Ok(Some(id))
            }
            Err(error) => {
                *metric = Metric::Refused;
                Err(error)
            }
        },
    }
}

/// A metric's name with its labels. The scope stands last: a client may have chosen it. The core's
/// labels hold nothing that Envoy's rules go by.
fn name(counted: &Counted, policy: &str, scope: &str) -> String {
    let mut name = label(POLICY, policy);
    counted.labels().for_each(|(key, value)| name.push_str(&label(key, value)));
    name.push_str(&label(SCOPE, scope));
    name.push_str(counted.metric.name);
    name
}

/// A label in a name. Envoy strips dots from the end of a value, where a policy's name may have one:
/// it is escaped as the core does in a scope's label.
fn label(key: &str, value: &str) -> String {
    match value.strip_suffix('.') {
        Some(value) => format!("{key}=.={value}%2E;.;"),
        None => format!("{key}=.={value};.;"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bimetal_core::policy::Scope;

    #[test]
    fn every_field_has_a_name_of_its_own() {
        let mut names: Vec<_> = COUNTED.iter().map(|counted| name(counted, "p", "s")).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), FIELDS);
    }

    #[test]
    fn names_are_in_the_form_that_istio_takes_apart() {
        let with = |labels: &[&str]| {
            let is_it = |counted: &&Counted| {
                labels.iter().copied().eq(counted.labels().map(|(_, value)| value))
            };
            COUNTED.iter().find(is_it).unwrap()
        };
        assert_eq!(
            name(with(&["breaker"]), "echo", "*"),
            "policy=.=echo;.;decision=.=breaker;.;scope=.=*;.;bimetal_requests_total"
        );
        assert_eq!(
            name(with(&["closed"]), "echo", "outbound|80||echo.svc"),
            "policy=.=echo;.;state=.=closed;.;scope=.=outbound|80||echo.svc;.;bimetal_breaker_replicas"
        );
        assert_eq!(
            name(with(&["half_open", "open", "probe_failed"]), "echo", "*"),
            "policy=.=echo;.;from=.=half_open;.;to=.=open;.;cause=.=probe_failed;.;scope=.=*;.;\
             bimetal_breaker_transitions_total"
        );
        let late = COUNTED.iter().map(|counted| name(counted, "echo", "*"));
        let late: Vec<_> = late.filter(|name| name.contains("_late_")).collect();
        assert_eq!(late, ["policy=.=echo;.;scope=.=*;.;bimetal_late_total"]);
    }

    /// The labels that Envoy's rule takes out of a name, and what is left.
    fn taken_apart(name: &str) -> (Vec<(&str, &str)>, &str) {
        let mut parts: Vec<_> = name.split(";.;").collect();
        let metric = parts.pop().unwrap();
        let mut labels: Vec<_> = parts.iter().map(|part| part.split_once("=.=").unwrap()).collect();
        // As Envoy does.
        labels.iter_mut().for_each(|(_, value)| *value = value.trim_end_matches('.'));
        (labels, metric)
    }

    #[test]
    fn a_scope_cannot_forge_labels_nor_another_scope() {
        let keys =
            ["from=.=open", "a;.;policy=.=b", "a;.", "a.", "a..", "a", "a%2E", "*", "unknown"];
        let mut seen = std::collections::BTreeSet::new();
        for key in keys {
            let scope = bimetal_core::registry::label(&Scope::Authority, key.as_bytes());
            let name = name(&COUNTED[0], "p.", &scope);
            let (labels, metric) = taken_apart(&name);
            assert_eq!(
                labels,
                [("policy", "p%2E"), ("decision", "admitted"), ("scope", scope.as_str())]
            );
            assert_eq!(metric, "bimetal_requests_total");
            // A rule looks anywhere in the name.
            assert_eq!(name.matches("=.=").count(), 3, "{name}");
            assert!(seen.insert(scope), "{key}");
        }
    }
}
