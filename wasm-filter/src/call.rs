//! One request's life: admitted or turned away, followed, settled exactly once.
//!
//! What arrives from Envoy, in this order, each at most once but the body:
//! `request_headers`, `response_headers`, `response_body`…, `response_trailers`, `log`, and last the
//! drop of the call. Any of them can be missing. A failure settles as soon as it is seen, a success
//! at the end of the answer, everything else in `log`.

use crate::admitted::{Answer, Open};
use crate::answer::{self, Kind, Reader};
use crate::facts::Request;
use crate::flags::{self, Meaning};
use crate::port::{Host, Map};
use crate::registry::Worker;
use crate::reply;
use bimetal_core::event::State;
use bimetal_core::outcome::{Observation, Outcome, Report, Transport};
use bimetal_core::policy::Policy;
use bimetal_core::{Admission, Duration, Instant, PassReason, Plan, Verdict};
use std::mem;
use std::rc::Rc;
use std::sync::Arc;

/// Whether Envoy goes on with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// On to the next filter.
    Continue,
    /// It was answered here.
    Stop,
}

/// One request.
#[derive(Debug)]
pub struct Call<H: Host> {
    host: H,
    worker: Option<Rc<Worker>>,
    life: Life,
    mark: Option<Mark>,
}

const SWITCHING_PROTOCOLS: u16 = 101;

#[derive(Debug)]
enum Life {
    /// No ticket is held: not decided yet, passed, turned away, or settled.
    Idle,
    /// Admitted and not settled.
    Open(Open),
}

/// What `debug_headers` say.
#[derive(Debug)]
struct Mark {
    policy: Arc<Policy>,
    state: Option<State>,
}

impl<H: Host> Call<H> {
    /// A request that nothing is known of. Without a worker it passes.
    pub const fn new(host: H, worker: Option<Rc<Worker>>) -> Self {
        Self { host, worker, life: Life::Idle, mark: None }
    }

    /// Decides, once: a second admission would lose the first one's ticket.
    pub fn request_headers(&mut self) -> Flow {
        if matches!(self.life, Life::Open(_)) {
            return Flow::Continue;
        }
        let Some(worker) = self.worker.clone() else {
            return Flow::Continue;
        };
        // Without a clock nothing can be decided: the request passes, and the error is counted.
        let Some(now) = worker.ok(self.host.now()) else {
            return Flow::Continue;
        };
        let host = self.host.clone();
        let facts = Request::new(&host);
        let verdict = worker.with(|worker_state| {
            let verdict = worker_state.engine.admit(now, &facts);
            facts.failed().into_iter().for_each(|error| worker_state.failed(error));
            worker_state.write_events(&self.host);
            verdict
        });
        match verdict {
            None | Some(Verdict::Unmatched) => Flow::Continue,
            Some(Verdict::Pass(pass)) => {
                let state = match pass.why {
                    PassReason::Shadow(rejection) => Some(rejection.state()),
                    PassReason::Disabled | PassReason::TableFull => None,
                };
                self.mark(&pass.policy, state);
                Flow::Continue
            }
            Some(Verdict::Reject(refusal)) => {
                self.mark(&refusal.policy, Some(refusal.rejection.state()));
                match worker.ok(self.host.reply(&reply::of(&refusal))) {
                    Some(()) => Flow::Stop,
                    // The answer could not be given: let the request through, visibly.
                    None => Flow::Continue,
                }
            }
            Some(Verdict::Admit(admission)) => {
                self.admitted(&worker, now, admission, &facts);
                Flow::Continue
            }
        }
    }

    fn admitted(
        &mut self,
        worker: &Worker,
        now: Instant,
        admission: Admission,
        facts: &Request<'_, H>,
    ) {
        let Admission { policy, ticket, plan, state } = admission;
        self.mark(&policy, Some(state));
        self.apply(worker, plan, facts);
        let deadline = plan.request_timeout;
        self.life = Life::Open(Open { policy, ticket, sent: now, state, deadline, answer: None });
    }

    /// Hands the plan to Envoy's router. Without a timeout in the policy the mesh's and the
    /// client's own stay; with one, nothing that the client sent may replace it: the router takes
    /// the expected timeout before the timeout, and a short one per try would end the call early.
    fn apply(&self, worker: &Worker, plan: Plan, facts: &Request<'_, H>) {
        let Some(timeout) = plan.request_timeout else {
            return;
        };
        // Zero would mean "no limit" to the router.
        let millis = timeout.as_nanos().div_ceil(1_000_000).max(1).to_string();
        let host = &self.host;
        worker.ok(host.set_header(Map::Request, "x-envoy-upstream-rq-timeout-ms", &millis));
        for name in ["x-envoy-upstream-rq-per-try-timeout-ms", "x-envoy-expected-rq-timeout-ms"] {
            // Looking is cheaper than removing what is hardly ever there.
            if facts.headers().is_none_or(|headers| headers.get(name).is_some()) {
                worker.ok(host.remove_header(Map::Request, name));
            }
        }
    }

    fn mark(&mut self, policy: &Arc<Policy>, state: Option<State>) {
        if policy.debug_headers {
            self.mark = Some(Mark { policy: policy.clone(), state });
        }
    }

