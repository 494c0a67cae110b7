//! One request's life on a host of paper: every order of events, and a host that fails.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may end by a panic"
)]

mod adaptive;
mod deadlines;
mod fake;
mod in_force;
mod names;
mod orders;
mod publishing;
mod retries;
mod uploads;
mod waiting;

use bimetal_core::metric::ALL;
use bimetal_core::{Duration, doc};
use bimetal_filter::port::{Level, Map, MetricKind, Property};
use bimetal_filter::root::{Root, TICK_MILLIS};
use fake::Fake;
use serde_json::json;

const END_OF_STREAM: bool = true;
const MORE_FOLLOWS: bool = false;

/// Flags by name, as a number in the host's form.
fn flags(host: &Fake, names: &[&str]) {
    let bit = |name: &&str| {
        let flag = bimetal_filter::flags::FLAGS.iter().find(|flag| flag.name == *name);
        1_u64 << flag.expect("a known flag").bit
    };
    let value: u64 = names.iter().map(bit).sum();
    host.property(Property::ResponseFlags, value.to_le_bytes());
}

/// A plugin of this name with one policy: trips on one failure, slow beyond 100 ms.
fn plugin(name: &str, more: serde_json::Value) -> (Fake, Root<Fake>) {
    plugin_on(Fake::default(), name, more)
}

/// The same on a host that is there.
fn plugin_on(host: Fake, name: &str, more: serde_json::Value) -> (Fake, Root<Fake>) {
    host.property(Property::PluginName, name);
    host.property(Property::Attempts, 1_u64.to_le_bytes());
    configure(&host, more);
    let mut root = Root::new(host.clone());
    assert!(root.configure(), "{:?}", host.0.borrow().lines);
    (host, root)
}

fn configure(host: &Fake, more: serde_json::Value) {
    let mut policy = json!({
        "name": "echo",
        "scope": "policy",
        "timeout": {"request": "1s"},
        "breaker": {
            "trip": {"consecutive_failures": 1, "slow_rate": {"threshold": 1, "slower_than": "100ms",
                "window": {"calls": 100}, "minimum_calls": 100}},
            "open": {"base": "10s", "jitter": 0},
        },
    });
    let policy_fields = policy.as_object_mut().unwrap();
    policy_fields.extend(more.as_object().unwrap().clone());
    let document = json!({"version": "v1", "policies": [policy]});
    host.set(|state| state.configuration = document.to_string().into_bytes());
}

fn answer(host: &Fake, status: &str, details: &str) {
    host.header(Map::Response, ":status", status);
    host.property(Property::ResponseDetails, details);
}

fn pass(host: &Fake, millis: u64) {
    host.set(|state| state.nanos += Duration::from_millis(millis).as_nanos());
}

#[test]
fn a_document_that_is_wrong_is_refused_with_every_error() {
    let (host, mut root) = plugin("refused", json!({}));
    assert_eq!(host.0.borrow().ticks, Some(TICK_MILLIS));
    configure(&host, json!({"mode": "enforced", "scopes": {"max": 0}}));
    assert!(!root.configure());
    let errors: Vec<_> = host.set(|state| {
        let errors = state.lines.iter().filter(|(level, _)| *level == Level::Error);
        errors.map(|(_, line)| line.clone()).collect()
    });
    assert_eq!(errors.len(), 2, "{errors:?}");
    host.set(|state| state.configuration.clear());
    assert!(!root.configure());
    host.set(|state| state.failing.insert("configuration"));
    assert!(!root.configure());
    // What was in force still is.
    assert!(root.call(1).request_headers(END_OF_STREAM));
    assert_eq!(host.events("decision").len(), 1);
}

