//! What is said of a whole document that is refused: every problem of it, what the host cannot do,
//! and bytes that are no document at all.

#![allow(clippy::panic, clippy::unwrap_used)]

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate bimetal_browser_test;

mod policy;

use bimetal_core::doc::{Check, Field, Kind, Node, Object, Path, Rule, Unsupported};
use bimetal_core::policy::{Document, Host};
use policy::{assert_same, problems};
use serde_json::json;

#[test]
fn what_a_host_cannot_do_names_path_and_host() {
    let policy = json!({"policies": [{
        "name": "echo",
        "match": {"direction": "outbound"},
        "breaker": {"profile": "polly", "share": "mesh", "quorum": 2},
        "timeout": {"request": "1s", "connect": "100ms"},
        "fallback": {"when": ["rejected", "failed"]},
        "retry": {"tries": 3, "backoff": {"base": "1ms"}, "on": ["overflow", "aborted", "unavailable", 503]},
        "anomaly": {},
    }]});
    assert_same(
        problems(&policy, Host::Wasm),
        [
            r#"policies[0].breaker.share: "mesh" is not supported yet by host wasm"#,
            "policies[0].timeout.connect: not supported by host wasm",
            r#"policies[0].fallback.when[1]: "failed" is not supported by host wasm"#,
            r#"policies[0].retry.on[0]: "overflow" is not supported by host wasm"#,
            r#"policies[0].retry.on[1]: "aborted" is not supported by host wasm"#,
            "policies[0].retry.backoff: not supported by host wasm",
        ],
    );
    assert_same(
        problems(&policy, Host::Native),
        [
            r#"policies[0].match.direction: "outbound" is not supported by host native"#,
            r#"policies[0].breaker.share: "mesh" is not supported without a board by host native; name one beside the policies: board: {redis: "redis://…"}"#,
        ],
    );
}

/// Envoy chooses an endpoint after its filters were asked.
#[test]
fn a_scope_for_each_endpoint_is_the_proxys() {
    let policy = json!({"policies": [{"name": "echo", "scope": "endpoint"}]});
    assert_same(
        problems(&policy, Host::Wasm),
        [r#"policies[0].scope: "endpoint" is not supported by host wasm"#],
    );
    assert!(Document::parse(policy.to_string().as_bytes(), Host::Native).is_ok());
}

/// A table of its own: today's language has no choice of which one part is not supported yet.
#[test]
fn what_is_skipped_does_not_count() {
    static EITHER: Object = Object {
        doc: "",
        fields: &[Field::later("new", ""), Field::new("old", Kind::Any, "")],
        rules: &[Rule::AtLeastOne(&["old", "new"])],
    };
    let told = |document: &str| {
        let mut node = Node::from_json(document.as_bytes()).unwrap();
        let mut check = Check::new(Host::Wasm, Unsupported::Skip);
        check.object(&Path::ROOT.key("a"), &mut node, &EITHER);
        check.problems.to_string()
    };
    let skipped =
        "a: at least one of old, new is needed; what is skipped as unsupported does not count";
    assert_eq!(told(r#"{"new": 1}"#), skipped);
    assert_eq!(told("{}"), "a: at least one of old, new is needed");
    assert_eq!(told(r#"{"new": 1, "old": 1}"#), "");

    let document =
        json!({"unsupported": "skip", "policies": [{"name": "a", "breaker": {"quorum": 2}}]});
    assert_eq!(
        problems(&document, Host::Wasm),
        ["policies[0].breaker: at least one of trip, profile is needed"]
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
    assert_eq!(lines, ["policies: given more than once", "policies[0].mode: given more than once"]);
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
    assert!(parse(&deep).contains("nested deeper than 32 levels"), "{}", parse(&deep));
    let bomb = b"[".repeat(100_000);
    assert!(parse(&bomb).contains("nested deeper than 32 levels"), "{}", parse(&bomb));
    let many = [b"[".to_vec(), b"1,".repeat(200_000), b"1]".to_vec()].concat();
    assert!(parse(&many).contains("more than 200000 values"), "{}", parse(&many));
    let long = [b"\"".to_vec(), vec![b' '; 4 << 20], b"\"".to_vec()].concat();
    assert_eq!(parse(&long), "document: 4194306 bytes; at most 4 MiB are read");
}
