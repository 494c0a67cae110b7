//! What the engine is asked of failed tries.

use super::Worker;
use bimetal_core::outcome::Report;
use bimetal_core::policy::Policy;
use bimetal_core::retry::{NoRetry, RetryCase, Tries};
use bimetal_core::{Duration, Ticket};

impl Worker {
    /// A failed try would be made again, by a policy in shadow mode: see
    /// [`would_retry`](bimetal_core::Engine::would_retry).
    pub(crate) fn would_retry(&self, policy: &Policy, ticket: &Ticket, case: &RetryCase<'_>) {
        self.tell(|engine| engine.would_retry(policy, ticket, case));
    }

    /// Whether a failed try is made again: see [`plan_retry`](bimetal_core::Engine::plan_retry). None where the engine could not be
    /// asked.
    pub(crate) fn plan_retry(
        &self,
        policy: &Policy,
        ticket: &mut Ticket,
        tries: &mut Tries,
        failed: (&RetryCase<'_>, Report),
    ) -> Option<Result<Duration, NoRetry>> {
        let now = failed.0.now;
        self.tell(|engine| engine.plan_retry(now, policy, ticket, tries, failed))
    }

    /// Whether it is made now: see [`try_again`](bimetal_core::Engine::try_again).
    pub(crate) fn try_again(
        &self,
        ticket: &mut Ticket,
        tries: &mut Tries,
    ) -> Option<Result<(), NoRetry>> {
        let now = self.clock.now();
        self.tell(|engine| engine.try_again(now, ticket, tries))
    }

    /// A further try did not fail.
    pub(crate) fn retry_helped(&self, ticket: &Ticket) {
        self.tell(|engine| engine.retry_helped(ticket));
    }
}
