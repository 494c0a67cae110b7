//! Deadlines: what a caller has left decides before any other rule, and nothing is taken for it.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate bimetal_browser_test;

mod policy;

use bimetal_core::deadline::{DeadlinePolicy, GrpcTimeout};
use bimetal_core::decision::{PassReason, Rule};
use bimetal_core::policy::{Document, Host};
use bimetal_core::{Duration, Engine, Facts, Instant, Verdict};
use policy::{assert_same, named, of_policy, policy, problems};
use serde_json::json;
use std::borrow::Cow;

/// A request with its two fields.
struct Request(Option<&'static str>, Option<&'static str>);

impl Facts for Request {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let value = match name {
            "grpc-timeout" => self.0,
            "x-request-deadline-ms" => self.1,
            _ => None,
        };
        value.map(|value| Cow::Borrowed(value.as_bytes()))
    }
}

fn millis(left: &'static str) -> Request {
    Request(None, Some(left))
}

fn document(fields: &str) -> Document {
    let text = format!(r#"{{"policies": [{{"name": "a", "scope": "policy", {fields}}}]}}"#);
    Document::parse(text.as_bytes(), Host::Native).unwrap_or_else(|wrong| panic!("{wrong}"))
}

/// What each of some requests is told, one after another: nothing where it is admitted.
fn told<const N: usize>(fields: &str, requests: [Request; N]) -> [Option<Rule>; N] {
    let mut engine = Engine::new(1);
    let policies = engine.load(&document(fields));
    requests.map(|request| match engine.admit(Instant::ZERO, &policies, &request) {
        Verdict::Admit(_) => None,
        Verdict::Reject(rejected) => Some(rejected.rejection.rule()),
        other => panic!("{other:?}"),
    })
}

const LATE: Option<Rule> = Some(Rule::Deadline);

#[test]
fn who_has_no_time_left_is_refused_at_once() {
    let fields = r#""deadline": {"margin": "20ms"}"#;
    let requests = [
        millis("21"),
        millis("20"),
        millis("0"),
        millis("-5"),
        Request(Some("20m"), None),
        Request(Some("1S"), Some("7")),
        Request(Some("21m"), Some("99999999999999999999")),
        // What cannot be read says nothing.
        millis("soon"),
        Request(Some("-1S"), None),
        Request(None, None),
    ];
    assert_eq!(
        told(fields, requests),
        [None, LATE, LATE, LATE, LATE, LATE, None, None, None, None]
    );
    let one = r#""deadline": {"accept": ["grpc-timeout"], "margin": "0s"}"#;
    assert_eq!(told(one, [millis("0"), Request(Some("0S"), None)]), [None, LATE]);
    assert_eq!(told(r#""mode": "enforce""#, [millis("0")]), [None], "nobody asked for it");
}

#[test]
fn it_is_asked_first_and_takes_nothing() {
    let fields = r#""deadline": {}, "rate_limits": [{"rate": "1/h"}], "concurrency": {"max": 1}"#;
    let requests = [millis("0"), millis("3"), millis("100"), millis("100"), millis("3")];
    assert_eq!(told(fields, requests), [LATE, LATE, None, Some(Rule::RateLimit), LATE]);
}

#[test]
fn the_answer_says_why_and_not_when_to_come_back() {
    let mut engine = Engine::new(1);
    let policies = engine.load(&document(r#""deadline": {}"#));
    let request = millis("4");
    let Verdict::Reject(rejected) = engine.admit(Instant::ZERO, &policies, &request) else {
        panic!("not rejected")
    };
    let reply = rejected.reply();
    assert_eq!(
        (reply.status, &*reply.body),
        (504, r#"{"error":"deadline: of 4ms nothing is left"}"#)
    );
    let fields: Vec<_> = reply.fields.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(fields[0], ("x-bimetal-rule", "a/deadline"));
    assert!(!fields.iter().any(|(name, _)| *name == "retry-after"));
}

#[test]
fn shadow_counts_it_and_a_disabled_policy_does_not_ask() {
    let mut engine = Engine::new(1);
    for (mode, is_counted) in [("shadow", true), ("disabled", false)] {
        let policies = engine.load(&document(&format!(r#""mode": "{mode}", "deadline": {{}}"#)));
        let request = millis("0");
        let Verdict::Pass(pass) = engine.admit(Instant::ZERO, &policies, &request) else {
            panic!("{mode}")
        };
        let is_late = |why| matches!(why, PassReason::Shadow(no) if no.rule() == Rule::Deadline);
        assert_eq!(is_late(pass.why), is_counted, "{mode}");
        assert!(pass.policy.deadline_applied().is_none(), "{mode}");
    }
}

#[test]
fn the_language() {
    let read = |fields| policy(json!({"deadline": fields})).deadline.unwrap();
    let all = DeadlinePolicy {
        accepts_grpc_timeout: true,
        accepts_deadline_ms: true,
        margin: Duration::from_millis(5),
        forwards: true,
    };
    assert_eq!(read(json!({})), all);
    let one = read(json!({"accept": ["x-request-deadline-ms"], "forward": false}));
    assert_eq!(one, DeadlinePolicy { accepts_grpc_timeout: false, forwards: false, ..all });
    assert_eq!(policy(json!({})).deadline, None);
    assert_same(
        of_policy(json!({"deadline": {"accept": ["timeout"], "margin": "2h", "forward": 1}})),
        [
            r#"policies[0].deadline.accept[0]: "timeout" is not one of grpc-timeout, x-request-deadline-ms"#,
            r#"policies[0].deadline.margin: "2h" is outside 0s–1h"#,
            "policies[0].deadline.forward: 1 is not true or false",
        ],
    );
    assert!(problems(&named(json!({"deadline": {}})), Host::Wasm).is_empty());
}

/// grpc/grpc 17079: 100,000,000 seconds were sent as nine digits. apache/dubbo 15377 and tsloughter/grpcbox
/// 85 sent nanoseconds or milliseconds alone, which were too long from 100 ms and from 28 hours on.
#[test]
fn no_timeout_has_more_than_eight_digits() {
    for (millis, text) in [
        (100, "100000u"),
        (99_999_999, "99999999m"),
        (100_000_000, "100000S"),
        (100_000_000_000, "1666666M"),
        (100_000_020_000, "1666667M"),
    ] {
        assert_eq!(GrpcTimeout(Duration::from_millis(millis)).to_string(), text);
    }
}
