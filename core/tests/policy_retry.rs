//! `retry` in the policy language: what it means, what is wrong with it.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate bimetal_browser_test;

mod policy;

use bimetal_core::Duration;
use bimetal_core::limiter::Rate;
use bimetal_core::outcome::Transport;
use bimetal_core::retry::backoff::{Backoff, Jitter};
use bimetal_core::retry::budget::RetryBudgetPolicy;
use bimetal_core::retry::{RetriedMethods, RetryPolicy};
use policy::{assert_same, of_policy, policy};
use serde_json::{Value, json};

fn retry(fields: Value) -> RetryPolicy {
    RetryPolicy::clone(policy(json!({"retry": fields})).retry.as_ref().unwrap())
}

fn wrong(fields: Value) -> Vec<String> {
    let told = of_policy(json!({"retry": fields}));
    let at = "policies[0].retry.";
    told.into_iter().map(|line| line.strip_prefix(at).unwrap_or(&line).to_owned()).collect()
}

#[test]
fn defaults() {
    let short = retry(json!({}));
    assert_eq!((short.tries, short.buffer, short.budget), (2, 64 << 10, None));
    assert_eq!(short.on.transport, [Transport::Connect, Transport::Reset]);
    assert!(short.on.has_answer(503, None) && !short.on.has_answer(500, None));
    assert_eq!(short.methods, RetriedMethods::idempotent());
    let [base, max] = [25, 1_000].map(Duration::from_millis);
    assert_eq!(short.backoff, Backoff { base, max, jitter: Jitter::Full });
    assert!(short.respects_retry_after);
    let budget = retry(json!({"budget": {}})).budget;
    assert_eq!(budget, Some(RetryBudgetPolicy { share: 0.2, floor: None }));
    let floor = |text| retry(json!({"budget": {"floor": text}})).budget.unwrap().floor;
    assert_eq!(floor("0/s"), None);
    assert_eq!(floor("0/5m"), None);
    assert_eq!(floor("3/s"), Some(Rate { tokens: 3, period: Duration::from_secs(1) }));
}

/// Names of conditions, and the same in our own words.
const NAMES: [(&str, &[&str]); 14] = [
    // nginx's `proxy_next_upstream`.
    ("error", &["connect", "reset"]),
    ("timeout", &["timeout"]),
    ("invalid_header", &["reset"]),
    ("http_500", &["500"]),
    ("http_429", &["429"]),
    ("http_5xx", &["5xx"]),
    // Envoy's `retry_on` and `x-envoy-retry-grpc-on`.
    ("connect-failure", &["connect"]),
    ("reset", &["reset"]),
    ("gateway-error", &["502", "503", "504"]),
    ("retriable-4xx", &["409"]),
    ("cancelled", &["cancelled"]),
    ("deadline-exceeded", &["deadline_exceeded"]),
    ("resource-exhausted", &["resource_exhausted"]),
    ("5xx", &["5xx"]),
];

#[test]
fn nginxs_and_envoys_names_are_understood() {
    for (name, ours) in NAMES {
        assert_eq!(retry(json!({"on": [name]})).on, retry(json!({"on": ours})).on, "{name}");
    }
    let refused = retry(json!({"on": ["refused-stream"]}));
    assert!(refused.on_refused_streams && refused.on.transport.is_empty());
    assert!(!retry(json!({})).on_refused_streams);
    let all = retry(json!({"on": ["http_502", "non_idempotent"]}));
    assert!(all.methods.every && !all.on.has_answer(503, None) && all.on.has_answer(502, None));
}

#[test]
fn a_key_that_yaml_takes_for_a_boolean() {
    for key in ["on", "when", "true"] {
        assert!(retry(json!({key: [502]})).on.has_answer(502, None), "{key}");
    }
}

#[test]
fn methods() {
    let methods = |value| retry(json!({"methods": value})).methods;
    let listed = |names: &[&str]| names.iter().map(|name| Box::from(*name)).collect();
    let none = RetriedMethods::default();
    assert_eq!(methods(json!("idempotent")), RetriedMethods::idempotent());
    assert_eq!(
        methods(json!(["GET"])),
        RetriedMethods { listed: listed(&["GET"]), ..none.clone() }
    );
    assert_eq!(methods(json!("all")), RetriedMethods { every: true, ..none.clone() });
    let keyed = RetriedMethods { keyed: true, ..RetriedMethods::idempotent() };
    assert_eq!(methods(json!(["idempotent", "idempotency_key"])), keyed);
    let posts = RetriedMethods { listed: listed(&["POST", "PATCH"]), ..none };
    assert_eq!(methods(json!(["POST", "PATCH", "POST"])), posts);
}

#[test]
fn wrong_values_are_refused_with_their_paths() {
    assert_eq!(wrong(json!({"tries": 0})), ["tries: 0 is outside 1–100"]);
    assert_eq!(wrong(json!({"on": []})), ["on: 0 items are outside 1–1000"]);
    let told = wrong(json!({"on": ["http_600", "503", "retriable-status-codes", "Reset"]}));
    let ends = "is not a condition; allowed is a status (503, http_503), a class (5xx), a gRPC status (unavailable), connect, reset, timeout, overflow, nginx's error, invalid_header or non_idempotent, Envoy's connect-failure, gateway-error, refused-stream or retriable-4xx";
    assert_eq!(
        told,
        [
            format!(r#"on[0]: "http_600" {ends}"#),
            format!(r#"on[2]: "retriable-status-codes" {ends}"#),
            format!(r#"on[3]: "Reset" {ends}"#),
        ]
    );
    let ends = "is not which requests may be sent twice; allowed is idempotent, idempotency_key, all, or a method in capitals such as POST";
    assert_eq!(wrong(json!({"methods": "safe"})), [format!(r#"methods: "safe" {ends}"#)]);
    assert_eq!(wrong(json!({"methods": ["GET", 7]})), [format!("methods[1]: 7 {ends}")]);
    assert_eq!(wrong(json!({"methods": []})), ["methods: 0 items are outside 1–1000"]);
    assert_same(
        wrong(json!({
            "backoff": {"base": "0ms", "jitter": "some"},
            "budget": {"share": 1.5, "floor": "0"},
            "buffer": "1GiB",
        })),
        [
            r#"backoff.base: "0ms" is outside 1ms–24h"#,
            r#"backoff.jitter: "some" is not one of none, full, decorrelated"#,
            "budget.share: 1.5 is outside 0–1",
            r#"budget.floor: "0" is not a rate; allowed is a text such as "3/s" or "10/m", or "0/s" for none"#,
            r#"buffer: "1GiB" is outside 0B–16MiB"#,
        ],
    );
    assert_eq!(
        wrong(json!({"backoff": {"base": "2s", "max": "1s"}})),
        [r#"backoff.max: "1s" is shorter than backoff.base "2s""#]
    );
}
