//! `tree: semconv`: a server's span with the facts of the breaker, and below it a client's span for
//! each try, by OpenTelemetry's conventions for HTTP.

use super::proxied::{Proxied, method_in_name};
use super::request::{failures, transitions};
use super::spans::{Spans, id, set};
use crate::account::Decision;
use bimetal_core::event::State;
use opentelemetry_sdk::trace::SpanData;

/// How many spans [`spans`] makes.
pub(super) fn count(request: &Proxied) -> usize {
    1 + request.tries.len()
}

/// The spans of a request.
pub(super) fn spans(request: &Proxied) -> Vec<SpanData> {
    let mut spans = Spans::of(request.begun.clone());
    let warnings = request.warnings(&spans);
    let method = request.asked.as_ref().map_or("HTTP", |asked| method_in_name(&asked.method));
    let name = match &request.routed {
        Some(routed) => format!("{method} {}", routed.path),
        // A path would be as many names as clients can think of.
        None => method.to_owned(),
    };
    let root = spans.root(name, (request.begun.at, request.ended));
    request.describe_server(root);
    root.events.events.extend(warnings);
    describe_breaker(root, request);
    let root = id(root);
    for (number, one) in request.tries.iter().enumerate() {
        let during = (one.from, one.to.unwrap_or_else(|| request.forwarded_until()));
        let client = spans.client(one.span, root, method.to_owned(), during);
        request.describe_try(client, number, one);
    }
    spans.finish()
}

fn describe_breaker(span: &mut SpanData, request: &Proxied) {
    let Some(policy) = &request.policy else {
        return;
    };
    set(span, "circuitbreaker.policy", policy.to_string());
    set(span, "circuitbreaker.decision", request.decision.name());
    if let Decision::Rejected(rule) = request.decision {
        set(span, "circuitbreaker.rule", rule.name());
    }
    if let Some(denial) = &request.rejected {
        set(span, "circuitbreaker.reason", denial.why.clone());
    }
    if let Some(kind) = request.fallback {
        set(span, "bimetal.fallback.kind", kind.name());
    }
    let Some(breaker) = &request.breaker else {
        return;
    };
    set(span, "circuitbreaker.state", breaker.decided_in.name());
    let failures = breaker.settled.map_or(breaker.failures, |settled| failures(&settled.after));
    set(span, "circuitbreaker.failure_count", i64::from(failures));
    if let Some(settled) = breaker.settled {
        set(span, "circuitbreaker.outcome", settled.outcome.name());
        set(span, "circuitbreaker.new_state", settled.after.state.name());
    }
    let states = (breaker.before, breaker.decided_in);
    if let Some(names) = transitions(states, breaker.settled.as_ref(), State::name) {
        set(span, "circuitbreaker.transition", names);
    }
}