#[test]
fn a_breaker_outlives_its_configuration() {
    let (host, root) = plugin("outlives", json!({}));
    trip(&host, &root);
    configure(&host, json!({"debug_headers": true}));
    let mut next = Root::new(host.clone());
    assert!(next.configure());
    drop(root);
    let mut call = next.call(1);
    assert!(!call.request_headers(END_OF_STREAM));
    call.response_headers(MORE_FOLLOWS);
    let marked =
        host.set(|state| state.headers.get(&("response", "x-bimetal-state".to_owned())).cloned());
    assert_eq!(marked.as_deref(), Some(&b"open"[..]));
    // With its last configuration it ends, and leaves no trace in the gauges.
    next.tick();
    assert_eq!(host.metric(&["state=.=open", "breaker_replicas"]), 1);
    drop(call);
    drop(next);
    assert_eq!(host.metric(&["breaker_replicas"]), 0);
    let (host, root) = plugin("outlives", json!({}));
    assert!(root.call(1).request_headers(END_OF_STREAM));
    drop(host);
}

#[test]
fn plugins_of_different_names_do_not_see_each_other() {
    let (host, root) = plugin("one", json!({}));
    let (_, other) = plugin("two", json!({}));
    trip(&host, &root);
    assert!(!root.call(1).request_headers(END_OF_STREAM));
    assert!(other.call(1).request_headers(END_OF_STREAM));
}

#[test]
fn metrics_are_published_as_differences() {
    let (host, mut root) = plugin("metrics", json!({}));
    root.tick();
    assert_eq!(host.metric(&["decision_errors_total"]), 0);
    trip(&host, &root);
    for _ in 0..3 {
        root.tick();
    }
    assert_eq!(host.metric(&["decision=.=admitted", "requests_total"]), 1);
    assert_eq!(host.metric(&["outcome=.=failure", "outcomes_total"]), 1);
    assert_eq!(host.metric(&["to=.=open", "transitions_total"]), 1);
    assert_eq!(host.metric(&["state=.=open", "breaker_replicas"]), 1);
    // It was open before the first tick: nobody ever counted it as closed.
    assert_eq!(host.find_metric(&["state=.=closed", "breaker_replicas"]), None);
    assert_eq!(host.metric(&["request_duration_ms"]), 1);
    assert_eq!((host.metric(&["bimetal_scopes"]), host.find_metric(&["outstanding"])), (1, None));
    let described = |(kind, name, _): &(MetricKind, String, i64)| {
        let described = ALL.iter().find(|metric| name.ends_with(metric.name));
        described.is_some_and(|it| it.kind == *kind && it.hosts.contains(&doc::Host::Wasm))
    };
    let all = host.0.borrow().metrics.clone();
    assert!(all.iter().all(described), "{all:#?}");
    let defined = host.0.borrow().metrics.len();
    root.tick();
    assert_eq!(host.0.borrow().metrics.len(), defined);
}

/// What one request costs in host calls, those of the board aside; what the compiled module makes of
/// it is in `tests/vm/cases/budget.rs`.
#[test]
fn a_request_costs_few_host_calls() {
    let cost = |policy: serde_json::Value, grpc: bool| {
        let (host, root) = plugin("cost", policy);
        host.header(Map::Request, ":path", "/echo");
        host.property(Property::Cluster, "echo");
        answer(&host, "200", "via_upstream");
        host.header(Map::Response, "x-envoy-upstream-service-time", "1");
        if grpc {
            host.header(Map::Response, "content-type", "application/grpc");
        }
        let step = || host.set(|state| std::mem::take(&mut state.calls));
        let run = || {
            step();
            let mut call = root.call(1);
            assert!(call.request_headers(END_OF_STREAM));
            let admitted = step();
            call.response_headers(MORE_FOLLOWS);
            if grpc {
                call.response_trailers()
            } else {
                call.response_body(9, END_OF_STREAM)
            }
            call.log();
            drop(call);
            (admitted, step())
        };
        run();
        run()
    };
    // The router's header says when the headers came, so the clock is asked for the end alone.
    let streak = json!({"timeout": {}, "breaker": {"trip": {"consecutive_failures": 1}}});
    assert_eq!(cost(streak.clone(), false), (2, 3));
    assert_eq!(cost(streak, true), (2, 4));
    assert_eq!(cost(json!({"timeout": {}}), false), (2, 3));
    assert_eq!(cost(json!({"timeout": {}, "scope": "destination"}), false), (3, 3));
    let matched = json!({"scope": "destination", "match": {"path_prefix": "/echo"}});
    assert_eq!(cost(matched, false), (4, 3));
}

