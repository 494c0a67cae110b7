//! What an operator orders: forced open, disabled, reset.

#![allow(
    clippy::expect_used,
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
mod support;

use bimetal_core::breaker::{Breaker, Denied, Held, Order};
use bimetal_core::engine::Policies;
use bimetal_core::event::{EventKind, State};
use bimetal_core::outcome::Outcome::{self, Failure, Success};
use bimetal_core::outcome::Report;
use bimetal_core::policy::{BreakerPolicy, Document, Host, WindowSize};
use bimetal_core::{Duration, Engine, Facts, Instant, Rejection, Verdict};
use std::borrow::Cow;
use std::sync::Arc;
use support::{Bench, line, policy, rate};

fn order(bench: &mut Bench, order: Order) {
    bench.breaker.order(bench.now, order);
}

#[test]
fn every_order_has_a_name_by_which_it_is_found() {
    for order in Order::ALL {
        assert_eq!(Order::named(order.name()), Some(order));
    }
    assert_eq!(Order::named("open"), None);
}

#[test]
fn forced_open_outlasts_the_open_time_and_every_result() {
    let mut bench = Bench::new(policy());
    let early = bench.permit();
    order(&mut bench, Order::ForceOpen);
    assert_eq!(bench.changes(), ["closed>open forced@0"]);
    for secs in [0.0, 10.0, 301.0, 10_000.0] {
        let denied = bench.at(secs).admit().unwrap_err();
        assert_eq!((denied, denied.left(), denied.state()), (Denied::Held, None, State::Open));
        assert_eq!(bench.breaker.peek(bench.now), Err(Denied::Held));
        bench.breaker.poll(bench.now);
        let view = bench.breaker.view(bench.now);
        assert_eq!((view.state, view.held), (State::Open, Some(Held::Open)));
        assert_eq!(view.next_probe, None);
    }
    assert!(bench.settles_late(early, Success));
    assert!(bench.changes().is_empty());
    order(&mut bench, Order::Reset);
    assert_eq!(bench.changes(), ["open>closed reset@10000"]);
    assert_eq!(bench.breaker.view(bench.now).held, None);
    bench.calls(2, Failure).call(Success);
}

#[test]
fn a_disabled_breaker_passes_everything_and_learns_nothing() {
    let mut bench = Bench::new(policy());
    bench.calls(3, Failure);
    bench.changes();
    order(&mut bench, Order::Disable);
    assert_eq!(bench.changes(), ["open>closed reset@0"]);
    bench.calls(20, Failure);
    let view = bench.breaker.view(bench.now);
    assert_eq!((view.state, view.held, view.calls), (State::Closed, Some(Held::Closed), 0));
    assert!(bench.changes().is_empty());
    order(&mut bench, Order::Reset);
    bench.calls(2, Failure);
    assert_eq!(bench.state(), State::Closed, "what it saw while disabled does not count");
    bench.call(Failure);
    assert_eq!(bench.changes(), ["closed>open consecutive_failures@0"]);
}

#[test]
fn a_reset_forgets_evidence_levels_and_probes() {
    let mut bench = Bench::new(BreakerPolicy {
        open: bimetal_core::policy::Open { multiplier: 2.0, ..policy().open },
        ..policy()
    });
    bench.calls(3, Failure);
    let probe = bench.at(10.0).permit();
    assert!(!bench.settles_late(probe, Failure));
    let probe = bench.at(30.0).permit();
    assert_eq!(bench.breaker.view(bench.now).level, 2);
    bench.changes();
    order(&mut bench, Order::Reset);
    assert_eq!(bench.changes(), ["half_open>closed reset@30"]);
    assert!(bench.settles_late(probe, Failure), "of another generation");
    assert_eq!(bench.breaker.view(bench.now).level, 0);
    bench.calls(2, Failure);
    order(&mut bench, Order::Reset);
    assert!(bench.changes().is_empty(), "it was closed");
    bench.calls(2, Failure);
    assert_eq!(bench.state(), State::Closed);
    let window = rate(0.5, WindowSize::Calls(10), 4);
    let trip = bimetal_core::policy::Trip {
        consecutive_failures: None,
        failure_rate: Some(window),
        slow_rate: None,
    };
    let mut bench = Bench::new(BreakerPolicy { trip, ..policy() });
    bench.calls(3, Failure);
    order(&mut bench, Order::Reset);
    bench.calls(3, Failure);
    assert_eq!(bench.state(), State::Closed, "a window is evidence too");
}

#[test]
fn a_reset_begins_the_ramp_and_an_order_within_one_ends_it() {
    let mut bench = Bench::new(BreakerPolicy { ramp: Duration::from_secs(100), ..policy() });
    order(&mut bench, Order::ForceOpen);
    order(&mut bench, Order::Reset);
    assert!(matches!(bench.admit(), Err(Denied::Ramping { .. })));
    order(&mut bench, Order::Disable);
    bench.calls(20, Success);
    order(&mut bench, Order::Reset);
    assert!(matches!(bench.at(1.0).admit(), Err(Denied::Ramping { .. })), "it goes on");
}

