//! A worker whose calls can wait.

use super::*;
use bimetal_core::board::Board;
use bimetal_core::engine::Policies;
use bimetal_core::outcome::{Outcome, Report};
use bimetal_core::{Facts, Instant, Ticket, Verdict, Waiting};
use std::borrow::Cow;
use std::sync::Arc;

pub(super) fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

/// What is known of a call.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Request {
    key: &'static str,
    left: Option<&'static str>,
}

/// A call whose caller has so many milliseconds left.
pub(super) fn left(millis: &'static str) -> Request {
    Request { left: Some(millis), ..Request::default() }
}

/// A call of that scope.
pub(super) fn of(key: &'static str) -> Request {
    Request { key, ..Request::default() }
}

impl Facts for Request {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let value = match name {
            "x-tenant" => Some(self.key),
            "x-request-deadline-ms" => self.left,
            _ => None,
        };
        value.map(|value| Cow::Borrowed(value.as_bytes()))
    }
}

/// A call that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waits {
    pub(super) waiting: Waiting,
    pub(super) until: Instant,
    pub(super) begun: Instant,
    request: Request,
}

#[derive(Debug)]
pub(super) enum Answer {
    Admitted(Ticket),
    Waits(Waits),
    Rejected(Rejection),
    Passed,
}

impl Answer {
    pub(super) fn admitted(self) -> Ticket {
        match self {
            Self::Admitted(ticket) => ticket,
            other => panic!("{other:?}"),
        }
    }
}

pub(super) struct Worker {
    pub(super) engine: Engine,
    policies: Policies,
}

impl Worker {
    pub(super) fn new(fields: &str) -> Self {
        Self::with(Engine::new(1), fields)
    }

    pub(super) fn on(board: Arc<dyn Board>, seed: u64, fields: &str) -> Self {
        Self::with(Engine::with_board(seed, board), fields)
    }

    fn with(mut engine: Engine, fields: &str) -> Self {
        engine.set_can_wait(true);
        let policies = engine.load(&document(fields));
        Self { engine, policies }
    }

    pub(super) fn load(&mut self, fields: &str) {
        self.policies = self.engine.load(&document(fields));
        self.engine.poll(Instant::ZERO);
    }

    pub(super) fn ask(&mut self, millis: u64) -> Answer {
        self.ask_by(millis, Request::default())
    }

    pub(super) fn ask_by(&mut self, millis: u64, request: Request) -> Answer {
        let now = at(millis);
        let verdict = self.engine.admit(now, &self.policies, &request);
        Self::told(verdict, now, request)
    }

    pub(super) fn again(&mut self, millis: u64, call: Waits) -> Answer {
        self.again_by(millis, call, call.request)
    }

    pub(super) fn again_by(&mut self, millis: u64, call: Waits, request: Request) -> Answer {
        let Waits { waiting, begun, .. } = call;
        let verdict = self.engine.admit_again(at(millis), &self.policies, &request, waiting, begun);
        Self::told(verdict, begun, request)
    }

    fn told(verdict: Verdict<'_>, begun: Instant, request: Request) -> Answer {
        match verdict {
            Verdict::Admit(admission) => Answer::Admitted(admission.ticket),
            Verdict::Wait(wait) => {
                Answer::Waits(Waits { waiting: wait.waiting, until: wait.until, begun, request })
            }
            Verdict::Reject(rejected) => Answer::Rejected(rejected.rejection),
            _ => Answer::Passed,
        }
    }

    pub(super) fn settle(&mut self, millis: u64, ticket: Ticket, outcome: Outcome) {
        self.engine.settle(at(millis), ticket, Report::from(outcome));
    }

    /// A call that was answered well after so many milliseconds upstream.
    pub(super) fn settle_in(&mut self, millis: u64, ticket: Ticket, latency: u64) {
        let latency = Some(bimetal_core::Duration::from_millis(latency));
        self.engine.settle(
            at(millis),
            ticket,
            Report { latency, ..Report::from(Outcome::Success) },
        );
    }

    pub(super) fn woken(&mut self) -> Vec<Waiting> {
        std::iter::from_fn(|| self.engine.take_woken()).collect()
    }

    /// Calls that wait.
    pub(super) fn waiting(&self) -> u32 {
        self.engine.limits().map(|limit| limit.view.waiting).sum()
    }

    /// Whether nobody has a slot or waits for one: then the whole limit is there for others.
    pub(super) fn is_idle(&mut self, millis: u64) -> bool {
        self.engine.poll(at(millis));
        !self.engine.has_waiting()
            && self.engine.limits().all(|limit| (limit.view.taken, limit.view.waiting) == (0, 0))
    }
}

fn document(fields: &str) -> Document {
    let text = format!(
        r#"{{"version": "v1", "policies": [{{"name": "a", "scope": "header:x-tenant", {fields}}}]}}"#
    );
    Document::parse(text.as_bytes(), Host::Native).unwrap()
}
