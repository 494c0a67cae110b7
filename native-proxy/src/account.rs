//! The account of one request: what became of it, told once, when it ends.
//!
//! A [`RequestAccount`] is opened when a request's head is there and filled in on its way. Its drop,
//! wherever that happens, tells the worker. Logs and metrics are made from that one event; requests
//! that were refused, rejected, answered by the proxy itself or given up by their client have it
//! like all others.

use crate::attempt::{AttemptError, ErrorKind};
use crate::framing::Refusal;
use crate::interactions::Kind;
use crate::telemetry::{BreakerWitness, RequestTrace};
use crate::worker::{Route, Worker};
use bimetal_core::decision::Rule;
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

/// Most bytes of a path, and of a method, that the log shows.
const LONGEST_PATH: usize = 256;
const LONGEST_METHOD: usize = 32;

/// A request that has ended.
#[derive(Debug)]
pub(crate) struct RequestEnded {
    /// When its head was there.
    pub begun: Instant,
    /// From its head to the end of its answer; zero where neither metrics nor the log want it.
    pub duration: Duration,
    /// What was asked; only where the log wants it, and never of a refused head.
    pub line: Option<Box<RequestLine>>,
    /// The status that was given; none where there was no answer.
    pub status: Option<StatusCode>,
    /// Whose answer that was.
    pub by: AnsweredBy,
    /// The route; none where the request ended before one was found.
    pub route: Option<Rc<Route>>,
    /// The policy that matched.
    pub policy: Option<Arc<Policy>>,
    /// What was decided.
    pub decision: Decision,
    /// How it ended.
    pub end: End,
    /// Why its last try failed.
    pub failure: Option<ErrorKind>,
    /// How often it was sent upstream, or a connection for it was asked for.
    pub attempts: u32,
    /// Why its last try was not made again, where its policy tries such failures again.
    pub no_retry: Option<NoRetry>,
    /// What stood in for a rejection or a failure.
    pub fallback: Option<FallbackKind>,
    /// The other upstream that was asked to.
    pub fallback_upstream: Option<Arc<str>>,
    /// Why that did not stand in, where its policy names one.
    pub no_fallback: Option<NoFallback>,
}

impl RequestEnded {
    /// Whether the metrics tell how long it took: not what was turned away at once.
    pub(crate) fn is_timed(&self) -> bool {
        self.route.is_some() && !matches!(self.decision, Decision::Rejected(_))
    }
}

/// What was asked, as far as people are shown it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestLine {
    /// The method.
    pub method: String,
    /// The path without its query, which may hold secrets.
    pub path: String,
}

impl RequestLine {
    #[cold]
    fn of(head: &Parts) -> Box<Self> {
        // Both are visible ASCII: see `framing`.
        let cut = |text: &str, longest| text.get(..longest).unwrap_or(text).to_owned();
        Box::new(Self {
            method: cut(head.method.as_str(), LONGEST_METHOD),
            path: cut(head.uri.path(), LONGEST_PATH),
        })
    }
}

/// What was decided of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nothing: no policy was for it, or none was asked.
    #[default]
    None,
    /// It passes without a permit: the policy does not act, or had no room for its scope.
    Passed,
    /// It goes upstream with a permit.
    Admitted,
    /// It was turned away by this rule.
    Rejected(Rule),
}

impl Decision {
    /// The name in logs.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Passed => "passed",
            Self::Admitted => "admitted",
            Self::Rejected(_) => "rejected",
        }
    }
}

/// Whose answer the client got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum AnsweredBy {
    /// The proxy's own.
    #[default]
    Proxy,
    /// The upstream's.
    Upstream,
}

impl AnsweredBy {
    /// Both names in metrics and logs, each in its place.
    pub(crate) const NAMES: [&'static str; 2] = ["proxy", "upstream"];

    /// Its place among the names.
    pub(crate) const fn place(self) -> usize {
        match self {
            Self::Proxy => 0,
            Self::Upstream => 1,
        }
    }

    /// The name in metrics and logs.
    pub(crate) const fn name(self) -> &'static str {
        Self::NAMES[self.place()]
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Its answer is whole.
    Answered,
    /// Its answer broke off by the upstream's doing.
    BrokeOff,
    /// Its client left, or took nothing for too long.
    ClientGone,
    /// It was refused for its form or size.
    Refused(Refusal),
    /// It lasted longer than a drain.
    CutOff,
    /// Our own code panicked in it.
    Panicked,
}

impl End {
    /// Every name in metrics and logs, each in its place.
    pub(crate) const NAMES: [&'static str; 6] =
        ["answered", "broke_off", "client_gone", "refused", "cut_off", "panicked"];

    /// Its place among the names.
    pub(crate) const fn place(self) -> usize {
        match self {
            Self::Answered => 0,
            Self::BrokeOff => 1,
            Self::ClientGone => 2,
            Self::Refused(_) => 3,
            Self::CutOff => 4,
            Self::Panicked => 5,
        }
    }

    /// The name in metrics and logs.
    pub(crate) const fn name(self) -> &'static str {
        Self::NAMES[self.place()]
    }
}

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
            policy: None,
            decision: Decision::None,
            end: End::ClientGone,
            failure: None,
            attempts: 0,
            no_retry: None,
            fallback: None,
            fallback_upstream: None,
            no_fallback: None,
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
        let worker = &self.worker;
        worker.request_ended(&self.request);
        if let (Some(trace), Some(tracer)) = (self.trace.take(), &worker.tracer) {
            trace.end(&self.request, tracer);
        }
    }
}
