//! Counts and breakers of one worker, as the admin pages show them.

use super::edges::Edge;
use super::ended::{Answers, Ends};
use super::histogram::Exemplars;
use super::{FallbackCounts, Histogram, Worker};
use crate::framing::Refusal;
use crate::interactions::Kind;
use bimetal_core::breaker::View;
use bimetal_core::engine::{Engine, Totals};
use bimetal_core::guard::LimitView;
use bimetal_core::series::Counts;
use bimetal_core::{Duration, Instant};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Counts of one worker.
#[derive(Clone, Debug, Default)]
pub(crate) struct WorkerStats {
    /// Counts by policy and scope.
    pub series: Vec<Series>,
    /// Sums over everything.
    pub totals: Totals,
    /// How requests ended.
    pub ends: Ends,
    /// Which answers they got.
    pub answers: Answers,
    /// Limits of calls under way by policy and scope.
    pub limits: Vec<LimitRow>,
    /// Time limits that follow their upstreams, by policy and scope.
    pub timeouts: Vec<TimeoutRow>,
    /// Calls that wait for tokens of rate limits, by policy and scope.
    pub queues: Vec<(String, String, u64)>,
    /// Durations by policy; an empty name stands for no policy.
    pub durations: Vec<(String, Histogram)>,
    /// Exemplars of these, where requests were recorded.
    pub exemplars: Vec<(String, Exemplars)>,
    /// Failures of the decision itself, where the call passed.
    pub decision_errors: u64,
    /// Requests in which our code panicked.
    pub panics: u64,
    /// Requests that were refused, in the order of [`Refusal::REASONS`].
    pub refusals: [u64; Refusal::REASONS.len()],
    /// Tries that failed: upstream, reason, how often.
    pub failures: Vec<(Arc<str>, &'static str, u64)>,
    /// Warnings: policy, kind, how often.
    pub warnings: Vec<(Arc<str>, Kind, u64)>,
    /// Answers that stood in for others, by policy.
    pub fallbacks: Vec<(Arc<str>, FallbackCounts)>,
    /// Connections from clients.
    pub connections: usize,
    /// Connections by upstream.
    pub upstreams: Vec<(String, usize)>,
}

/// Counts of one policy and scope.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    /// The policy.
    pub policy: String,
    /// The scope's label.
    pub scope: String,
    /// The counts.
    pub counts: Counts,
}

/// The limits of calls under way of one policy and scope label.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LimitRow {
    /// The policy.
    pub policy: String,
    /// The scope's label.
    pub scope: String,
    /// Whether the workers have it together.
    pub is_shared: bool,
    /// The highest of them.
    pub limit: u32,
    /// How much of it is used, of the fullest.
    pub fill: f64,
    /// Calls that wait.
    pub waiting: u64,
}

impl LimitRow {
    /// Adds one of the same label.
    fn add(&mut self, one: &LimitView) {
        self.limit = self.limit.max(one.limit);
        // One that was lowered just now may hold more than it lets in.
        let fill = f64::from(one.taken) / f64::from(one.limit.max(1));
        self.fill = self.fill.max(fill.min(1.0));
        self.waiting += u64::from(one.waiting);
    }

    /// Adds what another worker has of the same label. One that workers share is the same for all of them.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.limit = if other.is_shared {
            self.limit.max(other.limit)
        } else {
            self.limit.saturating_add(other.limit)
        };
        self.fill = self.fill.max(other.fill);
        self.waiting += other.waiting;
    }
}

/// The time limits of one policy and scope label that follow their upstreams.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TimeoutRow {
    /// The policy.
    pub policy: String,
    /// The scope's label.
    pub scope: String,
    /// The longest of them.
    pub limit: Duration,
    /// Whether enough calls were seen for all.
    pub is_measured: bool,
}

/// One breaker of one worker at one moment.
#[derive(Clone, Debug)]
pub(crate) struct BreakerRow {
    /// The policy.
    pub policy: String,
    /// The scope's key, or its label where it has none: a client may have chosen it.
    pub scope: Vec<u8>,
    /// The worker's number.
    pub worker: usize,
    /// When this was seen.
    pub at: Instant,
    /// The breaker.
    pub view: View,
}

