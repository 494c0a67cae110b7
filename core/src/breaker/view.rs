//! What a breaker shows: its changes of state, and its present looks.

use super::Breaker;
use super::record::Phase;
use super::{Cause, Held, State, Transition};
use crate::time::Instant;

/// What a breaker looks like at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    /// The state. Open lasts until a call comes, also past its time.
    pub state: State,
    /// Since when; for a replica, since when it knows.
    pub since: Instant,
    /// What changed it last; none while it never changed.
    pub cause: Option<Cause>,
    /// How often it changed, modulo 2^32.
    pub generation: u32,
    /// Level of the open time.
    pub level: u8,
    /// Calls in the windows: of `failure_rate`, else of `slow_rate`, else the streak of failures.
    pub calls: u32,
    /// Failures in the window of `failure_rate`, else the streak.
    pub failures: u32,
    /// Slow answers in the window of `slow_rate`.
    pub slow: u32,
    /// While open: when the next call will probe. None where an operator holds it.
    pub next_probe: Option<Instant>,
    /// Where an operator holds it.
    pub held: Option<Held>,
}

impl Breaker {
    /// What it looks like now.
    pub fn view(&self, now: Instant) -> View {
        let evidence = self.evidence.as_ref();
        let (failures, slow) = evidence.map_or((None, None), |windows| windows.tallies(now));
        let streak = match self.record.phase {
            Phase::Closed { streak } => streak,
            _ => 0,
        };
        let held = self.held();
        View {
            state: held.map_or(self.state(), Held::state),
            since: self.cold.as_ref().map_or(Instant::ZERO, |cold| cold.since),
            cause: (self.record.generation != 0).then_some(self.record.cause),
            generation: self.record.generation,
            level: self.record.level,
            calls: failures.or(slow).map_or(streak, |tally| tally.calls),
            failures: failures.map_or(streak, |tally| tally.bad),
            slow: slow.map_or(0, |tally| tally.bad),
            next_probe: match self.record.phase {
                Phase::Open { until } if held.is_none() => Some(until),
                _ => None,
            },
            held,
        }
    }
}

/// The last changes of state that nobody took yet. One verb makes three at most: it learns of one,
/// a lease that ran out makes one, and the call itself one.
#[derive(Clone, Debug, Default)]
pub(super) struct Journal([Option<Transition>; 3]);

impl Journal {
    #[cold]
    pub(super) fn add(&mut self, change: Transition) {
        if self.0.iter().all(Option::is_some) {
            self.0.rotate_left(1);
            if let Some(last) = self.0.last_mut() {
                *last = None;
            }
        }
        if let Some(free) = self.0.iter_mut().find(|entry| entry.is_none()) {
            *free = Some(change);
        }
    }

    #[inline]
    pub(super) fn take(&mut self) -> Option<Transition> {
        let [first, ..] = &mut self.0;
        let change = first.take()?;
        self.0.rotate_left(1);
        Some(change)
    }
}
