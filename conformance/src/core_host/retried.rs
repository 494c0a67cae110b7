//! Tries of a call beyond its first, as the smallest host makes them.

use super::CoreHost;
use super::adapter::tell;
use super::facts::CallFacts;
use super::mutant::Mutant;
use super::queue::Moment;
use super::sighting::Sighting;
use bimetal_core::call::{self, AnsweredBy, Effect};
use bimetal_core::outcome::{Outcome, Transport};
use bimetal_core::policy::Policy;
use bimetal_core::retry::{FailedTry, RetryAsk, RetryCase, Tries, TryFailure};
use bimetal_core::{Duration, Instant};
use std::sync::Arc;

/// What is known of a call's tries.
#[derive(Default)]
pub(super) struct Retried {
    /// Where it tries again at all.
    policy: Option<Arc<Policy>>,
    tries: Tries,
    /// While the call waits for its next try: what was seen of the one before.
    held: Option<Vec<Sighting>>,
}

impl Retried {
    /// Of a call by this policy.
    pub(super) fn of(policy: &Arc<Policy>) -> Self {
        let policy = policy.retry_applied().is_some().then(|| policy.clone());
        Self { policy, ..Self::default() }
    }

    /// The number of the try under way, from 0.
    pub(super) const fn number(&self) -> usize {
        self.tries.number() as usize - 1
    }

    /// Holds what is seen while the call waits for its next try. Whether it does.
    pub(super) fn holds(&mut self, sighting: &Sighting) -> bool {
        if let Some(held) = &mut self.held {
            held.push(sighting.clone());
        }
        self.held.is_some()
    }
}

impl CoreHost<'_> {
    /// Whether a try that ended like this is made again: then the call waits for that.
    pub(super) fn waits(&mut self, index: usize, sighting: &Sighting) -> bool {
        let now = self.instant(self.now);
        let (sent, step) = (self.calls[index].sent, self.calls[index].step);
        let call = self.call(step).clone();
        let since = self.instant(sent);
        let (mutant, played) = (self.mutant, &mut self.calls[index]);
        let (Some(policy), Some(adapter)) = (&played.retried.policy, &mut played.adapter) else {
            return false;
        };
        let adapter = adapter.plain();
        let (Some(failed), Some(ticket)) = (failed(sighting), &mut adapter.ticket) else {
            return false;
        };
        if adapter.call.is_answered() || ticket.is_probe() {
            return false;
        }
        let report = match tell(&mut adapter.call.clone(), now, sighting) {
            Effect::Settle(report) => report,
            _ => Outcome::Neutral.into(),
        };
        let has_key = call.headers.contains_key("idempotency-key");
        let ask = RetryAsk { method: &call.method, has_key, can_be_sent_again: true };
        let left = [left(policy, &CallFacts(&call), now, since), adapter.call.left(now)];
        let case = RetryCase { now, ask, failed, left: left.into_iter().flatten().min() };
        let tries = &mut played.retried.tries;
        let planned = self.engine.plan_retry(now, policy, ticket, tries, (&case, report));
        let wait = match planned {
            Ok(wait) => wait,
            // It knows better.
            Err(_) if mutant == Some(Mutant::RefusedRetriesMade) && tries.number() < 3 => {
                Duration::ZERO
            }
            Err(_) => return false,
        };
        let _ = adapter.call.queued(now);
        played.deadline = None;
        played.retried.held = Some(vec![sighting.clone()]);
        self.queue.add(self.now + wait.into(), Moment::Retry(index));
        true
    }

    /// The wait is over.
    pub(super) fn try_again(&mut self, index: usize) {
        let now = self.instant(self.now);
        let played = &mut self.calls[index];
        let held = played.retried.held.take();
        let adapter = played.adapter.as_mut().map(|adapter| adapter.plain());
        let (Some(held), Some(ticket)) =
            (held, adapter.and_then(|adapter| adapter.ticket.as_mut()))
        else {
            return;
        };
        match self.engine.try_again(now, ticket, &mut played.retried.tries) {
            Err(_) if self.mutant == Some(Mutant::RefusedRetriesMade) => {
                played.retried.tries.begin_next();
                self.send(index);
            }
            Ok(()) => self.send(index),
            Err(_) => held.iter().for_each(|sighting| self.take_in(index, sighting)),
        }
    }
}

/// What is told of a try that ended; none of one that goes on.
fn failed(sighting: &Sighting) -> Option<FailedTry> {
    let (how, retry_after) = match sighting {
        Sighting::Headers(head) if head.by == AnsweredBy::Upstream => {
            let asked = head.retry_after.as_deref().map(str::as_bytes);
            let how = TryFailure::Answer { status: head.status, grpc: call::grpc_status(head) };
            (how, asked.and_then(call::retry_after))
        }
        Sighting::Broken(Transport::Connect) => (TryFailure::NotSent(Transport::Connect), None),
        Sighting::Broken(how) => (TryFailure::Broken(*how), None),
        _ => return None,
    };
    Some(FailedTry { how, retry_after, is_exhausted: false })
}

/// What is left of the caller's time.
fn left(policy: &Policy, facts: &CallFacts<'_>, now: Instant, since: Instant) -> Option<Duration> {
    let deadline = policy.deadline_applied()?;
    let left = deadline.left_of(facts)?;
    Some(deadline.check(left, now.since(since)).unwrap_or(Duration::ZERO))
}
