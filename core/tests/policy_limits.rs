//! `rate_limits` in the policy language: what it means, what is wrong with it.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate bimetal_browser_test;

mod policy;

use bimetal_core::Duration;
use bimetal_core::limiter::escrow::WhenStoreFails;
use bimetal_core::limiter::{BurstPolicy, Rate, RateLimitPolicy};
use bimetal_core::policy::{Document, Host, LimitPolicy, Network, Scope, Share};
use policy::{assert_same, of_policy, policy};
use serde_json::{Value, json};

fn limit(fields: Value) -> LimitPolicy {
    policy(json!({"rate_limits": [fields]})).rate_limits[0].clone()
}

fn of_limit(fields: Value) -> Vec<String> {
    let told = of_policy(json!({"rate_limits": [fields]}));
    let at = "policies[0].rate_limits[0].";
    told.into_iter().map(|line| line.strip_prefix(at).unwrap_or(&line).to_owned()).collect()
}

fn per(tokens: u32, millis: u64) -> Rate {
    Rate { tokens, period: Duration::from_millis(millis) }
}

#[test]
fn defaults() {
    let short = limit(json!({"rate": "100/s"}));
    let bucket = RateLimitPolicy { rate: per(100, 1_000), capacity: 100, burst: None };
    assert_eq!((short.limit, &short.key[..]), (bucket, &[Scope::Destination][..]));
    assert!(short.overrides.is_empty() && short.allow.is_empty());
    assert_eq!((short.enforced, short.status, short.max_keys), (1.0, 429, 100_000));
    assert_eq!(short.share, Share::Process);
    let burst = limit(json!({"rate": "100/s", "burst": {"tokens": 5}})).limit.burst;
    let [expires, recovers_after] = [1, 10].map(Duration::from_secs);
    assert_eq!(burst, Some(BurstPolicy { tokens: 5, expires, recovers_after }));
    let scoped = policy(json!({"scope": "header:X-Tenant", "rate_limits": [{"rate": "1/s"}]}));
    assert_eq!(scoped.rate_limits[0].key, [Scope::Header("x-tenant".into())]);
    assert!(policy(json!({})).rate_limits.is_empty());
}

