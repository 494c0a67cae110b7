//! The account of one request: what became of it, told once, when it ends.
//!
//! A [`RequestAccount`] is opened when a request's head is there and filled in on its way. Its drop,
//! wherever that happens, tells the worker. Logs and metrics are made from that one event; requests
//! that were refused, rejected, answered by the proxy itself or given up by their client have it
//! like all others.

mod ended;

use crate::attempt::{AttemptError, ErrorKind};
use crate::framing::Refusal;
use crate::interactions::Kind;
use crate::telemetry::{BreakerWitness, RequestTrace};
use crate::worker::{Route, Worker};
use bimetal_core::fallback::{FallbackKind, NoFallback};
use bimetal_core::policy::Policy;
use bimetal_core::retry::NoRetry;
use bimetal_core::{Admission, Duration, Instant, Rejection};
use hyper::http::request::Parts;
use hyper::{HeaderMap, StatusCode};
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

pub(crate) use ended::{AnsweredBy, Decision, End, RequestEnded, RequestLine};

/// The account of a request under way. Its drop is the request's end.
#[derive(Debug)]
pub(crate) struct RequestAccount {
    worker: Rc<Worker>,
    /// What is known so far. The client leaves, unless another end comes first.
    request: RequestEnded,
    is_complete: bool,
    /// When its caller's time is over; only where somebody wants to be warned of that.
    caller_leaves_at: Option<Instant>,
    /// Only where the request is recorded as a trace.
    trace: Option<Box<RequestTrace>>,
}

impl RequestAccount {
    /// Opens the account of a request whose head is there.
    pub(crate) fn open(worker: &Rc<Worker>) -> Self {
        let request = RequestEnded {
            begun: worker.clock.now(),
            duration: Duration::ZERO,
            line: None,
            status: None,
            by: AnsweredBy::Proxy,
            route: None,
            caller: None,
            patience: None,
            warned: 0,
            policy: None,
            decision: Decision::None,
            end: End::ClientGone,
            failure: None,
            attempts: 0,
            no_retry: None,
            fallback: None,
            fallback_upstream: None,
            no_fallback: None,
            trace: None,
        };
        Self {
            worker: worker.clone(),
            request,
            is_complete: false,
            caller_leaves_at: None,
            trace: None,
        }
    }

    /// Whose request it is.
    pub(crate) fn worker(&self) -> &Worker {
        &self.worker
    }

    /// When the request's head was there.
    pub(crate) fn begun(&self) -> Instant {
        self.request.begun
    }

    /// The head is the client's own, who is at `peer`.
    #[inline]
    pub(crate) fn asked(&mut self, head: &mut Parts, peer: IpAddr) {
        if self.worker.logs_requests() {
            self.request.line = Some(RequestLine::of(head));
        }
        // The proxy's own checks of its listeners are nobody's trace.
        if let Some(tracer) = &self.worker.tracer
            && head.uri.path() != &*self.worker.ready_path
            && let Some(begun) = tracer.begin(&mut head.headers)
        {
            self.trace = Some(RequestTrace::of(begun, head, peer));
        }
    }

    /// The head was refused, and nothing of it is looked at.
    pub(crate) fn refused_unread(&mut self, why: Refusal) {
        self.ends(End::Refused(why));
        let begun = self.worker.tracer.as_ref().and_then(|tracer| tracer.begin_without_head());
        self.trace = begun.map(RequestTrace::without_head);
    }

    /// Takes something down where the request is recorded; reads the clock only then.
    #[inline]
    fn note(&mut self, note: impl FnOnce(&mut RequestTrace, Instant)) {
        if let Some(trace) = &mut self.trace {
            note(trace, self.worker.clock.now());
        }
    }

    /// It comes from there, and its caller says that it waits so long.
    pub(crate) fn called_by(&mut self, caller: IpAddr, patience: Option<Duration>) {
        (self.request.caller, self.request.patience) = (Some(caller), patience);
    }

    /// A route was found.
    pub(crate) fn routed(&mut self, route: &Rc<Route>) {
        self.request.route = Some(route.clone());
        self.note(RequestTrace::routed);
    }

    /// A breaker let the call pass, at `now`. Gives who wants to know its end.
    #[inline]
    pub(crate) fn admitted(
        &mut self,
        now: Instant,
        call: &Admission<'_>,
    ) -> Option<Rc<BreakerWitness>> {
        let trace = self.trace.as_mut()?;
        let view = self.worker.breaker(now, call.ticket.breaker())?;
        Some(trace.admitted(now, call.state(), view))
    }

    /// A rule of the policy said no.
    pub(crate) fn rejected(&mut self, policy: &Policy, rejection: &Rejection) {
        self.note(|trace, now| trace.rejected(now, policy, rejection));
    }

    /// A policy matched, and this is what it says.
    pub(crate) fn decided(&mut self, policy: &Arc<Policy>, decision: Decision) {
        self.request.policy = Some(policy.clone());
        self.request.decision = decision;
    }