    /// Headers of whatever answers: the upstream, Envoy, or this filter. The answer is complete
    /// with them at `end_of_stream`; else body or trailers follow.
    pub fn response_headers(&mut self, end_of_stream: bool) {
        let Some(worker) = self.worker.clone() else {
            return;
        };
        if let Some(Mark { policy, state }) = self.mark.take() {
            let state = state.map(|state| ("x-bimetal-state", state.name()));
            for (name, value) in [("x-bimetal-policy", &*policy.name)].into_iter().chain(state) {
                worker.ok(self.host.set_header(Map::Response, name, value));
            }
        }
        let Life::Open(open) = mem::replace(&mut self.life, Life::Idle) else {
            return;
        };
        let host = self.host.clone();
        let answer = Reader::new(&host, &worker, Map::Response);
        let status = answer.status();
        if answer.is_of_upstream() {
            self.answered(&answer, open, status, end_of_stream);
        } else {
            // Envoy or another filter answered, so nothing more will come from the upstream.
            let seen = match flags::meaning(answer.flags()) {
                Some(Meaning::Broken(how)) => Observation::Broken(how),
                Some(Meaning::Idle) if status == 504 => Observation::Broken(Transport::Timeout),
                Some(Meaning::Injected) => Observation::Injected { status },
                _ => Observation::NotEvidence,
            };
            let outcome = open.policy.failure.classify(&seen);
            let now = self.now(&worker, &open);
            self.settle(&worker, now, open, outcome.into());
        }
    }

    fn answered(&mut self, read: &Reader<'_, H>, mut open: Open, status: u16, end_of_stream: bool) {
        let worker = read.worker;
        // The clock is a call into the host, so it is asked only where the time matters.
        let timed = open.is_timed().then(|| self.now(worker, &open));
        let latency = timed.map_or(Duration::ZERO, |now| now.since(open.sent));
        let (kind, grpc) = if end_of_stream {
            (Kind::Plain, read.grpc_status_alone())
        } else if status == SWITCHING_PROTOCOLS {
            (Kind::Endless, None)
        } else {
            // Now or never: Envoy shows the headers in no later phase but the log.
            (read.kind(), None)
        };
        let mut answer = Answer { status, latency, kind };
        let mut outcome = open.classify(answer, grpc);
        // A fault filter's delay is not the upstream's; flags are asked for only where it matters.
        if outcome == Outcome::Slow && flags::delayed(read.flags()) {
            answer.latency = Duration::ZERO;
            outcome = open.classify(answer, grpc);
        }
        match outcome {
            Outcome::Failure => {
                let retry_after = read.retry_after(&open.policy);
                let now = timed.unwrap_or_else(|| self.now(worker, &open));
                self.settle(worker, now, open, Report { outcome, retry_after });
            }
            _ if end_of_stream || kind == Kind::Endless => {
                let now = timed.unwrap_or_else(|| self.now(worker, &open));
                self.settle(worker, now, open, outcome.into());
            }
            _ => {
                if let Some(now) = timed {
                    worker.with(|worker_state| {
                        worker_state.engine.answered(now, &mut open.ticket);
                        worker_state.write_events(&self.host);
                    });
                }
                open.answer = Some(answer);
                self.life = Life::Open(open);
            }
        }
    }

    /// A part of the answer's body; the last one at `end_of_stream`.
    pub fn response_body(&mut self, end_of_stream: bool) {
        if end_of_stream {
            self.completed(|_, _| None);
        }
    }

    /// The answer's trailers, which end it.
    pub fn response_trailers(&mut self) {
        self.completed(|call, worker| Reader::new(&call.host, worker, Map::Trailers).grpc_status());
    }

    fn completed(&mut self, grpc: impl FnOnce(&Self, &Worker) -> Option<u32>) {
        let Some(worker) = self.worker.clone() else {
            return;
        };
        let Life::Open(open) = mem::replace(&mut self.life, Life::Idle) else {
            return;
        };
        let Some(answer) = open.answer else {
            self.life = Life::Open(open);
            return;
        };
        let now = self.now(&worker, &open);
        let grpc = if answer.kind == Kind::Grpc { grpc(self, &worker) } else { None };
        let outcome = open.classify(answer, grpc);
        self.settle(&worker, now, open, outcome.into());
    }

    /// Envoy is done with the request: what is not settled by now broke off.
    pub fn log(&mut self) {
        let Some(worker) = self.worker.clone() else {
            return;
        };
        let Life::Open(open) = mem::replace(&mut self.life, Life::Idle) else {
            return;
        };
        let now = self.now(&worker, &open);
        let flags = answer::flags(&self.host, &worker);
        let seen = match flags::meaning(flags) {
            Some(Meaning::Broken(how)) => Observation::Broken(how),
            // How long the client waited says nothing where a fault filter held the request back.
            Some(Meaning::ClientGone) if !flags::delayed(flags) => Observation::ClientGone {
                elapsed: now.since(open.sent),
                deadline: open.deadline,
                answered: open.answer.map(|answer| answer.latency),
            },
            _ => Observation::NotEvidence,
        };
        let outcome = open.policy.failure.classify(&seen);
        self.settle(&worker, now, open, outcome.into());
    }

    /// The time; without a clock, that of the admission.
    fn now(&self, worker: &Worker, open: &Open) -> Instant {
        worker.ok(self.host.now()).unwrap_or(open.sent)
    }

    fn settle(&self, worker: &Worker, now: Instant, open: Open, report: Report) {
        let Open { policy, ticket, sent, .. } = open;
        worker.with(|worker_state| {
            worker_state.engine.settle(now, ticket, report);
            worker_state.write_events(&self.host);
            worker_state.took(&self.host, &policy.name, now.since(sent).as_millis());
        });
    }
}

impl<H: Host> Drop for Call<H> {
    /// The backstop: Envoy dropped the request without a word. Neutral, so that a probe's slot is
    /// free again and nothing is held against the upstream.
    fn drop(&mut self) {
        let Some(worker) = self.worker.take() else {
            return;
        };
        let Life::Open(open) = mem::replace(&mut self.life, Life::Idle) else {
            return;
        };
        let now = self.now(&worker, &open);
        self.settle(&worker, now, open, Outcome::Neutral.into());
    }
}
