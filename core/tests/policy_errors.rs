//! Every mistake in a policy is reported with its path, and all of them at once.

#![allow(clippy::panic, clippy::unwrap_used)]

use bimetal_core::policy::{Document, Host};
use serde_json::{Value, json};

/// The problems of a document, as lines.
fn problems(document: &Value, host: Host) -> Vec<String> {
    match Document::parse(document.to_string().as_bytes(), host) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.to_string().lines().map(String::from).collect(),
    }
}

/// Both in one order: `json!` sorts keys, so a document's own order is not kept.
#[track_caller]
fn assert_same<T: Into<String>>(actual: Vec<String>, expected: impl IntoIterator<Item = T>) {
    let mut actual = actual;
    let mut expected: Vec<String> = expected.into_iter().map(Into::into).collect();
    actual.sort_unstable();
    expected.sort_unstable();
    assert_eq!(actual, expected);
}

/// The problems of one policy with these fields beside its name.
fn of_policy(fields: Value) -> Vec<String> {
    let mut policy = json!({"name": "echo"});
    policy
        .as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    problems(
        &json!({"version": "v1", "policies": [policy]}),
        Host::Native,
    )
}

/// The problems of one breaker with these fields beside a trip condition.
fn of_breaker(fields: Value) -> Vec<String> {
    let mut breaker = json!({"trip": {"consecutive_failures": 3}});
    breaker
        .as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
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
    assert_eq!(
        of_rate(json!({"threshold": 0.5, "window": {"time": "10s"}})),
        [""; 0]
    );
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
        (
            json!("30sec"),
            format!(r#""30sec" has an unknown unit; {allowed}"#),
        ),
        (
            json!("half"),
            format!(r#""half" does not begin with a number; {allowed}"#),
        ),
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
        (
            json!({"window": {"time": "0s"}}),
            r#".window.time: "0s" is outside 10ms–24h"#,
        ),
        (
            json!({"window": {"calls": 0}}),
            ".window.calls: 0 is outside 1–1000000",
        ),
        (
            json!({"window": {"calls": 10, "time": "1s"}}),
            ".window.calls: cannot stand beside time",
        ),
        (
            json!({"window": {}}),
            ".window: exactly one of time, calls is needed",
        ),
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
        rate["threshold"] = json!(0.5);
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
    assert_eq!(
        of_policy(json!({"breaker": null})),
        ["policies[0].breaker: null is not an object"]
    );
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
        problems(
            &json!({"policies": [{"name": "a"}, {"name": "b"}, {"name": "a"}]}),
            Host::Wasm
        ),
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
    let long = problems(
        &json!({"policies": [{"name": "x".repeat(1_000)}]}),
        Host::Wasm,
    );
    assert!(long.iter().all(|line| line.len() < 200), "{long:?}");
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
            [format!(
                "policies[0].scope: \"{scope}\" is not one of {scopes}"
            )]
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
fn fallbacks() {
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
            [format!(
                "policies[0].fallback.status: {status} cannot carry a body"
            )]
        );
    }
}

#[test]
fn what_a_host_cannot_do_names_path_and_host() {
    let policy = json!({"policies": [{
        "name": "echo",
        "match": {"direction": "outbound"},
        "breaker": {"profile": "hystrix", "share": "mesh", "quorum": 2},
        "timeout": {"request": {"auto": {}}, "connect": "100ms"},
        "fallback": {"on": ["rejected", "failed"]},
        "retry": {"tries": 3},
    }]});
    assert_same(
        problems(&policy, Host::Wasm),
        [
            r#"policies[0].breaker.profile: "hystrix" is not supported yet by host wasm"#,
            r#"policies[0].breaker.share: "mesh" is not supported yet by host wasm"#,
            "policies[0].breaker.quorum: not supported yet by host wasm",
            "policies[0].timeout.request: an object is not supported yet by host wasm",
            "policies[0].timeout.connect: not supported by host wasm",
            r#"policies[0].fallback.on[1]: "failed" is not supported by host wasm"#,
            "policies[0].retry: not supported yet by host wasm",
        ],
    );
    assert_same(
        problems(&policy, Host::Native),
        [
            r#"policies[0].match.direction: "outbound" is not supported by host native"#,
            r#"policies[0].breaker.profile: "hystrix" is not supported yet by host native"#,
            r#"policies[0].breaker.share: "mesh" is not supported yet by host native"#,
            "policies[0].breaker.quorum: not supported yet by host native",
            "policies[0].timeout.request: an object is not supported yet by host native",
            "policies[0].retry: not supported yet by host native",
        ],
    );
}

#[test]
fn every_mistake_of_a_document_is_reported() {
    let document = json!({
        "version": 1,
        "policies": [
            {"name": "a", "breaker": {"trip": {"failure_rate": {
                "threshold": 1.5, "window": {"time": "0s"},
            }}}, "tiemout": {}},
            {"name": "a", "match": {"path": "/", "path_prefix": "/"},
             "breaker": {"profile": "origin-study", "half_open": {"lease": "1s"}},
             "timeout": {"request": "2s"}, "anomaly": {}},
            7,
        ],
    });
    assert_same(
        problems(&document, Host::Native),
        [
            "version: 1 is not one of v1",
            "policies[0].breaker.trip.failure_rate.threshold: 1.5 is outside 0–1",
            r#"policies[0].breaker.trip.failure_rate.window.time: "0s" is outside 10ms–24h"#,
            r#"policies[0].tiemout: unknown field; the nearest known one is "timeout""#,
            "policies[1].match.path_prefix: cannot stand beside path",
            "policies[1].anomaly: not supported yet by host native",
            "policies[2]: 7 is not an object",
            r#"policies[1].breaker.half_open.lease: "1s" is shorter than timeout.request (2s)"#,
            r#"policies[1].name: "a" is already the name of policies[0]"#,
        ],
    );
}

#[test]
fn keys_that_are_given_twice() {
    let twice = br#"{"policies": [], "policies": [{"name": "a", "mode": "shadow", "mode": "enforce", "mode": "shadow"}]}"#;
    let problems = Document::parse(twice, Host::Wasm).unwrap_err();
    let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "policies: given more than once",
            "policies[0].mode: given more than once"
        ]
    );
}

#[test]
fn what_is_not_json() {
    let parse = |json: &[u8]| Document::parse(json, Host::Wasm).unwrap_err().to_string();
    assert_eq!(
        parse(b""),
        "document: not readable as JSON: EOF while parsing a value at line 1 column 0"
    );
    assert_eq!(parse(b"[]"), "document: a list is not an object");
    assert!(parse(b"{\"version\": \xff}").starts_with("document: not readable as JSON: "));
    let deep = [b"{\"a\":".repeat(33), b"1".to_vec(), b"}".repeat(33)].concat();
    assert!(
        parse(&deep).contains("nested deeper than 32 levels"),
        "{}",
        parse(&deep)
    );
    let bomb = b"[".repeat(100_000);
    assert!(
        parse(&bomb).contains("nested deeper than 32 levels"),
        "{}",
        parse(&bomb)
    );
    let many = [b"[".to_vec(), b"1,".repeat(200_000), b"1]".to_vec()].concat();
    assert!(
        parse(&many).contains("more than 200000 values"),
        "{}",
        parse(&many)
    );
    let long = [b"\"".to_vec(), vec![b' '; 4 << 20], b"\"".to_vec()].concat();
    assert_eq!(
        parse(&long),
        "document: 4194306 bytes; at most 4 MiB are read"
    );
}
