//! How a row is written, and how it is read.
//!
//! ```text
//! row! { name_that_says_the_rule, given().limit(2_000);
//!     0      HandedOver(Complete)  => Nothing;
//!     2_000  ClientGone            => Failure;
//! }
//! ```

use bimetal_core::call::{AnsweredBy, Call, Effect, Fields, Head, Upload};
use bimetal_core::outcome::{FailureRules, Outcome, Transport};
use bimetal_core::{Duration, Instant};
use std::fmt;
use std::sync::Arc;

/// One row of the table: a name, what the policy holds, and the timed inputs with what they give.
macro_rules! row {
    ($name:ident, $given:expr; $($at:literal $input:expr => $out:expr;)+) => {
        #[test]
        fn $name() {
            crate::row::play($given, &[$(($at, $input.into(), $out)),+]);
        }
    };
}

/// What a host observes.
#[derive(Clone, Debug)]
pub(crate) enum In {
    Queued,
    HandedOver(Upload),
    /// How far the request is.
    Request(Upload),
    Informational,
    Head(HeadSeen),
    Switched,
    Body(Vec<u8>),
    /// A piece of the body that the host could not see.
    Unseen,
    Trailers(Option<Vec<u8>>),
    Ended,
    Broken(Transport),
    ClientGone,
    Dropped,
    /// No input: a look at what the call says of itself.
    Look,
}

/// What the core must answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Out {
    Nothing,
    /// The upstream's clock stands from now on.
    Stands,
    /// The upstream's clock runs from now on.
    Runs,
    Answered,
    Success,
    Failure,
    /// A failure whose `retry-after` says so many seconds.
    FailureFor(u64),
    Slow,
    Neutral,
    /// Anything but evidence: the specification leaves open when it settles.
    NoEvidence,
    /// For `Look`: what the clock shows, in milliseconds.
    Shows(u64),
    /// For `Look`: when the limit ends, in milliseconds.
    Due(u64),
    NeverDue,
    WantsBody,
    WantsNoBody,
    WantsTrailers,
    WantsNoTrailers,
    /// For `Look`: whether times matter.
    Timed,
    Untimed,
}

/// Response headers, as a host saw them.
#[derive(Clone, Debug)]
pub(crate) struct HeadSeen {
    status: u16,
    by: AnsweredBy,
    took: Option<u64>,
    ends: bool,
    content_type: Option<Vec<u8>>,
    grpc_status: Option<Vec<u8>>,
    retry_after: Option<Vec<u8>>,
}

/// Headers of the upstream; a body follows.
pub(crate) fn head(status: u16) -> HeadSeen {
    HeadSeen {
        status,
        by: AnsweredBy::Upstream,
        took: None,
        ends: false,
        content_type: None,
        grpc_status: None,
        retry_after: None,
    }
}

/// Headers of a gRPC answer.
pub(crate) fn grpc(status: u16) -> HeadSeen {
    head(status).kind("application/grpc")
}

impl HeadSeen {
    pub(crate) fn kind(self, content_type: &str) -> Self {
        Self { content_type: Some(content_type.into()), ..self }
    }

    pub(crate) fn status(self, grpc_status: &str) -> Self {
        Self { grpc_status: Some(grpc_status.into()), ..self }
    }

    pub(crate) fn retry_after(self, value: &str) -> Self {
        Self { retry_after: Some(value.into()), ..self }
    }

    /// The host knows the latency better: milliseconds.
    pub(crate) fn took(self, millis: u64) -> Self {
        Self { took: Some(millis), ..self }
    }

    /// No body and no trailers follow.
    pub(crate) fn ends(self) -> Self {
        Self { ends: true, ..self }
    }

    pub(crate) fn by(self, by: AnsweredBy) -> Self {
        Self { by, ..self }
    }

    pub(crate) fn is_of(&self, by: AnsweredBy) -> bool {
        self.by == by
    }

    /// The host does not know the latency better.
    pub(crate) fn measured_by_the_call(self) -> Self {
        Self { took: None, ..self }
    }
}

impl Fields for HeadSeen {
    fn content_type(&self) -> Option<&[u8]> {
        self.content_type.as_deref()
    }

    fn grpc_status(&self) -> Option<&[u8]> {
        self.grpc_status.as_deref()
    }

    fn retry_after(&self) -> Option<&[u8]> {
        self.retry_after.as_deref()
    }
}

impl From<HeadSeen> for In {
    fn from(head: HeadSeen) -> Self {
        Self::Head(head)
    }
}

/// A piece of an answer's body.
pub(crate) fn body(bytes: impl AsRef<[u8]>) -> In {
    In::Body(bytes.as_ref().to_vec())
}

