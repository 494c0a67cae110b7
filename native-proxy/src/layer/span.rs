//! The span of a guarded call, for whoever subscribes to `tracing`: `circuit_breaker_call`, with the
//! attributes that the proxy's trace of the origin study has. Without a subscriber it costs a look
//! at one atomic.

use crate::telemetry::{
    Seen, Settlement, Witness, failures, failures_behind, study_name, transitions,
};
use bimetal_core::breaker::View;
use bimetal_core::decision::Rule;
use bimetal_core::event::State;
use bimetal_core::outcome::Outcome;
use bimetal_core::policy::Policy;
use bimetal_core::{Instant, Rejection};
use tracing::field::Empty;
use tracing::{Level, Span};

/// Whether somebody subscribes.
#[inline]
pub(super) fn is_wanted() -> bool {
    tracing::span_enabled!(target: "bimetal_proxy::layer", Level::INFO)
}

/// A span for one call, with nothing in it yet.
fn of_call() -> Span {
    tracing::span!(
        target: "bimetal_proxy::layer",
        Level::INFO,
        "circuit_breaker_call",
        cb.current_state = Empty,
        cb.new_state = Empty,
        cb.state_transition = Empty,
        cb.failure_count = Empty,
        cb.request_status = Empty,
        otel.status_code = Empty,
    )
}

/// A rule said no; the call goes on in shadow mode alone. There is no span where the policy has no
/// breaker.
#[cold]
pub(super) fn rejected(policy: &Policy, rejection: &Rejection, is_enforced: bool) -> Span {
    if policy.breaker.is_none() {
        return Span::none();
    }
    let (span, state) = (of_call(), study_name(rejection.state()));
    span.record("cb.current_state", state);
    span.record("cb.new_state", state);
    span.record("cb.failure_count", failures_behind(rejection));
    let rule = rejection.rule();
    if is_enforced {
        let by = if rule == Rule::Breaker { state } else { rule.title() };
        span.record("cb.request_status", format!("blocked ({by})"));
        failed(&span, "rejected", &format_args!("{}: {rejection}", rule.title()));
    } else {
        span.record("cb.request_status", format!("passed ({state}, not enforced)"));
    }
    span
}

fn failed(span: &Span, kind: &str, text: &dyn std::fmt::Display) {
    span.record("otel.status_code", "ERROR");
    tracing::event!(
        target: "bimetal_proxy::layer",
        parent: span,
        Level::INFO,
        exception.r#type = kind,
        exception.message = %text,
        "exception"
    );
}

/// Tells a call's span how it was settled.
#[derive(Debug)]
pub(super) struct SpanWitness {
    span: Span,
    before: State,
    decided_in: State,
    seen: Option<Seen>,
}

impl SpanWitness {
    /// Of a call that was let pass in this state, by a breaker that looks like this now.
    #[cold]
    pub(super) fn new(now: Instant, decided_in: State, view: &View) -> Self {
        let span = of_call();
        let before = crate::telemetry::state_before(now, decided_in, view);
        span.record("cb.current_state", study_name(before));
        Self { span, before, decided_in, seen: None }
    }

    /// The span.
    pub(super) const fn span(&self) -> &Span {
        &self.span
    }
}

impl Witness for SpanWitness {
    fn saw(&mut self, what: Seen) {
        self.seen = Some(what);
    }

    fn settled(&self, settlement: Settlement) {
        let span = &self.span;
        span.record("cb.new_state", study_name(settlement.after.state));
        span.record("cb.failure_count", failures(&settlement.after));
        span.record("cb.request_status", settlement.outcome.name());
        if let Some(names) =
            transitions((self.before, self.decided_in), Some(&settlement), study_name)
        {
            span.record("cb.state_transition", names);
        }
        if settlement.outcome == Outcome::Failure {
            match self.seen {
                Some(Seen::Status(status)) => {
                    failed(span, &status.to_string(), &format_args!("answered {status}"));
                }
                Some(Seen::Broke(how)) => failed(span, how.name(), &how.name()),
                None => failed(span, "failure", &"failed"),
            }
        }
    }
}
