//! `tree: origin-study`: the spans of the study's proxy.
//!
//! ```text
//! POST /echo
//! └ echo_proxy_client
//!   ├ parse_request_client
//!   ├ circuit_breaker_call            where a breaker was asked
//!   │ └ redirect_to_server_client     unless it said no
//!   │   └ POST                        one for each try
//!   └ construct_response_client
//! ```
//!
//! Without a breaker `redirect_to_server_client` is a child of `echo_proxy_client`.

use super::proxied::{Proxied, method_in_name};
use super::request::{Breaker, Denial, failures, study_name as name, transitions};
use super::spans::{During, Failure, Spans, fail, id, set};
use bimetal_core::decision::Rule;
use bimetal_core::outcome::Outcome;
use opentelemetry::trace::SpanId;
use opentelemetry_sdk::trace::SpanData;

/// How many spans [`spans`] makes.
pub(super) fn count(request: &Proxied) -> usize {
    let Some(routed) = &request.routed else {
        return 1;
    };
    let breaker = usize::from(request.breaker.is_some());
    if routed.is_test_failure {
        return 2 + breaker;
    }
    let forwarded = if request.is_blocked() { 0 } else { 1 + request.tries.len() };
    4 + breaker + forwarded
}

/// The spans of a request.
pub(super) fn spans(request: &Proxied) -> Vec<SpanData> {
    let mut spans = Spans::of(request.begun.clone());
    let warnings = request.warnings(&spans);
    let whole = (request.begun.at, request.ended);
    let name = match &request.asked {
        Some(asked) => format!("{} {}", method_in_name(&asked.method), asked.path),
        None => String::from("HTTP"),
    };
    let root = spans.root(name, whole);
    request.describe_server(root);
    root.events.events.extend(warnings);
    let root = id(root);
    let Some(routed) = &request.routed else {
        return spans.finish();
    };
    let failure = request.failure();
    if routed.is_test_failure {
        let test = spans.child(root, "test_failure", whole);
        if let Some(failure) = &failure {
            fail(test, failure);
        }
        let test = id(test);
        breaker(&mut spans, test, request, failure.as_ref());
        return spans.finish();
    }
    let client = spans.child(root, "echo_proxy_client", whole);
    let is_ok = failure.is_none() && request.status.is_some_and(|status| status < 400);
    set(client, "proxy_echo.status", if is_ok { "ok" } else { "error" });
    set(client, "response_time", request.ended.since(request.begun.at).as_secs_f64());
    // A rule other than the breaker, of a policy that has none.
    if let Some(failure) =
        failure.as_ref().filter(|_| request.is_blocked() && request.breaker.is_none())
    {
        fail(client, failure);
    }
    let client = id(client);
    spans.child(client, "parse_request_client", (request.begun.at, routed.at));
    let guarded = breaker(&mut spans, client, request, failure.as_ref()).unwrap_or(client);
    if !request.is_blocked() {
        forward(&mut spans, guarded, request, failure.as_ref());
    }
    let constructed =
        (request.answered.unwrap_or(routed.at), request.given.unwrap_or(request.ended));
    spans.child(client, "construct_response_client", constructed);
    spans.finish()
}

/// From the route to the end of the upstream's part.
fn guarded(request: &Proxied) -> During {
    let from = request.routed.as_ref().map_or(request.begun.at, |routed| routed.at);
    (from, request.forwarded_until())
}

fn breaker(
    spans: &mut Spans,
    parent: SpanId,
    request: &Proxied,
    failure: Option<&Failure>,
) -> Option<SpanId> {
    let breaker = request.breaker.as_ref()?;
    let span = spans.child(parent, "circuit_breaker_call", guarded(request));
    describe(span, request, breaker);
    let counts = breaker.settled.is_some_and(|settled| settled.outcome == Outcome::Failure);
    if let Some(failure) = failure.filter(|_| request.is_blocked() || counts) {
        fail(span, failure);
    }
    Some(id(span))
}

fn forward(spans: &mut Spans, parent: SpanId, request: &Proxied, failure: Option<&Failure>) {
    let redirect = spans.child(parent, "redirect_to_server_client", guarded(request));
    if let Some(failure) = failure {
        fail(redirect, failure);
    }
    let redirect = id(redirect);
    let name = request.asked.as_ref().map_or("HTTP", |asked| method_in_name(&asked.method));
    for (number, one) in request.tries.iter().enumerate() {
        let during = (one.from, one.to.unwrap_or_else(|| request.forwarded_until()));
        let client = spans.client(one.span, redirect, name.to_owned(), during);
        request.describe_try(client, number, one);
    }
}

/// The study's facts of a breaker.
fn describe(span: &mut SpanData, request: &Proxied, breaker: &Breaker) {
    let is_blocked = request.is_blocked();
    let after = breaker.settled.map_or(breaker.decided_in, |settled| settled.after.state);
    set(span, "cb.current_state", name(breaker.before));
    set(span, "cb.new_state", name(after));
    let states = (breaker.before, breaker.decided_in);
    if let Some(names) = transitions(states, breaker.settled.as_ref(), name) {
        set(span, "cb.state_transition", names);
    }
    let count = breaker.settled.map_or(breaker.failures, |settled| failures(&settled.after));
    set(span, "cb.failure_count", i64::from(count));
    let state = name(breaker.decided_in);
    let status = match (&request.rejected, breaker.settled) {
        (Some(Denial { rule: Rule::Breaker, .. }), _) if is_blocked => format!("blocked ({state})"),
        (Some(denial), _) if is_blocked => format!("blocked ({})", denial.rule.title()),
        (Some(_), _) => format!("passed ({state}, not enforced)"),
        (None, Some(settled)) => settled.outcome.name().to_owned(),
        (None, None) => String::from("under way"),
    };
    set(span, "cb.request_status", status);
}
