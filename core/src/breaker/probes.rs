//! The probes of a half-open breaker that this replica sent, each with its lease.
//!
//! How many may be under way at once over all replicas is counted in the breaker's record.

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

/// Leases of probes that wait for response headers.
#[derive(Clone, Debug)]
pub struct Leases {
    slots: Box<[Lease]>,
    /// Numbers are never used twice within a generation, so a probe that expired cannot be taken
    /// for the one that has its slot now.
    next: u32,
}

#[derive(Clone, Copy, Debug)]
struct Lease {
    probe: Probe,
    expires: Instant,
}

const FREE: Lease = Lease { probe: Probe::NONE, expires: Instant::FAR_FUTURE };

impl Leases {
    /// Room for `most` leases. The only time it allocates.
    pub fn new(most: u32) -> Self {
        let slots = vec![FREE; most.max(1) as usize].into_boxed_slice();
        Self { slots, next: Probe::FIRST }
    }

    /// A probe that begins now and may wait for `lease`. There is room, since the record admits no
    /// more than `most` at once.
    pub fn add(&mut self, now: Instant, lease: Duration) -> Probe {
        let probe = Probe(self.next);
        self.next = self.next.wrapping_add(1).max(Probe::FIRST);
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.probe == Probe::NONE) {
            *slot = Lease { probe, expires: now + lease };
        }
        probe
    }

    /// `probe` waits no longer. False where its lease had run out.
    pub fn remove(&mut self, probe: Probe) -> bool {
        let slot = self.slots.iter_mut().find(|slot| slot.probe == probe && probe.is_waiting());
        slot.map(|slot| *slot = FREE).is_some()
    }

    /// Removes the lease that ran out first, if one did before `now`; gives when. A result at the
    /// very end of its lease is still in time.
    pub fn expire(&mut self, now: Instant) -> Option<Instant> {
        let waiting = self.slots.iter_mut().filter(|slot| slot.probe.is_waiting());
        let oldest = waiting.min_by_key(|slot| slot.expires)?;
        let due = oldest.expires;
        if now <= due {
            return None;
        }
        *oldest = FREE;
        Some(due)
    }

    /// When the first lease will have run out.
    pub fn next_expiry(&self) -> Option<Instant> {
        let waiting = self.slots.iter().filter(|slot| slot.probe.is_waiting());
        waiting.map(|slot| slot.expires + Duration::from_nanos(1)).min()
    }

    /// How many wait.
    pub fn count(&self) -> u32 {
        let waiting = self.slots.iter().filter(|slot| slot.probe.is_waiting()).count();
        u32::try_from(waiting).unwrap_or(u32::MAX)
    }

    /// Forgets all, for a new generation.
    pub fn clear(&mut self) {
        self.slots.fill(FREE);
    }
}
