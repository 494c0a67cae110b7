//! Deliberate mistakes of a host, each of which a scenario must catch.
//!
//! They live in the core-alone host and nowhere else, so no production code knows of them. What
//! they get wrong is what a real host has to get right: reading flags, settling once and in time,
//! keeping permits apart, obeying the plan.

use bimetal_core::Ticket;

/// One mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// A timeout is reported as no evidence.
    TimeoutsNeutral,
    /// A refused connection is reported as no evidence.
    RefusalsNeutral,
    /// A reset within the answer is reported as the good answer that its headers promised.
    LateResetsGood,
    /// A permit is settled twice.
    SettledTwice,
    /// A result is settled with the newest permit instead of its own: a stale generation counts.
    StaleAccepted,
    /// A client that leaves is reported as a reset by the upstream.
    AbortsAreResets,
    /// Success settles when the headers arrive.
    SuccessAtHeaders,
    /// The host's own rejection is reported as an upstream's answer.
    RejectionsCounted,
    /// A fault that the mesh injected is reported as an upstream's answer.
    InjectedCounted,
    /// The upstream's `retry-after` is not reported.
    RetryAfterIgnored,
    /// Nobody polls: a probe without answer keeps its slot until the next call.
    LeasesNeverPolled,
    /// Every call is reported as answered at once: no lease ever ends.
    LeaseEndsAtOnce,
    /// Good headers are not reported: a probe's slot stays taken until the end of its answer.
    HeadersKeepTheSlot,
    /// `grpc-status` is not reported.
    GrpcIgnored,
    /// Latency is measured to the end of the answer.
    LatencyToTheEnd,
    /// A refused document takes the one in force with it.
    BadUpdateWipes,
    /// A good document resets breakers that it does not change.
    UpdateForgets,
}

impl Mutant {
    /// Every mistake.
    pub const ALL: [Self; 17] = [
        Self::TimeoutsNeutral,
        Self::RefusalsNeutral,
        Self::LateResetsGood,
        Self::SettledTwice,
        Self::StaleAccepted,
        Self::AbortsAreResets,
        Self::SuccessAtHeaders,
        Self::RejectionsCounted,
        Self::InjectedCounted,
        Self::RetryAfterIgnored,
        Self::LeasesNeverPolled,
        Self::LeaseEndsAtOnce,
        Self::HeadersKeepTheSlot,
        Self::GrpcIgnored,
        Self::LatencyToTheEnd,
        Self::BadUpdateWipes,
        Self::UpdateForgets,
    ];
}

/// A second copy of a ticket, which the core's interface does not allow.
pub(super) fn copy_of(ticket: &Ticket) -> Ticket {
    // SAFETY: a ticket is plain data, numbers without a destructor (the assertion below), so two
    // copies own nothing twice. Only a mutant makes one: to show what the type system prevents.
    unsafe { std::ptr::read(ticket) }
}

const _: () = assert!(!std::mem::needs_drop::<Ticket>());
