//! Several configurations of one plugin at once: each judges its own requests alone.

use crate::fake::Fake;
use crate::{END_OF_STREAM, configure, plugin, trip};
use bimetal_filter::port::Map;
use bimetal_filter::root::Root;
use serde_json::{Value, json};

/// One more configuration of the plugin that `host` names.
fn another(host: &Fake, more: Value) -> Root<Fake> {
    configure(host, more);
    let mut root = Root::new(host.clone());
    assert!(root.configure(), "{:?}", host.0.borrow().lines);
    root
}

/// Whether a request goes upstream.
fn passes(root: &Root<Fake>) -> bool {
    root.call(1).request_headers(END_OF_STREAM)
}

#[test]
fn configuring_publishes_nothing() {
    let (host, mut root) = plugin("publishes", json!({"mode": "forced_open"}));
    assert!(host.0.borrow().metrics.is_empty(), "{:?}", host.0.borrow().metrics);
    root.tick();
    let names: Vec<_> = host.set(|state| state.metrics.iter().map(|one| one.1.clone()).collect());
    assert_eq!(names, ["bimetal_decision_errors_total"], "its zero, and nothing of the document");
    assert!(!passes(&root));
    root.tick();
    assert_eq!(host.metric(&["unsupported_skipped"]), 0);
    assert_eq!(host.metric(&["decision=.=breaker", "requests_total"]), 1);
}

#[test]
fn a_configuration_that_envoy_rejects_judges_nothing() {
    let (host, mut root) = plugin("rejected", json!({}));
    let mut rejected = another(&host, json!({"mode": "forced_open"}));
    rejected.tick();
    root.tick();
    assert!(passes(&root));
    drop(rejected);
    root.tick();
    assert!(passes(&root));
    root.tick();
    assert_eq!(host.metric(&["decision=.=admitted", "requests_total"]), 2);
    assert_eq!(host.find_metric(&["decision=.=breaker", "requests_total"]), None);
}

#[test]
fn the_old_listener_drains_by_its_own_policies() {
    let (host, old) = plugin("drains", json!({}));
    let new = another(&host, json!({"match": {"path": "/new"}, "debug_headers": true}));
    host.header(Map::Request, ":path", "/other");
    trip(&host, &old);
    assert!(!passes(&old));
    assert!(passes(&new), "not for this path");
    host.header(Map::Request, ":path", "/new");
    assert!(!passes(&new), "they share the breaker");
    assert!(!passes(&old));
}

#[test]
fn two_listeners_under_one_name_keep_their_documents() {
    let (host, mut one) = plugin("listeners", json!({}));
    let breaker =
        json!({"trip": {"consecutive_failures": 1}, "open": {"base": "77s", "jitter": 0}});
    let other = another(&host, json!({"name": "other", "breaker": breaker}));
    // The same name, but another breaker.
    let third = another(&host, json!({"breaker": breaker}));
    trip(&host, &one);
    assert_eq!((passes(&one), passes(&other), passes(&third)), (false, true, true));
    trip(&host, &third);
    let left = |root: &Root<Fake>| {
        assert!(!passes(root));
        let reply = host.set(|state| state.reply.take()).unwrap();
        reply.headers.into_iter().find(|(name, _)| name == "retry-after").unwrap().1
    };
    assert_eq!((left(&one), left(&third)), ("10".to_owned(), "77".to_owned()));
    one.tick();
    assert_eq!(host.metric(&["policy=.=echo", "state=.=open", "breaker_replicas"]), 2);
    drop(third);
    one.tick();
    assert_eq!(host.metric(&["policy=.=echo", "state=.=open", "breaker_replicas"]), 1);
}

#[test]
fn a_call_that_outlives_its_configuration_is_late_no_sooner_than_its_state_is_gone() {
    let (host, old) = plugin("outlived", json!({}));
    let mut call = old.call(1);
    assert!(call.request_headers(END_OF_STREAM));
    let mut new = another(&host, json!({"breaker": {"trip": {"consecutive_failures": 9}}}));
    drop(old);
    new.tick();
    crate::answer(&host, "500", "via_upstream");
    call.response_headers(END_OF_STREAM);
    new.tick();
    // The call itself held on to what judged it.
    assert_eq!(host.find_metric(&["late_total"]), None);
    assert_eq!(host.metric(&["to=.=open", "transitions_total"]), 1);
    drop(call);
    new.tick();
    assert_eq!(host.metric(&["state=.=open", "breaker_replicas"]), 0);
}