#[test]
fn rates() {
    for (text, rate) in [
        ("1/s", per(1, 1_000)),
        ("6000/m", per(6_000, 60_000)),
        ("100/5s", per(100, 5_000)),
        ("100/h", per(100, 3_600_000)),
        ("7/1.5s", per(7, 1_500)),
        ("10000000/ms", per(10_000_000, 1)),
        ("1/24h", per(1, 86_400_000)),
    ] {
        assert_eq!(limit(json!({"rate": text})).limit.rate, rate, "{text}");
    }
    let allowed = r#"is not a rate; allowed is a text such as "100/s", "6000/m" or "100/5s", 1 to 10,000,000 in 1ms to 24h, in whole milliseconds"#;
    for text in [
        "",
        "5",
        "/s",
        "0/s",
        "+5/s",
        "-5/s",
        "5/",
        "5/0s",
        "5/d",
        "5 / s",
        "5/s/s",
        "1e3/s",
        "10000001/s",
        "5/25h",
        "5/us",
        "5/1.5ms",
        "99999999999999999999/s",
        "5/1",
    ] {
        let told = of_limit(json!({"rate": text}));
        assert_eq!(told, [format!(r#"rate: "{text}" {allowed}"#)]);
    }
    assert_eq!(of_limit(json!({"rate": 100})), [format!("rate: 100 {allowed}")]);
    assert_eq!(of_limit(json!({})), ["rate: missing; this field is required"]);
}

#[test]
fn capacities() {
    let capacity = |fields| limit(fields).limit.capacity;
    assert_eq!(capacity(json!({"rate": "100/s", "capacity": 7})), 7);
    assert_same(
        of_limit(json!({"rate": "1/h", "capacity": 10_000,
            "key": ["client"], "overrides": [
                {"values": ["a"], "rate": "1/24h", "capacity": 367},
                {"values": ["b"], "rate": "1/24h", "capacity": 366}]})),
        [
            r#"capacity: 10000 take longer than a year at "1/h""#,
            r#"overrides[0].capacity: 367 take longer than a year at "1/24h""#,
        ],
    );
    let told = of_limit(json!({"rate": "1/s", "capacity": 0}));
    assert_eq!(told, ["capacity: 0 is outside 1–10000000"]);
}

#[test]
fn overrides() {
    let limit = limit(json!({"rate": "1/s", "key": ["client", "header:x-a"],
        "burst": {"tokens": 5}, "overrides": [
            {"values": ["*", "gold"], "rate": "10/s"},
            {"values": ["", "*"], "rate": "2/s", "capacity": 3, "burst": {"tokens": 1}}]}));
    let [gold, unknown] = &limit.overrides[..] else { panic!("{limit:?}") };
    assert_eq!(gold.values, [None, Some(b"gold"[..].into())]);
    assert_eq!((gold.limit.rate, gold.limit.capacity), (per(10, 1_000), 10));
    assert_eq!(gold.limit.burst, limit.limit.burst);
    assert_eq!(unknown.values, [Some(b""[..].into()), None]);
    assert_eq!((unknown.limit.capacity, unknown.limit.burst.unwrap().tokens), (3, 1));
    assert_same(
        of_limit(json!({"rate": "1/s", "key": ["client"], "overrides": [
            {"values": ["a", "b"], "rate": "1/s"}, {"values": [], "rate": "1/s"},
            {"values": ["a"]}, {"rate": "1/s"}]})),
        [
            "overrides[0].values: 2 for a key of 1",
            "overrides[1].values: 0 for a key of 1",
            "overrides[1].values: 0 items are outside 1–1000",
            "overrides[2].rate: missing; this field is required",
            "overrides[3].values: missing; this field is required",
        ],
    );
}

#[test]
fn networks() {
    let net = |text: &str| Network::parse(text);
    for (text, inside, outside) in [
        ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
        ("0.0.0.0/0", "255.255.255.255", "::1"),
        ("192.0.2.1", "192.0.2.1", "192.0.2.0"),
        ("192.0.2.1/32", "::ffff:192.0.2.1", "::192.0.2.1"),
        ("2001:db8::/32", "2001:db8:ffff::", "2001:db9::"),
        ("::/0", "2001:db8::1", "10.0.0.1"),
        ("::1", "::1", "::2"),
        ("::ffff:10.0.0.0/104", "10.1.2.3", "11.0.0.0"),
    ] {
        let network = net(text).unwrap_or_else(|| panic!("{text}"));
        assert!(network.contains(inside.parse().unwrap()), "{inside} in {text}");
        assert!(!network.contains(outside.parse().unwrap()), "{outside} in {text}");
    }
    let allowed = r#"is not a network; allowed is an address, or one with a prefix and no bits behind it, such as "10.0.0.0/8""#;
    for text in [
        "",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.1/8",
        "10.0.0/8",
        "::/129",
        "2001:db8::1/32",
        "10.0.0.0/+8",
        "10.0.0.0/8/8",
        "localhost",
        "10.0.0.0 /8",
        "fe80::1%eth0",
        "010.0.0.0/8",
    ] {
        let told = of_limit(json!({"rate": "1/s", "allow": [text]}));
        assert_eq!(told, [format!(r#"allow[0]: "{text}" {allowed}"#)]);
    }
}

#[test]
fn other_mistakes() {
    assert_same(
        of_limit(json!({"rate": "1/s", "enforced": 1.5, "status": 200, "key": ["tenant"],
            "share": "all", "max_keys": 0, "quue": {}, "queue": {}, "when_store_fails": "maybe",
            "burst": {"tokens": 0, "expires": "0s", "recovers_after": "25h"}})),
        [
            "enforced: 1.5 is outside 0–1",
            "status: 200 is outside 400–599",
            r#"key[0]: "tenant" is not one of policy, destination, route, authority, client, header:<name>"#,
            r#"share: "all" is not one of process, none, mesh"#,
            "max_keys: 0 is outside 1–1000000",
            r#"quue: unknown field; the nearest known one is "queue""#,
            "queue.max: missing; this field is required",
            "queue.max_wait: missing; this field is required",
            r#"when_store_fails: "maybe" is not one of local, allow, deny"#,
            "burst.tokens: 0 is outside 1–10000000",
            r#"burst.expires: "0s" is outside 1ms–24h"#,
            r#"burst.recovers_after: "25h" is outside 1ms–24h"#,
        ],
    );
    assert_eq!(of_limit(json!({"rate": "1/s", "key": []})), ["key: 0 items are outside 1–1000"]);
    assert_eq!(
        of_limit(json!({"rate": "1/s", "share": "mesh"})),
        [
            r#"share: "mesh" is not supported without a board by host native; name one beside the policies: board: {redis: "redis://…"}"#
        ]
    );
}

#[test]
fn a_limit_of_a_mesh_has_neither_bursts_nor_a_queue() {
    let compile = |limit: Value| {
        let policy = json!({"name": "a", "rate_limits": [limit]});
        let document = json!({"board": {"redis": "redis://a"}, "policies": [policy]});
        Document::parse(document.to_string().as_bytes(), Host::Native)
    };
    let burst = json!({"tokens": 5});
    let limit = json!({
        "rate": "1/s", "share": "mesh", "burst": burst, "queue": {"max": 1, "max_wait": "1s"},
        "key": ["client"], "overrides": [{"values": ["*"], "rate": "2/s", "burst": burst}],
    });
    let problems = compile(limit).unwrap_err();
    let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
    let no_burst = r#"cannot stand beside share: "mesh": a budget for short peaks is not shared"#;
    assert_eq!(
        problems,
        [
            format!("policies[0].rate_limits[0].burst: {no_burst}"),
            r#"policies[0].rate_limits[0].queue: cannot stand beside share: "mesh": nobody knows when the next token comes"#.into(),
            format!("policies[0].rate_limits[0].overrides[0].burst: {no_burst}"),
        ]
    );
    let read = |fields: Value| {
        let mut limit = json!({"rate": "1/s", "share": "mesh"});
        limit.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let policy = compile(limit).unwrap().policies.remove(0);
        assert!(policy.is_mesh());
        (policy.rate_limits[0].when_store_fails, policy.rate_limits[0].hash)
    };
    let (when, hash) = read(json!({}));
    assert_eq!(when, WhenStoreFails::Local);
    // What holds without the store is no part of the state.
    assert_eq!(read(json!({"when_store_fails": "deny"})), (WhenStoreFails::Deny, hash));
}

#[test]
fn how_it_is_written_does_not_matter() {
    let hash = |fields| limit(fields).hash;
    let one = hash(json!({"rate": "60/m", "key": ["destination"]}));
    for same in [
        json!({"rate": "60/60s"}),
        json!({"rate": "60/1m", "capacity": 60, "burst": null}),
        json!({"rate": "060/60000ms", "enforced": 0.5, "status": 503, "allow": ["::1"]}),
    ] {
        let mut same = same;
        same.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        assert_eq!(hash(same.clone()), one, "{same}");
    }
    // Two that are written alike are two limits.
    let policy = policy(json!({"rate_limits": [{"rate": "1/s"}, {"rate": "1/s"}]}));
    assert_ne!(policy.rate_limits[0].hash, policy.rate_limits[1].hash);
}
