//! One request in Envoy: admitted or turned away, then told to the core as it goes on.
//!
//! What a call's life means is the core's ([`bimetal_core::call`]). In here is what Envoy shows of
//! it, in this order, each at most once but the bodies: `request_headers`, `request_body`…,
//! `request_trailers`, `response_headers`, `response_body`…, `response_trailers`, `log`, and last
//! the drop of the call. Any of them can be missing.

mod limits;
mod response;
mod retries;
mod waiting;

use crate::answer;
use crate::facts::Request;
use crate::flags::{self, Meaning};
use crate::instance::Instance;
use crate::port::{Host, Reply};
use crate::registry::Worker;
use crate::reply;
use bimetal_core::call::{self, Effect, Upload};
use bimetal_core::deadline::Deadline;
use bimetal_core::event::State;
use bimetal_core::outcome::Report;
use bimetal_core::policy::Policy;
use bimetal_core::retry::{ReservedRetries, TryFailure};
use bimetal_core::{Admission, Instant, Ticket, Verdict};
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
                fell_back(worker, &rejected);
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
        let is_tried = policy.retry_applied().is_some();
        let plan = Limits::of(plan, is_tried && retries.is_some_and(|retries| retries.most > 0));
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

/// Counts an answer of the policy's own in place of a rejection.
fn fell_back(worker: &Worker, rejected: &bimetal_core::Rejected<'_>) {
    if rejected.policy.fallback_when_rejected().is_some() {
        worker.with(|state| state.fell_back(&rejected.policy.name));
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
