//! Whether a try that failed is made again, and when.
//!
//! Retries are what turns a fault into an outage: each hop that tries three times makes nine calls
//! of three, and 27 over three hops. So three things bound them: a number of tries, a *budget* that
//! allows a share of the calls to be retried and no more, and a mark on the answer of a hop that gave
//! up, behind which nobody tries again.
//!
//! What is tried again is decided here and in this order, and a refusal says why: what went wrong,
//! whether the request may be sent twice, the tries, the mark, the time that is left, the budget.

pub mod backoff;
pub mod budget;

use crate::outcome::{AnswerSet, Transport};
use crate::rng::Rng;
use crate::time::{Duration, Instant};
use backoff::Backoff;
use budget::{RetryBudget, RetryBudgetPolicy};

/// When a try is made again.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Tries of one call in all, the first included; at least 1.
    pub tries: u32,
    /// What is tried again.
    pub on: AnswerSet,
    /// Which requests may be sent twice.
    pub methods: RetriedMethods,
    /// How long to wait.
    pub backoff: Backoff,
    /// How many calls may be retried; any number where there is none.
    pub budget: Option<RetryBudgetPolicy>,
    /// Whether an upstream's `retry-after` is waited for.
    pub respects_retry_after: bool,
}

/// Which requests may be sent twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RetriedMethods {
    /// GET, HEAD, OPTIONS, TRACE, PUT and DELETE (RFC 9110, 9.2.2).
    Idempotent,
    /// Those, and any request with an `Idempotency-Key`.
    IdempotentOrKeyed,
    /// Every request.
    All,
}

/// What is known of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryAsk<'a> {
    /// Its method, as it was sent.
    pub method: &'a str,
    /// Whether it has an `Idempotency-Key`.
    pub has_key: bool,
    /// Whether all of its body is still at hand.
    pub can_be_sent_again: bool,
}

/// How a try failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailedTry {
    /// What went wrong.
    pub how: TryFailure,
    /// The upstream's `retry-after`.
    pub retry_after: Option<Duration>,
    /// Whether a hop behind us has given up already.
    pub is_exhausted: bool,
}

/// What went wrong with a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryFailure {
    /// The upstream answered.
    Answer {
        /// HTTP status.
        status: u16,
        /// gRPC status, where the answer is gRPC and it is known.
        grpc: Option<u32>,
    },
    /// It did not answer.
    Broken(Transport),
    /// Not one byte of the request left: it can do no harm to send it, whatever its method.
    NotSent(Transport),
}

/// Why there is no other try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NoRetry {
    /// The policy does not name what went wrong.
    NotListed,
    /// The request may not be sent twice.
    NotIdempotent,
    /// Its body is gone: it was longer than what is kept.
    BodyGone,
    /// All tries are used.
    Tries,
    /// A hop behind us has given up.
    ExhaustedBehind,
    /// The deadline leaves no room.
    Deadline,
    /// The budget is empty.
    Budget,
}

impl NoRetry {
    /// The name in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotListed => "not_listed",
            Self::NotIdempotent => "not_idempotent",
            Self::BodyGone => "body_gone",
            Self::Tries => "tries",
            Self::ExhaustedBehind => "exhausted_behind",
            Self::Deadline => "deadline",
            Self::Budget => "budget",
        }
    }

    /// Whether the answer gets the mark behind which nobody tries again: this hop would have tried,
    /// and gave up.
    pub const fn gives_up(self) -> bool {
        matches!(self, Self::Tries | Self::ExhaustedBehind | Self::Budget)
    }
}

/// The tries of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tries {
    /// Tries that failed.
    failed: u32,
    /// The wait before the one under way.
    waited: Duration,
}

impl Tries {
    /// The number of the try under way, from 1.
    pub const fn number(&self) -> u32 {
        self.failed + 1
    }

    /// Whether the try under way has failed for good; else how long to wait before the next one,
    /// which is paid from `budget` then.
    ///
    /// # Errors
    /// Why there is no next one.
    pub fn next(
        &mut self,
        policy: &RetryPolicy,
        budget: &mut RetryBudget,
        rng: &mut Rng,
        case: RetryCase<'_>,
    ) -> Result<Duration, NoRetry> {
        let RetryCase { now, ask, failed, left } = case;
        policy.may_retry(ask, failed)?;
        if self.number() >= policy.tries {
            return Err(NoRetry::Tries);
        }
        if failed.is_exhausted {
            return Err(NoRetry::ExhaustedBehind);
        }
        let planned = policy.backoff.wait(self.number(), self.waited, rng);
        let asked = failed.retry_after.filter(|_| policy.respects_retry_after);
        let wait = planned.max(asked.unwrap_or(Duration::ZERO));
        // A wait that eats all the time would only be followed by a try without any.
        if left.is_some_and(|left| wait >= left) {
            return Err(NoRetry::Deadline);
        }
        if policy.budget.as_ref().is_some_and(|policy| !budget.take(policy, now)) {
            return Err(NoRetry::Budget);
        }
        *self = Self { failed: self.failed + 1, waited: planned };
        Ok(wait)
    }
}

/// What is to be decided on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryCase<'a> {
    /// The time.
    pub now: Instant,
    /// The request.
    pub ask: RetryAsk<'a>,
    /// How its last try failed.
    pub failed: FailedTry,
    /// The time that the call has left, where there is a limit.
    pub left: Option<Duration>,
}

impl RetryPolicy {
    fn may_retry(&self, ask: RetryAsk<'_>, failed: FailedTry) -> Result<(), NoRetry> {
        let (is_listed, was_sent) = match failed.how {
            TryFailure::Answer { status, grpc } => (self.on.has_answer(status, grpc), true),
            TryFailure::Broken(how) => (self.on.transport.contains(&how), true),
            TryFailure::NotSent(how) => (self.on.transport.contains(&how), false),
        };
        if !is_listed {
            return Err(NoRetry::NotListed);
        }
        if was_sent && !self.methods.may_be_sent_twice(ask) {
            return Err(NoRetry::NotIdempotent);
        }
        if ask.can_be_sent_again { Ok(()) } else { Err(NoRetry::BodyGone) }
    }
}

impl RetriedMethods {
    fn may_be_sent_twice(self, ask: RetryAsk<'_>) -> bool {
        let is_idempotent =
            ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"].contains(&ask.method);
        match self {
            Self::Idempotent => is_idempotent,
            Self::IdempotentOrKeyed => is_idempotent || ask.has_key,
            Self::All => true,
        }
    }
}

#[cfg(test)]
mod tests;