    /// Something was noticed in how its caller works.
    pub(crate) fn warns(&mut self, policy: &Policy, kind: Kind, what: fmt::Arguments<'_>) {
        self.worker.warns(policy, kind, what);
        self.request.warned |= kind.bit();
        self.note(|trace, now| trace.warns(now, kind));
    }

    /// Its caller's time is over then.
    pub(crate) fn caller_leaves_at(&mut self, at: Instant) {
        self.caller_leaves_at = Some(at);
    }

    /// Warns where the upstream worked for a caller whose time was over.
    fn warn_of_late_work(&mut self) {
        let Some(left) = self.caller_leaves_at else { return };
        let ended = self.request.begun + self.request.duration;
        let is_late = ended > left || self.request.failure == Some(ErrorKind::Deadline);
        if self.request.attempts == 0 || !is_late {
            return;
        }
        let (Some(policy), Some(route)) = (self.request.policy.clone(), self.request.route.clone())
        else {
            return;
        };
        let (upstream, path) = (&route.destination, &route.name);
        let what = format_args!(
            "upstream {upstream} worked by route {path} for a caller whose time was over"
        );
        self.warns(&policy, Kind::AfterDeadline, what);
    }

    /// The policy that matched.
    pub(crate) fn policy(&self) -> Option<&Policy> {
        self.request.policy.as_deref()
    }

    /// The request is sent upstream with these headers, or a connection for it is asked for.
    pub(crate) fn attempted(&mut self, headers: &mut HeaderMap) {
        self.request.attempts += 1;
        self.note(|trace, now| trace.tries(now, headers));
    }

    /// The request goes to another connection.
    pub(crate) fn retries(&mut self, error: &AttemptError) {
        self.note(|trace, now| trace.retries(now, error));
    }

    /// The try whose answer has begun is made again.
    pub(crate) fn tries_again(&mut self) {
        self.note(RequestTrace::tries_again);
    }

    /// Its last try is not made again.
    pub(crate) fn not_tried_again(&mut self, why: NoRetry) {
        self.request.no_retry = Some(why);
    }

    /// From now on it goes to another upstream, which stands in.
    pub(crate) fn goes_elsewhere(&mut self, upstream: &Arc<str>) {
        self.request.fallback_upstream = Some(upstream.clone());
        self.note(|trace, _| trace.goes_elsewhere(upstream));
    }

    /// Its answer stands in for a rejection or a failure.
    pub(crate) fn falls_back(&mut self, kind: FallbackKind) {
        self.request.fallback = Some(kind);
    }

    /// No other upstream stands in.
    pub(crate) fn no_fallback(&mut self, why: NoFallback) {
        self.request.no_fallback = Some(why);
    }

    /// Its last try failed.
    pub(crate) fn failed(&mut self, error: &AttemptError) {
        self.request.failure = Some(error.kind);
        self.note(|trace, now| trace.failed(now, error));
    }

    /// The upstream's answer has begun, at `now`.
    pub(crate) fn upstream_answered(&mut self, now: Instant, status: StatusCode) {
        if let Some(trace) = &mut self.trace {
            trace.upstream_answered(now, status.as_u16());
        }
    }

    /// The upstream's answer is the client's.
    pub(crate) fn answered_by_upstream(&mut self) {
        self.request.by = AnsweredBy::Upstream;
    }

    /// An answer with `status` goes to the client.
    pub(crate) fn answers(&mut self, status: StatusCode) {
        self.request.status = Some(status);
        self.note(RequestTrace::given);
    }

    /// Nothing of the answer is left to come, since `now`.
    pub(crate) fn complete(&mut self, now: Instant) {
        self.is_complete = true;
        self.request.duration = now.since(self.request.begun);
    }

    /// How it ended, where that is known before; the first word counts.
    pub(crate) fn ends(&mut self, end: End) {
        if self.request.end == End::ClientGone {
            self.request.end = end;
        }
    }
}

impl Drop for RequestAccount {
    fn drop(&mut self) {
        let worker = &self.worker;
        let is_wanted = self.request.is_timed() || worker.logs_requests() || self.trace.is_some();
        if !self.is_complete && is_wanted {
            self.request.duration = worker.clock.now().since(self.request.begun);
        }
        if self.request.end == End::ClientGone {
            if std::thread::panicking() {
                self.request.end = End::Panicked;
            } else if worker.cuts_off() {
                self.request.end = End::CutOff;
            }
        }
        self.warn_of_late_work();
        self.request.trace = self.trace.as_ref().map(|trace| trace.id());
        let worker = &self.worker;
        worker.request_ended(&self.request);
        if let (Some(trace), Some(tracer)) = (self.trace.take(), &worker.tracer) {
            trace.end(&self.request, tracer);
        }
    }
}
