//! The probes of shared breakers, and their leases, counted once more.
//!
//! Not as the breaker counts them (by when they are due) but by what was used up.

use bimetal_core::{Duration, Instant};

/// A probe that was admitted.
#[derive(Debug)]
pub(crate) struct Probe {
    pub worker: usize,
    /// Which breaker of the board.
    pub breaker: usize,
    /// Modulo 2^16, as the board has it.
    pub generation: u32,
    pub slot: Slot,
    /// Whether nobody waits for its result any more.
    pub is_void: bool,
    lease: Duration,
    admitted: Instant,
    /// What the upstream's clock used up of the lease.
    ran: Duration,
    runs: bool,
    stands_since: Instant,
}

/// What is with its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    Held,
    /// By good headers or by a result.
    GivenBack,
    /// The lease is over; whether because the upstream had all of it.
    Over {
        missed: bool,
    },
    /// Its worker died, or its policy is no longer in force: the slot waits for others to free it.
    Orphaned,
}

impl Probe {
    pub(super) fn new(
        now: Instant,
        worker: usize,
        (breaker, generation): (usize, u32),
        lease: Duration,
    ) -> Self {
        Self {
            worker,
            breaker,
            generation,
            slot: Slot::Held,
            is_void: false,
            lease,
            admitted: now,
            ran: Duration::ZERO,
            runs: true,
            stands_since: now,
        }
    }

    pub(super) const fn is_of(&self, breaker: usize, generation: u32) -> bool {
        self.breaker == breaker && self.generation == generation
    }

    pub(super) fn is_held(&self) -> bool {
        self.slot == Slot::Held
    }

    /// The upstream's clock runs or stands from now on.
    pub(super) fn clock(&mut self, now: Instant, runs: bool) {
        if self.runs && !runs {
            self.stands_since = now;
        }
        self.runs = runs;
    }

    pub(super) fn give_back(&mut self) {
        if self.is_held() {
            self.slot = Slot::GivenBack;
        }
    }

    /// Nobody counts its lease any more.
    pub(super) fn orphan(&mut self) {
        self.is_void = true;
        if self.is_held() {
            self.slot = Slot::Orphaned;
        }
    }

    /// Time went on by `span`, to `now`.
    pub(super) fn time(&mut self, now: Instant, span: Duration) -> Result<(), String> {
        if !self.is_held() {
            return Ok(());
        }
        if self.runs {
            self.ran = self.ran + span;
        }
        let by_upstream = self.runs && self.ran > self.lease;
        let by_client = !self.runs && now > self.stands_since.max(self.admitted + self.lease);
        if by_upstream || by_client {
            self.slot = Slot::Over { missed: by_upstream };
            self.is_void = true;
        }
        let longest = self.lease + self.lease;
        if self.is_held() && now.since(self.admitted) > longest {
            return Err(format!("a slot is held for more than two leases: {self:?}"));
        }
        Ok(())
    }
}
