//! One call's account: what is told to the core of it, exactly once.

use crate::worker::Worker;
use bimetal_core::outcome::{Observation, Outcome, Report, Transport};
use bimetal_core::policy::Policy;
use bimetal_core::{Duration, Instant, Ticket};
use hyper::HeaderMap;
use hyper::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER};
use std::rc::Rc;
use std::sync::Arc;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// Where calls are settled: the proxy's worker, or a replica of the in-app layer.
pub(crate) trait Ledger {
    /// The time now.
    fn now(&self) -> Instant;
    /// Good response headers arrived.
    fn answered(&self, now: Instant, ticket: &mut Ticket);
    /// What became of a call.
    fn settle(&self, now: Instant, ticket: Ticket, report: Report);
    /// How long a call took in all, for the policy that matched it or for none.
    fn took(&self, policy: Option<&Arc<Policy>>, duration: Duration);
}

impl Ledger for Rc<Worker> {
    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn answered(&self, now: Instant, ticket: &mut Ticket) {
        Worker::answered(self, now, ticket);
    }

    fn settle(&self, now: Instant, ticket: Ticket, report: Report) {
        Worker::settle(self, now, ticket, report);
    }

    fn took(&self, policy: Option<&Arc<Policy>>, duration: Duration) {
        Worker::took(self, policy, duration);
    }
}

/// The account of one call. Dropped before the end is known, it settles as what that means: the
/// client left, or the call was never handed to the upstream.
#[derive(Debug)]
pub(crate) struct Settlement<L: Ledger = Rc<Worker>> {
    ledger: L,
    policy: Option<Arc<Policy>>,
    ticket: Option<Ticket>,
    begun: Instant,
    handed: Option<Handed>,
    answered: Option<Answered>,
    ended: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Handed {
    at: Instant,
    limit: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct Answered {
    status: u16,
    latency: Duration,
    media: Media,
}

/// What an answer's content says of where its end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Media {
    /// It carries its own status, in headers or trailers.
    Grpc,
    /// A stream of events: it may never end.
    Events,
    Other,
}

impl<L: Ledger> Settlement<L> {
    /// The account of a call that began at `begun`. Without a ticket it only counts the time.
    pub(crate) fn new(
        ledger: L,
        policy: Option<Arc<Policy>>,
        ticket: Option<Ticket>,
        begun: Instant,
    ) -> Self {
        Self { ledger, policy, ticket, begun, handed: None, answered: None, ended: None }
    }

    /// The time now.
    pub(crate) fn now(&self) -> Instant {
        self.ledger.now()
    }

    /// When the request's head was there.
    pub(crate) fn begun(&self) -> Instant {
        self.begun
    }

    /// The policy that matched.
    pub(crate) fn policy(&self) -> Option<&Arc<Policy>> {
        self.policy.as_ref()
    }

    /// The call is handed to the upstream now, and has `limit` for its headers.
    pub(crate) fn handed(&mut self, at: Instant, limit: Option<Duration>) {
        self.handed = Some(Handed { at, limit });
    }

    /// Headers arrived. Returns whether they are a failure. A failure settles here, and so does
    /// success where the end of the stream says nothing more: a stream of events may last for hours.
    pub(crate) fn headers(&mut self, now: Instant, status: u16, headers: &HeaderMap) -> bool {
        let latency = self.handed.map_or(Duration::ZERO, |handed| now.since(handed.at));
        let media = Media::of(headers);
        self.answered = Some(Answered { status, latency, media });
        let (Some(policy), Some(ticket)) = (&self.policy, &mut self.ticket) else {
            return false;
        };
        let grpc = if media == Media::Grpc { grpc_status(headers) } else { None };
        let seen = Observation::Answer { status, grpc, latency };
        let outcome = policy.failure.classify(&seen);
        if outcome == Outcome::Failure {
            self.settle(now, Report { outcome, retry_after: retry_after(headers) });
            return true;
        }
        self.ledger.answered(now, ticket);
        if grpc.is_some() || status == 101 || media == Media::Events {
            self.settle(now, outcome.into());
        }
        false
    }

