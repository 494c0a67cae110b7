//! The adapter with a mistake in it: wrong sightings go in, or right effects are carried out
//! wrongly. Without a mistake it is the adapter as it stands.

use super::adapter::{Adapter, OwnAdmission};
use super::mutant::Mutant;
use super::sighting::{ResponseHead, Sighting};
use bimetal_core::call::{AnsweredBy, Effect, Upload};
use bimetal_core::outcome::{Report, Transport};
use bimetal_core::{Duration, Engine, Instant, Ticket};

/// What some mistakes need to know of other calls.
#[derive(Default)]
pub(super) struct Memory {
    /// The newest ticket.
    newest: Option<Ticket>,
    /// Status of the last own rejection.
    pub(super) own_rejection: Option<u16>,
}

/// An adapter that may make a mistake.
pub(super) struct MistakenAdapter {
    adapter: Adapter,
    mutant: Option<Mutant>,
    admitted: Instant,
    limit: Option<Duration>,
    answered: bool,
    /// Headers that wait for the end of their answer.
    withheld: Option<ResponseHead>,
    /// A failure that waits for the end of its answer.
    unsettled: Option<Report>,
}

impl MistakenAdapter {
    pub(super) fn new(
        admission: OwnAdmission,
        mutant: Option<Mutant>,
        engine: &mut Engine,
        now: Instant,
        memory: &mut Memory,
    ) -> Self {
        let limit = admission.limit;
        let mut adapter = Adapter::new(admission);
        if let (Some(ticket), Some(mutant)) = (&mut adapter.ticket, mutant) {
            match mutant {
                Mutant::AnsweredAtOnce => engine.answered(now, ticket),
                Mutant::StaleTicket => memory.newest = Some(copy_of(ticket)),
                _ => {}
            }
        }
        let mut mistaken = Self {
            adapter,
            mutant,
            admitted: now,
            limit,
            answered: false,
            withheld: None,
            unsettled: None,
        };
        if let Some(status) = memory.own_rejection.take() {
            let rejection = ResponseHead::bare(status, AnsweredBy::Upstream);
            mistaken.tell(engine, now, &Sighting::Headers(rejection), memory);
        }
        mistaken
    }

    /// Tells the core what was seen and carries out what it decides. Returns whether the call failed
    /// by it.
    pub(super) fn tell(
        &mut self,
        engine: &mut Engine,
        now: Instant,
        sighting: &Sighting,
        memory: &Memory,
    ) -> bool {
        self.answered |= matches!(sighting, Sighting::Headers(_));
        let mut failed = false;
        for told in self.distorted(now, sighting) {
            let effect = self.adapter.tell(now, &told);
            failed |= effect.is_failure();
            if let Some(effect) = self.altered(engine, now, effect, &told, memory) {
                self.adapter.carry_out(engine, now, effect);
            }
        }
        failed
    }

    /// What the core is told in place of `sighting`.
    fn distorted(&mut self, now: Instant, sighting: &Sighting) -> Vec<Sighting> {
        let Some(mutant) = self.mutant else {
            return vec![sighting.clone()];
        };
        let instead = match (mutant, sighting) {
            (Mutant::HandOverUntold, Sighting::HandedOver(_))
            | (Mutant::ClientWaitUntold, Sighting::Upload(Upload::WaitsForClient))
            | (Mutant::RequestEndUntold, Sighting::Upload(Upload::Complete))
            | (Mutant::GrpcWebBodiesUntold, Sighting::Body(_))
            | (Mutant::AbortsUntold, Sighting::ClientGone) => return Vec::new(),
            (Mutant::ClientWaitUntold, Sighting::HandedOver(Upload::WaitsForClient)) => {
                Sighting::HandedOver(Upload::Complete)
            }
            (Mutant::UpstreamWaitAsClients, Sighting::HandedOver(Upload::WaitsForUpstream)) => {
                Sighting::HandedOver(Upload::WaitsForClient)
            }
            (Mutant::UpstreamWaitAsClients, Sighting::Upload(Upload::WaitsForUpstream)) => {
                Sighting::Upload(Upload::WaitsForClient)
            }
            (Mutant::InformationalAsAnswers, Sighting::Informational) => {
                let head = ResponseHead::bare(103, AnsweredBy::Upstream);
                Sighting::Headers(ResponseHead { whole: false, ..head })
            }
            (Mutant::TrailersUntold, Sighting::Trailers(_)) => Sighting::Ended,
            (Mutant::TimeoutsAsDrops, Sighting::Broken(Transport::Timeout))
            | (Mutant::RefusalsAsDrops, Sighting::Broken(Transport::Connect))
            | (Mutant::AbortsAsDrops, Sighting::ClientGone) => Sighting::Dropped,
            (Mutant::ResetsAsRefusals, Sighting::Broken(Transport::Reset)) => {
                Sighting::Broken(Transport::Connect)
            }
            (Mutant::LateResetsAsEnds, Sighting::Broken(Transport::Reset)) if self.answered => {
                Sighting::Ended
            }
            (Mutant::AbortsAsResets, Sighting::ClientGone) => Sighting::Broken(Transport::Reset),
            (Mutant::HeadersAtTheEnd, Sighting::Headers(head)) if !head.whole => {
                self.withheld = Some(head.clone());
                return Vec::new();
            }
            (_, Sighting::Headers(head)) => {
                Sighting::Headers(self.distorted_head(mutant, now, head))
            }
            _ => sighting.clone(),
        };
        let before = match sighting {
            Sighting::Body(_) => None,
            _ => self.withheld.take().map(Sighting::Headers),
        };
        before.into_iter().chain([instead]).collect()
    }

