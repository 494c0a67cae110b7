//! One request in Envoy: admitted or turned away, then told to the core as it goes on.
//!
//! What a call's life means is the core's ([`bimetal_core::call`]). In here is what Envoy shows of
//! it, in this order, each at most once but the bodies: `request_headers`, `request_body`…,
//! `request_trailers`, `response_headers`, `response_body`…, `response_trailers`, `log`, and last
//! the drop of the call. Any of them can be missing.

mod limits;
mod retries;
mod waiting;

use crate::answer;
use crate::facts::Request;
use crate::flags::{self, Meaning};
use crate::headers::Headers;
use crate::instance::Instance;
use crate::port::{Host, Map, Reply};
use crate::registry::Worker;
use crate::reply;
use bimetal_core::call::{self, AnsweredBy, Effect, Fields, Head, Upload};
use bimetal_core::deadline::Deadline;
use bimetal_core::event::State;
use bimetal_core::outcome::{Report, Transport};
use bimetal_core::policy::Policy;
use bimetal_core::retry::{ReservedRetries, TryFailure};
use bimetal_core::{Admission, Duration, Instant, Ticket, Verdict};
use limits::{LimitOf, Limits};
use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use waiting::Paused;

/// One request.
#[derive(Debug)]
pub(crate) struct Stream<H: Host> {
    host: H,
    /// Envoy's number for it.
    context: u32,
    instance: Option<Rc<Instance>>,
    /// For the worker's list of those that somebody has to come back to.
    itself: Weak<RefCell<Self>>,
    /// There from the admission to the settlement.
    admitted: Option<Admitted>,
    /// There while Envoy holds the request.
    paused: Option<Paused>,
    /// Its answer, where it was turned away while Envoy held it and the tick is to say so.
    refusal: Option<Box<Reply>>,
    mark: Option<Mark>,
}

/// A call that was admitted and is not settled.
#[derive(Debug)]
struct Admitted {
    policy: Arc<Policy>,
    ticket: Ticket,
    life: call::Call,
    at: Instant,
    limit_of: LimitOf,
    /// Where its caller says how long it waits.
    callers: Option<Deadline>,
    /// Until the router is done with its tries.
    retries: Option<ReservedRetries>,
}

/// What `debug_headers` say.
#[derive(Debug)]
struct Mark {
    policy: Arc<Policy>,
    state: Option<State>,
}

impl<H: Host> Stream<H> {
    /// A request that nothing is known of.
    pub(crate) const fn new(
        host: H,
        context: u32,
        instance: Option<Rc<Instance>>,
        itself: Weak<RefCell<Self>>,
    ) -> Self {
        Self {
            host,
            context,
            instance,
            itself,
            admitted: None,
            paused: None,
            refusal: None,
            mark: None,
        }
    }

    /// The worker, where others of its requests wait for a slot.
    pub(crate) fn wakes(&self) -> Option<(Rc<Worker>, H)> {
        let worker = &self.instance.as_ref()?.worker;
        let waits = worker.with(|state| !state.parked.is_empty()).unwrap_or_default();
        waits.then(|| (worker.clone(), self.host.clone()))
    }

    fn worker(&self) -> Option<Rc<Worker>> {
        self.instance.as_ref().map(|instance| instance.worker.clone())
    }

    /// Decides, once: a second admission would lose the first one's ticket. Returns whether Envoy
    /// goes on with the request; false: it was answered here.
    pub(crate) fn request_headers(&mut self, end_of_stream: bool) -> bool {
        let is_new = self.admitted.is_none() && self.paused.is_none();
        let Some(instance) = self.instance.clone().filter(|_| is_new) else {
            return true;
        };
        let worker = &instance.worker;
        instance.serves();
        // Without a clock nothing can be decided: the request passes, and the error is counted.
        let Some(now) = worker.ok(self.host.now()) else {
            return true;
        };
        let host = self.host.clone();
        let facts = Request::new(&host);
        let verdict = worker.with(|state| {
            let verdict = state.engine.admit(now, &instance.policies, &facts);
            facts.failed().into_iter().for_each(|error| state.failed(error));
            state.write_events(&self.host);
            verdict
        });
        // The router's clock begins at the end of the request.
        let upload = if end_of_stream || is_upgrade(&facts) {
            Upload::Complete
        } else {
            Upload::WaitsForClient
        };
        self.carry_out(worker, now, verdict, &facts, Paused::new(now, upload))
    }

    /// Carries out what was decided. Returns whether Envoy goes on with the request.
    fn carry_out(
        &mut self,
        worker: &Worker,
        now: Instant,
        verdict: Option<Verdict<'_>>,
        facts: &Request<'_, H>,
        asked: Paused,
    ) -> bool {
        match verdict {
            Some(Verdict::Pass(pass)) => {
                self.mark(pass.policy, pass.state());
                true
            }
            Some(Verdict::Reject(rejected)) => {
                self.mark(rejected.policy, Some(rejected.rejection.state()));
                match worker.ok(self.host.reply(&reply::of(&rejected))) {
                    Some(()) => false,
                    // The answer could not be given: let the request through, visibly.
                    None => true,
                }
            }
            Some(Verdict::Admit(admission)) => {
                self.admit(worker, now, admission, facts, asked);
                true
            }
            Some(Verdict::Wait(wait)) => {
                self.wait(worker, (wait.waiting, wait.until), asked);
                false
            }
            // No policy is for it, or the engine could not be asked.
            _ => true,
        }
    }

