//! One call's life: what a host observes goes in, what to settle comes out.
//!
//! This is the only place that knows what an answer, an abort or a reset *means*. A host tells it
//! what it sees, in any order, and carries out the [`Effect`]. There is no I/O and no clock in here:
//! every input takes `now`.
//!
//! # The upstream's clock
//! It starts when the call is handed to the upstream and stands while the call waits for its own
//! client, so a client with a slow uplink cannot make an upstream look slow. [Latency], the time
//! limit of the policy and a probe's lease are all measured by it.
//!
//! # Whose answer
//! Only what came from the upstream is evidence. An answer of the mesh, of another filter or of the
//! host says nothing about the upstream, whatever headers it carries.
//!
//! # Call and try
//! A call is one logical request. A try is one exchange with an upstream. A host that tries again
//! does not settle what the failed try proposed: it hands the call over once more. The clock goes
//! on, so the limit is the call's; the latency is that of the last try.
//!
//! [Latency]: crate::outcome::Observation::Answer

mod answer;
mod clock;
mod grpc_web;

use crate::outcome::{FailureRules, Observation, Outcome, Report, Transport};
use crate::time::{Duration, Instant};
use alloc::sync::Arc;
use answer::{Answer, Media};
pub use answer::{AnsweredBy, Fields, Head, retry_after};
use clock::UpstreamClock;

/// The gRPC status that response headers carry, where they are of gRPC.
pub fn grpc_status(fields: &impl Fields) -> Option<u32> {
    Media::of(fields).status_in(fields)
}

/// The life of one call, from its admission to its outcome.
#[derive(Clone, Debug)]
pub struct Call {
    rules: Arc<FailureRules>,
    limit: Option<Duration>,
    try_limit: Option<Duration>,
    clock: UpstreamClock,
    upload: Upload,
    /// What the host was told of the clock: a lease runs from its admission on.
    told_running: bool,
    attempt: Try,
    handed_over: bool,
    settled: bool,
}

/// One exchange with an upstream.
#[derive(Clone, Debug, Default)]
struct Try {
    /// What the call's clock showed when it began.
    began: Duration,
    answer: Option<Answer>,
}

/// How far the request is on its way to the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Upload {
    /// The host waits for more of the client's request. The host's own patience with
    /// `Expect: 100-continue` is waiting as well: nobody is late in it.
    WaitsForClient,
    /// The host has something to send and the upstream does not take it, or no connection is made
    /// yet.
    WaitsForUpstream,
    /// The whole request is on its way. An upgrade is complete at its head.
    Complete,
}

/// What a host does after an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "what the core decided must be carried out"]
pub enum Effect {
    /// Nothing.
    None,
    /// The upstream's clock was stopped or started: a timer of the host and a probe's lease
    /// ([`Engine::upstream_clock`](crate::Engine::upstream_clock)) follow it.
    Clock {
        /// Whether it runs now.
        runs: bool,
    },
    /// The headers are good so far: a probe's slot is free
    /// ([`Engine::answered`](crate::Engine::answered)).
    Answered,
    /// The outcome is known: [`Engine::settle`](crate::Engine::settle).
    Settle(Report),
}

impl Effect {
    /// Whether the call failed.
    pub const fn is_failure(&self) -> bool {
        matches!(self, Self::Settle(Report { outcome: Outcome::Failure, .. }))
    }
}

impl Call {
    /// A call that was admitted. `limit` is the policy's time on the upstream's clock for response
    /// headers, where the host keeps it or knows that somebody does.
    pub fn new(rules: Arc<FailureRules>, limit: Option<Duration>) -> Self {
        Self {
            rules,
            limit,
            try_limit: None,
            clock: UpstreamClock::default(),
            upload: Upload::WaitsForUpstream,
            told_running: true,
            attempt: Try::default(),
            handed_over: false,
            settled: false,
        }
    }

    /// Each try has `limit` on the upstream's clock as well.
    pub const fn limit_tries(&mut self, limit: Option<Duration>) {
        self.try_limit = limit;
    }

    /// The call waits in a queue of the host: the clock stands until it is handed over.
    pub fn queued(&mut self, now: Instant) -> Effect {
        self.handed_over = false;
        self.clock.stand(now);
        self.clock_effect()
    }

    /// The call is handed to the upstream. Once more for each further try: then what the try before
    /// it proposed is void. A host that waits between two tries says [`Call::queued`] meanwhile.
    #[inline]
    pub fn handed_over(&mut self, now: Instant, upload: Upload) -> Effect {
        self.attempt = Try { began: self.clock.elapsed(now), answer: None };
        self.settled = false;
        self.handed_over = true;
        self.upload(now, upload)
    }

