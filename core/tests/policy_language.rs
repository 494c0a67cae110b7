//! What a policy means once it is compiled: defaults and the full language.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate bimetal_browser_test;

mod policy;

use bimetal_core::Duration;
use bimetal_core::doc::check::fill;
use bimetal_core::doc::{Check, Node, Path, Unsupported};
use bimetal_core::outcome::{FailureRules, Observation, Outcome, Transport};
use bimetal_core::policy::StalePolicy;
use bimetal_core::policy::table::DOCUMENT;
use bimetal_core::policy::{
    BreakerPolicy, DirectionMatch, Document, FallbackOn, Growth, HalfOpen, HeaderMatch, Host,
    HostPattern, Judge, Mode, Open, PathMatch, Scope, Scopes, Share, Trip, WhenFull, WindowSize,
};
use bimetal_core::retry::RetriedMethods;
use policy::{FULL, compile, policy, problems};
use serde_json::{Value, json};
use std::sync::Arc;

fn breaker(fields: Value) -> Arc<BreakerPolicy> {
    policy(json!({"breaker": fields})).breaker.clone().expect("a breaker")
}

fn full(host: Host) -> Document {
    let node: Node = serde_saphyr::from_str(FULL).unwrap();
    Document::compile(&node, host).unwrap_or_else(|problems| panic!("{problems}"))
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn answer(rules: &FailureRules, status: u16, grpc: Option<u32>) -> Outcome {
    rules.classify(&Observation::Answer { status, grpc, latency: Duration::ZERO })
}

#[test]
fn defaults() {
    let policy = policy(json!({"breaker": {"trip": {"consecutive_failures": 5}}}));
    assert_eq!(&*policy.name, "echo");
    assert_eq!(policy.matcher, Default::default());
    assert_eq!(policy.scope, Scope::Destination);
    assert_eq!(policy.scopes, Scopes { max: 10_000, when_full: WhenFull::Share });
    assert_eq!(policy.mode, Mode::Enforce);
    assert!(!policy.debug_headers);
    assert_eq!(policy.timeout, Default::default());
    assert_eq!(policy.fallback, None);
    assert_eq!(
        **policy.breaker.as_ref().unwrap(),
        BreakerPolicy {
            trip: Trip { consecutive_failures: Some(5), failure_rate: None, slow_rate: None },
            open: Open {
                base: secs(30),
                multiplier: 2.0,
                growth: Growth::Exponential,
                max: secs(300),
                jitter: 0.1
            },
            half_open: HalfOpen {
                max_probes: 1,
                required_successes: 1,
                judge: Judge::Each,
                lease: secs(10)
            },
            ramp: Duration::ZERO,
            respect_retry_after: true,
            share: Share::Process,
        }
    );
    let empty = compile(&json!({}), Host::Wasm);
    assert!(empty.policies.is_empty() && empty.skipped.is_empty());
}

#[test]
fn every_default_passes_its_own_check() {
    let rate = json!({"threshold": 0.5, "window": {"calls": 1}, "slower_than": "1s"});
    let document = json!({"policies": [{
        "name": "echo", "match": {}, "scopes": {}, "timeout": {}, "fallback": {},
        "breaker": {
            "trip": {"slow_rate": rate}, "open": {}, "half_open": {}, "recovery": {}, "failure": {},
        },
    }]});
    let mut tree = Node::from_json(document.to_string().as_bytes()).unwrap();
    let given = tree.clone();
    fill(&mut tree, &DOCUMENT);
    assert_ne!(tree, given);
    for host in [Host::Native, Host::Wasm] {
        let mut check = Check::new(host, Unsupported::Refuse);
        check.object(&Path::ROOT, &mut tree, &DOCUMENT);
        assert_eq!(check.problems.to_string(), "");
    }
}

#[test]
fn default_failures() {
    for policy in
        [policy(json!({})), policy(json!({"breaker": {"trip": {"consecutive_failures": 1}}}))]
    {
        let rules = &policy.failure;
        for (status, outcome) in [
            (200, Outcome::Success),
            (404, Outcome::Success),
            (500, Outcome::Failure),
            (599, Outcome::Failure),
        ] {
            assert_eq!(answer(rules, status, None), outcome, "{status}");
        }
        for code in 0..=17 {
            // DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE
            let outcome =
                if [4, 13, 14].contains(&code) { Outcome::Failure } else { Outcome::Success };
            assert_eq!(answer(rules, 200, Some(code)), outcome, "{code}");
        }
        for (how, outcome) in [
            (Transport::Connect, Outcome::Failure),
            (Transport::Reset, Outcome::Failure),
            (Transport::Timeout, Outcome::Failure),
            (Transport::Overflow, Outcome::Neutral),
        ] {
            assert_eq!(rules.classify(&Observation::Broken(how)), outcome, "{how:?}");
        }
        assert_eq!(
            rules.classify(&Observation::Injected { status: 503, grpc: None }),
            Outcome::Neutral
        );
    }
}

#[test]
fn ignored_answers_are_neutral() {
    let policy = policy(json!({
        "count_injected": true,
        "breaker": {
            "trip": {"slow_rate": {"threshold": 1, "slower_than": "1s", "window": {"calls": 10}}},
            "failure": {"statuses": [429, "5xx"], "ignore": [503, "4xx", "aborted", "reset"]},
        },
    }));
    let rules = &policy.failure;
    for (status, grpc, outcome) in [
        (500, None, Outcome::Failure),
        (503, None, Outcome::Neutral),
        (429, None, Outcome::Neutral),
        (200, Some(10), Outcome::Neutral),
        (200, Some(14), Outcome::Failure),
    ] {
        assert_eq!(answer(rules, status, grpc), outcome, "{status} {grpc:?}");
    }
    assert_eq!(rules.classify(&Observation::Broken(Transport::Reset)), Outcome::Neutral);
    assert_eq!(
        rules.classify(&Observation::Injected { status: 500, grpc: None }),
        Outcome::Failure
    );
    assert_eq!(rules.slower_than, Some(secs(1)));
}

#[test]
fn computed_defaults() {
    let lease = |fields| policy(fields).breaker.as_ref().unwrap().half_open.lease;
    let study = json!({"profile": "origin-study"});
    assert_eq!(lease(json!({"breaker": study, "timeout": {"request": "3s"}})), secs(10));
    assert_eq!(lease(json!({"breaker": study, "timeout": {"request": "1m"}})), secs(60));
    assert_eq!(lease(json!({"breaker": study, "timeout": {"per_try": "1m"}})), secs(60));
    let longest = |base: &str| policy(json!({"retry": {"backoff": {"base": base}}})).retry.clone();
    assert_eq!(longest("25ms").unwrap().backoff.max, secs(1));
    assert_eq!(longest("3s").unwrap().backoff.max, secs(3));
    let max = |base: &str| {
        breaker(json!({"trip": {"consecutive_failures": 1}, "open": {"base": base}})).open.max
    };
    assert_eq!(max("60s"), secs(300));
    assert_eq!(max("10m"), secs(600));
    let minimum = |window: Value| {
        let rate = json!({"threshold": 0.5, "window": window});
        breaker(json!({"trip": {"failure_rate": rate}})).trip.failure_rate.clone().unwrap()
    };
    assert_eq!(minimum(json!({"time": "10s"})).minimum_calls, 20);
    assert_eq!(minimum(json!({"calls": 100})).minimum_calls, 20);
    assert_eq!(minimum(json!({"calls": 10})).minimum_calls, 10);
}

#[test]
fn the_full_language_in_the_proxy() {
    let document = full(Host::Native);
    assert_eq!(
        document.skipped,
        [
            r#"policies[0].match.direction: "outbound" is not supported by host native"#,
            r#"policies[0].rate_limits[1].share: "mesh" is not supported without a board by host native; name one beside the policies: board: {redis: "redis://…"}"#,
        ]
    );
    let policy = document.policies.first().unwrap();
    assert_eq!(policy.matcher.direction, DirectionMatch::Any);
    assert_eq!(policy.timeout.request, Some(secs(3)));
    assert_eq!(policy.timeout.connect, Some(Duration::from_millis(100)));
    assert_eq!(policy.timeout.per_try, Some(secs(1)));
    let limit = &policy.rate_limits[1];
    assert_eq!((limit.share.name(), limit.when_store_fails.name()), ("process", "local"));
    assert_eq!(policy.timeout.idle, Some(secs(30)));
    let retry = policy.retry.as_ref().unwrap();
    assert_eq!((retry.tries, retry.backoff.max), (3, secs(1)));
    assert!(retry.on.has_answer(503, None) && !retry.on.has_answer(502, None));
    let fallback = policy.fallback.as_ref().unwrap();
    assert_eq!(fallback.on, FallbackOn { rejected: true, failed: true });
    assert_eq!(fallback.status, Some(503));
    assert_eq!(fallback.headers, [("content-type".into(), "application/json".into())]);
    assert_eq!(fallback.body.as_deref(), Some(r#"{"error":"circuit open"}"#));
    let stale = StalePolicy {
        max_age: secs(60),
        max_bytes: 1 << 20,
        max_total: 16 << 20,
        max_entries: 1000,
    };
    assert_eq!(fallback.stale, Some(stale));
    let elsewhere = fallback.upstream.as_ref().unwrap();
    assert_eq!((&*elsewhere.name, elsewhere.buffer), ("spare", 64 << 10));
    assert_eq!(elsewhere.methods, RetriedMethods::idempotent());
}

#[test]
fn the_full_language_in_the_filter() {
    let document = full(Host::Wasm);
    assert_eq!(
        document.skipped,
        [
            "policies[0].rate_limits[0].queue: not supported by host wasm",
            r#"policies[0].rate_limits[1].share: "mesh" is not supported yet by host wasm"#,
            "policies[0].connections: not supported by host wasm",
            "policies[0].bandwidth: not supported by host wasm",
            "policies[0].timeout.connect: not supported by host wasm",
            "policies[0].timeout.idle: not supported by host wasm",
            "policies[0].retry.backoff: not supported by host wasm",
            r#"policies[0].fallback.when[1]: "failed" is not supported by host wasm"#,
            "policies[0].fallback.stale: not supported by host wasm",
            "policies[0].fallback.upstream: not supported by host wasm",
        ]
    );
    let policy = document.policies.first().unwrap();
    assert_eq!(policy.timeout.connect, None);
    assert_eq!(policy.fallback.as_ref().unwrap().on, FallbackOn { rejected: true, failed: false });
    let matcher = &policy.matcher;
    assert_eq!(
        matcher.hosts,
        [HostPattern::Exact(b"echo"[..].into()), HostPattern::Suffix(b".example.com"[..].into())]
    );
    assert_eq!(matcher.path, PathMatch::Prefix(b"/echo"[..].into()));
    assert_eq!(matcher.methods, [b"POST"[..].into()]);
    assert_eq!(matcher.headers, [("x-tenant".into(), HeaderMatch::Exact(b"gold"[..].into()))]);
    assert_eq!(matcher.direction, DirectionMatch::Outbound);
    let trip = &policy.breaker.as_ref().unwrap().trip;
    assert_eq!(trip.consecutive_failures, Some(3));
    let failure = trip.failure_rate.as_ref().unwrap();
    assert_eq!(failure.window, WindowSize::Time(secs(10)));
    // 1.6448536², the one-sided 95 % quantile.
    assert!((failure.z_squared - 2.705_543_454).abs() < 1e-6, "{}", failure.z_squared);
    let slow = trip.slow_rate.as_ref().unwrap();
    assert_eq!((slow.window, slow.z_squared), (WindowSize::Calls(100), 0.0));
    assert_eq!(policy.failure.slower_than, Some(Duration::from_millis(500)));
}

#[test]
fn a_fallback_whose_occasions_are_all_skipped_is_none() {
    let document = json!({"unsupported": "skip", "policies": [
        {"name": "a", "fallback": {"on": ["failed"], "body": "x"}},
    ]});
    assert_eq!(compile(&document, Host::Wasm).policies.first().unwrap().fallback, None);
}

#[test]
fn scopes_and_modes() {
    for (word, scope) in [
        ("policy", Scope::Policy),
        ("destination", Scope::Destination),
        ("endpoint", Scope::Endpoint),
        ("route", Scope::Route),
        ("authority", Scope::Authority),
        ("client", Scope::Client),
        ("header:X-Tenant", Scope::Header("x-tenant".into())),
    ] {
        assert_eq!(policy(json!({"scope": word})).scope, scope);
    }
    for mode in [Mode::Enforce, Mode::Shadow, Mode::ForcedOpen, Mode::Disabled] {
        assert_eq!(policy(json!({"mode": mode.name()})).mode, mode);
    }
}

#[test]
fn confidence_is_a_one_sided_quantile() {
    for (confidence, z) in [(0.5, 0.0), (0.9, 1.281_551_566), (0.99, 2.326_347_874)] {
        let rate = json!({"threshold": 0.5, "window": {"calls": 100}, "confidence": confidence});
        let breaker = breaker(json!({"trip": {"failure_rate": rate}}));
        let z_squared = breaker.trip.failure_rate.as_ref().unwrap().z_squared;
        assert!((z_squared - z * z).abs() < 1e-6, "{confidence}: {z_squared}");
    }
}

#[test]
fn a_fallback_is_given_when_it_says_under_any_of_three_names() {
    let with = |fallback: Value| json!({"policies": [{"name": "a", "fallback": fallback}]});
    let written = ["when", "on", "true"].map(|key| {
        let policy = compile(&with(json!({key: ["failed"]})), Host::Native).policies.remove(0);
        let on = policy.fallback.as_ref().unwrap().on;
        assert_eq!(on, FallbackOn { rejected: false, failed: true }, "{key}");
        policy.hash
    });
    assert!(written.iter().all(|hash| *hash == written[0]));
    // The key is told as it was written, and twice is once too often, also with one value.
    let wrong = json!({"when": ["failed"], "on": ["failed"], "true": ["often"]});
    assert_eq!(
        problems(&with(wrong), Host::Native),
        [
            "policies[0].fallback.true[0]: \"often\" is not one of rejected, failed",
            "policies[0].fallback.true: means the same as on, which is given too",
            "policies[0].fallback.when: means the same as on, which is given too",
        ]
    );
    let twice =
        r#"{"policies": [{"name": "a", "fallback": {"true": ["failed"], "true": ["failed"]}}]}"#;
    let told = Document::parse(twice.as_bytes(), Host::Native).unwrap_err().to_string();
    assert_eq!(told, "policies[0].fallback.true: given more than once");
    assert_eq!(
        problems(&with(json!({"wen": ["failed"]})), Host::Native),
        ["policies[0].fallback.wen: unknown field; the nearest known one is \"when\""]
    );
}

#[test]
fn calls_without_a_policy_are_judged_as_by_one_that_says_nothing() {
    let document = Document::parse(br#"{"policies": [{"name": "p"}]}"#, Host::Native).unwrap();
    let usual = bimetal_core::outcome::FailureRules::usual();
    assert_eq!(*document.policies[0].failure, usual);
    assert!(usual.failures.statuses.contains(503) && !usual.failures.statuses.contains(404));
}
