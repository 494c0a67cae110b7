//! What is in force where: each place judges by its own policies, and what they have in common is
//! shared for as long as somebody refers to it.

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

use bimetal_core::breaker::Denied;
use bimetal_core::decision::PassReason;
use bimetal_core::engine::{Policies, Tracing};
use bimetal_core::outcome::Outcome::{self, Failure, Success};
use bimetal_core::outcome::Report;
use bimetal_core::policy::{Document, Host};
use bimetal_core::{Duration, Engine, Facts, Instant, Rejection, Ticket, Verdict};
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

/// A request of which nothing but its authority is known.
struct Request(&'static str);

impl Facts for Request {
    fn authority(&self) -> Option<Cow<'_, [u8]>> {
        Some(self.0.as_bytes().into())
    }
}

const NOW: Instant = Instant::from_millis(1_000);
/// It trips on three failures.
const BREAKER: &str = r#""breaker": {"profile": "origin-study"}"#;

/// Policies with one of the name `echo`, of these further fields.
fn load(engine: &mut Engine, fields: &str) -> Policies {
    let text = format!(
        r#"{{"version": "v1", "policies": [{{"name": "echo", "scope": "policy", {fields}}}]}}"#
    );
    engine.load(&Document::parse(text.as_bytes(), Host::Native).unwrap())
}

fn ask<'p>(engine: &mut Engine, policies: &'p Policies) -> Verdict<'p> {
    engine.admit(NOW, policies, &Request("echo"))
}

fn ticket(engine: &mut Engine, policies: &Policies) -> Ticket {
    match ask(engine, policies) {
        Verdict::Admit(admission) => admission.ticket,
        other => panic!("not admitted: {other:?}"),
    }
}

fn rejection(engine: &mut Engine, policies: &Policies) -> Rejection {
    match ask(engine, policies) {
        Verdict::Reject(rejected) => rejected.rejection,
        other => panic!("not rejected: {other:?}"),
    }
}

fn call(engine: &mut Engine, policies: &Policies, outcome: Outcome) {
    let ticket = ticket(engine, policies);
    assert!(!engine.settle(NOW, ticket, Report::from(outcome)).late);
}

fn trip(engine: &mut Engine, policies: &Policies) {
    (0..3).for_each(|_| call(engine, policies, Failure));
    rejection(engine, policies);
}

/// How many breakers are closed, half-open and open, by the counts.
fn states(engine: &Engine) -> [u32; 3] {
    let mut sum = [0; 3];
    for (_, _, counts) in engine.series() {
        sum.iter_mut().zip(counts.states).for_each(|(sum, count)| *sum += count);
    }
    sum
}

#[test]
fn loading_publishes_nothing() {
    let board = Arc::new(board::TestBoard::default());
    let mut engine = Engine::with_board(1, board.clone());
    engine.set_tracing(Tracing::All);
    let policies = load(&mut engine, BREAKER);
    engine.poll(NOW);
    assert_eq!((engine.series().count(), engine.totals().scopes), (0, 0));
    assert!(engine.take_event().is_none());
    assert!(board.is_empty(), "words on the board");
    assert_eq!(engine.breakers(NOW).count(), 0);
    call(&mut engine, &policies, Success);
    assert_eq!((engine.series().count(), engine.totals().scopes), (1, 1));
    assert!(!board.is_empty());
}

