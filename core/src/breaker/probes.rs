//! Who may probe a half-open breaker: a few leased slots.

use crate::time::{Duration, Instant};
use alloc::boxed::Box;
use alloc::vec;

/// A probe's place, carried by its permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe(u32);

impl Probe {
    /// Not a probe: an ordinary call of a closed breaker.
    pub const NONE: Self = Self(0);
    /// A probe whose good headers arrived: it holds no slot any more.
    pub const ANSWERED: Self = Self(1);
    const FIRST: u32 = 2;

    /// Whether it waits for response headers.
    pub const fn is_waiting(self) -> bool {
        self.0 >= Self::FIRST
    }
}

/// The slots of one breaker.
#[derive(Clone, Debug)]
pub struct Probes {
    slots: Box<[Slot]>,
    /// Numbers are never used twice within a generation, so a probe that expired cannot be taken
    /// for the one that has its slot now.
    next: u32,
    missed: u32,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    probe: Probe,
    expires: Instant,
}

const FREE: Slot = Slot {
    probe: Probe::NONE,
    expires: Instant::FAR_FUTURE,
};

impl Probes {
    /// `most` free slots. The only place that allocates.
    pub fn new(most: u32) -> Self {
        let slots = vec![FREE; most.max(1) as usize].into_boxed_slice();
        Self {
            slots,
            next: Probe::FIRST,
            missed: 0,
        }
    }

    /// A free slot from `now` on for `lease`, if there is one.
    pub fn lease(&mut self, now: Instant, lease: Duration) -> Option<Probe> {
        let slot = self
            .slots
            .iter_mut()
            .find(|slot| slot.probe == Probe::NONE)?;
        let probe = Probe(self.next);
        self.next = self.next.wrapping_add(1).max(Probe::FIRST);
        *slot = Slot {
            probe,
            expires: now + lease,
        };
        Some(probe)
    }

    /// Good headers for `probe`: its slot is free. False where its lease had run out.
    pub fn answer(&mut self, probe: Probe) -> bool {
        let known = self.free(probe);
        if known {
            self.missed = 0;
        }
        known
    }

    /// `probe` is over. False where its lease had run out, or where it is no probe.
    pub fn finish(&mut self, probe: Probe) -> bool {
        probe == Probe::ANSWERED || self.free(probe)
    }

    /// Frees the slot whose lease ran out first, if one did before `now`; gives when. A result at
    /// the very end of its lease is still in time.
    pub fn expire(&mut self, now: Instant) -> Option<Instant> {
        let waiting = self.slots.iter_mut().filter(|slot| slot.probe.is_waiting());
        let oldest = waiting.min_by_key(|slot| slot.expires)?;
        let due = oldest.expires;
        if now <= due {
            return None;
        }
        *oldest = FREE;
        self.missed += 1;
        Some(due)
    }

    /// Leases that ran out since the last good headers.
    pub const fn missed_in_a_row(&self) -> u32 {
        self.missed
    }

    /// When the first lease will have run out.
    pub fn next_expiry(&self) -> Option<Instant> {
        let waiting = self.slots.iter().filter(|slot| slot.probe.is_waiting());
        waiting
            .map(|slot| slot.expires + Duration::from_nanos(1))
            .min()
    }

    /// Probes that wait for headers.
    pub fn outstanding(&self) -> u32 {
        let waiting = self
            .slots
            .iter()
            .filter(|slot| slot.probe.is_waiting())
            .count();
        u32::try_from(waiting).unwrap_or(u32::MAX)
    }

    /// Frees every slot, for a new generation.
    pub fn clear(&mut self) {
        self.slots.fill(FREE);
        self.missed = 0;
    }

    fn free(&mut self, probe: Probe) -> bool {
        let slot = self
            .slots
            .iter_mut()
            .find(|slot| slot.probe == probe && probe.is_waiting());
        slot.map(|slot| *slot = FREE).is_some()
    }
}