/// All that a dashboard shows of one worker.
#[derive(Debug)]
pub(crate) struct Look {
    /// Counts.
    pub stats: WorkerStats,
    /// Breakers, at most 10,000.
    pub breakers: Vec<BreakerRow>,
    /// Who calls what.
    pub edges: Vec<Edge>,
    /// How long the worker worked for this.
    pub cost: Duration,
}

/// Most breakers that one worker tells of.
const MOST_ROWS: usize = 10_000;

impl Worker {
    /// The worker's breakers now, at most 10,000.
    pub(crate) fn breakers(&self) -> Vec<BreakerRow> {
        let now = self.clock.now();
        let engine = self.engine.borrow();
        let rows = engine.breakers(now).take(MOST_ROWS).map(|breaker| BreakerRow {
            policy: breaker.policy.into(),
            scope: match breaker.key {
                [] => breaker.label.into_bytes(),
                key => key.into(),
            },
            worker: self.index,
            at: now,
            view: breaker.view,
        });
        rows.collect()
    }

    /// All that a dashboard shows.
    pub(crate) fn look(&self) -> Look {
        let begun = self.clock.now();
        let (stats, breakers, edges) = (self.stats(), self.breakers(), self.edges());
        Look { stats, breakers, edges, cost: self.clock.now().since(begun) }
    }

    /// The worker's counts now.
    pub(crate) fn stats(&self) -> WorkerStats {
        let mut engine = self.engine.borrow_mut();
        engine.measure(self.clock.now());
        let series = engine.series().map(|(policy, scope, counts)| Series {
            policy: policy.into(),
            scope: scope.into(),
            counts: *counts,
        });
        let routing = self.routing();
        let upstreams = routing.upstreams().iter();
        let upstreams = upstreams.map(|up| (up.settings().name.to_string(), up.pool.open()));
        WorkerStats {
            series: series.collect(),
            totals: engine.totals(),
            ends: self.ended.ends(),
            answers: self.ended.answers(),
            limits: limits(&engine),
            timeouts: timeouts(&engine),
            queues: queues(&engine),
            durations: self.ended.durations(),
            exemplars: self.ended.exemplars(),
            decision_errors: self.decision_errors.get(),
            panics: self.panics.get(),
            refusals: self.refusals.counts(),
            failures: self.failures.counts(),
            warnings: self.warnings.counts(),
            fallbacks: self.fallback_counts(),
            connections: self.connections(),
            upstreams: upstreams.collect(),
        }
    }
}

fn timeouts(engine: &Engine) -> Vec<TimeoutRow> {
    let mut rows: BTreeMap<_, TimeoutRow> = BTreeMap::new();
    for one in engine.time_limits() {
        let (policy, scope) = (one.policy.to_owned(), one.label.to_owned());
        let new = TimeoutRow { policy, scope, limit: one.limit, is_measured: true };
        let row = rows.entry((one.policy, one.label)).or_insert(new);
        row.limit = row.limit.max(one.limit);
        row.is_measured &= one.is_measured;
    }
    rows.into_values().collect()
}

/// Calls that wait for tokens.
fn queues(engine: &Engine) -> Vec<(String, String, u64)> {
    let own = |(policy, scope, waiting): (&str, &str, u64)| (policy.into(), scope.into(), waiting);
    engine.queues().map(own).collect()
}

/// The limits of an engine by policy and label, in the order in which they were first asked.
fn limits(engine: &Engine) -> Vec<LimitRow> {
    let mut rows: Vec<LimitRow> = Vec::new();
    let mut places = HashMap::new();
    for limit in engine.limits() {
        let place = *places.entry((limit.policy, limit.label)).or_insert_with(|| {
            let (policy, scope) = (limit.policy.to_owned(), limit.label.to_owned());
            let is_shared = limit.is_shared;
            rows.push(LimitRow { policy, scope, is_shared, ..LimitRow::default() });
            rows.len() - 1
        });
        rows[place].add(&limit.view);
    }
    rows
}