/// Trailers with this `grpc-status`.
pub(crate) fn trailers(grpc_status: &str) -> In {
    In::Trailers(Some(grpc_status.into()))
}

/// What the policy holds, and where the host's clock begins.
pub(crate) struct Given {
    pub(crate) rules: FailureRules,
    pub(crate) limit: Option<Duration>,
    origin: Instant,
}

/// The defaults of the policy language: 5xx; deadline exceeded, internal, unavailable; no
/// connection, reset, timeout. Nothing is slow, nobody keeps a limit.
pub(crate) fn given() -> Given {
    let mut rules = FailureRules::default();
    rules.failures.statuses.insert_class(5);
    rules.failures.grpc = 1 << 4 | 1 << 13 | 1 << 14;
    rules.failures.transport = vec![Transport::Connect, Transport::Reset, Transport::Timeout];
    Given { rules, limit: None, origin: Instant::ZERO }
}

/// The sets of statuses are bits that nobody can read.
impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FailureRules { slower_than, count_injected, failures, .. } = &self.rules;
        let (limit, counts) = (self.limit, count_injected);
        write!(f, "limit {limit:?}, slower than {slower_than:?}, injected counts: {counts}, ")?;
        write!(f, "failures {:?}", failures.transport)
    }
}

impl Given {
    pub(crate) fn limit(mut self, millis: u64) -> Self {
        self.limit = Some(Duration::from_millis(millis));
        self
    }

    pub(crate) fn slower_than(mut self, millis: u64) -> Self {
        self.rules.slower_than = Some(Duration::from_millis(millis));
        self
    }

    pub(crate) fn fails(mut self, status: u16) -> Self {
        self.rules.failures.statuses.insert(status);
        self
    }

    /// These gRPC statuses are failures, and no others.
    pub(crate) fn fails_grpc(mut self, codes: &[u32]) -> Self {
        self.rules.failures.grpc = codes.iter().fold(0, |bits, code| bits | 1 << code);
        self
    }

    /// These transport failures count, and no others.
    pub(crate) fn fails_transport(mut self, kinds: &[Transport]) -> Self {
        self.rules.failures.transport = kinds.to_vec();
        self
    }

    pub(crate) fn ignores(mut self, status: u16) -> Self {
        self.rules.ignore.statuses.insert(status);
        self
    }

    pub(crate) fn ignores_grpc(mut self, code: u32) -> Self {
        self.rules.ignore.grpc |= 1 << code;
        self
    }

    pub(crate) fn ignores_transport(mut self, how: Transport) -> Self {
        self.rules.ignore.transport.push(how);
        self
    }

    pub(crate) fn counts_injected(mut self) -> Self {
        self.rules.count_injected = true;
        self
    }

    /// The times of the row are counted from so many milliseconds before the end of `u64`.
    pub(crate) fn before_the_end_of_time(mut self, millis: u64) -> Self {
        self.origin = Instant::from_nanos(u64::MAX - millis * 1_000_000);
        self
    }

    pub(crate) fn call(&self) -> Call {
        Call::new(Arc::new(self.rules.clone()), self.limit)
    }
}

/// Tells `call` of one input.
pub(crate) fn tell(call: &mut Call, now: Instant, input: &In) -> Effect {
    match input {
        In::Queued => call.queued(now),
        In::HandedOver(upload) => call.handed_over(now, *upload),
        In::Request(upload) => call.upload(now, *upload),
        In::Informational => call.informational(now),
        In::Head(seen) => {
            let latency = seen.took.map(Duration::from_millis);
            let HeadSeen { status, by, ends, .. } = *seen;
            call.headers(now, &Head { status, by, latency, end_of_stream: ends, fields: seen })
        }
        In::Switched => call.switched(now),
        In::Body(piece) => call.body(now, Some(piece)),
        In::Unseen => call.body(now, None),
        In::Trailers(status) => call.trailers(now, status.as_deref()),
        In::Ended => call.ended(now),
        In::Broken(how) => call.broken(now, *how),
        In::ClientGone => call.client_gone(now),
        In::Dropped => call.dropped(now),
        In::Look => Effect::None,
    }
}

fn said(effect: Effect) -> Out {
    let Effect::Settle(report) = effect else {
        return match effect {
            Effect::Clock { runs: true } => Out::Runs,
            Effect::Clock { runs: false } => Out::Stands,
            Effect::Answered => Out::Answered,
            _ => Out::Nothing,
        };
    };
    match (report.outcome, report.retry_after) {
        (Outcome::Failure, Some(span)) => Out::FailureFor(span.as_secs_ceil()),
        (Outcome::Failure, None) => Out::Failure,
        (outcome, Some(span)) => panic!("retry-after {span} of a {}", outcome.name()),
        (Outcome::Success, None) => Out::Success,
        (Outcome::Slow, None) => Out::Slow,
        (Outcome::Neutral, None) => Out::Neutral,
    }
}

