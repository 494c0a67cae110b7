//! The limit of calls under way: by worker and by process, over updates, in every mode.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may end by a panic"
)]

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate bimetal_browser_test;

#[path = "support/board.rs"]
mod board;

use bimetal_core::decision::{PassReason, Rule};
use bimetal_core::engine::Policies;
use bimetal_core::event::State;
use bimetal_core::outcome::Outcome::{self, Failure, Success};
use bimetal_core::outcome::Report;
use bimetal_core::policy::{Document, Host, Share};
use bimetal_core::{Engine, Facts, Instant, Rejection, Ticket, Verdict};
use std::borrow::Cow;
use std::sync::Arc;

/// A request of which a tenant is known.
struct Request<'a>(&'a str);

impl Facts for Request<'_> {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        (name == "x-tenant").then_some(Cow::Borrowed(self.0.as_bytes()))
    }
}

const BREAKER: &str = r#""breaker": {"trip": {"consecutive_failures": 1}}"#;

fn document(fields: &str, host: Host) -> Document {
    let text = format!(
        r#"{{"version": "v1", "policies": [{{"name": "a", "scope": "header:x-tenant", {fields}}}]}}"#
    );
    Document::parse(text.as_bytes(), host).unwrap()
}

/// Workers on one board.
struct Workers {
    engines: [Engine; 2],
    now: Instant,
}

impl Workers {
    fn new() -> Self {
        let board = Arc::new(board::TestBoard::default());
        let engines = [1, 2].map(|seed| Engine::with_board(seed, board.clone()));
        Self { engines, now: Instant::from_millis(1_000) }
    }

    fn load(&mut self, fields: &str) -> [Policies; 2] {
        let document = document(fields, Host::Native);
        self.engines.each_mut().map(|engine| engine.load(&document))
    }

    /// A call's ticket, or the state of the breaker where the limit turned it away.
    fn ask(&mut self, worker: usize, policies: &[Policies; 2], key: &str) -> Result<Ticket, State> {
        match self.engines[worker].admit(self.now, &policies[worker], &Request(key)) {
            Verdict::Admit(admission) => Ok(admission.ticket),
            Verdict::Reject(rejected) => {
                assert_eq!(rejected.rejection.rule(), Rule::Concurrency);
                assert_eq!(rejected.rejection.retry_after(), None);
                Err(rejected.rejection.state())
            }
            other => panic!("{other:?}"),
        }
    }

    fn settle(&mut self, worker: usize, ticket: Ticket, outcome: Outcome) -> bool {
        self.engines[worker].settle(self.now, ticket, Report::from(outcome)).late
    }
}

