//! What is noted of a proxied request on its way.

use super::context;
use super::proxied::{Proxied, Routed, kept_method};
use super::tracer::{Begun, Tracer};
use crate::account::{Decision, RequestEnded};
use crate::attempt::{AttemptError, ErrorKind};
use crate::interactions::Kind;
use crate::worker::{Route, Target};
use bimetal_core::breaker::{Denied, View};
use bimetal_core::decision::Rule;
use bimetal_core::event::{Cause, State};
use bimetal_core::outcome::{Outcome, Transport};
use bimetal_core::policy::Policy;
use bimetal_core::{Instant, Rejection, Settled};
use hyper::header::{HOST, HeaderValue, USER_AGENT};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method, Version};
use opentelemetry::trace::{SpanId, TraceFlags};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};
use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

/// Most bytes of a text that a client chose.
const LONGEST_TEXT: usize = 256;

/// A proxied request that is recorded, in its account.
#[derive(Debug)]
pub(crate) struct RequestTrace {
    begun: Begun,
    asked: Option<Asked>,
    routed: Option<Instant>,
    breaker: Option<Asking>,
    tries: Vec<Try>,
    rejected: Option<Denial>,
    blocked: Option<Instant>,
    answered: Option<Instant>,
    given: Option<Instant>,
    warnings: Vec<(Instant, Kind)>,
    elsewhere: Option<Arc<str>>,
}

/// What was asked.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub method: Method,
    pub path: String,
    pub host: String,
    pub agent: String,
    pub version: Version,
    pub peer: IpAddr,
}

/// One try: a connection that was asked for, and what came of it.
#[derive(Clone, Debug)]
pub(super) struct Try {
    pub span: SpanId,
    pub from: Instant,
    /// When it was over; none for one whose answer was passed on, and for one under way.
    pub to: Option<Instant>,
    pub status: Option<u16>,
    pub failure: Option<(ErrorKind, String)>,
    /// The upstream that it was for, where that stood in for the route's.
    pub elsewhere: Option<Arc<str>>,
}

/// What a breaker was asked, and what became of it.
#[derive(Debug)]
struct Asking {
    asked: Breaker,
    witness: Rc<BreakerWitness>,
}

/// A breaker's part in a request.
#[derive(Clone, Debug)]
pub(crate) struct Breaker {
    /// The state before the request came.
    pub before: State,
    /// The state that it was decided in.
    pub decided_in: State,
    /// Failures that it counted then.
    pub failures: u32,
    /// What became of a call that it let pass, once that is known.
    pub settled: Option<Settlement>,
}

/// What a rule said that turned a request away, or would have.
#[derive(Clone, Debug)]
pub(super) struct Denial {
    pub rule: Rule,
    pub why: String,
}

impl Denial {
    fn of(rejection: &Rejection) -> Self {
        Self { rule: rejection.rule(), why: rejection.to_string() }
    }
}

/// A call's end as its breaker sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settlement {
    /// What the call counted as.
    pub outcome: Outcome,
    /// The breaker just before.
    pub before: View,
    /// The breaker just after.
    pub after: View,
    /// Whether the result came too late to touch it.
    pub late: bool,
}

impl Settlement {
    /// From what was seen around a settlement; none where there is no breaker.
    pub(crate) fn seen(
        before: Option<View>,
        settled: Settled,
        after: Option<View>,
    ) -> Option<Self> {
        let (before, after) = before.zip(after)?;
        Some(Self { outcome: settled.outcome, before, after, late: settled.late })
    }

    /// The state that the call's result brought about, where it changed.
    pub(crate) fn changed_to(&self) -> Option<State> {
        let changed = self.before.generation != self.after.generation && !self.late;
        changed.then_some(self.after.state)
    }
}

/// Every change of state that a call made, by these names: `CLOSED → OPEN`. None where it made none.
pub(crate) fn transitions(
    (before, decided_in): (State, State),
    settled: Option<&Settlement>,
    name: fn(State) -> &'static str,
) -> Option<String> {
    let admission = (before != decided_in).then_some(decided_in);
    let result = settled.and_then(Settlement::changed_to);
    let states = [Some(before), admission, result].into_iter().flatten();
    let names: Vec<_> = states.map(name).collect();
    (names.len() > 1).then(|| names.join(" → "))
}