const fn settles(out: Out) -> bool {
    use Out::{Failure, FailureFor, Neutral, Slow, Success};
    matches!(out, Success | Failure | FailureFor(_) | Slow | Neutral)
}

/// Plays a row. It must be settled at its end, and stay so.
pub(crate) fn play(given: Given, steps: &[(u64, In, Out)]) {
    let mut call = given.call();
    let origin = given.origin;
    let mut settled = false;
    let mut now = origin;
    for (line, (at, input, wanted)) in steps.iter().enumerate() {
        now = origin + Duration::from_millis(*at);
        let effect = tell(&mut call, now, input);
        let out = said(effect);
        assert_eq!(effect.is_failure(), matches!(out, Out::Failure | Out::FailureFor(_)));
        settled = settles(out) || settled && !matches!(input, In::HandedOver(_));
        let got = match wanted {
            Out::NoEvidence if matches!(out, Out::Nothing | Out::Answered | Out::Neutral) => {
                Out::NoEvidence
            }
            Out::Shows(_) => Out::Shows(call.elapsed(now).as_millis()),
            Out::Due(_) | Out::NeverDue => match call.deadline() {
                Some(due) => Out::Due(due.since(origin).as_millis()),
                None => Out::NeverDue,
            },
            Out::WantsBody | Out::WantsNoBody if call.wants_body() => Out::WantsBody,
            Out::WantsBody | Out::WantsNoBody => Out::WantsNoBody,
            Out::WantsTrailers | Out::WantsNoTrailers if call.wants_trailers() => {
                Out::WantsTrailers
            }
            Out::WantsTrailers | Out::WantsNoTrailers => Out::WantsNoTrailers,
            Out::Timed | Out::Untimed if call.is_timed() => Out::Timed,
            Out::Timed | Out::Untimed => Out::Untimed,
            _ => out,
        };
        assert_eq!(got, *wanted, "line {}: {at} ms, {input:?}", line + 1);
        assert!(call.clock_runs() || call.deadline().is_none(), "due while the clock stands");
    }
    assert!(settled, "the row ends without an outcome");
    nothing_more(&call, now);
}

/// Once settled, a call has nothing more to say until it is handed over again.
fn nothing_more(call: &Call, now: Instant) {
    let uploads = [Upload::WaitsForClient, Upload::WaitsForUpstream, Upload::Complete];
    let more = [
        In::Informational,
        head(503).retry_after("9").into(),
        head(200).ends().into(),
        grpc(200).status("14").ends().into(),
        head(503).by(AnsweredBy::Injected).into(),
        In::Switched,
        body(b"\x80\0\0\0\x10grpc-status: 14\n"),
        In::Unseen,
        trailers("14"),
        In::Trailers(None),
        In::Ended,
        In::ClientGone,
        In::Dropped,
    ];
    let broken = Transport::ALL.into_iter().map(In::Broken);
    let requests = uploads.into_iter().map(In::Request);
    for input in more.into_iter().chain(broken).chain(requests) {
        let later = now + Duration::from_secs(3_600);
        let effect = tell(&mut call.clone(), later, &input);
        assert_eq!(effect, Effect::None, "{input:?} after the outcome was known");
        assert!(!call.wants_body() && !call.wants_trailers(), "more is wanted than an outcome");
    }
}

/// What the tables use.
pub(crate) mod prelude {
    pub(crate) use super::In::{
        Body, Broken, ClientGone, Dropped, Ended, HandedOver, Informational, Look, Queued, Request,
        Switched, Trailers, Unseen,
    };
    pub(crate) use super::Out::{
        Answered, Due, Failure, FailureFor, Neutral, NeverDue, NoEvidence, Nothing, Runs, Shows,
        Slow, Stands, Success, Timed, Untimed, WantsBody, WantsNoBody, WantsNoTrailers,
        WantsTrailers,
    };
    pub(crate) use super::{body, given, grpc, head, trailers};
    pub(crate) use bimetal_core::call::AnsweredBy::{Injected, Other};
    pub(crate) use bimetal_core::call::Upload::{Complete, WaitsForClient, WaitsForUpstream};
    pub(crate) use bimetal_core::outcome::Transport::{Connect, Overflow, Reset, Timeout};
}
