//! Deliberate mistakes of a host, each of which a scenario must catch.
//!
//! They live in the core-alone host and nowhere else, so no production code knows of them. What an
//! answer means is the core's to know; what is left to get wrong is what a host tells the core, and
//! whether it carries out what the core decides.

/// One mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    // What the core is told of the request.
    /// That a call goes to the upstream is not told: no clock ever runs.
    HandOverUntold,
    /// That a request waits for its own client is not told: it counts as complete.
    ClientWaitUntold,
    /// The end of a request is not told: its client seems to keep the upstream waiting for ever.
    RequestEndUntold,
    /// That the upstream takes nothing is told as waiting for the client.
    UpstreamWaitAsClients,

    // Whose answer it is.
    /// An answer of another filter is told as the upstream's.
    OthersAsUpstream,
    /// A fault that the mesh injected is told as the upstream's answer.
    InjectedAsUpstream,
    /// A fault that the mesh injected is told as another filter's answer: it can never count.
    InjectedAsOthers,
    /// The host's own rejection is told as an answer of the upstream.
    RejectionsAsAnswers,
    /// An informational head is told as the answer.
    InformationalAsAnswers,

    // What an answer says.
    /// `content-type` is not told.
    MediaTypesUntold,
    /// `grpc-status` in headers is not told.
    GrpcStatusUntold,
    /// Trailers are told as a plain end.
    TrailersUntold,
    /// The body of gRPC-Web is not shown.
    GrpcWebBodiesUntold,
    /// The upstream's `retry-after` is not told.
    RetryAfterUntold,
    /// Headers are told as the whole answer.
    HeadersAsWhole,
    /// Headers are told only with the end of the answer, so latency lasts until then.
    HeadersAtTheEnd,
    /// Latency is measured from the call on, with the client's time in it.
    LatencyFromTheCall,

    // How it ended.
    /// A timeout is told as a call that the host gave up.
    TimeoutsAsDrops,
    /// A refused connection is told as a call that the host gave up.
    RefusalsAsDrops,
    /// Any reset is told as a refused connection.
    ResetsAsRefusals,
    /// A reset within the answer is told as its end.
    LateResetsAsEnds,
    /// A client that leaves is told as a reset by the upstream.
    AbortsAsResets,
    /// A client that leaves is told as a call that the host gave up.
    AbortsAsDrops,
    /// A client that leaves is not told: its ticket is never given back.
    AbortsUntold,

    // What the core decided.
    /// A ticket is settled twice.
    SettledTwice,
    /// A result is settled with the newest ticket instead of its own: a stale generation counts.
    StaleTicket,
    /// A failure that is known at its headers is settled at the end of the answer.
    FailuresAtTheEnd,
    /// `Answered` is not carried out: a probe's slot stays taken until the end of its answer.
    AnsweredIgnored,
    /// `Answered` is carried out at the admission: no lease ever ends.
    AnsweredAtOnce,
    /// `Clock` is not carried out: a lease goes on while a call waits for its own client.
    ClockIgnored,
    /// The time for response headers is counted from the call on, not to the deadline that the core
    /// names.
    OrdinaryTimeouts,

    /// What the engine says of another try is not asked for: it is made, up to three.
    RefusedRetriesMade,

    // Calls that wait.
    /// A call that is woken does not ask again before its time is over.
    WokenInVain,
    /// A call whose client left while it waited is not forgotten.
    LeaversKept,
    /// The end of a call is not told to whoever counts connections.
    ConnectionsKept,
    /// The end of a caller's time is told as the upstream's timeout.
    CallersTimeAsTimeout,

    // The engine.
    /// Nobody polls: a probe without answer keeps its slot until the next call.
    NobodyPolls,
    /// A refused document takes the one in force with it.
    BadUpdateWipes,
    /// A good document resets breakers that it does not change.
    UpdateForgets,
}

impl Mutant {
    /// Every mistake.
    pub const ALL: [Self; 39] = [
        Self::HandOverUntold,
        Self::ClientWaitUntold,
        Self::RequestEndUntold,
        Self::UpstreamWaitAsClients,
        Self::OthersAsUpstream,
        Self::InjectedAsUpstream,
        Self::InjectedAsOthers,
        Self::RejectionsAsAnswers,
        Self::InformationalAsAnswers,
        Self::MediaTypesUntold,
        Self::GrpcStatusUntold,
        Self::TrailersUntold,
        Self::GrpcWebBodiesUntold,
        Self::RetryAfterUntold,
        Self::HeadersAsWhole,
        Self::HeadersAtTheEnd,
        Self::LatencyFromTheCall,
        Self::TimeoutsAsDrops,
        Self::RefusalsAsDrops,
        Self::ResetsAsRefusals,
        Self::LateResetsAsEnds,
        Self::AbortsAsResets,
        Self::AbortsAsDrops,
        Self::AbortsUntold,
        Self::SettledTwice,
        Self::StaleTicket,
        Self::FailuresAtTheEnd,
        Self::AnsweredIgnored,
        Self::AnsweredAtOnce,
        Self::ClockIgnored,
        Self::OrdinaryTimeouts,
        Self::RefusedRetriesMade,
        Self::WokenInVain,
        Self::LeaversKept,
        Self::ConnectionsKept,
        Self::CallersTimeAsTimeout,
        Self::NobodyPolls,
        Self::BadUpdateWipes,
        Self::UpdateForgets,
    ];
}
