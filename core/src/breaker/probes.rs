//! The probes of a half-open breaker that this replica sent, each with its lease.
//!
//! How many may be under way at once over all replicas is counted in the breaker's record.
//!
//! A lease bounds how long a probe may hold its slot. It is measured by the upstream's clock, which
//! stands while a call waits for its own client; but a client must not hold a slot by that. So a
//! probe whose clock stands gives its slot back after the lease on the ordinary clock.

use crate::time::{Duration, Instant};
use alloc::vec::Vec;

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

/// Leases of probes that wait for response headers. There is one for each, and the record admits no more
/// than the policy wants at once.
#[derive(Clone, Debug)]
pub struct Leases {
    waiting: Vec<Lease>,
    /// Numbers are never used twice within a generation, so a probe that expired cannot be taken
    /// for another.
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

impl Default for Leases {
    fn default() -> Self {
        Self { waiting: Vec::new(), next: Probe::FIRST }
    }
}

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
    /// A probe that begins now and may wait for `lease`.
    pub fn add(&mut self, now: Instant, lease: Duration) -> Probe {
        let probe = Probe(self.next);
        self.next = self.next.wrapping_add(1).max(Probe::FIRST);
        let due = now + lease;
        self.waiting.push(Lease { probe, due, ordinary: due, left: lease, clock_runs: true });
        probe
    }

    fn place(&self, probe: Probe) -> Option<usize> {
        self.waiting.iter().position(|lease| lease.probe == probe)
    }

    /// The upstream's clock of `probe` runs or stands from now on.
    pub fn upstream_clock(&mut self, now: Instant, probe: Probe, runs: bool) {
        let lease = self.place(probe).and_then(|place| self.waiting.get_mut(place));
        let Some(lease) = lease.filter(|lease| lease.clock_runs != runs) else {
            return;
        };
        lease.clock_runs = runs;
        if runs {
            lease.due = now + lease.left;
        } else {
            lease.left = lease.due.since(now);
            lease.due = lease.ordinary.max(now);
        }
    }

    /// `probe` waits no longer. False where its lease had run out.
    pub fn remove(&mut self, probe: Probe) -> bool {
        self.place(probe).map(|place| self.waiting.swap_remove(place)).is_some()
    }

    /// Removes the lease that ended first, if one did before `now`. A result at the very end of its
    /// lease is still in time.
    pub fn expire(&mut self, now: Instant) -> Option<Ended> {
        let by_end = |(place, lease): &(usize, &Lease)| (lease.due, lease.probe.0, *place);
        let (place, oldest) = self.waiting.iter().enumerate().min_by_key(by_end)?;
        if now <= oldest.due {
            return None;
        }
        let ended = Ended { at: oldest.due, missed: oldest.clock_runs };
        self.waiting.swap_remove(place);
        Some(ended)
    }

    /// When the first lease will have run out.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.waiting.iter().map(|lease| lease.due + Duration::from_nanos(1)).min()
    }

    /// How many wait.
    pub fn count(&self) -> u32 {
        u32::try_from(self.waiting.len()).unwrap_or(u32::MAX)
    }

    /// Forgets all, for a new generation.
    pub fn clear(&mut self) {
        self.waiting.clear();
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
        let mut leases = Leases::default();
        let probe = leases.add(at(0), LEASE);
        leases.upstream_clock(at(3), probe, false);
        leases.upstream_clock(at(8), probe, true);
        assert_eq!(leases.expire(at(15)), None);
        assert_eq!(leases.expire(at(16)), ended(15, true));
    }

    #[test]
    fn a_client_that_keeps_its_request_back_holds_the_slot_for_one_ordinary_lease() {
        let mut leases = Leases::default();
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
        let mut leases = Leases::default();
        let probe = leases.add(at(0), LEASE);
        leases.upstream_clock(at(1), probe, false);
        leases.upstream_clock(at(9), probe, true);
        leases.upstream_clock(at(14), probe, false);
        assert_eq!(leases.expire(at(15)), ended(14, false));
    }
}