    fn admit(
        &mut self,
        worker: &Worker,
        now: Instant,
        admission: Admission<'_>,
        facts: &Request<'_, H>,
        asked: Paused,
    ) {
        let plan = admission.plan();
        self.mark(admission.policy, Some(admission.state()));
        let Admission { policy, ticket, .. } = admission;
        let policy = policy.clone();
        let callers = policy.deadline_of(facts, asked.begun);
        let left = callers.map(|time| time.rest(now));
        let retries = self.plan_retries(worker, now, (&policy, &ticket), left, facts);
        let plan = Limits::of(plan, retries.is_some_and(|retries| retries.most > 0));
        let limit_of = self.apply(worker, now, plan, callers, facts);
        let mut life = call::Call::new(policy.failure.clone(), plan.of_the_call);
        life.limit_tries(plan.of_the_only_try());
        self.admitted =
            Some(Admitted { policy, ticket, life, at: now, limit_of, callers, retries });
        if let Some(time) = callers {
            self.forward(worker, now, &time, facts);
        }
        if let Some(at) = plan.looked_at(now, callers) {
            self.watch(worker, at);
        }
        self.tell(worker, false, |life, now| life.handed_over(now, asked.upload));
    }

    fn mark(&mut self, policy: &Arc<Policy>, state: Option<State>) {
        if policy.debug_headers {
            self.mark = Some(Mark { policy: policy.clone(), state });
        }
    }

    /// A part of the request's body.
    pub(crate) fn request_body(&mut self, end_of_stream: bool) {
        if end_of_stream {
            self.request_complete();
        }
    }

    /// The request's trailers, which end it.
    pub(crate) fn request_trailers(&mut self) {
        self.request_complete();
    }

    fn request_complete(&mut self) {
        let Some((worker, admitted)) = self.worker().zip(self.admitted.as_ref()) else {
            return;
        };
        let timed = admitted.life.is_timed() || admitted.ticket.is_probe();
        self.tell(&worker, timed, |life, now| life.upload(now, Upload::Complete));
    }

    /// Headers of whatever answers: the upstream, Envoy, or another filter.
    pub(crate) fn response_headers(&mut self, end_of_stream: bool) {
        let Some(worker) = self.worker() else {
            return;
        };
        if let Some(Mark { policy, state }) = self.mark.take() {
            let state = state.map(|state| ("x-bimetal-state", state.name()));
            for (name, value) in [("x-bimetal-policy", &*policy.name)].into_iter().chain(state) {
                worker.ok(self.host.set_header(Map::Response, name, value));
            }
        }
        if self.admitted.is_none() {
            return;
        }
        if !answer::is_of_upstream(&self.host, &worker) {
            return self.answered_here(&worker, end_of_stream);
        }
        let headers = worker.ok(self.host.headers(Map::Response)).unwrap_or_default();
        let status = answer::status(&headers);
        let last = TryFailure::Answer { status, grpc: call::grpc_status(&headers) };
        self.retries_ended(&worker, Some(last), true);
        let Some(admitted) = &self.admitted else {
            return;
        };
        // Until the request is complete no time is the upstream's, and the header, which the router
        // writes behind a complete request alone, is somebody else's.
        let runs = admitted.life.clock_runs();
        let latency = answer::service_time(&headers).filter(|_| runs);
        let timed = latency.is_none() && runs && admitted.life.is_timed();
        let (host, slower_than) = (self.host.clone(), admitted.policy.failure.slower_than);
        self.tell(&worker, timed, |life, now| {
            // The router was told to write no time. What this clock shows may hold a fault filter's
            // delay, and that is not the upstream's.
            let is_slow = || timed && slower_than.is_some_and(|limit| life.elapsed(now) > limit);
            let latency = match latency {
                None if is_slow() && flags::delayed(answer::flags(&host, &worker)) => {
                    Some(Duration::ZERO)
                }
                latency => latency,
            };
            let by = AnsweredBy::Upstream;
            life.headers(now, &Head { status, by, latency, end_of_stream, fields: &headers })
        });
    }

    /// Envoy or another filter answered: nothing more will come from the upstream.
    fn answered_here(&mut self, worker: &Worker, end_of_stream: bool) {
        let read = |host: &H| worker.ok(host.headers(Map::Response)).unwrap_or_default();
        let meaning = flags::meaning(answer::flags(&self.host, worker));
        self.retries_ended(worker, meaning.and_then(broke), true);
        let (by, headers) = match meaning {
            Some(Meaning::Broken(how)) => return self.broken(worker, how, true),
            // The status says whom Envoy waited for.
            Some(Meaning::Idle) if answer::status(&read(&self.host)) == 504 => {
                return self.tell(worker, false, |life, now| life.broken(now, Transport::Timeout));
            }
            Some(Meaning::Injected) => (AnsweredBy::Injected, read(&self.host)),
            _ => (AnsweredBy::Other, Headers::default()),
        };
        let status = answer::status(&headers);
        let head = Head { status, by, latency: None, end_of_stream, fields: &headers };
        self.tell(worker, false, |life, now| life.headers(now, &head));
    }

