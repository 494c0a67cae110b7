//! Profiles and what is given beside them, and the hashes that follow the meaning.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate bimetal_browser_test;

mod policy;

use bimetal_core::Duration;
use bimetal_core::outcome::{FailureRules, Observation, Outcome, Transport};
use bimetal_core::policy::{
    BreakerPolicy, Document, Growth, HalfOpen, Host, Judge, Open, Share, Trip,
};
use policy::{compile, policy};
use serde_json::{Value, json};
use std::sync::Arc;

fn breaker(fields: Value) -> Arc<BreakerPolicy> {
    policy(json!({"breaker": fields})).breaker.clone().expect("a breaker")
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn answer(rules: &FailureRules, status: u16, grpc: Option<u32>) -> Outcome {
    rules.classify(&Observation::Answer { status, grpc, latency: Duration::ZERO })
}

#[test]
fn the_study_profile() {
    let policy = policy(json!({"breaker": {"profile": "origin-study"}}));
    assert_eq!(
        **policy.breaker.as_ref().unwrap(),
        BreakerPolicy {
            trip: Trip { consecutive_failures: Some(3), failure_rate: None, slow_rate: None },
            open: Open {
                base: secs(30),
                multiplier: 1.0,
                growth: Growth::Exponential,
                max: secs(300),
                jitter: 0.0
            },
            half_open: HalfOpen {
                max_probes: 1,
                required_successes: 1,
                judge: Judge::Each,
                lease: secs(10)
            },
            ramp: Duration::ZERO,
            respect_retry_after: false,
            share: Share::Process,
        }
    );
    let rules = &policy.failure;
    assert_eq!(answer(rules, 399, None), Outcome::Success);
    assert_eq!(answer(rules, 400, None), Outcome::Failure);
    assert_eq!(answer(rules, 404, None), Outcome::Failure);
    assert_eq!(answer(rules, 599, None), Outcome::Failure);
    // The study's proxy does not know gRPC.
    assert_eq!(answer(rules, 200, Some(14)), Outcome::Success);
    for how in Transport::ALL {
        assert_eq!(rules.classify(&Observation::Broken(how)), Outcome::Failure);
    }
}

#[test]
fn given_fields_win_over_a_profile_leaf_by_leaf() {
    let given = breaker(json!({"profile": "origin-study", "open": {"base": "5s"}}));
    assert_eq!(
        given.open,
        Open {
            base: secs(5),
            multiplier: 1.0,
            growth: Growth::Exponential,
            max: secs(300),
            jitter: 0.0
        }
    );
    let longer = breaker(json!({"profile": "origin-study", "open": {"base": "20m"}}));
    assert_eq!(longer.open.max, secs(1_200));
    let probes = breaker(json!({"profile": "origin-study", "half_open": {"max_probes": 4}}));
    assert_eq!(probes.half_open.max_probes, 4);
    assert_eq!(probes.half_open.required_successes, 1);
    let asks = breaker(json!({"profile": "origin-study", "respect_retry_after": true}));
    assert!(asks.respect_retry_after);
}

#[test]
fn a_given_trip_or_failure_replaces_the_profiles_whole() {
    let slow = json!({"threshold": 0.5, "slower_than": "1s", "window": {"calls": 10}});
    let trip =
        breaker(json!({"profile": "origin-study", "trip": {"slow_rate": slow}})).trip.clone();
    assert_eq!(trip.consecutive_failures, None);
    let policy = policy(json!({
        "breaker": {"profile": "origin-study", "failure": {"statuses": [500]}},
    }));
    assert_eq!(answer(&policy.failure, 404, None), Outcome::Success);
    // What the given `failure` leaves out has the language's default, not the profile's.
    assert_eq!(answer(&policy.failure, 200, Some(14)), Outcome::Failure);
}

#[test]
fn hashes_follow_the_meaning() {
    let base = json!({"breaker": {"profile": "origin-study"}});
    let written_out = json!({"breaker": {
        "respect_retry_after": false,
        "half_open": {"lease": "10s"},
        "open": {"jitter": 0.0, "max": "300s", "base": "0.5m", "multiplier": 1.0},
        "trip": {"consecutive_failures": 3.0},
        "failure": {"statuses": ["4xx", "5xx"], "grpc": [],
                    "transport": ["connect", "reset", "timeout", "overflow"]},
    }});
    let (base, same) = (policy(base), policy(written_out));
    assert_eq!(base.hashes, same.hashes);
    assert_eq!(base.hash, same.hash);

    let changes = |other: Value| {
        let other = policy(other);
        (other.hashes != base.hashes, other.hash != base.hash)
    };
    let study = json!({"profile": "origin-study"});
    assert_eq!(changes(json!({"breaker": study, "match": {"path": "/x"}})), (false, true));
    assert_eq!(changes(json!({"breaker": study, "mode": "shadow"})), (false, true));
    assert_eq!(changes(json!({"breaker": study, "timeout": {"request": "3s"}})), (false, true));
    // The default lease follows the timeout, so this one changes the breaker.
    assert_eq!(changes(json!({"breaker": study, "timeout": {"request": "30s"}})), (true, true));
    assert_eq!(changes(json!({"breaker": study, "scope": "policy"})), (true, true));
    assert_eq!(changes(json!({"breaker": study, "scopes": {"max": 9}})), (true, true));
    assert_eq!(changes(json!({"breaker": study, "scopes": {"when_full": "pass"}})), (true, true));
    // What counts as a failure is judged by each for itself.
    let lenient = json!({"profile": "origin-study", "failure": {}});
    assert_eq!(changes(json!({"breaker": lenient})), (false, true));
    for breaker in [
        json!({"profile": "origin-study", "trip": {"consecutive_failures": 4}}),
        json!({"profile": "origin-study", "open": {"base": "31s"}}),
        json!({"profile": "origin-study", "recovery": {"ramp": "1s"}}),
    ] {
        assert_eq!(changes(json!({"breaker": breaker})), (true, true));
    }

    let one = json!({"name": "a"});
    let two = json!({"name": "b"});
    let hash = |policies: Value| compile(&json!({"policies": policies}), Host::Wasm).hash;
    assert_ne!(hash(json!([one, two])), hash(json!([two, one])));
    assert_ne!(hash(json!([one])), hash(json!([one, two])));
}

/// A protobuf `Struct`, as which a WasmPlugin's configuration travels, has no order of keys.
#[test]
fn the_order_of_headers_says_nothing() {
    let hash = |headers: &str| {
        let text = format!(
            r#"{{"version":"v1","policies":[{{"name":"a","match":{{"headers":{headers}}}}}]}}"#
        );
        Document::parse(text.as_bytes(), Host::Wasm).expect("it is right").hash
    };
    assert_eq!(hash(r#"{"x":"1","y":"2"}"#), hash(r#"{"y":"2","x":"1"}"#));
    assert_ne!(hash(r#"{"x":"1","y":"2"}"#), hash(r#"{"x":"2","y":"1"}"#));
}
