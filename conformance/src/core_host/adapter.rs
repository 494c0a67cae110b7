//! Between a host and the core: tells the core what the host saw of a call, and carries out what
//! the core decides. What an answer, an abort or a reset means is the core's to know.

use super::sighting::Sighting;
use bimetal_core::call::{Call, Effect, Head};
use bimetal_core::outcome::FailureRules;
use bimetal_core::{Admission, Duration, Engine, Instant, Ticket};
use std::sync::Arc;

/// The adapter of one admitted call.
pub(super) struct Adapter {
    pub(super) call: Call,
    /// Held until the call is settled.
    pub(super) ticket: Option<Ticket>,
}

/// An admission that has what it needs of its policy.
pub(super) struct OwnAdmission {
    failure: Arc<FailureRules>,
    /// The time for response headers.
    pub(super) limit: Option<Duration>,
    try_limit: Option<Duration>,
    ticket: Ticket,
}

impl OwnAdmission {
    pub(super) fn of(admission: Admission<'_>) -> Self {
        let plan = admission.plan();
        let Admission { policy, ticket, .. } = admission;
        let (limit, try_limit) = (plan.request_timeout, plan.try_timeout);
        Self { failure: policy.failure.clone(), limit, try_limit, ticket }
    }
}

impl Adapter {
    pub(super) fn new(admission: OwnAdmission) -> Self {
        let OwnAdmission { failure, limit, try_limit, ticket } = admission;
        let mut call = Call::new(failure, limit);
        call.limit_tries(try_limit);
        Self { call, ticket: Some(ticket) }
    }

    /// Tells the core what was seen.
    pub(super) fn tell(&mut self, now: Instant, sighting: &Sighting) -> Effect {
        tell(&mut self.call, now, sighting)
    }

    /// Carries out what the core decided.
    pub(super) fn carry_out(&mut self, engine: &mut Engine, now: Instant, effect: Effect) {
        match (effect, &mut self.ticket) {
            (Effect::Clock { runs }, Some(ticket)) => engine.upstream_clock(now, ticket, runs),
            (Effect::Answered, Some(ticket)) => engine.answered(now, ticket),
            (Effect::Settle(report), ticket) => {
                if let Some(ticket) = ticket.take() {
                    engine.settle(now, ticket, report);
                }
            }
            (Effect::None, _) | (_, None) => {}
        }
    }

    /// When the call's time for response headers is over as things stand.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.call.deadline()
    }
}

/// Tells `call` what was seen of it.
pub(super) fn tell(call: &mut Call, now: Instant, sighting: &Sighting) -> Effect {
    match sighting {
        Sighting::HandedOver(upload) => call.handed_over(now, *upload),
        Sighting::Upload(upload) => call.upload(now, *upload),
        Sighting::Informational => call.informational(now),
        Sighting::Headers(head) => {
            let (status, by, latency) = (head.status, head.by, head.latency);
            let end_of_stream = head.whole;
            call.headers(now, &Head { status, by, latency, end_of_stream, fields: head })
        }
        Sighting::Body(piece) if call.wants_body() => call.body(now, Some(piece)),
        Sighting::Body(_) => Effect::None,
        Sighting::Trailers(status) => call.trailers(now, Some(status.to_string().as_bytes())),
        Sighting::Ended => call.ended(now),
        Sighting::Broken(how) => call.broken(now, *how),
        Sighting::ClientGone => call.client_gone(now),
        Sighting::Dropped => call.dropped(now),
    }
}
