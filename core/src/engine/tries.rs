//! Tries of an admitted call beyond its first.

use super::Engine;
use crate::decision::Ticket;
use crate::outcome::Report;
use crate::policy::{Evidence, Mode, Policy};
use crate::retry::{NoRetry, ReservedRetries, RetryAsk, RetryCase, RetryResult, Tries, TryFailure};
use crate::time::{Duration, Instant};

impl Engine {
    /// Whether the try of an admitted call that just failed is made again, and how long to wait before
    /// that. `report` is what the failed try counts as. The retry is paid from the budget here; once the
    /// wait is over [`Engine::try_again`] is to be asked.
    ///
    /// # Errors
    /// Why there is no other try.
    pub fn plan_retry(
        &mut self,
        now: Instant,
        policy: &Policy,
        ticket: &mut Ticket,
        tries: &mut Tries,
        (case, report): (&RetryCase<'_>, Report),
    ) -> Result<Duration, NoRetry> {
        let retry = policy.retry_applied().ok_or(NoRetry::NotListed)?;
        if !retry.lists(case.failed.how) {
            return Err(NoRetry::NotListed);
        }
        // Nobody has a budget any more for a policy that is gone.
        let slot = self.slots.get_mut(ticket.place).filter(|slot| !slot.is_orphan);
        let slot = slot.ok_or(NoRetry::Budget)?;
        let guard = &mut slot.guard;
        let planned = tries.plan(retry, &mut self.rng, case).and_then(|wait| {
            if policy.evidence == Evidence::Tries && !ticket.permit.is_told() {
                guard.settle_try(now, &mut ticket.permit, report);
                self.recorder.tried(now, slot.row, ticket.call, report.outcome);
            }
            if !guard.may_try_again(now, &ticket.permit) {
                return Err(NoRetry::Breaker);
            }
            let budget = self.budgets.budget(ticket.place).ok_or(NoRetry::Budget)?;
            retry.pay(budget, now).map(|()| wait)
        });
        if let Err(why) = planned {
            self.recorder.retried(slot.row, RetryResult::NotMade(why));
        }
        self.after_try(ticket);
        planned
    }

    /// The try of a call that just failed would be made again, were its policy not in shadow mode: then that
    /// is counted. Only of a call's first try: nobody knows how the next one would have ended.
    pub fn would_retry(&mut self, policy: &Policy, ticket: &Ticket, case: &RetryCase<'_>) {
        let now = case.now;
        let slot = self.slots.get_mut(ticket.place).filter(|slot| !slot.is_orphan);
        let (Some(slot), Some(retry), Mode::Shadow) = (slot, policy.retry_watched(), policy.mode)
        else {
            return;
        };
        let may = retry.lists(case.failed.how)
            && Tries::default().plan(retry, &mut self.rng, case).is_ok()
            && slot.guard.may_try_again(now, &ticket.permit);
        let budget = self.budgets.budget(ticket.place);
        if may && budget.is_some_and(|budget| retry.pay(budget, now).is_ok()) {
            self.recorder.would_retry(slot.row);
        }
    }

    /// Whether the retry that was planned is made now: the breaker is asked again. If so the call's next
    /// try begins.
    ///
    /// # Errors
    /// The breaker refuses, or the policy is gone.
    pub fn try_again(
        &mut self,
        now: Instant,
        ticket: &mut Ticket,
        tries: &mut Tries,
    ) -> Result<(), NoRetry> {
        let slot = self.slots.get_mut(ticket.place).filter(|slot| !slot.is_orphan);
        let slot = slot.ok_or(NoRetry::Budget)?;
        let result = if slot.guard.admit_try(now, &mut ticket.permit) {
            tries.begin_next();
            Ok(())
        } else {
            if let Some(budget) = self.budgets.budget(ticket.place) {
                budget.give_back(now);
            }
            Err(NoRetry::Breaker)
        };
        let told = result.map_or_else(RetryResult::NotMade, |()| RetryResult::Made);
        self.recorder.retried(slot.row, told);
        self.after_try(ticket);
        result
    }

    /// What an admitted call's retries may cost, where somebody makes them who asks nobody between two
    /// tries; none where the policy has no retries. What came of them [`Engine::retried`] is to be told.
    pub fn reserve_retries(
        &mut self,
        now: Instant,
        policy: &Policy,
        ticket: &Ticket,
        ask: RetryAsk<'_>,
        left: Option<Duration>,
    ) -> Option<ReservedRetries> {
        let retry = policy.retry_watched()?;
        if ticket.is_probe() {
            return Some(ReservedRetries::none(now, NoRetry::Breaker));
        }
        let budget = self.budgets.budget(ticket.place)?;
        Some(retry.reserve(budget, now, ask, left))
    }

    /// So many tries beyond the first were made of those that were reserved, and the last one ended like
    /// this. Returns whether the call gave up, see [`NoRetry::gives_up`].
    pub fn retried(
        &mut self,
        now: Instant,
        policy: &Policy,
        ticket: &Ticket,
        reserved: &ReservedRetries,
        (made, last): (u32, Option<TryFailure>),
    ) -> bool {
        let slot = self.slots.get(ticket.place).filter(|slot| !slot.is_orphan);
        let (Some(slot), Some(retry)) = (slot, policy.retry_watched()) else {
            return false;
        };
        // In shadow mode nobody was told of them.
        let is_shadow = policy.mode == Mode::Shadow;
        let would = is_shadow && reserved.would_be_used(retry, last);
        let made = if is_shadow { u32::from(would) } else { made };
        if let Some(budget) = self.budgets.budget(ticket.place) {
            reserved.give_back(budget, now, made);
        }
        if is_shadow {
            if would {
                self.recorder.would_retry(slot.row);
            }
            return false;
        }
        let result = reserved.result(retry, made, last);
        (0..made).for_each(|_| self.recorder.retried(slot.row, RetryResult::Made));
        result.into_iter().for_each(|result| self.recorder.retried(slot.row, result));
        matches!(result, Some(RetryResult::NotMade(why)) if why.gives_up())
    }

    /// A try beyond the first one had an answer that the policy does not try again.
    pub fn retry_helped(&mut self, ticket: &Ticket) {
        if let Some(slot) = self.slots.get(ticket.place) {
            self.recorder.retried(slot.row, RetryResult::Helped);
        }
    }

    /// Looks what is left of the budgets of all scopes, for [`Engine::series`]. There can be as many as
    /// all `scopes.max` together: to be called before counts are shown, not with every tick.
    pub fn measure(&mut self, now: Instant) {
        if self.budgets.is_empty() {
            return;
        }
        self.recorder.forget_budgets();
        for state in self.states.iter().flatten() {
            for place in state.registry.places() {
                if let Some(slot) = self.slots.get(*place)
                    && let Some(left) = self.budgets.left(now, *place)
                {
                    self.recorder.has_budget(slot.row, left);
                }
            }
        }
    }

    fn after_try(&mut self, ticket: &Ticket) {
        let stirred = self.slots.get(ticket.place);
        if stirred.is_some_and(|slot| slot.guard.is_stirred(slot.due)) {
            self.stirred(ticket.place);
        }
    }
}