#[test]
fn replicas_that_get_an_order_change_the_state_once() {
    let policy = Arc::new(policy());
    let (words, _) = board::words(Breaker::words_needed(&policy));
    let replica = |seed| Breaker::shared(policy.clone(), seed, words.clone());
    let mut replicas: Vec<_> = (0..3).map(replica).collect();
    let now = Instant::from_millis(1_000);
    let told = |replicas: &mut [Breaker]| {
        let mut told = Vec::new();
        for replica in replicas {
            while let Some(change) = replica.take_transition() {
                told.push(format!("{} {}", line(&change), change.adopted));
            }
        }
        told
    };
    for (given, wanted) in
        [(Order::ForceOpen, "closed>open forced@1"), (Order::Reset, "open>closed reset@1")]
    {
        replicas[0].order(now, given);
        replicas[1].order(now, given);
        // The last one did not get it yet: it follows the others, and no reset of theirs frees it.
        assert!(replicas[2].admit(now).is_err());
        let all = ["false", "true", "true"].map(|adopted| format!("{wanted} {adopted}"));
        assert_eq!(told(&mut replicas), all);
        replicas[2].order(now, given);
        assert!(told(&mut replicas).is_empty());
    }
    let generations: Vec<_> = replicas.iter().map(|one| one.view(now).generation).collect();
    assert_eq!(generations, [2, 2, 2]);
}

struct Request<'a>(&'a str);

impl Facts for Request<'_> {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        (name == "x-tenant").then(|| self.0.as_bytes().into())
    }
}

const NOW: Instant = Instant::from_millis(1_000);

fn load(engine: &mut Engine, fields: &str) -> Policies {
    let breaker = r#""breaker": {"trip": {"consecutive_failures": 3}}"#;
    let text = format!(
        r#"{{"version": "v1", "policies": [{{"name": "p", {fields}, {breaker}}}, {{"name": "bare", "match": {{"path": "/bare"}}}}]}}"#
    );
    engine.load(&Document::parse(text.as_bytes(), Host::Native).unwrap())
}

fn call(
    engine: &mut Engine,
    policies: &Policies,
    tenant: &str,
    outcome: Outcome,
) -> Result<(), Rejection> {
    match engine.admit(NOW, policies, &Request(tenant)) {
        Verdict::Admit(admission) => {
            engine.settle(NOW, admission.ticket, Report::from(outcome));
            Ok(())
        }
        Verdict::Reject(rejected) => Err(rejected.rejection),
        other => panic!("{other:?}"),
    }
}

fn open(engine: &Engine) -> u32 {
    engine.series().map(|(_, _, counts)| counts.states[2]).sum()
}

#[test]
fn an_order_is_for_one_scope_and_is_told() {
    let mut engine = Engine::new(1);
    let policies = load(&mut engine, r#""scope": "header:x-tenant""#);
    for tenant in ["a", "b", "policy", ""] {
        call(&mut engine, &policies, tenant, Success).unwrap();
    }
    assert!(engine.has_breaker("p", b"a") && engine.has_breaker("p", b"policy"));
    assert!(!engine.has_breaker("p", b"c") && !engine.has_breaker("q", b"a"));
    assert!(!engine.has_breaker("bare", b"policy"), "it has no breaker");
    assert!(engine.order(NOW, "p", b"a", Order::ForceOpen));
    assert_eq!(call(&mut engine, &policies, "a", Success), Err(Rejection::Breaker(Denied::Held)));
    for tenant in ["b", "policy", ""] {
        call(&mut engine, &policies, tenant, Success).unwrap();
    }
    assert_eq!(open(&engine), 1);
    let event = engine.take_event().unwrap();
    assert!(
        matches!(&event.kind, EventKind::Transition(change) if change.cause.name() == "forced")
    );
    assert_eq!(event.scope_name(), "a");
    assert!(engine.order(NOW, "p", b"a", Order::Reset));
    call(&mut engine, &policies, "a", Success).unwrap();
    assert_eq!(open(&engine), 0);
    assert!(!engine.order(NOW, "p", b"c", Order::Reset), "nothing to reset");
    assert!(!engine.order(NOW, "q", b"a", Order::ForceOpen));
}

#[test]
fn a_scope_that_is_to_be_held_is_made_and_does_not_leave() {
    let mut engine = Engine::new(1);
    let policies = load(&mut engine, r#""scope": "header:x-tenant", "scopes": {"max": 2}"#);
    assert!(engine.order(NOW, "p", b"a", Order::ForceOpen), "made before any call");
    for number in 0..20 {
        let tenant = format!("t{number}");
        call(&mut engine, &policies, &tenant, Success).unwrap();
    }
    assert!(call(&mut engine, &policies, "a", Success).is_err(), "it is still there");
    assert!(engine.order(NOW, "p", b"b", Order::Disable));
    // Two are held, so the table is full: what comes now shares one scope.
    assert!(!engine.order(NOW, "p", b"c", Order::ForceOpen));
    call(&mut engine, &policies, "c", Success).unwrap();
    assert!(engine.has_breaker("p", b"*"));
    assert!(engine.order(NOW, "p", b"*", Order::ForceOpen));
    assert!(call(&mut engine, &policies, "c", Success).is_err());
}

#[test]
fn the_one_scope_of_a_policy_is_called_policy() {
    let mut engine = Engine::new(1);
    let policies = load(&mut engine, r#""scope": "policy""#);
    assert!(engine.order(NOW, "p", b"policy", Order::ForceOpen), "made before any call");
    assert!(call(&mut engine, &policies, "a", Success).is_err());
    assert_eq!(engine.breakers(NOW).count(), 1);
}

#[test]
fn an_order_is_for_one_process() {
    let mesh = bimetal_core::policy::Share::Mesh { quorum: 1 };
    let mut bench = Bench::new(BreakerPolicy { share: mesh, ..policy() });
    let member = bimetal_core::board::far::Member::default();
    bench.call(Success);
    order(&mut bench, Order::ForceOpen);
    assert_eq!(bench.breaker.take_delta(bench.now, member, 1), None, "others are told nothing");
    order(&mut bench, Order::Reset);
    bench.call(Success);
    let delta = bench.breaker.take_delta(bench.now, member, 2).unwrap();
    assert_eq!((delta.state, delta.is_vote, delta.is_mesh_open), (State::Closed, false, false));
}
