//! Where a request goes: its route, and what the engine decides of it.

use super::answer::{self, Answer};
use super::fallback::{self, Elsewhere};
use super::{Client, Deadline, RequestFacts, TrackedCall, connected, hop, interactions, scoped};
use crate::account::{Decision, RequestAccount};
use crate::upstream::Endpoint;
use crate::worker::{Route, Target, WaitingCall, Worker};
use bimetal_core::decision::Rule;
use bimetal_core::event::State;
use bimetal_core::policy::{Policy, Scope};
use bimetal_core::{PassReason, Plan, Verdict};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use std::cell::OnceCell;
use std::rc::Rc;
use std::sync::Arc;

/// An admitted call on its way upstream: what to do for it, and how to settle it.
pub(super) struct AdmittedCall {
    pub(super) call: TrackedCall,
    pub(super) plan: Plan,
    // None where the caller says nothing of its time, or nobody asks.
    pub(super) deadline: Option<Box<Deadline>>,
    // For the debug headers; none where no breaker was asked.
    pub(super) state: Option<State>,
    // The only endpoint that it was admitted for, where each has a scope of its own.
    pub(super) endpoint: Option<Rc<Endpoint>>,
    // The protocol to switch to, where the client asks for one that the route allows.
    pub(super) protocol: Option<HeaderValue>,
}

/// Where a request goes.
pub(super) enum Decided {
    /// Along this route.
    Goes(Rc<Route>, AdmittedCall),
    /// To what stands in for its upstream, where that gives an answer.
    Elsewhere(Box<Elsewhere>),
    /// Nowhere: this answers it.
    Ends(Response<Answer>),
}

/// Waits until it is decided where a request goes.
pub(super) async fn wait(
    client: &Client,
    head: &Parts,
    account: &mut RequestAccount,
    mut call: Box<WaitingCall>,
) -> Decided {
    loop {
        call.is_to_ask().await;
        match decide(client, head, account, Some(call)) {
            Ok(decided) => return decided,
            Err(waits) => call = waits,
        }
    }
}

/// Finds the route and asks the engine; an answer of our own where it ends here.
///
/// # Errors
/// The call has to wait: then it is to be decided again.
pub(super) fn decide(
    client: &Client,
    head: &Parts,
    account: &mut RequestAccount,
    waited: Option<Box<WaitingCall>>,
) -> Result<Decided, Box<WaitingCall>> {
    let (worker, begun) = (&client.worker, account.begun());
    if let Some(answer) = own_answer(worker, head) {
        return Ok(Decided::Ends(answer));
    }
    let routing = worker.routing();
    let caller = client.caller(&head.headers);
    let mut facts = RequestFacts {
        method: &head.method,
        uri: &head.uri,
        headers: &head.headers,
        client: Some(caller),
        destination: None,
        route: None,
        endpoint: None,
        normal_path: OnceCell::new(),
    };
    let Some(route) = routing.find(&facts) else {
        return Ok(Decided::Ends(answer::error(StatusCode::NOT_FOUND, &"endpoint not found")));
    };
    if waited.is_none() {
        account.routed(route);
        account.called_by(caller, interactions::patience(&head.headers));
    }
    facts.destination = Some(&route.destination);
    facts.route = Some(&route.name);
    // What a call waited for is not its upstream's time.
    let asked = if waited.is_none() { begun } else { worker.clock.now() };
    let admitted = |policy: Option<Arc<Policy>>, plan: Plan, state, ticket| AdmittedCall {
        call: TrackedCall::new(worker.clone(), policy, ticket, plan.request_timeout, asked),
        plan,
        deadline: None,
        state,
        endpoint: None,
        protocol: None,
    };
    let policies = waited.as_ref().map_or_else(|| worker.policies(), |call| call.policies());
    let mut waited = waited;
    let refused = match waited {
        None => connected::count(client, begun, &policies, &facts),
        Some(_) => None,
    };
    let verdict = match (&mut waited, &route.target) {
        _ if let Some(refused) = refused => refused,
        (Some(call), _) => {
            facts.endpoint = call.endpoint();
            call.ask(asked, &policies, &facts)
        }
        (None, Target::Upstream(upstream)) if routing.has_scopes_of_endpoints() => {
            scoped::admit(worker, begun, &policies, &mut facts, upstream)
        }
        (None, _) => worker.admit(begun, &policies, &facts),
    };
    let mut admitted = match verdict {
        Verdict::Pass(pass) => {
            account.decided(pass.policy, Decision::Passed);
            if let PassReason::Shadow(rejection) = &pass.why {
                account.rejected(pass.policy, rejection);
            }
            let state = pass.state();
            admitted(Some(pass.policy.clone()), Plan::default(), state, None)
        }
        Verdict::Admit(admission) => {
            account.decided(admission.policy, Decision::Admitted);
            let witness = account.admitted(asked, &admission);
            let (plan, state) = (admission.plan(), Some(admission.state()));
            let mut admitted =
                admitted(Some(admission.policy.clone()), plan, state, Some(admission.ticket));
            admitted.call.watch(witness);
            admitted.call.limit_tries(plan.try_timeout);
            admitted.deadline = Deadline::of(admission.policy, &facts, begun).map(Box::new);
            if admission.policy.scope == Scope::Endpoint {
                admitted.endpoint = facts.endpoint.take();
            }
            admitted
        }
        Verdict::Reject(refusal) => {
            account.decided(refusal.policy, Decision::Rejected(refusal.rejection.rule()));
            account.rejected(refusal.policy, &refusal.rejection);
            let mut rejection = answer::rejection(&refusal);
            if refusal.rejection.rule() == Rule::Connections {
                // There are too many of them.
                rejection.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            let Target::Upstream(meant) = &route.target else {
                return Ok(Decided::Ends(rejection));
            };
            let is_upgrade =
                client.requests.may_be_unusual() && hop::upgrade(head, &route.upgrades).is_some();
            let found = fallback::when_rejected(client, &refusal, meant, is_upgrade, account);
            return Ok(match found {
                Some(stands_in) => Decided::Elsewhere(Box::new(Elsewhere {
                    stands_in,
                    meant: meant.clone(),
                    policy: refusal.policy.clone(),
                    deadline: Deadline::of(refusal.policy, &facts, begun),
                    rejection,
                })),
                None => Decided::Ends(rejection),
            });
        }
        Verdict::Wait(wait) => {
            let endpoint = facts.endpoint.take();
            let new = || WaitingCall::new(worker, &policies, begun, endpoint, &wait);
            return Err(waited.unwrap_or_else(new));
        }
        // No policy is for it.
        _ => admitted(None, Plan::default(), None, None),
    };
    if let Target::Upstream(upstream) = &route.target
        && let Some(rules) = upstream.failure_rules()
    {
        admitted.call.judged_by(rules);
    }
    if let Some(policy) = admitted.call.policy()
        && let Some(warnings) = &policy.warnings
    {
        interactions::notice(client, policy, warnings, &facts, route, account);
    }
    let idle = admitted.call.policy().and_then(|policy| policy.idle_applied());
    client.requests.set_idle(idle.map(Into::into));
    if client.requests.may_be_unusual() {
        admitted.protocol = hop::upgrade(head, &route.upgrades);
    }
    Ok(Decided::Goes(route.clone(), admitted))
}

/// Answers that need no route.
fn own_answer(worker: &Worker, head: &Parts) -> Option<Response<Answer>> {
    if head.uri.path() == &*worker.ready_path {
        return Some(answer::empty(if worker.is_draining() {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::NO_CONTENT
        }));
    }
    None
}
