//! Counts of what was decided and what became of it, per policy and scope label.
//!
//! The core counts, hosts publish: so a metric has one meaning in both hosts.

use crate::anomaly::Signal;
use crate::decision::{Rule, Settled};
use crate::event::{Cause, Decided, State, Transition};
use crate::outcome::Outcome;
use crate::retry::RetryResult;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hash::BuildHasher;
use foldhash::quality::FixedState;
use hashbrown::HashTable;

/// Most labels at once over all policies; each policy has an equal share, and what comes later is
/// counted under `*`. Hosts never free a metric, so a label that a client can choose must not make
/// new ones without end; nor may the labels of one policy use up those of another.
pub const MAX_SERIES: usize = 4096;

/// The least share of a policy in [`MAX_SERIES`], however many policies there are.
pub const MIN_SERIES: usize = 64;

/// The label for scopes that share their counts.
pub const SHARED_LABEL: &str = "*";

/// Counts of one policy and scope label since the engine began; they never fall but for `states` and
/// `retry_budget`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// `bimetal_requests_total{decision}` by [`Decided::place`].
    pub decisions: [u64; Decided::COUNT],
    /// `bimetal_shadow_total{decision}` by [`Decided::place`].
    pub shadow: [u64; Decided::COUNT],
    /// The same of `retry`: calls that would have been tried again.
    pub shadow_retries: u64,
    /// `bimetal_outcomes_total{outcome}`: success, failure, slow, neutral.
    pub outcomes: [u64; 4],
    /// Results that came too late to touch the breaker; they are in `outcomes` as well.
    pub late: u64,
    /// Calls that passed unprotected because the table of scopes was full.
    pub unprotected: u64,
    /// Calls that went upstream and were given up, because their caller's time was over.
    pub wasted: u64,
    /// `bimetal_retries_total{result}` by [`RetryResult::place`].
    pub retries: [u64; RetryResult::COUNT],
    /// `bimetal_retry_budget`: retries that are left, as [`Engine::measure`](crate::Engine::measure) saw
    /// them.
    pub retry_budget: u64,
    /// `bimetal_anomalies_total{signal}` in the order of [`Signal::ALL`].
    pub anomalies: [u64; Signal::COUNT],
    /// `bimetal_breaker_transitions_total` by [`TransitionKind`].
    pub transitions: [u64; TRANSITIONS.len()],
    /// `bimetal_breaker_replicas{state}`: breakers that are closed, half-open, open right now.
    pub states: [u32; 3],
}

/// A transition's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransitionKind {
    /// The state before.
    pub from: State,
    /// The state after.
    pub to: State,
    /// [`Cause::name`].
    pub cause: &'static str,
}

/// Every kind of transition, in the order of [`Counts::transitions`].
pub const TRANSITIONS: [TransitionKind; 15] = [
    kind(State::Closed, State::Open, "consecutive_failures"),
    kind(State::Closed, State::Open, "failure_rate"),
    kind(State::Closed, State::Open, "slow_rate"),
    kind(State::Open, State::HalfOpen, "open_elapsed"),
    kind(State::HalfOpen, State::Open, "probe_failed"),
    kind(State::HalfOpen, State::Open, "probe_slow"),
    kind(State::HalfOpen, State::Open, "probes_expired"),
    kind(State::HalfOpen, State::Closed, "probes_succeeded"),
    kind(State::HalfOpen, State::Open, "failure_rate"),
    kind(State::HalfOpen, State::Open, "slow_rate"),
    kind(State::Open, State::Closed, "open_elapsed"),
    kind(State::Closed, State::Open, "forced"),
    kind(State::HalfOpen, State::Open, "forced"),
    kind(State::Open, State::Closed, "reset"),
    kind(State::HalfOpen, State::Closed, "reset"),
];

const fn kind(from: State, to: State, cause: &'static str) -> TransitionKind {
    TransitionKind { from, to, cause }
}

fn bump<const N: usize>(counts: &mut [u64; N], index: usize) {
    if let Some(count) = counts.get_mut(index) {
        *count += 1;
    }
}

impl Counts {
    pub(crate) fn decided(&mut self, decided: Decided, shadow: bool) {
        let index = decided.place();
        if shadow {
            bump(&mut self.shadow, index);
            // What was applied is that it passed.
            bump(&mut self.decisions, Decided::Admitted.place());
        } else {
            bump(&mut self.decisions, index);
        }
    }

    /// A rule's decision is counted and not applied; what becomes of the call is counted by itself.
    pub(crate) fn not_applied(&mut self, rule: Rule) {
        bump(&mut self.shadow, Decided::Rejected(rule).place());
    }

    pub(crate) fn settled(&mut self, settled: Settled) {
        bump(&mut self.outcomes, settled.outcome as usize);
        if settled.late {
            self.late += 1;
        }
    }

    pub(crate) fn retried(&mut self, result: RetryResult) {
        if let Some(place) = result.place() {
            bump(&mut self.retries, place);
        }
    }

    pub(crate) fn anomaly(&mut self, signal: Signal) {
        bump(&mut self.anomalies, signal as usize);
    }

    pub(crate) fn tried(&mut self, outcome: Outcome) {
        bump(&mut self.outcomes, outcome as usize);
    }