    /// The request got further, or stopped.
    #[inline]
    pub fn upload(&mut self, now: Instant, upload: Upload) -> Effect {
        self.upload = upload;
        match upload {
            _ if !self.handed_over || self.is_answered() || self.settled => return Effect::None,
            Upload::WaitsForClient => self.clock.stand(now),
            Upload::WaitsForUpstream | Upload::Complete => self.clock.run(now),
        }
        self.clock_effect()
    }

    /// An informational head (1xx, but for 101) arrived. It is no answer: the clock goes on, so an
    /// upstream cannot buy time with it.
    pub const fn informational(&self, _now: Instant) -> Effect {
        Effect::None
    }

    /// Response headers arrived. The clock stops.
    #[inline]
    pub fn headers(&mut self, now: Instant, head: &Head<'_, impl Fields>) -> Effect {
        if self.settled {
            return Effect::None;
        }
        let measured = self.clock.elapsed(now) - self.attempt.began;
        self.clock.stand(now);
        match head.by {
            AnsweredBy::Upstream => {}
            AnsweredBy::Injected => {
                let grpc = Media::of(head.fields).status_in(head.fields);
                return self.observe(&Observation::Injected { status: head.status, grpc });
            }
            AnsweredBy::Other => return self.observe(&Observation::NotEvidence),
        }
        let media = Media::of(head.fields);
        let latency = head.latency.unwrap_or(measured);
        let grpc = media.status_in(head.fields);
        let answer = self.attempt.answer.insert(Answer { status: head.status, latency, media });
        let outcome = self.rules.classify(&answer.seen(grpc));
        if outcome == Outcome::Failure {
            let retry_after = head.fields.retry_after().and_then(answer::retry_after);
            return self.settle(Report { outcome, retry_after, latency: None });
        }
        if head.end_of_stream && grpc.is_none() {
            return self.ended(now);
        }
        if grpc.is_some() || head.status == 101 || answer.media == Media::Events {
            return self.settle(outcome.into());
        }
        Effect::Answered
    }

    /// The connection is a tunnel now: nothing more will be said of the call. A status of 101 means
    /// that by itself; a host tells it of `CONNECT`.
    pub fn switched(&mut self, _now: Instant) -> Effect {
        match &self.attempt.answer {
            Some(answer) => self.observe(&answer.seen(None)),
            None => Effect::None,
        }
    }

    /// Whether the body of the answer must be shown: that of gRPC-Web carries the status.
    pub const fn wants_body(&self) -> bool {
        match &self.attempt.answer {
            Some(answer) => answer.media.is_read() && !self.settled,
            None => false,
        }
    }

    /// Whether the answer's trailers matter: else a host need not fetch them.
    pub const fn wants_trailers(&self) -> bool {
        match &self.attempt.answer {
            Some(answer) => answer.media.has_grpc_status() && !self.settled,
            None => false,
        }
    }

    /// A piece of the answer's body, cut anywhere; none where the host could not see it. Only where
    /// [`Call::wants_body`] says so.
    pub fn body(&mut self, _now: Instant, piece: Option<&[u8]>) -> Effect {
        let Some(answer) = self.attempt.answer.as_mut().filter(|_| !self.settled) else {
            return Effect::None;
        };
        match answer.media.read(piece) {
            Some(status) => {
                let seen = answer.seen(Some(status));
                self.observe(&seen)
            }
            None => Effect::None,
        }
    }

    /// The answer's trailers, which end it.
    pub fn trailers(&mut self, now: Instant, grpc_status: Option<&[u8]>) -> Effect {
        match (&self.attempt.answer, grpc_status) {
            (Some(answer), Some(status)) if answer.media.has_grpc_status() => {
                self.observe(&answer.seen(Some(answer::grpc_status(status))))
            }
            _ => self.ended(now),
        }
    }

    /// The answer ended well. Where it should have carried a gRPC status and none was seen, nobody
    /// knows what became of the call.
    #[inline]
    pub fn ended(&mut self, _now: Instant) -> Effect {
        match &self.attempt.answer {
            Some(answer) if answer.media.has_grpc_status() => {
                self.observe(&Observation::NotEvidence)
            }
            Some(answer) => self.observe(&answer.seen(None)),
            None => Effect::None,
        }
    }

