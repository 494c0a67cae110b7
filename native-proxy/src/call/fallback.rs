//! Another upstream's answer, or one of before, in place of a rejection or a failure.
//!
//! No policy is asked for the other upstream, so its answer is never replaced again and no loop can come of it. It says
//! nothing to the breaker of the policy, which judges the upstream that the call was meant for.

use super::answer::{self, Answer};
use super::deadline;
use super::forward::{self, Sending};
use super::kept::Kept;
use super::memory::Memory;
use super::retry::Tried;
use super::tracked::TrackedCall;
use super::{Client, Deadline, outgoing};
use crate::account::RequestAccount;
use crate::attempt::{Attempt, AttemptError, ErrorKind};
use crate::upstream::{ContinueGate, Upload, Upstream};
use bimetal_core::decision::Rule;
use bimetal_core::fallback::{FallbackKind, NoFallback};
use bimetal_core::policy::{Fallback, FallbackUpstream, Policy};
use bimetal_core::{Duration, Rejected};
use hyper::{Request, Response, Version};
use std::rc::Rc;
use std::sync::Arc;

/// What a call that is turned away, or has failed, takes along to another upstream.
pub(super) struct StandIn<'a> {
    pub client: &'a Client,
    pub upstream: Rc<Upstream>,
    /// The policy whose fallback it is.
    pub policy: Arc<Policy>,
    pub deadline: Option<&'a Deadline>,
    pub version: Version,
    pub gate: Option<&'a ContinueGate>,
}

/// What may stand in for a rejected call's upstream.
pub(super) struct StandsIn {
    upstream: Option<Rc<Upstream>>,
    has_kept: bool,
}

/// What may stand in for a rejected call's upstream, which is `meant`; none where only a fixed answer is given.
pub(super) fn when_rejected(
    client: &Client,
    refusal: &Rejected<'_>,
    meant: &Rc<Upstream>,
    is_upgrade: bool,
    account: &mut RequestAccount,
) -> Option<StandsIn> {
    let fallback = refusal.policy.fallback_when_rejected()?;
    // A client with too many connections loses this one, and nobody serves it.
    let is_served = refusal.rejection.rule() != Rule::Connections;
    let named = fallback.upstream.as_ref().filter(|_| is_served);
    let found = named.map(|named| {
        if refusal.rejection.rule() == Rule::Deadline {
            return Err(NoFallback::Deadline);
        }
        find(client, named, meant, is_upgrade)
    });
    let upstream = found.and_then(|found| found.map_err(|why| account.no_fallback(why)).ok());
    let has_kept = fallback.stale.is_some() && is_served;
    if upstream.is_some() || has_kept {
        return Some(StandsIn { upstream, has_kept });
    }
    if fallback.is_fixed() {
        account.falls_back(FallbackKind::Fixed);
    }
    None
}

/// What becomes of a rejected call that something may stand in for.
pub(super) struct Elsewhere {
    pub stands_in: StandsIn,
    pub meant: Rc<Upstream>,
    pub policy: Arc<Policy>,
    pub deadline: Option<Deadline>,
    /// The answer where nothing does.
    pub rejection: Response<Answer>,
}

/// Has something else answer a rejected call.
pub(super) async fn elsewhere(
    client: &Client,
    one: Elsewhere,
    mut request: Request<Upload>,
    gate: Option<&ContinueGate>,
    account: &mut RequestAccount,
) -> Response<Answer> {
    let Elsewhere { stands_in, meant, policy, deadline, rejection } = one;
    let (version, of) = (request.version(), policy.clone());
    outgoing::prepare(client, &mut request, None);
    let memory = if stands_in.has_kept {
        Memory::of(&client.worker, Some(&policy), &meant, &request)
    } else {
        None
    };
    let mut found = None;
    if let Some(upstream) = stands_in.upstream {
        let deadline = deadline.as_ref();
        let stand_in = StandIn { client, upstream, policy, deadline, version, gate };
        match stand_in.send(request, account).await {
            Ok(response) => found = Some(response),
            Err(error) if error.kind == ErrorKind::Client => {
                return forward::broke_off(client, account);
            }
            Err(_) => {}
        }
    }
    let found = found.or_else(|| memory?.recall(&client.worker, account));
    let response = match found {
        Some(mut response) => {
            answer::debug(&mut response, &of, None);
            response
        }
        None => {
            if of.fallback_when_rejected().is_some_and(Fallback::is_fixed) {
                account.falls_back(FallbackKind::Fixed);
            }
            rejection
        }
    };
    client.requests.told().await;
    response
}

