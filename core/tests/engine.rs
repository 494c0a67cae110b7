//! A whole document at work: matching, modes, scopes and their table, reload, counts and events.

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

#[path = "engine/scopes.rs"]
mod scopes;

use bimetal_core::Rejection;
use bimetal_core::decision::PassReason;
use bimetal_core::engine::{MAX_EVENTS, Policies, Tracing};
use bimetal_core::event::State;
use bimetal_core::outcome::Outcome::{self, Failure, Success};
use bimetal_core::outcome::Report;
use bimetal_core::policy::{Document, Host};
use bimetal_core::series::Counts;
use bimetal_core::{Duration, Engine, Facts, Instant, Rejected, Ticket, Verdict};
use std::borrow::Cow;

/// A request as a test needs it: path and tenant.
#[derive(Clone, Copy)]
struct Request<'a>(&'a str, &'a str);

impl Facts for Request<'_> {
    fn authority(&self) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(b"Echo:8001"))
    }
    fn path(&self) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(self.0.as_bytes()))
    }
    fn method(&self) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(b"POST"))
    }
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        (name == "x-tenant").then_some(Cow::Borrowed(self.1.as_bytes()))
    }
    fn destination(&self) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(b"echo"))
    }
}

const ECHO: Request<'_> = Request("/echo", "gold");

struct World {
    engine: Engine,
    policies: Policies,
    now: Instant,
}

impl World {
    fn new(policy: &str) -> Self {
        let (engine, policies) = (Engine::new(1), Policies::default());
        let mut world = Self { engine, policies, now: Instant::ZERO };
        world.load(policy);
        world
    }

