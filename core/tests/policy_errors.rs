//! Every mistake in a policy is reported with its path.

#![allow(clippy::panic, clippy::unwrap_used)]

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate bimetal_browser_test;

mod policy;

use bimetal_core::policy::Host;
use policy::{assert_same, of_policy, problems};
use serde_json::{Value, json};

/// The problems of one breaker with these fields beside a trip condition.
fn of_breaker(fields: Value) -> Vec<String> {
    let mut breaker = json!({"trip": {"consecutive_failures": 3}});
    breaker.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    of_policy(json!({"breaker": breaker}))
}

/// The problems of one failure rate with these fields.
fn of_rate(fields: Value) -> Vec<String> {
    of_breaker(json!({"trip": {"failure_rate": fields}}))
}

#[test]
fn fine_documents_have_none() {
    assert_eq!(problems(&json!({}), Host::Wasm), [""; 0]);
    assert_eq!(of_policy(json!({})), [""; 0]);
    assert_eq!(of_breaker(json!({})), [""; 0]);
    assert_eq!(of_rate(json!({"threshold": 0.5, "window": {"time": "10s"}})), [""; 0]);
}

#[test]
fn shares() {
    let window = json!({"time": "10s"});
    assert_eq!(
        of_rate(json!({"threshold": 1.5, "window": window})),
        ["policies[0].breaker.trip.failure_rate.threshold: 1.5 is outside 0–1"]
    );
    assert_eq!(
        of_rate(json!({"threshold": 0, "window": window})),
        [
            "policies[0].breaker.trip.failure_rate.threshold: 0 is not allowed; more than 0, up to 1 is"
        ]
    );
    assert_eq!(
        of_rate(json!({"threshold": "50%", "window": window})),
        [r#"policies[0].breaker.trip.failure_rate.threshold: "50%" is not a number"#]
    );
    assert_eq!(
        of_rate(json!({"threshold": 0.5, "window": window, "confidence": 1})),
        ["policies[0].breaker.trip.failure_rate.confidence: 1 is outside 0.5–0.999999"]
    );
    assert_eq!(
        of_breaker(json!({"open": {"jitter": -0.25}})),
        ["policies[0].breaker.open.jitter: -0.25 is outside 0–1"]
    );
}

#[test]
fn unknown_fields_name_the_nearest() {
    assert_eq!(
        of_breaker(json!({"half_opn": {}})),
        [r#"policies[0].breaker.half_opn: unknown field; the nearest known one is "half_open""#]
    );
    assert_eq!(
        problems(&json!({"polices": []}), Host::Native),
        [r#"polices: unknown field; the nearest known one is "policies""#]
    );
    assert_eq!(
        of_policy(json!({"timeout": {"zzzzzzzzzz": 1}})),
        [
            "policies[0].timeout.zzzzzzzzzz: unknown field; known are request, connect, per_try, idle"
        ]
    );
}

#[test]
fn durations() {
    let allowed = r#"allowed is a text such as "250ms", "30s", "5m" or "1h""#;
    for (value, what) in [
        (json!("30"), format!(r#""30" has no unit; {allowed}"#)),
        (json!(30), format!("30 has no unit; {allowed}")),
        (json!("30sec"), format!(r#""30sec" has an unknown unit; {allowed}"#)),
        (json!("half"), format!(r#""half" does not begin with a number; {allowed}"#)),
        (json!(["30s"]), format!("a list is not a text; {allowed}")),
        (json!("0s"), r#""0s" is outside 1ms–24h"#.into()),
        (json!("25h"), r#""25h" is outside 1ms–24h"#.into()),
        (
            json!("99999999999999999999s"),
            format!(r#""99999999999999999999s" is too large; {allowed}"#),
        ),
    ] {
        assert_eq!(
            of_breaker(json!({"open": {"base": value}})),
            [format!("policies[0].breaker.open.base: {what}")]
        );
    }
}

#[test]
fn windows() {
    let path = "policies[0].breaker.trip.failure_rate";
    for (rate, what) in [
        (json!({"window": {"time": "0s"}}), r#".window.time: "0s" is outside 10ms–24h"#),
        (json!({"window": {"calls": 0}}), ".window.calls: 0 is outside 1–1000000"),
        (json!({"window": {"calls": 10, "time": "1s"}}), ".window.calls: cannot stand beside time"),
        (json!({"window": {}}), ".window: exactly one of time, calls is needed"),
        (json!({}), ".window: missing; this field is required"),
        (
            json!({"window": {"calls": 10}, "minimum_calls": 11}),
            ".minimum_calls: 11 is more than window.calls (10): it would never trip",
        ),
        (
            json!({"window": {"calls": 10}, "minimum_calls": 1.5}),
            ".minimum_calls: 1.5 is not a whole number",
        ),
        (
            json!({"window": {"calls": 10}, "minimum_calls": -1}),
            ".minimum_calls: -1 is outside 1–1000000",
        ),
    ] {
        let mut rate = rate;
        rate.as_object_mut().unwrap().insert("threshold".into(), json!(0.5));
        assert_eq!(of_rate(rate), [format!("{path}{what}")]);
    }
}

#[test]
fn a_breaker_needs_something_to_trip_on() {
    assert_eq!(
        of_policy(json!({"breaker": {}})),
        ["policies[0].breaker: at least one of trip, profile is needed"]
    );
    assert_eq!(
        of_policy(json!({"breaker": {"trip": {}}})),
        [
            "policies[0].breaker.trip: at least one of consecutive_failures, failure_rate, slow_rate is needed"
        ]
    );
    assert_eq!(of_policy(json!({"breaker": null})), ["policies[0].breaker: null is not an object"]);
}

#[test]
fn a_lease_is_not_shorter_than_the_timeout() {
    let policy = |lease: &str, request: &str| {
        of_policy(json!({
            "breaker": {"profile": "origin-study", "half_open": {"lease": lease}},
            "timeout": {"request": request},
        }))
    };
    assert_eq!(policy("3s", "3s"), [""; 0]);
    assert_eq!(
        policy("1s", "3s"),
        [r#"policies[0].breaker.half_open.lease: "1s" is shorter than timeout.request (3s)"#]
    );
    // Without a given timeout there is nothing to compare with.
    assert_eq!(of_breaker(json!({"half_open": {"lease": "1s"}})), [""; 0]);
}

#[test]
fn the_longest_open_time_is_not_shorter_than_the_first() {
    assert_eq!(
        of_breaker(json!({"open": {"base": "60s", "max": "30s"}})),
        [r#"policies[0].breaker.open.max: "30s" is shorter than open.base "60s""#]
    );
    assert_eq!(
        of_breaker(json!({"open": {"max": "10s"}})),
        [r#"policies[0].breaker.open.max: "10s" is shorter than open.base "30s""#]
    );
    assert_eq!(
        of_breaker(json!({"open": {"multiplier": 0.5}})),
        ["policies[0].breaker.open.multiplier: 0.5 is outside 1–100"]
    );
}

#[test]
fn names() {
    let form = "allowed is 1 to 64 letters, digits, dots, dashes and underscores";
    assert_eq!(
        problems(&json!({"policies": [{"name": "a"}, {"name": "b"}, {"name": "a"}]}), Host::Wasm),
        [r#"policies[2].name: "a" is already the name of policies[0]"#]
    );
    assert_eq!(
        problems(&json!({"policies": [{}]}), Host::Wasm),
        ["policies[0].name: missing; this field is required"]
    );
    for (name, shown) in [
        (json!("a b"), r#""a b""#),
        (json!(""), r#""""#),
        (json!(5), "5"),
        (json!("a\nb\u{202e}\""), r#""a\nb\u{202e}\"""#),
    ] {
        assert_eq!(
            problems(&json!({"policies": [{"name": name}]}), Host::Wasm),
            [format!("policies[0].name: {shown} is not a name; {form}")]
        );
    }
    let long = problems(&json!({"policies": [{"name": "x".repeat(1_000)}]}), Host::Wasm);
    assert!(matches!(long.as_slice(), [line] if line.len() < 200), "{long:?}");
}

#[test]
fn matches() {
    assert_eq!(
        of_policy(json!({"match": {"path": "/a", "path_prefix": "/b"}})),
        ["policies[0].match.path_prefix: cannot stand beside path"]
    );
    assert_eq!(
        of_policy(json!({"match": {"path_prefix": "echo"}})),
        [
            r#"policies[0].match.path_prefix: "echo" is not a path; allowed is a text that begins with / and has no query"#
        ]
    );
    assert_eq!(
        of_policy(json!({"match": {"hosts": ["echo", "echo:80", "a.*"]}})),
        [
            r#"policies[0].match.hosts[1]: "echo:80" is not a host; allowed is a name or address without port, "*.example.com" or "*""#,
            r#"policies[0].match.hosts[2]: "a.*" is not a host; allowed is a name or address without port, "*.example.com" or "*""#,
        ]
    );
    assert_eq!(
        of_policy(json!({"match": {"headers": {"a b": "x", "c": "d\r\n"}}})),
        [
            r#"policies[0].match.headers["a b"]: the key is not an HTTP token; allowed is letters, digits and !#$%&'*+-.^_`|~"#,
            r#"policies[0].match.headers.c: "d\r\n" is not a header's value; allowed is printable ASCII, at most 4096 characters, without a space at its ends"#,
        ]
    );
}

#[test]
fn words() {
    assert_eq!(
        of_policy(json!({"mode": "enforced"})),
        [r#"policies[0].mode: "enforced" is not one of enforce, shadow, forced_open, disabled"#]
    );
    let scopes = "policy, destination, route, authority, client, header:<name>, endpoint";
    for scope in ["header:", "header:a b", "policyx", "HEADER:x"] {
        assert_eq!(
            of_policy(json!({"scope": scope})),
            [format!("policies[0].scope: \"{scope}\" is not one of {scopes}")]
        );
    }
    assert_eq!(
        problems(&json!({"version": "v2"}), Host::Wasm),
        [r#"version: "v2" is not one of v1"#]
    );
    assert_eq!(
        of_policy(json!({"debug_headers": "yes"})),
        [r#"policies[0].debug_headers: "yes" is not true or false"#]
    );
}

#[test]
fn failures() {
    let status = "allowed is 100 to 599, or a class such as 5xx";
    assert_same(
        of_breaker(json!({"failure": {
            "statuses": [503, "404", "5xx", 600, "6xx", "+50", 50.5],
            "grpc": ["not_found", "ok"],
            "transport": ["reset", "dns"],
            "ignore": [404, "4xx", "aborted", "overflow", "nothing"],
        }})),
        [
            format!(r#"policies[0].breaker.failure.statuses[3]: "600" is not a status; {status}"#),
            format!(r#"policies[0].breaker.failure.statuses[4]: "6xx" is not a status; {status}"#),
            format!(r#"policies[0].breaker.failure.statuses[5]: "+50" is not a status; {status}"#),
            format!("policies[0].breaker.failure.statuses[6]: 50.5 is not a status; {status}"),
            r#"policies[0].breaker.failure.grpc[1]: "ok" is not a gRPC status that can fail; allowed is a name such as unavailable or deadline_exceeded"#.into(),
            r#"policies[0].breaker.failure.transport[1]: "dns" is not one of connect, reset, timeout, overflow"#.into(),
            r#"policies[0].breaker.failure.ignore[4]: "nothing" is not an answer; allowed is a status (404), a class (4xx), a gRPC status (not_found) or a transport failure (reset)"#.into(),
        ],
    );
}

#[test]
fn time_limits_that_follow_the_upstream() {
    let auto = |auto: Value| of_policy(json!({"timeout": {"request": auto}}));
    assert_eq!(
        auto(json!({"auto": {"percentile": 1.0, "margin": -1, "min": "2s", "max": "1s"}})),
        [
            "policies[0].timeout.request.auto.margin: -1 is outside 0–10",
            "policies[0].timeout.request.auto.percentile: 1 is outside 0.5–0.9999",
            "policies[0].timeout.request.auto.min: 2s is longer than max (1s)",
        ]
    );
    assert_eq!(
        auto(json!({"auto": {"min": "2s", "max": "1s"}})),
        ["policies[0].timeout.request.auto.min: 2s is longer than max (1s)"]
    );
    assert_eq!(
        auto(json!({"auto": {"max": "1s"}})),
        ["policies[0].timeout.request.auto.min: missing; this field is required"]
    );
    assert_eq!(
        auto(json!({})),
        ["policies[0].timeout.request.auto: missing; this field is required"]
    );
}

#[test]
fn fallbacks() {
    assert_eq!(
        of_policy(json!({"fallback": {"stale": {"max_bytes": "2KiB", "max_total": "1KiB"}}})),
        [
            "policies[0].fallback.stale.max_age: missing; this field is required",
            "policies[0].fallback.stale.max_bytes: 2048 bytes are more than max_total (1024)",
        ]
    );
    assert_eq!(
        of_policy(json!({"fallback": {
            "on": [], "status": 99, "headers": {"Content-Length": "3", "x-bimetal-rule": "a"},
        }})),
        [
            "policies[0].fallback.on: 0 items are outside 1–1000",
            "policies[0].fallback.status: 99 is outside 200–599",
            "policies[0].fallback.headers.Content-Length: set by the host; a fallback cannot change it",
            "policies[0].fallback.headers.x-bimetal-rule: set by the host; a fallback cannot change it",
        ]
    );
    for status in [204, 205, 304] {
        assert_eq!(
            of_policy(json!({"fallback": {"status": status}})),
            [format!("policies[0].fallback.status: {status} cannot carry a body")]
        );
    }
}
