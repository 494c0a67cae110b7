//! The probes of a half-open breaker that this replica sent, each with its lease.
//!
//! How many may be under way at once over all replicas is counted in the breaker's record.
//!
//! A lease bounds how long a probe may hold its slot. It is measured by the upstream's clock, which
//! stands while a call waits for its own client; but a client must not hold a slot by that. So a
//! probe whose clock stands gives its slot back after the lease on the ordinary clock.

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
    /// When it ends as things stand.
    due: Instant,
    /// The lease on the ordinary clock.
    ordinary: Instant,
    /// What is left on the upstream's clock; true only while that stands.
    left: Duration,
    clock_runs: bool,
}

const FREE: Lease = Lease {
    probe: Probe::NONE,
    due: Instant::FAR_FUTURE,
    ordinary: Instant::FAR_FUTURE,
    left: Duration::ZERO,
    clock_runs: true,
};

/// A lease that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// When it was due.
    pub at: Instant,
    /// Whether the upstream had its whole lease and gave no headers. Else the probe waited for its
    /// own client, which says nothing about the upstream.
    pub missed: bool,
}

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
            let due = now + lease;
            *slot = Lease { probe, due, ordinary: due, left: lease, clock_runs: true };
        }
        probe
    }

    /// The upstream's clock of `probe` runs or stands from now on.
    pub fn upstream_clock(&mut self, now: Instant, probe: Probe, runs: bool) {
        let slot = self.slots.iter_mut().find(|slot| slot.probe == probe && probe.is_waiting());
        let Some(slot) = slot.filter(|slot| slot.clock_runs != runs) else {
            return;
        };
        slot.clock_runs = runs;
        if runs {
            slot.due = now + slot.left;
        } else {
            slot.left = slot.due.since(now);
            slot.due = slot.ordinary.max(now);
        }
    }

    /// `probe` waits no longer. False where its lease had run out.
    pub fn remove(&mut self, probe: Probe) -> bool {
        let slot = self.slots.iter_mut().find(|slot| slot.probe == probe && probe.is_waiting());
        slot.map(|slot| *slot = FREE).is_some()
    }

    /// Removes the lease that ended first, if one did before `now`. A result at the very end of its
    /// lease is still in time.
    pub fn expire(&mut self, now: Instant) -> Option<Ended> {
        let waiting = self.slots.iter_mut().filter(|slot| slot.probe.is_waiting());
        let oldest = waiting.min_by_key(|slot| slot.due)?;
        if now <= oldest.due {
            return None;
        }
        let ended = Ended { at: oldest.due, missed: oldest.clock_runs };
        *oldest = FREE;
        Some(ended)
    }

    /// When the first lease will have run out.
    pub fn next_expiry(&self) -> Option<Instant> {
        let waiting = self.slots.iter().filter(|slot| slot.probe.is_waiting());
        waiting.map(|slot| slot.due + Duration::from_nanos(1)).min()
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

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(10);

    const fn at(secs: u64) -> Instant {
        Instant::from_millis(secs * 1000)
    }

    const fn ended(secs: u64, missed: bool) -> Option<Ended> {
        Some(Ended { at: at(secs), missed })
    }

    #[test]
    fn a_lease_is_missed_on_the_upstreams_clock_alone() {
        let mut leases = Leases::new(1);
        let probe = leases.add(at(0), LEASE);
        leases.upstream_clock(at(3), probe, false);
        leases.upstream_clock(at(8), probe, true);
        assert_eq!(leases.expire(at(15)), None);
        assert_eq!(leases.expire(at(16)), ended(15, true));
    }

    #[test]
    fn a_client_that_keeps_its_request_back_holds_the_slot_for_one_ordinary_lease() {
        let mut leases = Leases::new(1);
        let probe = leases.add(at(0), LEASE);
        leases.upstream_clock(at(0), probe, false);
        assert_eq!(leases.expire(at(10)), None);
        assert_eq!(leases.expire(at(11)), ended(10, false));
        assert!(!leases.remove(probe));
        // It cannot come back.
        leases.upstream_clock(at(12), probe, true);
        assert_eq!(leases.expire(at(99)), None);
    }

    #[test]
    fn standing_again_after_the_ordinary_lease_ends_it_at_once() {
        let mut leases = Leases::new(1);
        let probe = leases.add(at(0), LEASE);
        leases.upstream_clock(at(1), probe, false);
        leases.upstream_clock(at(9), probe, true);
        leases.upstream_clock(at(14), probe, false);
        assert_eq!(leases.expire(at(15)), ended(14, false));
    }
}
