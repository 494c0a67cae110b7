//! Whether a try that failed is made again, and when.
//!
//! Retries are what turns a fault into an outage: each hop that tries three times makes nine calls
//! of three, and 27 over three hops. So three things bound them: a number of tries, a *budget* that
//! allows a share of the calls to be retried and no more, and a mark on the answer of a hop that gave
//! up, behind which nobody tries again.
//!
//! What is tried again is decided here and in this order, and a refusal says why: what went wrong,
//! whether the request may be sent twice, the tries, the mark, the time that is left, the breaker, the
//! budget. The budget comes last, so that nothing is paid for a try that is not made.

pub mod backoff;
pub mod budget;
mod reserved;

use crate::outcome::{AnswerSet, Transport};
use crate::rng::Rng;
use crate::time::{Duration, Instant};
use alloc::boxed::Box;
use alloc::vec::Vec;
use backoff::Backoff;
use budget::{RetryBudget, RetryBudgetPolicy};
pub use reserved::ReservedRetries;

/// When a try is made again.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Tries of one call in all, the first included; at least 1.
    pub tries: u32,
    /// What is tried again.
    pub on: AnswerSet,
    /// Whether a stream that an upstream refused unseen (HTTP/2) is tried again. No HTTP/1 upstream
    /// can refuse one.
    pub on_refused_streams: bool,
    /// Which requests may be sent twice.
    pub methods: RetriedMethods,
    /// How long to wait.
    pub backoff: Backoff,
    /// How many calls may be retried; any number where there is none.
    pub budget: Option<RetryBudgetPolicy>,
    /// Whether an upstream's `retry-after` is waited for.
    pub respects_retry_after: bool,
    /// Most bytes of a body that are kept to be sent again.
    pub buffer: u64,
}

/// Which requests may be sent twice. None by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetriedMethods {
    /// Every request.
    pub every: bool,
    /// Any request with an `Idempotency-Key`.
    pub keyed: bool,
    /// Those of these methods.
    pub listed: Vec<Box<str>>,
}

/// The methods that do no more when they are sent twice (RFC 9110, 9.2.2).
pub const IDEMPOTENT: [&str; 6] = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"];

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
    /// The upstream asks for more patience than the policy has.
    RetryAfter,
    /// The breaker would refuse it, or the call is a probe: that has one try.
    Breaker,
    /// The budget is empty.
    Budget,
}

impl NoRetry {
    /// Every one, in the order in which they are found.
    pub const ALL: [Self; 9] = [
        Self::NotListed,
        Self::NotIdempotent,
        Self::BodyGone,
        Self::Tries,
        Self::ExhaustedBehind,
        Self::Deadline,
        Self::RetryAfter,
        Self::Breaker,
        Self::Budget,
    ];

    /// The name in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotListed => "not_listed",
            Self::NotIdempotent => "not_idempotent",
            Self::BodyGone => "body_gone",
            Self::Tries => "tries",
            Self::ExhaustedBehind => "exhausted_behind",
            Self::Deadline => "deadline",
            Self::RetryAfter => "retry_after",
            Self::Breaker => "breaker",
            Self::Budget => "budget",
        }
    }

    /// Whether the answer gets the mark behind which nobody tries again: this hop would have tried,
    /// and gave up.
    pub const fn gives_up(self) -> bool {
        matches!(self, Self::Tries | Self::ExhaustedBehind | Self::Budget)
    }
}

/// What became of a try that failed, for counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryResult {
    /// It was made again.
    Made,
    /// A try beyond the first was answered by what is not tried again.
    Helped,
    /// It was not made again.
    NotMade(NoRetry),
}

impl RetryResult {
    /// How many there are.
    pub const COUNT: usize = NoRetry::ALL.len() + 1;

    /// Every one, each in its [place](Self::place). What no policy lists is nobody's try.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Made,
        Self::Helped,
        Self::NotMade(NoRetry::NotIdempotent),
        Self::NotMade(NoRetry::BodyGone),
        Self::NotMade(NoRetry::Tries),
        Self::NotMade(NoRetry::ExhaustedBehind),
        Self::NotMade(NoRetry::Deadline),
        Self::NotMade(NoRetry::RetryAfter),
        Self::NotMade(NoRetry::Breaker),
        Self::NotMade(NoRetry::Budget),
    ];

    /// Its place among all: that of its count.
    pub fn place(self) -> Option<usize> {
        Self::ALL.iter().position(|result| *result == self)
    }

    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Made => "made",
            Self::Helped => "helped",
            Self::NotMade(why) => why.name(),
        }
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

    /// Whether the try under way has failed for good; else how long to wait before the next one. The
    /// breaker and the budget are still to be asked.
    ///
    /// # Errors
    /// Why there is no next one.
    pub fn plan(
        &mut self,
        policy: &RetryPolicy,
        rng: &mut Rng,
        case: &RetryCase<'_>,
    ) -> Result<Duration, NoRetry> {
        let RetryCase { ask, failed, left, .. } = *case;
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
        // Whoever is asked to come back in an hour tells that to its own caller.
        if asked.is_some_and(|asked| asked > policy.backoff.max) {
            return Err(NoRetry::RetryAfter);
        }
        self.waited = planned;
        Ok(wait)
    }

    /// The next try begins.
    pub const fn begin_next(&mut self) {
        self.failed += 1;
    }

    /// The same with a budget, and no breaker: the wait before the next try, which is paid from `budget`
    /// and counts as begun.
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
        let wait = self.plan(policy, rng, &case)?;
        policy.pay(budget, case.now)?;
        self.begin_next();
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
    /// Takes a retry from `budget`, where there is one.
    ///
    /// # Errors
    /// It is empty.
    pub fn pay(&self, budget: &mut RetryBudget, now: Instant) -> Result<(), NoRetry> {
        match &self.budget {
            Some(policy) if !budget.take(policy, now) => Err(NoRetry::Budget),
            _ => Ok(()),
        }
    }

    /// Whether the policy names what went wrong.
    pub fn lists(&self, how: TryFailure) -> bool {
        match how {
            TryFailure::Answer { status, grpc } => self.on.has_answer(status, grpc),
            TryFailure::Broken(how) | TryFailure::NotSent(how) => self.on.transport.contains(&how),
        }
    }

    fn may_retry(&self, ask: RetryAsk<'_>, failed: FailedTry) -> Result<(), NoRetry> {
        if !self.lists(failed.how) {
            return Err(NoRetry::NotListed);
        }
        let was_sent = !matches!(failed.how, TryFailure::NotSent(_));
        if was_sent && !self.methods.may_be_sent_twice(ask) {
            return Err(NoRetry::NotIdempotent);
        }
        if ask.can_be_sent_again { Ok(()) } else { Err(NoRetry::BodyGone) }
    }
}

impl RetriedMethods {
    /// Those that do no more when they are sent twice.
    pub fn idempotent() -> Self {
        Self { listed: IDEMPOTENT.map(Box::from).into(), ..Self::default() }
    }

    /// Whether a request may be sent again after it was sent.
    pub(crate) fn may_be_sent_twice(&self, ask: RetryAsk<'_>) -> bool {
        // A method is a word with upper and lower case (RFC 9110, 9.1).
        self.every
            || self.keyed && ask.has_key
            || self.listed.iter().any(|method| **method == *ask.method)
    }
}

#[cfg(test)]
mod tests;
