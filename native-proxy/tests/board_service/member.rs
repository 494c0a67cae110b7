//! A member of a mesh that exchanges by HTTP, as the filter does.

use crate::Board;
use bimetal_proxy::bimetal_core::board::far::{self, Answer, Heard, Question};
use bimetal_proxy::bimetal_core::engine::{Engine, Policies};
use bimetal_proxy::bimetal_core::event::State;
use bimetal_proxy::bimetal_core::facts::Facts;
use bimetal_proxy::bimetal_core::outcome::{Outcome, Report};
use bimetal_proxy::bimetal_core::policy::{Document, Host};
use bimetal_proxy::bimetal_core::{Instant, Verdict};

/// The policies of all members.
pub(crate) const POLICIES: &str = r#"[{"name": "p", "scope": "policy", "breaker": {"trip": {"consecutive_failures": 3}, "open": {"base": "60s", "jitter": 0}, "share": "mesh", "quorum": 1}}]"#;

struct NoFacts;

impl Facts for NoFacts {}

pub(crate) struct Member {
    engine: Engine,
    policies: Policies,
    heard: Heard,
    now: Instant,
    /// Of so many keys the last answer told.
    pub(crate) heard_of: usize,
}

impl Member {
    pub(crate) fn new(replica: u64) -> Self {
        let text = format!(r#"{{"policies": {POLICIES}, "board": {{"redis": "redis://r"}}}}"#);
        let document = Document::parse(text.as_bytes(), Host::Native).unwrap();
        let mut engine = Engine::new(replica);
        let policies = engine.load(&document);
        engine.join_mesh(far::Member { replica, worker: 0 }, 0);
        Self { engine, policies, heard: Heard::default(), now: Instant::ZERO, heard_of: 0 }
    }

    /// One call, good or not. Its time goes on by a millisecond.
    pub(crate) fn call(&mut self, is_good: bool) {
        self.now = Instant::from_nanos(self.now.as_nanos() + 1_000_000);
        let verdict = self.engine.admit(self.now, &self.policies, &NoFacts);
        let Verdict::Admit(admission) = verdict else { panic!("{verdict:?}") };
        let outcome = if is_good { Outcome::Success } else { Outcome::Failure };
        let report = Report::from(outcome);
        self.engine.settle(self.now, admission.ticket, report);
    }

    pub(crate) fn question(&mut self) -> Question {
        Question { exchange: self.engine.take_deltas(self.now), heard: self.heard }
    }

    /// One exchange. Whether it went well.
    pub(crate) fn exchange(&mut self, board: &Board) -> bool {
        let question = self.question();
        let answer = board.exchange(&question.encode());
        if answer.status != 200 {
            assert_eq!(answer.status, 503);
            self.engine.give_back(question.exchange);
            return false;
        }
        let answer = Answer::decode(&answer.body).unwrap();
        assert!(!answer.has_more);
        self.heard = answer.heard;
        self.heard_of = answer.merged.len();
        for (key, record) in &answer.merged {
            self.engine.merge(self.now, key, record).unwrap();
        }
        true
    }

    pub(crate) fn is_open(&self) -> bool {
        let mut breakers = self.engine.breakers(self.now);
        breakers.next().is_some_and(|breaker| breaker.view.state == State::Open)
    }
}
