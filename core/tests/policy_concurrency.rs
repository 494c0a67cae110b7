//! `concurrency` in the policy language: what it means, what is wrong with it.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate bimetal_browser_test;

mod policy;

use bimetal_core::Duration;
use bimetal_core::concurrency::adaptive::{AdaptivePolicy, Algorithm};
use bimetal_core::concurrency::queue::QueuePolicy;
use bimetal_core::policy::{ConcurrencyPolicy, Host, Share};
use policy::{compile, policy, problems};
use serde_json::{Value, json};

fn limit(fields: Value) -> ConcurrencyPolicy {
    let document = json!({"policies": [{"name": "a", "concurrency": fields}]});
    compile(&document, Host::Native).policies[0].concurrency.unwrap()
}

fn of_limit(fields: Value) -> Vec<String> {
    let document = json!({"policies": [{"name": "a", "concurrency": fields}]});
    let at = "policies[0].concurrency";
    let told = problems(&document, Host::Native).into_iter();
    told.map(|line| line.strip_prefix(at).unwrap_or(&line).to_owned()).collect()
}

#[test]
fn what_it_means() {
    let fixed = limit(json!({"max": 7}));
    let (adaptive, queue) = (None, None);
    assert_eq!(fixed, ConcurrencyPolicy { max: 7, share: Share::Process, adaptive, queue });
    let found = limit(json!({"adaptive": {}, "share": "none"}));
    let default = AdaptivePolicy { min: 3, max: 1_000, algorithm: Algorithm::Gradient };
    assert_eq!((found.max, found.share, found.adaptive), (1_000, Share::None, Some(default)));
    let given = limit(json!({"adaptive": {"min": 5, "max": 5, "algorithm": "aimd"}}));
    let wanted = AdaptivePolicy { min: 5, max: 5, algorithm: Algorithm::Aimd };
    assert_eq!(given.adaptive, Some(wanted));
    let waits = limit(json!({"max": 1, "queue": {"max": 50, "max_wait": "100ms"}}));
    assert_eq!(waits.queue, Some(QueuePolicy { max: 50, max_wait: Duration::from_millis(100) }));
    // Latencies are wanted where a limit follows them, and a clock costs a host something.
    assert!(!policy(json!({"concurrency": {"max": 1}})).failure.wants_latency);
    assert!(policy(json!({"concurrency": {"adaptive": {}}})).failure.wants_latency);
}

#[test]
fn one_kind_of_limit_is_needed_and_no_more() {
    assert_eq!(of_limit(json!({})), [": exactly one of max, adaptive is needed"]);
    assert_eq!(of_limit(json!({"max": 1, "adaptive": {}})), [".adaptive: cannot stand beside max"]);
}

#[test]
fn wrong_numbers_and_words() {
    for (fields, told) in [
        (json!({"max": 0}), ".max: 0 is outside 1–1000000"),
        (json!({"adaptive": {"min": 0}}), ".adaptive.min: 0 is outside 1–1000000"),
        (json!({"adaptive": {"min": 1001}}), ".adaptive.min: 1001 is more than max (1000)"),
        (json!({"adaptive": {"min": 6, "max": 5}}), ".adaptive.min: 6 is more than max (5)"),
        (json!({"adaptive": {"max": 2}}), ".adaptive.min: 3 is more than max (2)"),
        (
            json!({"adaptive": {"algorithm": "vegas"}}),
            ".adaptive.algorithm: \"vegas\" is not one of gradient, aimd",
        ),
        (
            json!({"adaptive": {"algoritm": "aimd"}}),
            ".adaptive.algoritm: unknown field; the nearest known one is \"algorithm\"",
        ),
        (
            json!({"max": 1, "queue": {"max": 0, "max_wait": "1s"}}),
            ".queue.max: 0 is outside 1–100000",
        ),
        (
            json!({"max": 1, "queue": {"max": 1, "max_wait": "0s"}}),
            ".queue.max_wait: \"0s\" is outside 1ms–24h",
        ),
        (
            json!({"max": 1, "queue": {"max": 1}}),
            ".queue.max_wait: missing; this field is required",
        ),
        (json!({"max": 1, "share": "mesh"}), ".share: \"mesh\" is not one of process, none"),
    ] {
        assert_eq!(of_limit(fields.clone()), [told], "{fields}");
    }
}

/// Envoy's workers lease slots of one limit; what one learns from its calls is its own.
#[test]
fn in_the_filter_each_worker_learns_a_limit_of_its_own() {
    let queue = json!({"max": 1, "queue": {"max": 1, "max_wait": "1s"}});
    let document = json!({"policies": [{"name": "a", "concurrency": queue}]});
    let limit = compile(&document, Host::Wasm).policies[0].concurrency.unwrap();
    assert_eq!((limit.share, limit.queue.map(|queue| queue.max)), (Share::Process, Some(1)));
    let adaptive = json!({"policies": [{"name": "a", "concurrency": {"adaptive": {}}}]});
    let limit = compile(&adaptive, Host::Wasm).policies[0].concurrency.unwrap();
    assert_eq!((limit.share, limit.adaptive.is_some()), (Share::None, true));
}

/// What was learned, and who has a slot, is kept over a change of the limit.
#[test]
fn a_limit_is_no_part_of_the_state() {
    let hashes = |limit: Value| policy(json!({"concurrency": limit})).hashes;
    let adaptive = hashes(json!({"adaptive": {}}));
    assert_eq!(adaptive, hashes(json!({"max": 1})));
    assert_eq!(adaptive, hashes(json!({"adaptive": {"min": 4, "algorithm": "aimd"}})));
}
