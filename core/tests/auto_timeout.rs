//! `timeout.request.auto`: what the engine plans by what it was told.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate bimetal_browser_test;

use bimetal_core::engine::Policies;
use bimetal_core::outcome::{Outcome, Report};
use bimetal_core::policy::{Document, Host};
use bimetal_core::{Duration, Engine, Facts, Instant, Verdict};
use std::borrow::Cow;

struct To(&'static str);

impl Facts for To {
    fn method(&self) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(b"GET"))
    }

    fn destination(&self) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(self.0.as_bytes()))
    }
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

struct World {
    engine: Engine,
    policies: Policies,
}

impl World {
    fn new(more: &str) -> Self {
        let mut world = Self { engine: Engine::new(1), policies: Policies::default() };
        world.load(more);
        world
    }

    fn load(&mut self, more: &str) {
        let auto = r#"{"request": {"auto": {"min": "20ms", "max": "3s"}}}"#;
        let json = format!(r#"{{"policies": [{{"name": "p", "timeout": {auto} {more}}}]}}"#);
        self.policies = self.engine.load(&Document::parse(json.as_bytes(), Host::Wasm).unwrap());
    }

    /// The limit of a call, which ends like that.
    fn call(&mut self, to: &'static str, outcome: Outcome, latency: Option<Duration>) -> Duration {
        let Verdict::Admit(admission) = self.engine.admit(Instant::ZERO, &self.policies, &To(to))
        else {
            panic!("not admitted");
        };
        let limit = admission.plan().request_timeout.unwrap();
        let ticket = admission.ticket;
        self.engine.settle(Instant::ZERO, ticket, Report { latency, ..outcome.into() });
        limit
    }

    fn calls(&mut self, count: u32, latency: Duration) {
        for _ in 0..count {
            self.call("a", Outcome::Success, Some(latency));
        }
    }
}

#[test]
fn the_plan_follows_what_was_seen_of_that_upstream() {
    let mut world = World::new("");
    world.calls(99, ms(100));
    assert_eq!(world.call("a", Outcome::Success, Some(ms(100))), ms(3000), "not enough seen");
    assert_eq!(world.call("a", Outcome::Success, Some(ms(100))), ms(150));
    assert_eq!(world.call("b", Outcome::Success, Some(ms(100))), ms(3000), "another scope");
    let now: Vec<_> = world.engine.time_limits().map(|one| (one.label, one.is_measured)).collect();
    assert_eq!(now, [("a", true), ("b", false)]);
    // What failed at once does not make it shorter, what ran into the limit makes it longer.
    let before = world.call("a", Outcome::Failure, None);
    world.call("a", Outcome::Failure, Some(before));
    assert!(world.call("a", Outcome::Neutral, None) > before);
}

#[test]
fn a_reload_keeps_what_was_seen() {
    let mut world = World::new("");
    world.calls(100, ms(100));
    world.load(r#", "debug_headers": true"#);
    assert_eq!(world.call("a", Outcome::Neutral, None), ms(150));
}

#[test]
fn in_shadow_mode_nothing_is_limited() {
    let mut world = World::new(r#", "mode": "shadow""#);
    let verdict = world.engine.admit(Instant::ZERO, &world.policies, &To("a"));
    let Verdict::Admit(admission) = verdict else { panic!("not admitted") };
    assert_eq!(admission.plan().request_timeout, None);
}

#[test]
fn another_scope_in_its_place_begins_anew() {
    let mut world = World::new(r#", "scopes": {"max": 1}"#);
    world.calls(100, ms(100));
    assert_eq!(world.call("a", Outcome::Neutral, None), ms(150));
    assert_eq!(world.call("b", Outcome::Neutral, None), ms(3000));
}