/// A state as the study writes it.
pub(crate) const fn study_name(state: State) -> &'static str {
    match state {
        State::Closed => "CLOSED",
        State::HalfOpen => "HALF_OPEN",
        State::Open => "OPEN",
    }
}

/// What was seen of a call on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Seen {
    /// An answer of this status.
    Status(u16),
    /// None, or one that broke off.
    Broke(Transport),
}

/// Whoever wants to know how a call is settled.
pub(crate) trait Witness {
    /// This happened to it.
    fn saw(&mut self, _what: Seen) {}

    /// It was settled, just now.
    fn settled(&self, settlement: Settlement);
}

/// A request's own witness.
#[derive(Debug, Default)]
pub(crate) struct BreakerWitness(Cell<Option<Settlement>>);

impl Witness for Rc<BreakerWitness> {
    fn settled(&self, settlement: Settlement) {
        self.0.set(Some(settlement));
    }
}

/// Failures that a breaker counts; of one that they opened, how many it took.
pub(crate) fn failures(view: &View) -> u32 {
    match (view.state, view.cause) {
        (State::Closed, _) | (_, None) => view.failures,
        (_, Some(cause)) => failures_of(cause),
    }
}

/// Failures that opened the breaker which said no.
pub(crate) const fn failures_behind(rejection: &Rejection) -> u32 {
    match rejection {
        Rejection::Breaker(Denied::Open { cause, .. }) => failures_of(*cause),
        _ => 0,
    }
}

/// Failures that a change of state is because of.
const fn failures_of(cause: Cause) -> u32 {
    match cause {
        Cause::ConsecutiveFailures { count } => count,
        Cause::FailureRate { failures, .. } => failures,
        Cause::ProbeFailed => 1,
        _ => 0,
    }
}

/// The state before a call that was let pass at `now`: the one that comes first after the open time
/// ends it.
pub(crate) fn state_before(now: Instant, decided_in: State, view: &View) -> State {
    let has_ended_open = decided_in == State::HalfOpen
        && view.cause == Some(Cause::OpenElapsed)
        && view.since == now;
    if has_ended_open { State::Open } else { decided_in }
}

impl RequestTrace {
    /// Of a request with this head, from a client at `peer`.
    #[cold]
    pub(crate) fn of(begun: Begun, head: &Parts, peer: IpAddr) -> Box<Self> {
        let text = |name| head.headers.get(name).map_or("", visible);
        let host = head.uri.authority().map(|authority| authority.as_str());
        let asked = Asked {
            method: kept_method(&head.method),
            path: cut(head.uri.path()),
            host: cut(host.unwrap_or_else(|| text(HOST))),
            agent: cut(text(USER_AGENT)),
            version: head.version,
            peer,
        };
        Self::new(begun, Some(asked))
    }

    /// The trace's id.
    pub(crate) fn id(&self) -> [u8; 16] {
        self.begun.trace.to_bytes()
    }

    /// Of a request whose head was refused.
    #[cold]
    pub(crate) fn without_head(begun: Begun) -> Box<Self> {
        Self::new(begun, None)
    }

    fn new(begun: Begun, asked: Option<Asked>) -> Box<Self> {
        Box::new(Self {
            begun,
            asked,
            routed: None,
            breaker: None,
            tries: Vec::new(),
            rejected: None,
            blocked: None,
            answered: None,
            given: None,
            warnings: Vec::new(),
            elsewhere: None,
        })
    }

    /// Its route is known.
    pub(crate) fn routed(&mut self, now: Instant) {
        self.routed = Some(now);
    }

    /// A breaker let it pass in this state, and looks like this now. Gives who wants to know the
    /// call's end.
    pub(crate) fn admitted(
        &mut self,
        now: Instant,
        state: State,
        view: View,
    ) -> Rc<BreakerWitness> {
        let before = state_before(now, state, &view);
        let witness = Rc::new(BreakerWitness::default());
        let failures = failures(&view);
        let asked = Breaker { before, decided_in: state, failures, settled: None };
        self.breaker = Some(Asking { asked, witness: witness.clone() });
        witness
    }