/// Another upstream's answer to a call that has failed at `failed`; none where it was not asked or gave
/// none. `is_unsent` says that not one byte of the request left.
pub(super) async fn to_failed(
    mut stand_in: StandIn<'_>,
    (tried, is_unsent): (&Tried, bool),
    kept: Option<&Kept>,
    account: &mut RequestAccount,
) -> Option<Response<Answer>> {
    let policy = stand_in.policy.clone();
    let named = policy.fallback_when_failed()?.upstream.as_ref()?;
    if !tried.has_failed() {
        return None;
    }
    // Only requests to switch are not kept.
    let found = kept.ok_or(NoFallback::Upgrade).and_then(|kept| {
        named.takes(kept.ask(), !is_unsent)?;
        let upstream = find(stand_in.client, named, &stand_in.upstream, false)?;
        Ok((upstream, kept))
    });
    let (upstream, kept) = match found {
        Ok(found) => found,
        Err(why) => {
            account.no_fallback(why);
            return None;
        }
    };
    stand_in.upstream = upstream;
    account.tries_again();
    stand_in.send(kept.again(), account).await.ok()
}

fn find(
    client: &Client,
    named: &FallbackUpstream,
    meant: &Rc<Upstream>,
    is_upgrade: bool,
) -> Result<Rc<Upstream>, NoFallback> {
    if is_upgrade {
        return Err(NoFallback::Upgrade);
    }
    if meant.settings().name == named.name {
        return Err(NoFallback::SameUpstream);
    }
    let routing = client.worker.routing();
    let mut all = routing.upstreams().iter();
    let found = all.find(|upstream| upstream.settings().name == named.name);
    found.cloned().ok_or(NoFallback::UnknownUpstream)
}

impl StandIn<'_> {
    /// Sends a request that is prepared, once.
    async fn send(
        &self,
        mut request: Request<Upload>,
        account: &mut RequestAccount,
    ) -> Result<Response<Answer>, AttemptError> {
        let Self { client, upstream, policy, deadline, version, gate } = self;
        let worker = &client.worker;
        let settings = upstream.settings();
        account.goes_elsewhere(&settings.name);
        outgoing::address(upstream, &mut request);
        let limits = policy.timeout;
        let limit = limits.request.or(limits.per_try);
        let now = worker.clock.now();
        let mut call = TrackedCall::unjudged(worker.clone(), settings.failure.clone(), limit, now);
        let attempt = Attempt {
            worker,
            upstream,
            ask: outgoing::ask(&request, None),
            connect_limit: limits.connect.map_or(forward::CONNECT, Into::into),
            deadline: *deadline,
        };
        let sending = Sending {
            client,
            attempt,
            queue_limit: limit.map_or(forward::QUEUE_WAIT, Duration::into),
            version: *version,
            gate: *gate,
            only: None,
            avoided: Vec::new(),
            goes_to: None,
        };
        let mut request = Some(request);
        let ends = deadline.map(|one| worker.clock.timer_instant(one.at()));
        let sent = sending.send(now, &mut request, &mut call, account);
        let sent = deadline::until(ends, sent).await;
        match forward::arrive(client, sent, None, &mut call, account) {
            Tried::Answered(arrived) => {
                account.falls_back(FallbackKind::Upstream);
                Ok(forward::receive(client, arrived, call, None, account))
            }
            Tried::Failed(error) => {
                let why = match error.kind {
                    ErrorKind::Deadline => NoFallback::Deadline,
                    _ => NoFallback::NoAnswer,
                };
                account.no_fallback(why);
                account.failed(&error);
                if error.kind.transport().is_some() {
                    worker.upstream_failed(&settings.name, &error);
                }
                Err(error)
            }
        }
    }
}
