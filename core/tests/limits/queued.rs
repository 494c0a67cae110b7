//! A worker whose calls may wait for tokens, in virtual time.

#![allow(dead_code, clippy::panic, clippy::unwrap_used, unreachable_pub)]

use bimetal_core::decision::Rule;
use bimetal_core::engine::Policies;
use bimetal_core::policy::{Document, Host};
use bimetal_core::{Engine, Facts, Instant, PassReason, Ticket, Verdict, Waiting};
use std::borrow::Cow;

/// When the tests begin.
const BEGIN: u64 = 1_000_000;

/// What a call is told; times in milliseconds from the beginning.
#[derive(Debug)]
pub enum Asked {
    Admitted(Ticket),
    Passed,
    Rejected(Rule),
    /// Since when, until when, with what its caller had left.
    Waits(Waiting, u64, u64, Option<u64>),
}

impl Asked {
    pub fn is_admitted(&self) -> bool {
        matches!(self, Self::Admitted(_))
    }

    /// When it is to ask again.
    #[track_caller]
    pub fn turn(&self) -> u64 {
        match self {
            Self::Waits(_, _, turn, _) => *turn,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub fn rejected(&self) -> Rule {
        match self {
            Self::Rejected(rule) => *rule,
            other => panic!("{other:?}"),
        }
    }
}

struct Call {
    client: &'static str,
    left: Option<u64>,
}

impl Facts for Call {
    fn client(&self) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(self.client.as_bytes()))
    }

    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let left = self.left.filter(|_| name == "x-request-deadline-ms")?;
        Some(Cow::Owned(left.to_string().into_bytes()))
    }
}

fn parse(fields: &str) -> Result<Document, String> {
    let text = format!(
        r#"{{"version": "v1", "policies": [{{"name": "a", "scope": "policy", {fields}}}]}}"#
    );
    Document::parse(text.as_bytes(), Host::Native).map_err(|problems| problems.to_string())
}

/// Why a policy with these fields is refused.
pub fn refused(fields: &str) -> String {
    parse(fields).unwrap_err()
}

#[derive(Debug)]
pub struct Worker {
    pub engine: Engine,
    policies: Policies,
    pub now: Instant,
}

impl Worker {
    pub fn new(fields: &str) -> Self {
        Self::with(Engine::new(1), fields)
    }

    pub fn with(mut engine: Engine, fields: &str) -> Self {
        engine.set_can_wait(true);
        let policies = engine.load(&parse(fields).unwrap());
        Self { engine, policies, now: Instant::from_millis(BEGIN) }
    }

    pub fn at(&mut self, millis: u64) -> &mut Self {
        self.now = Instant::from_millis(BEGIN + millis);
        self
    }

    /// A call whose caller has so much time left, if it says so.
    pub fn ask(&mut self, millis: u64, left: Option<u64>) -> Asked {
        self.first(millis, &Call { client: "c", left })
    }

    pub fn ask_as(&mut self, client: &'static str, millis: u64) -> Asked {
        self.first(millis, &Call { client, left: None })
    }

    fn first(&mut self, millis: u64, call: &Call) -> Asked {
        self.at(millis);
        let verdict = self.engine.admit(self.now, &self.policies, call);
        told(verdict, millis, call.left)
    }

    /// A call that waits asks again.
    pub fn again(&mut self, millis: u64, asked: Asked) -> Asked {
        self.again_as("c", millis, asked)
    }

    pub fn again_as(&mut self, client: &'static str, millis: u64, asked: Asked) -> Asked {
        let Asked::Waits(waiting, begun, _, left) = asked else { panic!("{asked:?}") };
        self.at(millis);
        let (call, since) = (Call { client, left }, Instant::from_millis(BEGIN + begun));
        let verdict = self.engine.admit_again(self.now, &self.policies, &call, waiting, since);
        told(verdict, begun, left)
    }

    pub fn forget(&mut self, millis: u64, asked: Asked) {
        let Asked::Waits(waiting, ..) = asked else { panic!("{asked:?}") };
        self.at(millis);
        self.engine.forget(self.now, waiting);
    }

    /// Calls that wait for tokens.
    pub fn waiting(&self) -> u64 {
        self.engine.queues().map(|(_, _, waiting)| waiting).sum()
    }

    /// Calls that wait for slots.
    pub fn slots_waiting(&self) -> u32 {
        self.engine.limits().map(|limit| limit.view.waiting).sum()
    }
}

fn told(verdict: Verdict<'_>, begun: u64, left: Option<u64>) -> Asked {
    match verdict {
        Verdict::Admit(admission) => Asked::Admitted(admission.ticket),
        Verdict::Reject(rejected) => Asked::Rejected(rejected.rejection.rule()),
        Verdict::Pass(pass) => {
            assert!(matches!(pass.why, PassReason::Shadow(_)));
            Asked::Passed
        }
        Verdict::Wait(wait) => {
            let turn = (wait.until.as_nanos().div_ceil(1_000_000)).saturating_sub(BEGIN);
            Asked::Waits(wait.waiting, begun, turn, left)
        }
        other => panic!("{other:?}"),
    }
}