#[test]
fn a_document_that_was_only_read_judges_nothing() {
    let mut engine = Engine::new(1);
    let old = load(&mut engine, BREAKER);
    call(&mut engine, &old, Failure);
    // The update is rejected for a reason that is not ours.
    let rejected = load(&mut engine, &format!(r#""mode": "forced_open", {BREAKER}"#));
    call(&mut engine, &old, Failure);
    drop(rejected);
    engine.poll(NOW);
    call(&mut engine, &old, Failure);
    assert!(matches!(rejection(&mut engine, &old), Rejection::Breaker(Denied::Open { .. })));
}

#[test]
fn each_judges_by_its_own_and_both_know_the_same_breaker() {
    let mut engine = Engine::new(1);
    let draining = load(&mut engine, &format!(r#""mode": "shadow", {BREAKER}"#));
    let serving = load(
        &mut engine,
        &format!(r#""timeout": {{"request": "1s"}}, "debug_headers": true, {BREAKER}"#),
    );
    let other = load(&mut engine, &format!(r#""match": {{"hosts": ["else"]}}, {BREAKER}"#));
    trip(&mut engine, &serving);
    assert!(matches!(ask(&mut engine, &draining),
        Verdict::Pass(pass) if matches!(pass.why, PassReason::Shadow(_))));
    assert!(matches!(ask(&mut engine, &other), Verdict::Unmatched));
    let Verdict::Reject(rejected) = ask(&mut engine, &serving) else { panic!() };
    assert!(rejected.policy.debug_headers);
    assert_eq!((engine.totals().scopes, states(&engine)), (1, [0, 0, 1]));
}

#[test]
fn failure_rules_belong_to_who_judges() {
    let mut engine = Engine::new(1);
    let breaker = |failure: &str| {
        format!(r#""breaker": {{"trip": {{"consecutive_failures": 3}}, "failure": {failure}}}"#)
    };
    let one = load(&mut engine, &breaker(r#"{"statuses": [500]}"#));
    let other = load(&mut engine, &breaker(r#"{"statuses": [404]}"#));
    let fails = |policies: &Policies, status| {
        let answer = bimetal_core::outcome::Observation::Answer {
            status,
            grpc: None,
            latency: Duration::ZERO,
        };
        let policy = policies.iter().next().unwrap();
        policy.failure.classify(&answer) == Failure
    };
    assert!(fails(&one, 500) && !fails(&one, 404) && fails(&other, 404) && !fails(&other, 500));
    trip(&mut engine, &one);
    rejection(&mut engine, &other);
}

#[test]
fn another_hash_has_state_of_its_own() {
    let mut engine = Engine::new(1);
    let changed =
        |more: &str| format!(r#""breaker": {{"trip": {{"consecutive_failures": 3}} {more}}}"#);
    let one = load(&mut engine, &changed(""));
    let other = load(&mut engine, &changed(r#", "open": {"base": "7s", "jitter": 0}"#));
    let narrower = load(&mut engine, &(changed("") + r#", "scopes": {"max": 9}"#));
    trip(&mut engine, &one);
    for beside in [&other, &narrower] {
        (0..2).for_each(|_| call(&mut engine, beside, Failure));
    }
    rejection(&mut engine, &one);
    call(&mut engine, &other, Failure);
    assert_eq!(rejection(&mut engine, &other).retry_after(), Some(Duration::from_secs(7)));
    call(&mut engine, &narrower, Success);
    assert_eq!(states(&engine), [1, 0, 2], "all counted under the one policy");
}

#[test]
fn what_nobody_refers_to_is_freed() {
    let mut engine = Engine::new(1);
    let old = load(&mut engine, BREAKER);
    let under_way = ticket(&mut engine, &old);
    trip(&mut engine, &old);
    let new = load(&mut engine, r#""breaker": {"trip": {"consecutive_failures": 9}}"#);
    call(&mut engine, &new, Success);
    engine.poll(NOW);
    assert_eq!(states(&engine), [1, 0, 1], "the old one drains");
    drop(old);
    engine.poll(NOW);
    assert_eq!((engine.totals().scopes, states(&engine)), (1, [1, 0, 0]));
    assert!(engine.settle(NOW, under_way, Report::from(Success)).late);
    let late: u64 = engine.series().map(|(_, _, counts)| counts.late).sum();
    assert_eq!((late, engine.totals().issued), (1, engine.totals().settled));
}

#[test]
fn each_result_of_a_state_that_is_gone_is_late_and_the_last_one_ends_it() {
    let mut engine = Engine::new(1);
    let old = load(&mut engine, BREAKER);
    let calls = [(); 3].map(|()| ticket(&mut engine, &old));
    drop(old);
    engine.poll(NOW);
    assert_eq!((engine.totals().scopes, states(&engine)), (0, [0; 3]));
    for call in calls {
        // Three in time would open the breaker, which nobody could ever ask again.
        assert!(engine.settle(NOW, call, Report::from(Failure)).late);
    }
    assert!(engine.take_event().is_none());
    let new = load(&mut engine, BREAKER);
    call(&mut engine, &new, Success);
    assert_eq!((engine.totals().scopes, states(&engine)), (1, [1, 0, 0]));
}

#[test]
fn the_same_again_before_it_was_freed_goes_on() {
    let mut engine = Engine::new(1);
    let old = load(&mut engine, BREAKER);
    trip(&mut engine, &old);
    drop(old);
    let new = load(&mut engine, BREAKER);
    engine.poll(NOW);
    rejection(&mut engine, &new);
}

#[test]
fn what_the_engine_does_not_have_passes() {
    let mut engine = Engine::new(1);
    let strange = load(&mut Engine::new(2), BREAKER);
    assert!(matches!(ask(&mut engine, &strange), Verdict::Unmatched));
}

/// Labels are shared between the policies that judge, not those that somebody read.
#[test]
fn a_document_that_was_only_read_takes_no_labels() {
    let mut engine = Engine::new(1);
    let many: Vec<_> = (0..100)
        .map(|number| format!(r#"{{"name": "p{number}", "scope": "authority", {BREAKER}}}"#))
        .collect();
    let text = format!(r#"{{"version": "v1", "policies": [{}]}}"#, many.join(","));
    let read = engine.load(&Document::parse(text.as_bytes(), Host::Native).unwrap());
    let text = format!(
        r#"{{"version": "v1", "policies": [{{"name": "a", "scope": "authority", {BREAKER}}}]}}"#
    );
    let policies = engine.load(&Document::parse(text.as_bytes(), Host::Native).unwrap());
    let most = bimetal_core::series::MIN_SERIES + 10;
    for number in 0..most {
        let host = Request(Box::leak(format!("host-{number}").into_boxed_str()));
        assert!(matches!(engine.admit(NOW, &policies, &host), Verdict::Admit(_)));
    }
    assert_eq!(engine.series().count(), most);
    drop(read);
}

#[test]
fn replicas_share_by_hash_alone() {
    let board = Arc::new(board::TestBoard::default());
    let mut engines = [1, 2].map(|seed| Engine::with_board(seed, board.clone()));
    let policies = engines.each_mut().map(|engine| load(engine, BREAKER));
    trip(&mut engines[0], &policies[0]);
    assert!(board.writes.load(SeqCst) > 0);
    let changed = load(&mut engines[1], r#""breaker": {"trip": {"consecutive_failures": 9}}"#);
    call(&mut engines[1], &changed, Success);
    rejection(&mut engines[1], &policies[1]);
}