    /// A rule said no; in shadow mode that was not applied.
    pub(crate) fn rejected(&mut self, now: Instant, policy: &Policy, rejection: &Rejection) {
        self.rejected = Some(Denial::of(rejection));
        self.blocked = Some(now);
        if policy.breaker.is_some() {
            let (state, failures) = (rejection.state(), failures_behind(rejection));
            let asked = Breaker { before: state, decided_in: state, failures, settled: None };
            self.breaker = Some(Asking { asked, witness: Rc::default() });
        }
    }

    /// The request is sent, or a connection for it is asked for: the upstream is told whose child
    /// its span is.
    pub(crate) fn tries(&mut self, now: Instant, headers: &mut HeaderMap) {
        let span = RandomIdGenerator::default().new_span_id();
        context::send(headers, self.begun.trace, span, TraceFlags::SAMPLED);
        let elsewhere = self.elsewhere.clone();
        self.tries.push(Try { span, from: now, to: None, status: None, failure: None, elsewhere });
    }

    /// Further tries are for this upstream, which stands in.
    pub(crate) fn goes_elsewhere(&mut self, upstream: &Arc<str>) {
        self.elsewhere = Some(upstream.clone());
    }

    /// The upstream's answer has begun.
    pub(crate) fn upstream_answered(&mut self, now: Instant, status: u16) {
        if let Some(last) = self.tries.last_mut() {
            last.status = Some(status);
        }
        self.answered(now);
    }

    /// The last try was answered, and another one comes all the same.
    pub(crate) fn tries_again(&mut self, now: Instant) {
        if let Some(last) = self.tries.last_mut() {
            last.to = Some(now);
        }
        self.answered = None;
    }

    /// The last try failed, and another one comes.
    pub(crate) fn retries(&mut self, now: Instant, error: &AttemptError) {
        if let Some(last) = self.tries.last_mut() {
            last.to = Some(now);
            last.failure = Some((error.kind, error.text()));
        }
    }

    /// The last try failed.
    pub(crate) fn failed(&mut self, now: Instant, error: &AttemptError) {
        self.retries(now, error);
        self.answered(now);
    }

    /// What the answer will be is known.
    fn answered(&mut self, now: Instant) {
        self.answered.get_or_insert(now);
    }

    /// Something was noticed in how its caller works.
    pub(crate) fn warns(&mut self, now: Instant, kind: Kind) {
        self.warnings.push((now, kind));
    }

    /// The head of the answer is made.
    pub(crate) fn given(&mut self, now: Instant) {
        self.given = Some(now);
    }

    /// It has ended, as `request` says.
    pub(crate) fn end(self: Box<Self>, request: &RequestEnded, tracer: &Tracer) {
        let ended = request.begun + request.duration;
        let route = self.routed.zip(request.route.as_deref());
        let is_blocked = matches!(request.decision, Decision::Rejected(_));
        tracer.end(Box::new(Proxied {
            tree: tracer.tree(),
            asked: self.asked,
            routed: route.map(|(at, route)| routed(at, route)),
            breaker: self
                .breaker
                .map(|asking| Breaker { settled: asking.witness.0.get(), ..asking.asked }),
            rejected: self.rejected,
            tries: self.tries,
            answered: self.answered.or(self.blocked.filter(|_| is_blocked)),
            given: self.given,
            warnings: self.warnings,
            ended,
            status: request.status.map(|status| status.as_u16()),
            by: request.by,
            policy: request.policy.as_ref().map(|policy| policy.name.clone()),
            decision: request.decision,
            fallback: request.fallback,
            end: request.end,
            begun: self.begun,
        }));
    }
}

fn routed(at: Instant, route: &Route) -> Routed {
    let endpoint = match &route.target {
        Target::Upstream(upstream) => match upstream.settings().endpoints.as_slice() {
            [one] => Some(one.clone()),
            _ => None,
        },
        Target::TestFailure => None,
    };
    Routed {
        at,
        path: route.path.clone(),
        upstream: route.destination.clone(),
        endpoint,
        is_test_failure: matches!(route.target, Target::TestFailure),
    }
}

fn visible(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or_default()
}

/// At most [`LONGEST_TEXT`] of a text.
fn cut(text: &str) -> String {
    // All of them are visible ASCII: see `framing`, and `HeaderValue::to_str`.
    text.get(..LONGEST_TEXT).unwrap_or(text).to_owned()
}