    /// Trailers arrived.
    pub(crate) fn trailers(&mut self, now: Instant, trailers: &HeaderMap) {
        if let Some(Answered { status, latency, media: Media::Grpc }) = self.answered {
            let grpc = grpc_status(trailers);
            self.observe(now, &Observation::Answer { status, grpc, latency });
        }
    }

    /// The stream ended well.
    pub(crate) fn finished(&mut self, now: Instant) {
        self.ended = Some(now);
        if let Some(Answered { status, latency, .. }) = self.answered {
            self.observe(now, &Observation::Answer { status, grpc: None, latency });
        }
    }

    /// The upstream did not answer, or broke off. Whether that is a failure.
    pub(crate) fn broken(&mut self, how: Transport) {
        self.observe(self.ledger.now(), &Observation::Broken(how));
    }

    /// The call ended without an answer, and that says nothing about the upstream.
    pub(crate) fn not_evidence(&mut self) {
        self.observe(self.ledger.now(), &Observation::NotEvidence);
    }

    /// The call failed because somebody wanted it to.
    pub(crate) fn failed_on_purpose(&mut self) {
        self.settle(self.ledger.now(), Outcome::Failure.into());
    }

    fn observe(&mut self, now: Instant, seen: &Observation) {
        let Some(policy) = &self.policy else { return };
        let outcome = policy.failure.classify(seen);
        self.settle(now, outcome.into());
    }

    fn settle(&mut self, now: Instant, report: Report) {
        if let Some(ticket) = self.ticket.take() {
            self.ledger.settle(now, ticket, report);
        }
    }
}

impl<L: Ledger> Drop for Settlement<L> {
    fn drop(&mut self) {
        // The end of a good stream is the end of the call: no need to look at the clock again.
        let now = self.ended.unwrap_or_else(|| self.ledger.now());
        if self.ticket.is_some() {
            let seen = match self.handed {
                Some(handed) if !std::thread::panicking() => Observation::ClientGone {
                    elapsed: now.since(handed.at),
                    deadline: handed.limit,
                    answered: self.answered.map(|answered| answered.latency),
                },
                _ => Observation::NotEvidence,
            };
            self.observe(now, &seen);
        }
        self.ledger.took(self.policy.as_ref(), now.since(self.begun));
    }
}

impl Media {
    fn of(headers: &HeaderMap) -> Self {
        match headers.get(CONTENT_TYPE) {
            Some(value) => Self::named(value.as_bytes()),
            None => Self::Other,
        }
    }

    fn named(media: &[u8]) -> Self {
        let essence = media.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        // With or without a format; not gRPC-Web, whose status is within its body.
        let format = essence.iter().position(|byte| *byte == b'+').unwrap_or(essence.len());
        let is_grpc = essence
            .get(..format)
            .is_some_and(|essence| essence.eq_ignore_ascii_case(b"application/grpc"));
        if is_grpc {
            Self::Grpc
        } else if essence.eq_ignore_ascii_case(b"text/event-stream") {
            Self::Events
        } else {
            Self::Other
        }
    }
}

/// The value of `grpc-status`; what is no number is UNKNOWN.
fn grpc_status(headers: &HeaderMap) -> Option<u32> {
    let value = headers.get(GRPC_STATUS)?;
    Some(value.to_str().ok().and_then(|text| text.trim().parse().ok()).unwrap_or(2))
}

/// `retry-after` as seconds. As a date it is of another machine's clock, and is left alone.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types() {
        for (text, media) in [
            ("application/grpc", Media::Grpc),
            ("application/grpc+proto", Media::Grpc),
            ("Application/gRPC;x=1", Media::Grpc),
            ("application/grpc-web", Media::Other),
            ("application/grpcx", Media::Other),
            ("", Media::Other),
            ("text/event-stream; charset=utf-8", Media::Events),
            ("text/event-streams", Media::Other),
        ] {
            assert_eq!(Media::named(text.as_bytes()), media, "{text}");
        }
    }
}
