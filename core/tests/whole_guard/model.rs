//! What rate limits and budgets of retries allow, said once more and as plainly as it goes.

use super::document::{Budget, Limit};
use bimetal_core::Instant;

/// Rounding of a rate to whole nanoseconds, over a history.
const SLACK: f64 = 1e-4;

/// A bucket of tokens that fills continuously.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    limit: Limit,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    pub(crate) fn full(limit: Limit, now: Instant) -> Self {
        Self { limit, tokens: limit.capacity as f64, at: now }
    }

    fn fill(&mut self, now: Instant) {
        let more = now.since(self.at).as_secs_f64() * self.limit.per_second as f64;
        self.tokens = (self.tokens + more).min(self.limit.capacity as f64);
        self.at = now;
    }

    /// Takes what an admitted call takes.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), String> {
        self.fill(now);
        if self.tokens < 1.0 - SLACK {
            return Err(format!("admitted above a rate limit: {self:?}"));
        }
        self.tokens -= 1.0;
        Ok(())
    }

    /// Whether a call may be turned away by it.
    pub(crate) fn is_empty(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.tokens < 1.0 + SLACK
    }
}

/// Calls and retries of one scope in one worker, by the second in which they were.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spent {
    calls: Vec<u64>,
    /// Retries that were paid and not given back.
    paid: Vec<u64>,
    /// Retries that were paid, whatever became of them.
    ever: Vec<u64>,
}

fn second(now: Instant) -> u64 {
    now.as_nanos() / 1_000_000_000
}

impl Spent {
    pub(crate) fn call(&mut self, now: Instant) {
        self.calls.push(second(now));
    }

    fn allowed(&self, budget: &Budget, now: Instant) -> f64 {
        let calls = lately(&self.calls, now) as f64;
        calls * budget.share + (budget.floor * 10) as f64
    }

    /// A retry was paid.
    pub(crate) fn pay(&mut self, budget: &Budget, now: Instant) -> Result<(), String> {
        self.paid.push(second(now));
        self.ever.push(second(now));
        let (paid, allowed) = (lately(&self.paid, now) as f64, self.allowed(budget, now));
        if paid > allowed + SLACK {
            return Err(format!("{paid} retries where {allowed} are allowed"));
        }
        Ok(())
    }

    /// A retry that was paid is not made.
    pub(crate) fn give_back(&mut self) {
        self.paid.pop();
    }

    /// Whether a retry may be turned away.
    pub(crate) fn is_empty(&self, budget: &Budget, now: Instant) -> bool {
        lately(&self.ever, now) as f64 + 1.0 > self.allowed(budget, now) - SLACK
    }
}

/// How many were in the last ten seconds.
fn lately(seconds: &[u64], now: Instant) -> usize {
    seconds.iter().filter(|at| *at + 10 > second(now)).count()
}