    fn distorted_head(&self, mutant: Mutant, now: Instant, head: &ResponseHead) -> ResponseHead {
        let mut head = head.clone();
        match (mutant, head.by) {
            (Mutant::OthersAsUpstream, AnsweredBy::Other)
            | (Mutant::InjectedAsUpstream, AnsweredBy::Injected) => head.by = AnsweredBy::Upstream,
            (Mutant::InjectedAsOthers, AnsweredBy::Injected) => head.by = AnsweredBy::Other,
            (Mutant::MediaTypesUntold, _) => head.content_type = None,
            (Mutant::GrpcStatusUntold, _) => head.grpc_status = None,
            (Mutant::RetryAfterUntold, _) => head.retry_after = None,
            (Mutant::HeadersAsWhole, _) => head.whole = true,
            (Mutant::LatencyFromTheCall, _) => head.latency = Some(now.since(self.admitted)),
            _ => {}
        }
        head
    }

    /// What is carried out in place of `effect`.
    fn altered(
        &mut self,
        engine: &mut Engine,
        now: Instant,
        effect: Effect,
        told: &Sighting,
        memory: &Memory,
    ) -> Option<Effect> {
        let Some(mutant) = self.mutant else {
            return Some(effect);
        };
        match (mutant, effect) {
            (Mutant::AnsweredIgnored, Effect::Answered)
            | (Mutant::ClockIgnored, Effect::Clock { .. }) => return None,
            (Mutant::SettledTwice, Effect::Settle(report)) => {
                if let Some(ticket) = &self.adapter.ticket {
                    engine.settle(now, copy_of(ticket), report);
                }
            }
            (Mutant::StaleTicket, Effect::Settle(_)) => {
                let newest = memory.newest.as_ref();
                if let (Some(newest), Some(ticket)) = (newest, &mut self.adapter.ticket)
                    && newest.call() != ticket.call()
                {
                    *ticket = copy_of(newest);
                }
            }
            (Mutant::FailuresAtTheEnd, Effect::Settle(report))
                if effect.is_failure() && matches!(told, Sighting::Headers(h) if !h.whole) =>
            {
                self.unsettled = Some(report);
                return None;
            }
            (Mutant::FailuresAtTheEnd, _) if !matches!(told, Sighting::Body(_)) => {
                return Some(self.unsettled.take().map_or(effect, Effect::Settle));
            }
            _ => {}
        }
        Some(effect)
    }

    /// When the call's time for response headers is over as things stand.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.mutant {
            Some(Mutant::OrdinaryTimeouts) if self.answered => None,
            Some(Mutant::OrdinaryTimeouts) => self.limit.map(|limit| self.admitted + limit),
            _ => self.adapter.deadline(),
        }
    }

    /// What keeps the call and its ticket.
    pub(super) const fn plain(&mut self) -> &mut Adapter {
        &mut self.adapter
    }

    pub(super) const fn holds_a_ticket(&self) -> bool {
        self.adapter.ticket.is_some()
    }
}

/// A second copy of a ticket, which the core's interface does not allow.
fn copy_of(ticket: &Ticket) -> Ticket {
    // SAFETY: a ticket is plain data, numbers without a destructor (the assertion below), so two
    // copies own nothing twice. Only a mutant makes one: to show what the type system prevents.
    unsafe { std::ptr::read(ticket) }
}

const _: () = assert!(!std::mem::needs_drop::<Ticket>());