    pub(crate) fn transition(&mut self, change: &Transition) {
        let index = match (change.cause, change.from, change.to) {
            (Cause::FailureRate { .. }, State::HalfOpen, _) => 8,
            (Cause::SlowRate { .. }, State::HalfOpen, _) => 9,
            (Cause::OpenElapsed, _, State::Closed) => 10,
            (Cause::Forced, State::HalfOpen, _) => 12,
            (Cause::Reset, State::HalfOpen, _) => 14,
            (Cause::ConsecutiveFailures { .. }, ..) => 0,
            (Cause::FailureRate { .. }, ..) => 1,
            (Cause::SlowRate { .. }, ..) => 2,
            (Cause::OpenElapsed, ..) => 3,
            (Cause::ProbeFailed, ..) => 4,
            (Cause::ProbeSlow, ..) => 5,
            (Cause::ProbesExpired, ..) => 6,
            (Cause::ProbesSucceeded, ..) => 7,
            (Cause::Forced, ..) => 11,
            (Cause::Reset, ..) => 13,
        };
        // Who made it counts it; all who followed it are in `states`.
        if !change.adopted {
            bump(&mut self.transitions, index);
        }
        self.left(change.from);
        self.entered(change.to);
    }

    pub(crate) fn entered(&mut self, state: State) {
        if let Some(count) = self.states.get_mut(state as usize) {
            *count += 1;
        }
    }

    pub(crate) fn left(&mut self, state: State) {
        if let Some(count) = self.states.get_mut(state as usize) {
            *count = count.saturating_sub(1);
        }
    }

    /// Outcomes in all: how many admitted calls were settled.
    pub fn settled_calls(&self) -> u64 {
        self.outcomes.iter().sum()
    }

    /// The count of one outcome.
    pub fn outcome(&self, outcome: Outcome) -> u64 {
        self.outcomes.get(outcome as usize).copied().unwrap_or(0)
    }
}

/// The table of counts: it outlives policies, so that counters never fall.
#[derive(Debug)]
pub struct SeriesTable {
    rows: Vec<Row>,
    index: HashTable<u32>,
    hasher: FixedState,
    /// Labels of each policy but [`SHARED_LABEL`].
    used: Vec<(Arc<str>, usize)>,
    share: usize,
}

#[derive(Debug)]
struct Row {
    policy: Arc<str>,
    scope: Arc<str>,
    counts: Counts,
}

impl Row {
    fn is(&self, policy: &str, label: &str) -> bool {
        *self.policy == *policy && *self.scope == *label
    }
}

impl SeriesTable {
    /// An empty table; `seed` fixes the order of its hash table, which is seen by nobody.
    pub(crate) const fn new(seed: u64) -> Self {
        Self {
            rows: Vec::new(),
            index: HashTable::new(),
            hasher: FixedState::with_seed(seed),
            used: Vec::new(),
            share: MAX_SERIES,
        }
    }

    /// From now on so many policies share the table. Rows that are there stay.
    pub(crate) fn share_between(&mut self, policies: usize) {
        self.share = (MAX_SERIES / policies.max(1)).max(MIN_SERIES);
    }

    /// The row of a label, made where there is none; the row of [`SHARED_LABEL`] once the policy's
    /// share is used up.
    pub(crate) fn open(&mut self, policy: &Arc<str>, label: &str) -> u32 {
        let hash = self.hash(policy, label);
        let rows = &self.rows;
        let same = |row: &u32| rows.get(*row as usize).is_some_and(|row| row.is(policy, label));
        if let Some(found) = self.index.find(hash, same) {
            return *found;
        }
        if label != SHARED_LABEL && !self.takes_one_more(policy) {
            return self.open(policy, SHARED_LABEL);
        }
        let row = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
        let (policy, scope) = (policy.clone(), label.into());
        self.rows.push(Row { policy, scope, counts: Counts::default() });
        let (rows, hasher) = (&self.rows, &self.hasher);
        let rehash = |row: &u32| {
            let row = rows.get(*row as usize);
            row.map_or(0, |row| hasher.hash_one((&*row.policy, &*row.scope)))
        };
        self.index.insert_unique(hash, row, rehash);
        row
    }

    fn hash(&self, policy: &str, label: &str) -> u64 {
        self.hasher.hash_one((policy, label))
    }

    /// Counts one more label of `policy` unless it has its share.
    fn takes_one_more(&mut self, policy: &Arc<str>) -> bool {
        let place = self.used.iter().position(|(name, _)| name == policy).unwrap_or_else(|| {
            self.used.push((policy.clone(), 0));
            self.used.len() - 1
        });
        match self.used.get_mut(place) {
            Some((_, used)) if *used < self.share => {
                *used += 1;
                true
            }
            _ => false,
        }
    }

    pub(crate) fn counts(&mut self, row: u32) -> Option<&mut Counts> {
        self.rows.get_mut(row as usize).map(|row| &mut row.counts)
    }

    pub(crate) fn all_counts(&mut self) -> impl Iterator<Item = &mut Counts> {
        self.rows.iter_mut().map(|row| &mut row.counts)
    }

    /// The same, to look at.
    pub(crate) fn labels(&self, row: u32) -> Option<(&str, &str)> {
        let row = self.rows.get(row as usize)?;
        Some((&row.policy, &row.scope))
    }

    /// Policy and scope label of a row.
    pub(crate) fn names(&self, row: u32) -> Option<(Arc<str>, Arc<str>)> {
        let row = self.rows.get(row as usize)?;
        Some((row.policy.clone(), row.scope.clone()))
    }

    /// Every row: policy, scope label, counts.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, &Counts)> {
        self.rows.iter().map(|row| (&*row.policy, &*row.scope, &row.counts))
    }
}
