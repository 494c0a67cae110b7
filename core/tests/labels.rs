//! Labels of scopes in the counts: each key has its own, each policy its share.

#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate bimetal_browser_test;

#[path = "support/board.rs"]
mod board;

use bimetal_core::engine::Policies;
use bimetal_core::outcome::{Outcome, Report};
use bimetal_core::policy::{Document, Host};
use bimetal_core::series::{MAX_SERIES, MIN_SERIES};
use bimetal_core::{Engine, Facts, Instant, Verdict};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A request of which a path and a host are known.
struct Request<'a>(&'a str, &'a str);

impl Facts for Request<'_> {
    fn authority(&self) -> Option<Cow<'_, [u8]>> {
        Some(self.1.as_bytes().into())
    }
    fn path(&self) -> Option<Cow<'_, [u8]>> {
        Some(self.0.as_bytes().into())
    }
    fn client(&self) -> Option<Cow<'_, [u8]>> {
        Some(self.1.as_bytes().into())
    }
}

/// An engine, and the policies in force.
struct World {
    engine: Engine,
    policies: Policies,
}

impl World {
    fn new(policies: &str) -> Self {
        Self::with(Engine::new(1), policies)
    }

    fn with(engine: Engine, policies: &str) -> Self {
        let mut world = Self { engine, policies: Policies::default() };
        world.load(policies);
        world
    }

    fn load(&mut self, policies: &str) {
        let text = format!(r#"{{"version": "v1", "policies": [{policies}]}}"#);
        let document = Document::parse(text.as_bytes(), Host::Native).unwrap();
        self.policies = self.engine.load(&document);
    }
}

/// A policy with a scope for each host.
fn by_host(name: &str) -> String {
    format!(
        r#"{{"name": "{name}", "match": {{"path": "/{name}"}}, "scope": "authority",
            "breaker": {{"profile": "origin-study"}}}}"#
    )
}

fn call(world: &mut World, path: &str, host: &str, outcome: Outcome) {
    let World { engine, policies } = world;
    let verdict = engine.admit(Instant::ZERO, policies, &Request(path, host));
    let Verdict::Admit(admission) = verdict else {
        panic!("{host} is not admitted");
    };
    engine.settle(Instant::ZERO, admission.ticket, Report::from(outcome));
}

/// Calls by policy and label.
fn calls(world: &World) -> BTreeMap<(String, String), u64> {
    let rows = world.engine.series().map(|(policy, label, counts)| {
        ((policy.to_owned(), label.to_owned()), counts.decisions.iter().sum())
    });
    let all: Vec<_> = rows.collect();
    let count = all.len();
    let map: BTreeMap<_, _> = all.into_iter().collect();
    assert_eq!(map.len(), count, "two series have equal labels");
    map
}

#[test]
fn each_host_that_a_client_sends_is_counted_under_a_label_of_its_own() {
    let mut world = World::new(&by_host("a"));
    let long = "x".repeat(120);
    let longer = [long.clone() + "1", long.clone() + "2", "x".repeat(300), "x".repeat(301)];
    let hosts = [
        "echo",
        "echo.",
        "echo..",
        "echo;",
        "echo=",
        "echo\"",
        "echo\\",
        "echo\n",
        "echo\u{e9}",
        "echo_",
        "echo%3b",
        "echo%2E",
        "from=.=open",
        "*",
        "unknown",
        "",
        "policy",
    ];
    for host in hosts.into_iter().chain([&*long]).chain(longer.iter().map(|host| &**host)) {
        call(&mut world, "/a", host, Outcome::Success);
    }
    let calls = calls(&world);
    assert_eq!(calls.len(), hosts.len() + 1 + longer.len(), "{calls:#?}");
    assert!(calls.values().all(|count| *count == 1), "{calls:#?}");
    for (_, label) in calls.keys() {
        assert!(label.bytes().all(|byte| byte.is_ascii_graphic()) && !label.ends_with('.'));
        assert!(!label.contains([';', '=', '"', '\\']), "{label}");
    }
    for (host, label) in [("echo", "echo"), ("echo.", "echo%2E"), ("*", "%2A"), ("", "unknown")] {
        assert!(calls.contains_key(&("a".into(), label.into())), "{host}: {calls:#?}");
    }
}

#[test]
fn one_policys_labels_leave_anothers_alone() {
    let mut world = World::new(&[by_host("flooded"), by_host("quiet")].join(","));
    for host in 0..MAX_SERIES + 100 {
        call(&mut world, "/flooded", &host.to_string(), Outcome::Success);
    }
    for host in 0..MAX_SERIES / 2 {
        call(&mut world, "/quiet", &host.to_string(), Outcome::Success);
    }
    let told = calls(&world);
    let of = |policy: &str| told.keys().filter(|(name, _)| name == policy).count();
    assert_eq!(of("flooded"), MAX_SERIES / 2 + 1, "its share, and what they have in common");
    assert_eq!(told[&("flooded".into(), "*".into())], (MAX_SERIES / 2 + 100) as u64);
    assert_eq!(of("quiet"), MAX_SERIES / 2);
    assert!(!told.contains_key(&("quiet".into(), "*".into())));
    // A policy that comes later has its share as well, however small; what is there stays.
    let mut many: Vec<_> = (0..100).map(|number| by_host(&format!("p{number}"))).collect();
    many.push(by_host("flooded"));
    // Those with one label only take none away.
    many.push(r#"{"name": "client", "scope": "client"}"#.into());
    world.load(&many.join(","));
    for host in 0..MIN_SERIES + 1 {
        call(&mut world, "/p7", &host.to_string(), Outcome::Success);
    }
    call(&mut world, "/other", "10.0.0.1", Outcome::Success);
    let later = calls(&world);
    let of = |policy: &str| later.keys().filter(|(name, _)| name == policy).count();
    assert_eq!((of("p7"), of("flooded"), of("client")), (MIN_SERIES + 1, MAX_SERIES / 2 + 1, 1));
    assert!(told.iter().all(|(labels, count)| later[labels] == *count));
}

#[test]
fn a_policy_alone_has_the_whole_table() {
    let mut world =
        World::new(&[by_host("a"), r#"{"name": "b", "scope": "policy"}"#.into()].join(","));
    for host in 0..MAX_SERIES {
        call(&mut world, "/a", &host.to_string(), Outcome::Success);
    }
    call(&mut world, "/b", "", Outcome::Success);
    let told = calls(&world);
    assert_eq!(told.len(), MAX_SERIES + 1);
    assert!(!told.keys().any(|(_, label)| label == "*"));
}

#[test]
fn what_further_hosts_share_is_not_the_scope_of_no_host() {
    let policy = by_host("a").replace(r#""scope":"#, r#""scopes": {"max": 2}, "scope":"#);
    let board = board::TestBoard::default();
    let mut world = World::with(Engine::with_board(1, Arc::new(board)), &policy);
    // Two busy ones: the empty host is one of them, and what comes third has to share.
    for host in ["", "echo"] {
        (0..3).for_each(|_| call(&mut world, "/a", host, Outcome::Failure));
    }
    call(&mut world, "/a", "third", Outcome::Success);
    let seen: Vec<_> = world
        .engine
        .breakers(Instant::ZERO)
        .map(|seen| (seen.label.clone(), seen.view.state.name()))
        .collect();
    assert_eq!(seen, [("unknown".into(), "open"), ("echo".into(), "open"), ("*".into(), "closed")]);
}
