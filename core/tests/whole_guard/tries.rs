//! What becomes of a call under way: its tries, and its end.

use super::rules;
use super::world::{Ruled, UnderWay, World, at};
use bimetal_core::outcome::Outcome;
use bimetal_core::retry::{FailedTry, NoRetry, RetryAsk, RetryCase, TryFailure};
use bimetal_core::rng::Rng;

impl World {
    /// The upstream answers the try that is under way, or its client leaves.
    pub(crate) fn answered(&mut self, place: usize, rng: &mut Rng) -> Ruled {
        let call = self.under_way.swap_remove(place);
        let fails = rng.next_share() < self.failing;
        match rng.next_u64() % 20 {
            0 => self.settle(call, Outcome::Neutral),
            1 => self.settle(call, Outcome::Slow),
            // It waits for its next try: nobody answers.
            _ if call.planned.is_some() => self.under_way.push(call),
            _ if !fails => self.settle(call, Outcome::Success),
            _ if self.drawn.has_retry && !self.drawn.is_shadow => return self.fails(call),
            _ => self.settle(call, Outcome::Failure),
        }
        Ok(())
    }

    /// A try failed that the policy may make again.
    fn fails(&mut self, mut call: UnderWay) -> Ruled {
        let now = at(self.now);
        let opened = rules::open_until(self, call.worker, call.scope);
        let ask = RetryAsk { method: "GET", has_key: false, can_be_sent_again: true };
        let how = TryFailure::Answer { status: 503, grpc: None };
        let failed = FailedTry { how, retry_after: None, is_exhausted: false };
        let case = RetryCase { now, ask, failed, left: None };
        let UnderWay { worker, scope, ticket, tries, policy, .. } = &mut call;
        let number = tries.number();
        let report = Outcome::Failure.into();
        let planned = self.workers[*worker].plan_retry(now, policy, ticket, tries, (&case, report));
        let spent = self.spent.entry((*scope, *worker)).or_default();
        let budget = self.drawn.budget;
        match planned {
            Ok(_) if opened.is_some_and(|until| now < until) => {
                return Err("a try is planned while open".into());
            }
            Ok(wait) => {
                let told = budget.map_or(Ok(()), |budget| spent.pay(&budget, now));
                call.planned = Some(self.now + wait.as_millis());
                self.under_way.push(call);
                return if number < 3 { told } else { Err("a fourth try".into()) };
            }
            Err(NoRetry::Tries) if number == 3 => {}
            Err(NoRetry::Budget) if budget.is_some_and(|one| spent.is_empty(&one, now)) => {
                self.seen.no_budget += 1;
            }
            // Also a probe: that has one try.
            Err(NoRetry::Breaker) => self.seen.refused_between_tries += 1,
            Err(other) => return Err(format!("no retry after try {number}: {other:?}")),
        }
        self.settle(call, Outcome::Failure);
        Ok(())
    }

    /// The wait before a further try is over.
    pub(crate) fn tries_again(&mut self, mut call: UnderWay) -> Ruled {
        let now = at(self.now);
        let opened = rules::open_until(self, call.worker, call.scope);
        let UnderWay { worker, scope, ticket, tries, planned, .. } = &mut call;
        *planned = None;
        match self.workers[*worker].try_again(now, ticket, tries) {
            Ok(()) if opened.is_some_and(|until| now < until) => {
                Err("tried again while open".into())
            }
            Ok(()) => {
                self.seen.retried += 1;
                self.under_way.push(call);
                Ok(())
            }
            Err(NoRetry::Breaker) => {
                self.seen.refused_between_tries += 1;
                self.spent.entry((*scope, *worker)).or_default().give_back();
                self.settle(call, Outcome::Failure);
                Ok(())
            }
            Err(other) => Err(format!("planned, and then {other:?}")),
        }
    }

    pub(crate) fn settle(&mut self, call: UnderWay, outcome: Outcome) {
        self.workers[call.worker].settle(at(self.now), call.ticket, outcome.into());
        self.disconnect(call.worker, call.connected);
    }
}
