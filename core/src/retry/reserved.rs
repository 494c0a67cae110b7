//! Retries that somebody else makes who asks nobody between two tries, such as Envoy's router: what they
//! may cost is paid before the first try, and what was not used is given back.

use super::budget::RetryBudget;
use super::{NoRetry, RetryAsk, RetryPolicy, RetryResult, TryFailure};
use crate::outcome::Transport;
use crate::time::{Duration, Instant};

/// Retries of one call that are paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReservedRetries {
    /// So many.
    pub most: u32,
    /// Whether only a request of which nothing was sent may be tried again.
    pub unsent_alone: bool,
    /// Why there are no more.
    pub why_no_more: NoRetry,
    at: Instant,
}

impl ReservedRetries {
    /// None, because of that.
    pub const fn none(at: Instant, why: NoRetry) -> Self {
        Self { most: 0, unsent_alone: false, why_no_more: why, at }
    }

    /// What `made` tries beyond the first count as in the end, where the last one failed like this, or was
    /// answered by what is not tried again; none where nothing is known of it.
    pub fn result(
        &self,
        policy: &RetryPolicy,
        made: u32,
        last: Option<TryFailure>,
    ) -> Option<RetryResult> {
        let last = last?;
        if !policy.lists(last) {
            let is_answer = matches!(last, TryFailure::Answer { .. });
            return (made > 0 && is_answer).then_some(RetryResult::Helped);
        }
        if self.unsent_alone && !matches!(last, TryFailure::NotSent(_)) {
            return Some(RetryResult::NotMade(NoRetry::NotIdempotent));
        }
        // Whoever tries may have had reasons of its own to end before.
        (made >= self.most).then_some(RetryResult::NotMade(self.why_no_more))
    }

    /// Whether a call whose only try ended like this would have been tried again.
    pub(crate) fn would_be_used(&self, policy: &RetryPolicy, last: Option<TryFailure>) -> bool {
        let may = |how| !self.unsent_alone || matches!(how, TryFailure::NotSent(_));
        self.most > 0 && last.is_some_and(|how| policy.lists(how) && may(how))
    }

    /// Gives back what was not used.
    pub fn give_back(&self, budget: &mut RetryBudget, now: Instant, made: u32) {
        (made..self.most).for_each(|_| budget.give_back_of(self.at, now));
    }
}

impl RetryPolicy {
    /// Takes what a call's retries may cost from `budget`, as far as there is any.
    pub fn reserve(
        &self,
        budget: &mut RetryBudget,
        now: Instant,
        ask: RetryAsk<'_>,
        left: Option<Duration>,
    ) -> ReservedRetries {
        let unsent_alone = !self.methods.may_be_sent_twice(ask);
        if unsent_alone && !self.on.transport.contains(&Transport::Connect) {
            return ReservedRetries {
                unsent_alone,
                ..ReservedRetries::none(now, NoRetry::NotIdempotent)
            };
        }
        if left.is_some_and(|left| left <= self.backoff.base) {
            return ReservedRetries::none(now, NoRetry::Deadline);
        }
        let wanted = self.tries.saturating_sub(1);
        let mut most = 0;
        while most < wanted && self.pay(budget, now).is_ok() {
            most += 1;
        }
        let why_no_more = if most < wanted { NoRetry::Budget } else { NoRetry::Tries };
        ReservedRetries { most, unsent_alone, why_no_more, at: now }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::AnswerSet;
    use crate::retry::RetriedMethods;
    use crate::retry::backoff::{Backoff, Jitter};
    use crate::retry::budget::RetryBudgetPolicy;

    const fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn policy(tries: u32) -> RetryPolicy {
        let mut on = AnswerSet::default();
        on.statuses.insert(503);
        on.transport.push(Transport::Connect);
        RetryPolicy {
            tries,
            on,
            on_refused_streams: false,
            methods: RetriedMethods::idempotent(),
            backoff: Backoff {
                base: Duration::from_millis(25),
                max: Duration::from_secs(1),
                jitter: Jitter::Full,
            },
            budget: Some(RetryBudgetPolicy { share: 0.5, floor: None }),
            respects_retry_after: true,
            buffer: 0,
        }
    }

    fn get() -> RetryAsk<'static> {
        RetryAsk { method: "GET", has_key: false, can_be_sent_again: true }
    }

    fn calls(number: u32) -> RetryBudget {
        let mut budget = RetryBudget::default();
        (0..number).for_each(|_| budget.call(at(0)));
        budget
    }

    #[test]
    fn what_may_be_made_is_paid_and_what_was_not_is_given_back() {
        let (policy, mut budget) = (policy(4), calls(8));
        let reserved = policy.reserve(&mut budget, at(0), get(), None);
        assert_eq!((reserved.most, reserved.why_no_more), (3, NoRetry::Tries));
        let rest = policy.reserve(&mut budget, at(0), get(), None);
        assert_eq!((rest.most, rest.why_no_more), (1, NoRetry::Budget));
        // In a later second, into the one it was taken from.
        reserved.give_back(&mut budget, at(5_000), 1);
        let left = budget.left(policy.budget.as_ref().unwrap(), at(5_000));
        assert!((left - 2.0).abs() < 1e-6, "{left}");
        // Behind the ten seconds all of them are forgotten, and nothing is earned twice.
        rest.give_back(&mut budget, at(60_000), 0);
        assert!(budget.is_idle(at(60_000)));
    }

    #[test]
    fn a_request_that_may_do_harm_is_tried_again_where_nothing_left() {
        let (policy, mut budget) = (policy(3), calls(100));
        let ask = RetryAsk { method: "POST", ..get() };
        let reserved = policy.reserve(&mut budget, at(0), ask, None);
        assert_eq!((reserved.most, reserved.unsent_alone), (2, true));
        let answered = Some(TryFailure::Answer { status: 503, grpc: None });
        let not_made = |why| Some(RetryResult::NotMade(why));
        assert_eq!(reserved.result(&policy, 0, answered), not_made(NoRetry::NotIdempotent));
        let refused = Some(TryFailure::NotSent(Transport::Connect));
        assert_eq!(reserved.result(&policy, 2, refused), not_made(NoRetry::Tries));
        let mut without = policy.clone();
        without.on.transport.clear();
        let none = without.reserve(&mut budget, at(0), ask, None);
        assert_eq!((none.most, none.why_no_more), (0, NoRetry::NotIdempotent));
    }

    #[test]
    fn what_came_of_them() {
        let (policy, mut budget) = (policy(3), calls(100));
        let reserved = policy.reserve(&mut budget, at(0), get(), Some(Duration::from_secs(1)));
        let answer = |status| Some(TryFailure::Answer { status, grpc: None });
        let result = |made, last| reserved.result(&policy, made, last);
        assert_eq!(result(0, answer(200)), None);
        assert_eq!(result(1, answer(200)), Some(RetryResult::Helped));
        assert_eq!(result(2, answer(503)), Some(RetryResult::NotMade(NoRetry::Tries)));
        assert_eq!(result(1, answer(503)), None);
        assert_eq!(result(1, None), None);
        let hurried = policy.reserve(&mut budget, at(0), get(), Some(Duration::from_millis(25)));
        assert_eq!((hurried.most, hurried.why_no_more), (0, NoRetry::Deadline));
    }
}