    /// Puts one policy in force, given as its fields beside the name.
    fn load(&mut self, policy: &str) {
        self.load_all(&format!(r#"{{"name": "echo", {policy}}}"#));
    }

    fn load_all(&mut self, policies: &str) {
        self.policies = self.other(policies);
        self.engine.poll(self.now);
    }

    /// Policies beside those in force, of the same engine.
    fn other(&mut self, policies: &str) -> Policies {
        let text = format!(r#"{{"version": "v1", "policies": [{policies}]}}"#);
        let document = Document::parse(text.as_bytes(), Host::Native).unwrap();
        self.engine.load(&document)
    }

    fn ask(&mut self, request: Request<'_>) -> Verdict<'_> {
        self.engine.admit(self.now, &self.policies, &request)
    }

    fn ticket(&mut self, request: Request<'_>) -> Ticket {
        match self.ask(request) {
            Verdict::Admit(admission) => admission.ticket,
            other => panic!("not admitted: {other:?}"),
        }
    }

    fn rejected(&mut self, request: Request<'_>) -> Rejected<'_> {
        match self.ask(request) {
            Verdict::Reject(rejected) => rejected,
            other => panic!("not rejected: {other:?}"),
        }
    }

    fn settles_late(&mut self, ticket: Ticket, outcome: Outcome) -> bool {
        self.engine.settle(self.now, ticket, Report::from(outcome)).late
    }

    fn call(&mut self, request: Request<'_>, outcome: Outcome) {
        let ticket = self.ticket(request);
        assert!(!self.settles_late(ticket, outcome));
    }

    fn trip(&mut self, request: Request<'_>) {
        (0..3).for_each(|_| self.call(request, Failure));
        self.rejected(request);
    }

    fn counts(&self, scope: &str) -> Counts {
        let mut series = self.engine.series();
        let row = series.find(|(_, label, _)| *label == scope);
        *row.unwrap_or_else(|| panic!("no series {scope}")).2
    }
}

const ORIGIN: &str = r#""scope": "policy", "breaker": {"profile": "origin-study"}"#;
const TENANTS: &str = r#""scope": "header:x-tenant", "breaker": {"profile": "origin-study"}"#;

#[test]
fn the_first_policy_that_matches_decides() {
    let mut world = World::new(ORIGIN);
    world.load_all(
        r#"{"name": "a", "match": {"path": "/a"}, "mode": "disabled"},
           {"name": "b", "match": {"path_prefix": "/"}, "mode": "forced_open",
            "breaker": {"profile": "origin-study"}}"#,
    );
    let verdict = world.ask(Request("/a", ""));
    assert!(matches!(verdict, Verdict::Pass(pass) if pass.why == PassReason::Disabled));
    let rejected = world.rejected(Request("/b", ""));
    assert_eq!((&*rejected.policy.name, rejected.rejection), ("b", Rejection::ForcedOpen));
}

#[test]
fn what_nothing_matches_passes_untouched() {
    let mut world = World::new(&format!(r#""match": {{"path": "/other"}}, {ORIGIN}"#));
    assert!(matches!(world.ask(ECHO), Verdict::Unmatched));
    assert_eq!(world.engine.series().count(), 0);
    let mut empty = Engine::new(0);
    assert!(matches!(empty.admit(Instant::ZERO, &Policies::default(), &ECHO), Verdict::Unmatched));
}

#[test]
fn shadow_decides_and_counts_but_applies_nothing() {
    let mut world =
        World::new(&format!(r#""mode": "shadow", "timeout": {{"request": "1s"}}, {ORIGIN}"#));
    let Verdict::Admit(first) = world.ask(ECHO) else { panic!() };
    assert_eq!(first.plan(), bimetal_core::Plan::default());
    let ticket = first.ticket;
    world.settles_late(ticket, Failure);
    (0..2).for_each(|_| world.call(ECHO, Failure));
    let Verdict::Pass(pass) = world.ask(ECHO) else { panic!() };
    assert!(matches!(pass.why, PassReason::Shadow(rejection)
        if rejection.retry_after() == Some(Duration::from_secs(30))));
    let counts = world.counts("policy");
    assert_eq!(
        (&counts.decisions[..5], &counts.shadow[..5]),
        (&[4, 0, 0, 0, 0][..], &[3, 0, 0, 0, 1][..])
    );
}

#[test]
fn a_fallback_is_not_applied_in_shadow() {
    let fallback = r#""fallback": {"when": ["rejected", "failed"], "status": 500}"#;
    for (mode, given) in [("enforce", true), ("forced_open", true), ("shadow", false)] {
        let world = World::new(&format!(r#""mode": "{mode}", {fallback}, {ORIGIN}"#));
        let policy = world.policies.iter().next().unwrap().clone();
        assert_eq!(policy.fallback_when_rejected().is_some(), given);
        assert_eq!(policy.fallback_when_failed().is_some(), given);
    }
}

#[test]
fn a_good_update_keeps_a_breaker_whose_policy_is_the_same() {
    let mut world = World::new(ORIGIN);
    world.trip(ECHO);
    world.load(&format!(
        r#""match": {{"path": "/echo"}}, "timeout": {{"request": "1s"}}, {ORIGIN}"#
    ));
    let rejected = world.rejected(ECHO);
    assert!(rejected.policy.timeout.request.is_some(), "decided by the new policy");
    assert_eq!(world.counts("policy").states, [0, 0, 1]);
}

#[test]
fn a_changed_breaker_begins_anew_and_old_results_are_late() {
    let mut world = World::new(ORIGIN);
    let old = world.ticket(ECHO);
    world.trip(ECHO);
    world.load(
        r#""scope": "policy", "breaker": {"profile": "origin-study", "open": {"base": "5s"}}"#,
    );
    assert!(world.settles_late(old, Failure));
    world.call(ECHO, Success);
    let counts = world.counts("policy");
    assert_eq!((counts.states, counts.late), ([1, 0, 0], 1));
    let totals = world.engine.totals();
    assert_eq!((totals.issued, totals.settled), (5, 5), "late ones are settled too");
}

#[test]
fn a_policy_that_goes_takes_its_breakers_and_leaves_its_counts() {
    let mut world = World::new(ORIGIN);
    world.trip(ECHO);
    world.load_all("");
    assert!(matches!(world.ask(ECHO), Verdict::Unmatched));
    let counts = world.counts("policy");
    assert_eq!((counts.states, &counts.decisions[..5]), ([0; 3], &[3, 0, 0, 0, 1][..]));
}

#[test]
fn every_ticket_is_settled_once_and_counted() {
    let mut world = World::new(ORIGIN);
    let tickets: Vec<_> = (0..10).map(|_| world.ticket(ECHO)).collect();
    for (ticket, outcome) in tickets.into_iter().zip([Failure, Success].into_iter().cycle()) {
        world.settles_late(ticket, outcome);
    }
    let counts = world.counts("policy");
    assert_eq!((counts.settled_calls(), counts.outcomes), (10, [5, 5, 0, 0]));
    assert_eq!(world.engine.totals().issued, world.engine.totals().settled);
}

#[test]
fn events_tell_the_story_in_order() {
    let mut world = World::new(ORIGIN);
    world.engine.set_tracing(Tracing::All);
    world.trip(ECHO);
    let events = std::iter::from_fn(|| world.engine.take_event());
    let lines: Vec<String> = events.map(|event| event.to_string()).collect();
    let head = r#""at_ns":0,"policy":"echo","scope":"policy""#;
    assert_eq!(
        lines[0],
        format!(r#"{{"event":"decision",{head},"call":1,"decision":"admitted"}}"#)
    );
    assert_eq!(lines[1], format!(r#"{{"event":"settled",{head},"call":1,"outcome":"failure"}}"#));
    let trip = r#""from":"closed","to":"open","cause":"consecutive_failures","generation":1"#;
    assert!(lines[6].contains(trip), "{}", lines[6]);
    assert_eq!(lines[7], format!(r#"{{"event":"decision",{head},"call":4,"decision":"breaker"}}"#));
    assert_eq!(lines.len(), 8);
}

#[test]
fn events_that_nobody_takes_are_bounded() {
    let mut world = World::new(ORIGIN);
    world.engine.set_tracing(Tracing::All);
    (0..1_000).for_each(|_| world.call(ECHO, Success));
    assert_eq!(world.engine.totals().events_lost, 2_000 - MAX_EVENTS as u64);
}

#[test]
fn poll_carries_out_what_is_due_in_every_scope() {
    let mut world = World::new(TENANTS);
    world.trip(Request("", "gold"));
    world.now = Instant::from_millis(30_000);
    let lost = world.ticket(Request("", "gold"));
    assert_eq!(world.engine.next_wakeup(), Some(Instant::from_nanos(40_000_000_001)));
    world.now = Instant::from_millis(41_000);
    world.engine.poll(world.now);
    assert_eq!(world.engine.breakers(world.now).next().unwrap().view.state, State::Open);
    assert_eq!(world.engine.next_wakeup(), None);
    assert!(world.settles_late(lost, Success));
}

#[test]
fn a_policy_without_a_breaker_admits_and_counts() {
    let mut world = World::new(r#""timeout": {"request": "1s"}"#);
    (0..10).for_each(|_| world.call(ECHO, Failure));
    assert_eq!(world.counts("echo").outcomes, [0, 10, 0, 0]);
    assert_eq!(world.engine.breakers(world.now).count(), 0);
}

#[test]
fn deciding_does_not_allocate_where_scopes_are_known() {
    let mut world = World::new(TENANTS);
    world.call(ECHO, Success);
    world.trip(Request("", "open"));
    let measured = allocation_counter::measure(|| {
        for _ in 0..1_000 {
            world.call(ECHO, Success);
            world.rejected(Request("", "open"));
        }
        world.engine.poll(world.now);
    });
    assert_eq!(measured.count_total, 0);
}

#[test]
fn the_breaker_of_a_call_is_found_by_its_place_also_once_it_is_settled() {
    let mut world = World::new(TENANTS);
    world.call(Request("", "silver"), Failure);
    (0..2).for_each(|_| world.call(Request("", "gold"), Failure));
    let ticket = world.ticket(Request("", "gold"));
    let place = ticket.breaker();
    let seen = |world: &World| world.engine.breaker(world.now, place).unwrap();
    assert_eq!((seen(&world).state, seen(&world).failures), (State::Closed, 2));
    assert!(!world.settles_late(ticket, Failure));
    assert_eq!((seen(&world).state, seen(&world).generation), (State::Open, 1));
    world.load(r#""timeout": {"request": "1s"}"#);
    assert_eq!(world.engine.breaker(world.now, place), None, "its policy is gone");
    let place = world.ticket(ECHO).breaker();
    assert_eq!(world.engine.breaker(world.now, place), None, "its policy has no breaker");
}
