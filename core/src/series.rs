//! Counts of what was decided and what became of it, per policy and scope label.
//!
//! The core counts, hosts publish: so a metric has one meaning in both hosts.

use crate::decision::Settled;
use crate::event::{Cause, Decided, State, Transition};
use crate::outcome::Outcome;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Most labels at once over all policies; what comes later is counted under `*`. Hosts never free
/// a metric, so a label that a client can choose must not make new ones without end.
pub const MAX_SERIES: usize = 4096;

/// The label for scopes that share their counts.
pub const SHARED_LABEL: &str = "*";

/// Counts of one policy and scope label since the engine began; they never fall but for `states`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// `bimetal_requests_total{decision}`: admitted, breaker.
    pub decisions: [u64; 2],
    /// `bimetal_shadow_total{decision}`: admitted, breaker.
    pub shadow: [u64; 2],
    /// `bimetal_outcomes_total{outcome}`: success, failure, slow, neutral.
    pub outcomes: [u64; 4],
    /// Results that came too late to touch the breaker; they are in `outcomes` as well.
    pub late: u64,
    /// Calls that passed unprotected because the table of scopes was full.
    pub unprotected: u64,
    /// `bimetal_breaker_transitions_total` by [`TransitionKind`].
    pub transitions: [u64; 8],
    /// `bimetal_breaker_replicas{state}`: breakers that are closed, half-open, open right now.
    pub states: [u32; 3],
}

/// A transition's kind: its cause says where it leads from and to, so one number names all three.
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
pub const TRANSITIONS: [TransitionKind; 8] = [
    kind(State::Closed, State::Open, "consecutive_failures"),
    kind(State::Closed, State::Open, "failure_rate"),
    kind(State::Closed, State::Open, "slow_rate"),
    kind(State::Open, State::HalfOpen, "open_elapsed"),
    kind(State::HalfOpen, State::Open, "probe_failed"),
    kind(State::HalfOpen, State::Open, "probe_slow"),
    kind(State::HalfOpen, State::Open, "probes_expired"),
    kind(State::HalfOpen, State::Closed, "probes_succeeded"),
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
        let index = decided as usize;
        if shadow {
            bump(&mut self.shadow, index);
            // What was applied is that it passed.
            bump(&mut self.decisions, Decided::Admitted as usize);
        } else {
            bump(&mut self.decisions, index);
        }
    }

    pub(crate) fn settled(&mut self, settled: Settled) {
        bump(&mut self.outcomes, settled.outcome as usize);
        if settled.late {
            self.late += 1;
        }
    }

    pub(crate) fn transition(&mut self, change: &Transition) {
        let index = match change.cause {
            Cause::ConsecutiveFailures { .. } => 0,
            Cause::FailureRate { .. } => 1,
            Cause::SlowRate { .. } => 2,
            Cause::OpenElapsed => 3,
            Cause::ProbeFailed => 4,
            Cause::ProbeSlow => 5,
            Cause::ProbesExpired => 6,
            Cause::ProbesSucceeded => 7,
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
#[derive(Debug, Default)]
pub struct SeriesTable {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    policy: Arc<str>,
    scope: Arc<str>,
    counts: Counts,
}

impl SeriesTable {
    /// The row of a label, made where there is none; the row of [`SHARED_LABEL`] once the table is
    /// full.
    pub(crate) fn open(&mut self, policy: &Arc<str>, label: &str) -> u32 {
        // A scan: it runs when a scope is made, not when a call is decided.
        let same = |row: &Row| row.policy == *policy && &*row.scope == label;
        let found = self.rows.iter().position(same);
        if found.is_none() && self.rows.len() >= MAX_SERIES && label != SHARED_LABEL {
            return self.open(policy, SHARED_LABEL);
        }
        let index = found.unwrap_or(self.rows.len());
        if found.is_none() {
            let (policy, scope) = (policy.clone(), label.into());
            self.rows.push(Row { policy, scope, counts: Counts::default() });
        }
        u32::try_from(index).unwrap_or(u32::MAX)
    }

    pub(crate) fn counts(&mut self, row: u32) -> Option<&mut Counts> {
        self.rows.get_mut(row as usize).map(|row| &mut row.counts)
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