    /// A part of the answer's body, of `size` bytes.
    pub(crate) fn response_body(&mut self, size: usize, end_of_stream: bool) {
        let Some((worker, admitted)) = self.worker().zip(self.admitted.as_ref()) else {
            return;
        };
        if size > 0 && admitted.life.wants_body() {
            // A piece that cannot be had is not seen, and then the call says nothing.
            let piece = worker.ok(self.host.response_body(size));
            let piece = piece.filter(|piece| piece.len() == size);
            self.tell(&worker, false, |life, now| life.body(now, piece.as_deref()));
        }
        if end_of_stream {
            self.tell(&worker, false, |life, now| life.ended(now));
        }
    }

    /// The answer's trailers, which end it.
    pub(crate) fn response_trailers(&mut self) {
        let Some((worker, admitted)) = self.worker().zip(self.admitted.as_ref()) else {
            return;
        };
        let trailers = if admitted.life.wants_trailers() {
            worker.ok(self.host.headers(Map::Trailers)).unwrap_or_default()
        } else {
            Headers::default()
        };
        self.tell(&worker, false, |life, now| life.trailers(now, trailers.grpc_status()));
    }

    /// Envoy is done with the request: what is not settled by now broke off.
    pub(crate) fn log(&mut self) {
        self.forget();
        let Some((worker, admitted)) = self.worker().zip(self.admitted.as_ref()) else {
            return;
        };
        let (host, answered) = (self.host.clone(), admitted.life.is_answered());
        let flags = answer::flags(&host, &worker);
        self.retries_ended(&worker, flags::meaning(flags).and_then(broke), false);
        if let Some(Meaning::Broken(how)) = flags::meaning(flags) {
            return self.broken(&worker, how, false);
        }
        self.tell(&worker, true, |life, now| match flags::meaning(flags) {
            // How long the client waited says nothing where a fault filter held the request back,
            // nor where Envoy had not come to a try yet.
            Some(Meaning::ClientGone)
                if !flags::delayed(flags) && (answered || answer::was_tried(&host, &worker)) =>
            {
                life.client_gone(now)
            }
            _ => life.dropped(now),
        });
    }

    /// Tells the core what was seen and carries out what it decides. The clock is a call into the
    /// host: without `timed` it is asked only for a result.
    fn tell(
        &mut self,
        worker: &Worker,
        timed: bool,
        see: impl FnOnce(&mut call::Call, Instant) -> Effect,
    ) {
        let Some(Admitted { ticket, life, at, .. }) = &mut self.admitted else {
            return;
        };
        let at = *at;
        let ask = || worker.ok(self.host.now()).unwrap_or(at);
        let asked = timed.then(ask);
        match see(life, asked.unwrap_or(at)) {
            Effect::None => {}
            Effect::Clock { runs } if ticket.is_probe() => {
                let now = asked.unwrap_or_else(ask);
                worker.with(|state| {
                    state.engine.upstream_clock(now, ticket, runs);
                    state.write_events(&self.host);
                });
            }
            Effect::Answered if ticket.is_probe() => {
                let now = asked.unwrap_or_else(ask);
                worker.with(|state| {
                    state.engine.answered(now, ticket);
                    state.write_events(&self.host);
                });
            }
            Effect::Clock { .. } | Effect::Answered => {}
            Effect::Settle(report) => {
                let now = asked.unwrap_or_else(ask);
                self.settle(worker, now, report);
            }
        }
    }

    fn settle(&mut self, worker: &Worker, now: Instant, report: Report) {
        let Some(Admitted { policy, ticket, at, .. }) = self.admitted.take() else {
            return;
        };
        worker.with(|state| {
            state.engine.settle(now, ticket, report);
            state.write_events(&self.host);
            state.took(&self.host, &policy.name, now.since(at).as_millis());
        });
    }
}

impl<H: Host> Drop for Stream<H> {
    /// The backstop: Envoy dropped the request without a word. Neutral, so that a probe's slot is
    /// free again and nothing is held against the upstream.
    fn drop(&mut self) {
        self.forget();
        if let Some(worker) = self.worker() {
            self.tell(&worker, true, |life, now| life.dropped(now));
        }
    }
}

/// What a try came to whose upstream failed.
const fn broke(meaning: Meaning) -> Option<TryFailure> {
    match meaning {
        Meaning::Broken(how) => Some(retries::broken(how)),
        _ => None,
    }
}

/// An upgrade is complete at its head: what follows belongs to the tunnel.
fn is_upgrade<H: Host>(facts: &Request<'_, H>) -> bool {
    facts.headers().is_some_and(|headers| {
        headers.get("upgrade").is_some() || headers.get(":method") == Some(b"CONNECT")
    })
}