#[test]
fn workers_of_a_process_share_the_limit() {
    let mut workers = Workers::new();
    let policies = workers.load(r#""concurrency": {"max": 2}"#);
    let one = workers.ask(0, &policies, "a").unwrap();
    let other = workers.ask(1, &policies, "a").unwrap();
    for worker in [0, 1] {
        assert_eq!(workers.ask(worker, &policies, "a"), Err(State::Closed));
    }
    let _of_another = workers.ask(0, &policies, "b").unwrap();
    assert!(!workers.settle(1, other, Failure));
    let again = workers.ask(0, &policies, "a").unwrap();
    assert!(workers.ask(1, &policies, "a").is_err());
    for ticket in [one, again] {
        workers.settle(0, ticket, Success);
    }
    assert!((0..2).all(|_| workers.ask(1, &policies, "a").is_ok()));
    assert!(workers.ask(0, &policies, "a").is_err());
}

#[test]
fn each_worker_has_its_own_where_nothing_is_shared() {
    let mut workers = Workers::new();
    let policies = workers.load(r#""concurrency": {"max": 1, "share": "none"}"#);
    for worker in [0, 1] {
        assert!(workers.ask(worker, &policies, "a").is_ok());
        assert!(workers.ask(worker, &policies, "a").is_err());
    }
}

#[test]
fn workers_of_envoy_share_it_unless_it_finds_itself() {
    for (limit, share) in [
        (r#""max": 7"#, Share::Process),
        (r#""max": 7, "share": "none""#, Share::None),
        (r#""adaptive": {"min": 1, "max": 7}"#, Share::None),
    ] {
        let document = document(&format!(r#""concurrency": {{{limit}}}"#), Host::Wasm);
        let limit = document.policies[0].concurrency.unwrap();
        assert_eq!((limit.max, limit.share), (7, share));
    }
}

#[test]
fn a_rejected_call_has_no_slot_and_is_no_call_under_way() {
    let mut workers = Workers::new();
    let policies = workers.load(r#""concurrency": {"max": 1}"#);
    let held = workers.ask(0, &policies, "a").unwrap();
    assert!((0..100).all(|_| workers.ask(0, &policies, "a").is_err()));
    workers.settle(0, held, Success);
    assert!(workers.ask(0, &policies, "a").is_ok());
    let totals = workers.engines[0].totals();
    assert_eq!((totals.issued, totals.settled), (2, 1));
    let (_, _, counts) = workers.engines[0].series().next().unwrap();
    assert_eq!(counts.decisions, [2, 0, 0, 0, 0, 100]);
}

#[test]
fn a_changed_limit_holds_at_once_and_the_breaker_stays() {
    let mut workers = Workers::new();
    let wide = workers.load(&format!(r#"{BREAKER}, "concurrency": {{"max": 3}}"#));
    let held = [(); 3].map(|()| workers.ask(0, &wide, "a").unwrap());
    let narrow = workers.load(&format!(r#"{BREAKER}, "concurrency": {{"max": 2}}"#));
    let mut held = held.into_iter();
    assert!(workers.ask(0, &narrow, "a").is_err());
    assert!(!workers.settle(0, held.next().unwrap(), Success), "one state for both");
    assert!(workers.ask(0, &narrow, "a").is_err() && workers.ask(0, &wide, "a").is_ok());
    workers.settle(0, held.next().unwrap(), Failure);
    let verdict = workers.engines[0].admit(workers.now, &narrow[0], &Request("a"));
    assert!(matches!(verdict, Verdict::Reject(it) if it.rejection.rule() == Rule::Breaker));
}

/// The old state is there until its calls are over; each gives back its own slot.
#[test]
fn calls_of_policies_that_are_gone_give_their_slots_back() {
    let mut workers = Workers::new();
    let old = workers.load(&format!(r#"{BREAKER}, "concurrency": {{"max": 2}}"#));
    let held = [(); 2].map(|()| workers.ask(0, &old, "a").unwrap());
    let breaker = r#""breaker": {"trip": {"consecutive_failures": 9}}"#;
    let new = workers.load(&format!(r#"{breaker}, "concurrency": {{"max": 2}}"#));
    drop(old);
    workers.engines.iter_mut().for_each(|engine| engine.poll(workers.now));
    assert!(workers.ask(1, &new, "a").is_err(), "they are still under way");
    for ticket in held {
        assert!(workers.settle(0, ticket, Success), "late");
        assert!(workers.ask(1, &new, "a").is_ok());
        assert!(workers.ask(1, &new, "a").is_err());
    }
}

#[test]
fn a_worker_that_ends_leaves_no_slot_taken() {
    let mut workers = Workers::new();
    let policies = workers.load(r#""concurrency": {"max": 1}"#);
    let _lost = workers.ask(0, &policies, "a").unwrap();
    // Somebody else keeps the words alive.
    assert!(workers.ask(1, &policies, "a").is_err());
    workers.engines[0] = Engine::new(3);
    assert!(workers.ask(1, &policies, "a").is_ok());
}

#[test]
fn no_mode_but_enforce_turns_a_call_away_for_it() {
    let mut workers = Workers::new();
    let shadow = workers.load(r#""mode": "shadow", "concurrency": {"max": 1}"#);
    let held = workers.ask(0, &shadow, "a").unwrap();
    let verdict = workers.engines[0].admit(workers.now, &shadow[0], &Request("a"));
    let Verdict::Pass(pass) = verdict else { panic!("{verdict:?}") };
    assert!(matches!(pass.why, PassReason::Shadow(Rejection::Concurrency { .. })));
    assert_eq!(pass.state(), Some(State::Closed));
    workers.settle(0, held, Success);
    let forced = workers.load(r#""mode": "forced_open", "concurrency": {"max": 1}"#);
    for _ in 0..2 {
        let verdict = workers.engines[0].admit(workers.now, &forced[0], &Request("a"));
        assert!(matches!(verdict, Verdict::Reject(it) if it.rejection == Rejection::ForcedOpen));
    }
    assert!(workers.ask(0, &shadow, "a").is_ok(), "nothing above took the slot");
}

#[test]
fn whom_it_is_shared_with_changes_once_no_call_has_a_slot() {
    let mut workers = Workers::new();
    let alone = workers.load(r#""concurrency": {"max": 1, "share": "none"}"#);
    let shared = workers.load(r#""concurrency": {"max": 1}"#);
    let held = workers.ask(0, &alone, "a").unwrap();
    assert!(workers.ask(0, &shared, "a").is_err());
    workers.settle(0, held, Success);
    let held = workers.ask(0, &shared, "a").unwrap();
    assert!(workers.ask(1, &shared, "a").is_err());
    workers.settle(0, held, Success);
    assert!(workers.ask(1, &shared, "a").is_ok());
}

#[test]
fn further_keys_share_the_overflows_limit_and_not_that_of_no_key() {
    let mut workers = Workers::new();
    let policies = workers.load(r#""scopes": {"max": 1}, "concurrency": {"max": 1}"#);
    let _no_key = workers.ask(0, &policies, "").unwrap();
    let _overflow = workers.ask(0, &policies, "b").unwrap();
    assert!(workers.ask(0, &policies, "c").is_err() && workers.ask(0, &policies, "").is_err());
}

#[test]
fn an_answer_says_which_rule_and_why() {
    let mut workers = Workers::new();
    let policies = workers.load(r#""concurrency": {"max": 1}"#);
    let _held = workers.ask(0, &policies, "a").unwrap();
    let verdict = workers.engines[0].admit(workers.now, &policies[0], &Request("a"));
    let Verdict::Reject(rejected) = verdict else { panic!("{verdict:?}") };
    let reply = rejected.reply();
    let fields: Vec<_> = reply.fields.iter().map(|(name, value)| (&**name, &**value)).collect();
    let reason = "1 call under way, and no more may be";
    assert_eq!(
        fields,
        [
            ("x-bimetal-rule", "a/concurrency"),
            ("x-bimetal-reason", reason),
            ("content-type", "application/json"),
        ]
    );
    assert_eq!(reply.status, 503);
    assert_eq!(reply.body, format!(r#"{{"error":"concurrency limit: {reason}"}}"#));
}
