//! How a breaker's record changes: by this replica's decision, or by another's, which it adopts.
//!
//! [`Breaker::change`] writes what this replica decided, [`Breaker::follow`] what it takes over from
//! replicas in other processes, both by [`Breaker::replace`]. [`Breaker::adopt`] reads what another
//! replica on the board wrote. Whichever it was, a new generation begins in [`Breaker::enter`].

use super::cold::Cold;
use super::open_time;
use super::ramp::Ramp;
use super::record::{self, Phase, Record};
use super::{Breaker, Cause, State, Transition};
use crate::policy::Share;
use crate::time::{Duration, Instant};

impl Breaker {
    #[cold]
    pub(super) fn open(
        &mut self,
        at: Instant,
        cause: Cause,
        retry_after: Option<Duration>,
    ) -> bool {
        let open = &self.policy.open;
        let retry_after = retry_after.filter(|_| self.policy.respect_retry_after);
        let span = open_time::draw(open, self.record.level, &mut self.rng, retry_after);
        let mut next = self.record.entering(Phase::Open { until: at + span }, cause);
        next.level = (next.level + 1).min(record::MAX_LEVEL);
        self.change(at, next)
    }

    /// A success while closed above level 0.
    #[cold]
    pub(super) fn recover(&mut self, now: Instant) {
        let level = self.record.level;
        let cold = self.cold.get_or_insert_default();
        if cold.recovery.success(&self.policy, level, now) {
            self.change(now, Record { level: level - 1, ..self.record });
        }
    }

    /// Looks whether another replica changed something.
    #[inline]
    pub(super) fn look(&mut self, now: Instant) {
        if let Some(word) = self.store.unseen() {
            self.adopt(now, word);
        }
    }

    // Out of the way: a comparison is all that an ordinary call should pay.
    #[cold]
    pub(super) fn adopt(&mut self, now: Instant, word: u64) {
        let record = self.store.see(word, &self.record, &self.policy.trip);
        self.take_over(now, self.bounded(now, record), true);
    }

    /// The record, open no longer than this policy can open: the clock of whoever wrote it may have been far
    /// ahead, as a clock that is set can be.
    fn bounded(&self, now: Instant, record: Record) -> Record {
        match record.phase {
            Phase::Open { until } if until.since(now) > self.policy.open.longest() => {
                Record { phase: Phase::Open { until: now + self.policy.open.max }, ..record }
            }
            _ => record,
        }
    }

    /// Changes the record by a decision of this replica. False where another was faster: then nothing
    /// changed but what this replica knows.
    #[inline(never)]
    pub(super) fn change(&mut self, at: Instant, next: Record) -> bool {
        self.replace(at, next, false)
    }

    /// The same by the decision of replicas in other processes.
    pub(super) fn follow(&mut self, at: Instant, next: Record) -> bool {
        self.replace(at, next, true)
    }

    /// The one place where the record is written.
    fn replace(&mut self, at: Instant, next: Record, adopted: bool) -> bool {
        match self.store.replace(&next, &self.record, &self.policy.trip) {
            Ok(()) => {
                self.take_over(at, next, adopted);
                true
            }
            Err(record) => {
                self.take_over(at, self.bounded(at, record), true);
                false
            }
        }
    }

    #[inline]
    fn take_over(&mut self, at: Instant, next: Record, adopted: bool) {
        let before = core::mem::replace(&mut self.record, next);
        self.absorbs_success = false;
        if let Some(cold) = &mut self.cold {
            cold.moved = at;
        }
        if before.generation != next.generation {
            self.enter(at, before.state(), adopted);
        }
    }

    /// A new generation: what was counted in the one before is void.
    #[cold]
    fn enter(&mut self, at: Instant, from: State, adopted: bool) {
        let Record { phase, generation, level, cause } = self.record;
        if let Some(evidence) = &mut self.evidence {
            evidence.clear(generation);
        }
        let (to, length) = (self.state(), self.policy.ramp);
        let ramps = to == State::Closed && !length.is_zero();
        self.has_news = true;
        let ramp = ramps.then(|| Ramp::new(at));
        let cold = self.cold();
        let is_held = cold.held.is_some();
        cold.since = at;
        cold.moved = at;
        cold.leases.clear();
        cold.recovery.restart(at);
        cold.ramp = ramp;
        let open_for = match phase {
            Phase::Open { until } => until.since(at),
            _ => Duration::ZERO,
        };
        let change = Transition { at, from, to, cause, generation, level, open_for, adopted };
        cold.journal.add(change);
        self.is_disturbed = ramps || is_held;
        if matches!(self.policy.share, Share::Mesh { .. }) {
            self.mesh_entered(at, from);
        }
    }

    /// The same for what stands in the record already. It is not written: the clock may as well be behind
    /// for a moment, and each of the others goes by its own.
    pub(super) fn bound_open_time(&mut self, now: Instant) {
        self.record = self.bounded(now, self.record);
    }

    pub(super) fn cold(&mut self) -> &mut Cold {
        self.cold.get_or_insert_default()
    }
}