#[test]
fn the_plan_becomes_router_headers() {
    let (host, root) = plugin("plan", json!({"timeout": {"request": "1500us"}}));
    for name in [
        "x-envoy-upstream-rq-timeout-ms",
        "x-envoy-upstream-rq-per-try-timeout-ms",
        "x-envoy-expected-rq-timeout-ms",
    ] {
        host.header(Map::Request, name, "1");
    }
    assert!(root.call(1).request_headers(END_OF_STREAM));
    let headers = host.set(|state| state.headers.clone());
    let timeout = &headers[&("request", "x-envoy-upstream-rq-per-try-timeout-ms".to_owned())];
    // Rounded up: a limit must not be shorter than the policy's.
    assert_eq!(timeout, b"2");
    assert_eq!(headers.len(), 1);
}

#[test]
fn a_host_that_fails_lets_requests_pass_and_is_counted() {
    for failing in
        ["now", "headers", "property", "set_header", "remove_header", "record", "define_metric"]
    {
        let (host, mut root) = plugin(
            &format!("fails {failing}"),
            json!({
                "scope": "destination", "match": {"path_prefix": "/"}, "debug_headers": true,
            }),
        );
        host.header(Map::Request, ":path", "/echo");
        host.header(Map::Request, "x-envoy-expected-rq-timeout-ms", "1");
        answer(&host, "200", "via_upstream");
        host.set(|state| state.failing.insert(failing));
        let mut call = root.call(1);
        assert!(call.request_headers(END_OF_STREAM), "{failing}");
        call.response_headers(MORE_FOLLOWS);
        call.response_body(9, END_OF_STREAM);
        call.log();
        drop(call);
        root.tick();
        host.set(|state| state.failing.clear());
        root.tick();
        assert!(host.metric(&["decision_errors_total"]) > 0, "{failing}");
        let decisions = host.events("decision").len();
        assert_eq!(host.outcomes().len(), decisions, "{failing}: a ticket was lost");
    }
}

#[test]
fn an_answer_that_cannot_be_given_lets_the_request_pass() {
    let (host, mut root) = plugin("no reply", json!({}));
    trip(&host, &root);
    host.set(|state| state.failing.insert("reply"));
    assert!(root.call(1).request_headers(END_OF_STREAM));
    root.tick();
    assert_eq!(host.metric(&["decision_errors_total"]), 1);
}

#[test]
fn hostile_bytes_are_only_bytes() {
    let more = json!({"scope": "header:x-tenant", "match": {"hosts": ["*.example.com"],
        "path_prefix": "/", "methods": ["GET"], "headers": {"x-tenant": "*"}}});
    let (host, root) = plugin("hostile", more);
    for hostile in [&b"\xff\xfe"[..], b"", b"\0", b"a\r\nb", &[0xc3; 70_000]] {
        for name in [":authority", ":path", ":method", "x-tenant"] {
            host.header(Map::Request, name, hostile);
        }
        host.header(Map::Request, ":authority", [b"x", hostile, b".example.com"].concat());
        host.header(Map::Request, ":path", [b"/", hostile].concat());
        host.header(Map::Request, ":method", "GET");
        for name in [":status", "content-type", "retry-after", "grpc-status"] {
            host.header(Map::Response, name, hostile);
        }
        host.property(Property::ResponseDetails, hostile);
        host.property(Property::ResponseFlags, hostile);
        let mut call = root.call(1);
        assert!(call.request_headers(END_OF_STREAM));
        call.response_headers(END_OF_STREAM);
        call.log();
    }
    assert_eq!(host.outcomes(), ["neutral"; 5]);
}

fn trip(host: &Fake, root: &Root<Fake>) {
    let mut call = root.call(1);
    assert!(call.request_headers(END_OF_STREAM));
    answer(host, "500", "via_upstream");
    call.response_headers(END_OF_STREAM);
}
