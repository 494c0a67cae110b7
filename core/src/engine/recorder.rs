//! What an engine records: counts, events, sums.

use crate::anomaly::Anomaly;
use crate::decision::{Rule, Settled};
use crate::event::{Decided, Event, EventKind, Transition};
use crate::outcome::Outcome;
use crate::retry::RetryResult;
use crate::series::{Counts, SHARED_LABEL, SeriesTable};
use crate::time::{Duration, Instant};
use alloc::collections::VecDeque;
use alloc::sync::Arc;

/// Most events that wait to be taken; more are counted as lost.
pub const MAX_EVENTS: usize = 64;

/// Which events are kept for the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tracing {
    /// Changes of state and anomalies alone.
    #[default]
    Transitions,
    /// A decision and a settlement for each call as well.
    All,
}

/// Sums over everything since the engine began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Tickets given out.
    pub issued: u64,
    /// Tickets settled; `issued - settled` are outstanding.
    pub settled: u64,
    /// Events that nobody took in time.
    pub events_lost: u64,
    /// Scopes in all tables right now.
    pub scopes: u64,
    /// Keys in the tables of all rate limits right now.
    pub limit_keys: u64,
}

/// Counts what happens in an engine, and keeps its events until the host takes them.
#[derive(Debug)]
pub(super) struct Recorder {
    series: SeriesTable,
    events: VecDeque<Event>,
    tracing: Tracing,
    totals: Totals,
}

impl Recorder {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            series: SeriesTable::new(seed),
            events: VecDeque::with_capacity(MAX_EVENTS),
            tracing: Tracing::default(),
            totals: Totals::default(),
        }
    }

    pub(super) fn set_tracing(&mut self, tracing: Tracing) {
        self.tracing = tracing;
    }

    pub(super) fn series(&mut self) -> &mut SeriesTable {
        &mut self.series
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = (&str, &str, &Counts)> {
        self.series.iter()
    }

    /// Policy and scope label of a row.
    pub(super) fn labels(&self, row: u32) -> Option<(&str, &str)> {
        self.series.labels(row)
    }

    pub(super) const fn totals(&self) -> Totals {
        self.totals
    }

    #[inline]
    pub(super) fn take_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub(super) fn unprotected(&mut self, policy: &Arc<str>) {
        let row = self.series.open(policy, SHARED_LABEL);
        if let Some(counts) = self.series.counts(row) {
            counts.unprotected += 1;
        }
    }

    pub(super) fn decided(
        &mut self,
        at: Instant,
        row: u32,
        call: u32,
        decided: Decided,
        shadow: bool,
        waited: Duration,
    ) {
        self.totals.issued += u64::from(decided == Decided::Admitted);
        if let Some(counts) = self.series.counts(row) {
            counts.decided(decided, shadow);
        }
        if self.tracing == Tracing::All {
            let call = call.into();
            self.keep(at, row, None, EventKind::Decision { call, decided, shadow, waited });
        }
    }

    pub(super) fn wasted(&mut self, row: u32) {
        if let Some(counts) = self.series.counts(row) {
            counts.wasted += 1;
        }
    }

    /// A failed try was made again, or was not, or that helped.
    pub(super) fn retried(&mut self, row: u32, result: RetryResult) {
        if let Some(counts) = self.series.counts(row) {
            counts.retried(result);
        }
    }

    /// A call would have been tried again, by a policy in shadow mode.
    pub(super) fn would_retry(&mut self, row: u32) {
        if let Some(counts) = self.series.counts(row) {
            counts.shadow_retries += 1;
        }
    }

    /// A try counts by itself.
    pub(super) fn tried(&mut self, at: Instant, row: u32, call: u32, outcome: Outcome) {
        if let Some(counts) = self.series.counts(row) {
            counts.tried(outcome);
        }
        if self.tracing == Tracing::All {
            self.keep(at, row, None, EventKind::Tried { call: call.into(), outcome });
        }
    }

    /// Before budgets are looked at anew.
    pub(super) fn forget_budgets(&mut self) {
        self.series.all_counts().for_each(|counts| counts.retry_budget = 0);
    }

    /// A scope has so many retries left.
    pub(super) fn has_budget(&mut self, row: u32, left: u64) {
        if let Some(counts) = self.series.counts(row) {
            counts.retry_budget += left;
        }
    }

    /// A sample of a row's calls is unlike those before it.
    pub(super) fn anomaly(&mut self, at: Instant, row: u32, anomaly: Anomaly) {
        if let Some(counts) = self.series.counts(row) {
            counts.anomaly(anomaly.signal);
        }
        self.keep(at, row, None, EventKind::Anomaly(anomaly));
    }

    /// A call goes on although a rule would have turned it away.
    pub(super) fn not_applied(&mut self, row: u32, rule: Rule) {
        if let Some(counts) = self.series.counts(row) {
            counts.not_applied(rule);
        }
    }

    /// A call is over; `is_told`: its last try was counted by itself.
    pub(super) fn settled(
        &mut self,
        at: Instant,
        row: u32,
        (call, is_told): (u32, bool),
        settled: Settled,
    ) {
        self.totals.settled += 1;
        if let Some(counts) = self.series.counts(row).filter(|_| !is_told) {
            counts.settled(settled);
        }
        if self.tracing == Tracing::All {
            let Settled { outcome, late } = settled;
            self.keep(at, row, None, EventKind::Settled { call: call.into(), outcome, late });
        }
    }

    pub(super) fn transition(&mut self, row: u32, key: Arc<[u8]>, change: Transition) {
        if let Some(counts) = self.series.counts(row) {
            counts.transition(&change);
        }
        self.keep(change.at, row, Some(key), EventKind::Transition(change));
    }

    #[cold]
    fn keep(&mut self, at: Instant, row: u32, key: Option<Arc<[u8]>>, kind: EventKind) {
        match self.series.names(row) {
            Some((policy, scope)) if self.events.len() < MAX_EVENTS => {
                self.events.push_back(Event { policy, scope, key, at, kind });
            }
            _ => self.totals.events_lost += 1,
        }
    }
}