    /// The upstream did not answer, or broke off. `Timeout` is the limit of whoever kept one.
    ///
    /// It says nothing about the upstream where the call waited for its own client, nor where an
    /// upload was still going out: an upstream that refuses an upload may answer and close, and the
    /// answer is then lost with the connection (RFC 9112, 9.6).
    pub fn broken(&mut self, now: Instant, how: Transport) -> Effect {
        let seen = match how {
            Transport::Timeout if self.waits_for_client() || !self.handed_over => {
                Observation::NotEvidence
            }
            Transport::Reset if self.lost_in_upload() => Observation::NotEvidence,
            _ => Observation::Broken(how),
        };
        match self.rules.classify(&seen) {
            Outcome::Failure if how == Transport::Timeout && self.rules.wants_latency => {
                // A host whose clock costs may not have asked it.
                let elapsed = self.elapsed(now).max(self.limit_now().unwrap_or_default());
                let latency = Some(elapsed - self.attempt.began);
                self.settle(Report { latency, ..Outcome::Failure.into() })
            }
            outcome => self.settle(outcome.into()),
        }
    }

    /// The client went away. That can hide a black hole, because clients time out first: the
    /// upstream's clock says who kept whom waiting.
    pub fn client_gone(&mut self, now: Instant) -> Effect {
        if let Some(answer) = &self.attempt.answer {
            // Good headers, and then nobody who wanted the rest: all that is known is whether they
            // came late.
            let outcome = match self.rules.classify(&answer.seen(None)) {
                Outcome::Slow => Outcome::Slow,
                _ => Outcome::Neutral,
            };
            return self.settle(outcome.into());
        }
        self.observe(&Observation::ClientGone {
            elapsed: self.clock.elapsed(now) - self.attempt.began,
            deadline: self.limit_now().map(|limit| limit - self.attempt.began),
        })
    }

    /// The call is gone without a word, or ended by the host itself: no evidence.
    pub fn dropped(&mut self, _now: Instant) -> Effect {
        self.observe(&Observation::NotEvidence)
    }

    /// Whether the upstream's clock runs.
    pub const fn clock_runs(&self) -> bool {
        self.clock.runs()
    }

    /// What the upstream's clock shows.
    pub fn elapsed(&self, now: Instant) -> Duration {
        self.clock.elapsed(now)
    }

    /// When the call's limit or that of its try ends, whichever comes first, if nothing stops the clock;
    /// none while it stands.
    pub fn deadline(&self) -> Option<Instant> {
        self.clock.reaches(self.limit_now()?)
    }

    /// What is left of the call's limit, whatever its try may take; none without one.
    pub fn left(&self, now: Instant) -> Option<Duration> {
        self.limit.map(|limit| limit - self.clock.elapsed(now))
    }

    /// What the clock may show while this try is under way.
    fn limit_now(&self) -> Option<Duration> {
        let of_try = self.try_limit.map(|limit| self.attempt.began + limit);
        match (self.limit, of_try) {
            (Some(call), Some(of_try)) => Some(call.min(of_try)),
            (call, of_try) => call.or(of_try),
        }
    }

    /// Whether times matter to the outcome: a host whose clock costs need not ask it otherwise.
    pub fn is_timed(&self) -> bool {
        self.limit.is_some()
            || self.try_limit.is_some()
            || self.rules.slower_than.is_some()
            || self.rules.wants_latency
    }

    /// Whether response headers of the upstream arrived.
    pub const fn is_answered(&self) -> bool {
        self.attempt.answer.is_some()
    }

    fn waits_for_client(&self) -> bool {
        self.upload == Upload::WaitsForClient
    }

    fn lost_in_upload(&self) -> bool {
        let refused = |answer: &Answer| answer.status >= 300;
        let is_whole = self.handed_over && self.upload == Upload::Complete;
        !is_whole && self.attempt.answer.as_ref().is_none_or(refused)
    }

    fn clock_effect(&mut self) -> Effect {
        let runs = self.clock.runs();
        if core::mem::replace(&mut self.told_running, runs) == runs {
            return Effect::None;
        }
        Effect::Clock { runs }
    }

    fn observe(&mut self, seen: &Observation) -> Effect {
        let outcome = self.rules.classify(seen);
        let latency = match (seen, outcome) {
            (Observation::Answer { latency, .. }, Outcome::Success | Outcome::Slow) => {
                Some(*latency)
            }
            // It left when its time was over.
            (Observation::ClientGone { elapsed, .. }, Outcome::Failure) => Some(*elapsed),
            _ => None,
        };
        let latency = latency.filter(|_| self.rules.wants_latency);
        self.settle(Report { latency, ..outcome.into() })
    }

    fn settle(&mut self, report: Report) -> Effect {
        if core::mem::replace(&mut self.settled, true) {
            return Effect::None;
        }
        Effect::Settle(report)
    }
}
