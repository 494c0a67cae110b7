//! How many calls may be retried: a share of those of the last ten seconds, and a floor.
//!
//! The rule is Finagle's and linkerd's (`RetryBudget`): a share of traffic, so that retries cannot
//! multiply load, and a floor, so that a caller with little traffic can retry at all. What was not
//! used is void after ten seconds: an hour without a fault does not buy a storm.

use crate::limiter::Rate;
use crate::time::Instant;

/// A budget for retries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryBudgetPolicy {
    /// Retries for each call, from 0 to 1.
    pub share: f64,
    /// Retries that are allowed besides; none where there is no floor.
    pub floor: Option<Rate>,
}

/// The seconds that count.
const SECONDS: u64 = 10;

/// What was called and retried lately in one scope. A new one has seen nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetryBudget {
    seconds: [Second; SECONDS as usize],
    /// The second that is counted in.
    newest: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Second {
    calls: u32,
    retries: u32,
}

impl RetryBudget {
    /// Counts a call: its first try.
    pub fn call(&mut self, now: Instant) {
        if let Some(second) = self.second(now) {
            second.calls = second.calls.saturating_add(1);
        }
    }

    /// Takes a retry from the budget; false where nothing is left.
    pub fn take(&mut self, policy: &RetryBudgetPolicy, now: Instant) -> bool {
        let may = self.left(policy, now) >= 1.0;
        if may && let Some(second) = self.second(now) {
            second.retries = second.retries.saturating_add(1);
        }
        may
    }

    /// Gives back a retry that was taken and not made.
    pub fn give_back(&mut self, now: Instant) {
        if let Some(second) = self.second(now) {
            second.retries = second.retries.saturating_sub(1);
        }
    }

    /// Gives back a retry that was taken at `taken` and not made. One whose second is over is forgotten
    /// already.
    pub fn give_back_of(&mut self, taken: Instant, now: Instant) {
        self.second(now);
        let second = taken.as_nanos() / 1_000_000_000;
        if self.newest.saturating_sub(second) < SECONDS
            && let Some(second) = self.seconds.get_mut(place(second))
        {
            second.retries = second.retries.saturating_sub(1);
        }
    }

    /// How many retries are left.
    pub fn left(&mut self, policy: &RetryBudgetPolicy, now: Instant) -> f64 {
        self.second(now);
        let sum =
            |part: fn(&Second) -> u32| self.seconds.iter().map(part).map(f64::from).sum::<f64>();
        let (calls, retries) = (sum(|second| second.calls), sum(|second| second.retries));
        let floor = policy.floor.map_or(0.0, |rate| {
            let period = rate.period.as_secs_f64();
            if period > 0.0 { f64::from(rate.tokens) / period * SECONDS as f64 } else { 0.0 }
        });
        // A share such as 0.2 of 5 calls is one retry, whatever the last bit says.
        (calls * policy.share + floor - retries + 1e-9).max(0.0)
    }

    /// Whether nothing was called lately: a new one would be the same.
    pub fn is_idle(&mut self, now: Instant) -> bool {
        self.second(now);
        self.seconds.iter().all(|second| *second == Second::default())
    }

    /// The second of `now`; those that are over are forgotten. A clock that runs a little
    /// backwards counts in the newest second.
    fn second(&mut self, now: Instant) -> Option<&mut Second> {
        let present = now.as_nanos() / 1_000_000_000;
        if self.newest > present.saturating_add(1) {
            // A clock that jumped ahead and came back: what it counted is of a time that is not ours.
            *self = Self { newest: present, ..Self::default() };
        }
        let passed = present.saturating_sub(self.newest).min(SECONDS);
        for ahead in 1..=passed {
            if let Some(second) = self.seconds.get_mut(place(present - passed + ahead)) {
                *second = Second::default();
            }
        }
        self.newest = self.newest.max(present);
        self.seconds.get_mut(place(self.newest))
    }
}

const fn place(second: u64) -> usize {
    (second % SECONDS) as usize
}
