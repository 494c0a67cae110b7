//! Retries of a request. Envoy's router makes them, and asks nobody between two tries: so it is told at the
//! request how many there may be and of what, and the budget pays for all of them then.

use super::Stream;
use crate::answer;
use crate::facts::Request;
use crate::port::{Host, Map};
use crate::registry::Worker;
use bimetal_core::outcome::Transport;
use bimetal_core::policy::Policy;
use bimetal_core::retry::{ReservedRetries, RetryAsk, RetryPolicy, TryFailure};
use bimetal_core::{Duration, Facts, Instant, Ticket};

const MAX_RETRIES: &str = "x-envoy-max-retries";
const RETRY_ON: &str = "x-envoy-retry-on";
const RETRY_GRPC_ON: &str = "x-envoy-retry-grpc-on";
const STATUSES: &str = "x-envoy-retriable-status-codes";
/// By these a client would add conditions, or have tries beside each other.
const OTHERS: [&str; 2] = ["x-envoy-retriable-header-names", "x-envoy-hedge-on-per-try-timeout"];

/// Envoy's words for gRPC statuses, by their codes.
const GRPC: [(u32, &str); 5] = [
    (1, "cancelled"),
    (4, "deadline-exceeded"),
    (8, "resource-exhausted"),
    (13, "internal"),
    (14, "unavailable"),
];

impl<H: Host> Stream<H> {
    /// Pays for the retries that an admitted call may have, and tells the router of them; none where the
    /// policy has no retries: then those of the mesh stay as they are.
    pub(super) fn plan_retries(
        &self,
        worker: &Worker,
        now: Instant,
        (policy, ticket): (&Policy, &Ticket),
        left: Option<Duration>,
        facts: &Request<'_, H>,
    ) -> Option<ReservedRetries> {
        let retry = policy.retry_watched()?;
        let method = facts.method();
        let ask = RetryAsk {
            method: method.as_deref().and_then(|name| std::str::from_utf8(name).ok()).unwrap_or(""),
            has_key: facts.header("idempotency-key").is_some(),
            // Envoy keeps the body, as far as its buffers reach.
            can_be_sent_again: true,
        };
        let reserve = |engine: &mut bimetal_core::Engine| {
            engine.reserve_retries(now, policy, ticket, ask, left)
        };
        let reserved = worker.with(|state| reserve(&mut state.engine)).flatten()?;
        if policy.retry_applied().is_none() {
            // It only watches: the router is told nothing.
            return Some(reserved);
        }
        let (on, grpc, statuses) = match reserved.most {
            0 => Default::default(),
            _ => words(retry, reserved.unsent_alone),
        };
        // Without a retry the number stands all the same: it is the mesh's and the client's too.
        self.replace(worker, MAX_RETRIES, &reserved.most.to_string(), facts);
        for (name, value) in [(RETRY_ON, on), (RETRY_GRPC_ON, grpc), (STATUSES, statuses)] {
            self.replace(worker, name, &value, facts);
        }
        OTHERS.iter().for_each(|name| self.replace(worker, name, "", facts));
        Some(reserved)
    }

    /// A header of the router's in place of the client's; none where it is empty.
    fn replace(&self, worker: &Worker, name: &str, value: &str, facts: &Request<'_, H>) {
        if !value.is_empty() {
            worker.ok(self.host.set_header(Map::Request, name, value));
        } else if facts.headers().is_none_or(|headers| headers.get(name).is_some()) {
            worker.ok(self.host.remove_header(Map::Request, name));
        }
    }

    /// The router is done with its tries, the last of which ended like this. Where they are used up the
    /// answer says so, if there is one yet to say it.
    pub(super) fn retries_ended(
        &mut self,
        worker: &Worker,
        last: Option<TryFailure>,
        has_answer: bool,
    ) {
        let Some(admitted) = &mut self.admitted else {
            return;
        };
        let Some(reserved) = admitted.retries.take() else {
            return;
        };
        let Some(now) = worker.ok(self.host.now()) else {
            return;
        };
        let tries = answer::tries(&self.host, worker);
        // What is not known may have been made.
        let made = tries.map_or(reserved.most, |tries| {
            u32::try_from(tries.saturating_sub(1)).unwrap_or(u32::MAX).min(MOST_MADE)
        });
        let (policy, ticket) = (&admitted.policy, &admitted.ticket);
        let gave_up =
            worker.with(|state| state.engine.retried(now, policy, ticket, &reserved, (made, last)));
        if gave_up.unwrap_or_default() && has_answer {
            worker.ok(self.host.set_header(Map::Response, "x-bimetal-retries", "exhausted"));
        }
    }
}

/// More tries than any policy allows are not believed.
const MOST_MADE: u32 = 1_000;

/// What the core is told of a try that ended without an answer.
pub(super) const fn broken(how: Transport) -> TryFailure {
    match how {
        Transport::Connect => TryFailure::NotSent(how),
        how => TryFailure::Broken(how),
    }
}

/// What a policy tries again in the router's words: of transport, of gRPC, and by status.
fn words(retry: &RetryPolicy, unsent_alone: bool) -> (String, String, String) {
    let lists = |how| retry.on.transport.contains(&how);
    let mut on = Vec::new();
    if lists(Transport::Connect) {
        on.push("connect-failure");
    }
    if unsent_alone {
        return (on.join(","), String::new(), String::new());
    }
    // To the router a try whose time is over is a reset.
    if lists(Transport::Reset) || lists(Transport::Timeout) {
        on.push("reset");
    }
    if retry.on_refused_streams {
        on.push("refused-stream");
    }
    let statuses = (100..600).filter(|status| retry.on.statuses.contains(*status));
    let statuses: Vec<_> = statuses.map(|status: u16| status.to_string()).collect();
    if !statuses.is_empty() {
        on.push("retriable-status-codes");
    }
    let grpc = GRPC.iter().filter(|(code, _)| retry.on.grpc >> code & 1 == 1);
    let grpc: Vec<_> = grpc.map(|(_, name)| *name).collect();
    (on.join(","), grpc.join(","), statuses.join(","))
}
