//! The answer in place of the upstream's: what the policy may choose, and what stays ours.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test may end by a panic")]

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate bimetal_browser_test;

use bimetal_core::breaker::{Cause, Denied};
use bimetal_core::policy::{Document, Host, Policy};
use bimetal_core::{Rejected, Rejection, Reply};
use std::sync::Arc;

fn policy(fallback: &str) -> Arc<Policy> {
    let text = format!(
        r#"{{"version": "v1", "policies": [{{"name": "echo", {fallback}
            "breaker": {{"profile": "origin-study"}}}}]}}"#
    );
    Document::parse(text.as_bytes(), Host::Native).unwrap().policies.remove(0)
}

const OPEN: Rejection = Rejection::Breaker(Denied::Open {
    left_millis: 1_200,
    cause: Cause::ConsecutiveFailures { count: 3 },
});

fn fields<'a>(reply: &'a Reply<'_>) -> Vec<(&'a str, &'a str)> {
    reply.fields.iter().map(|(name, value)| (&**name, &**value)).collect()
}

#[test]
fn without_a_fallback_it_is_the_rules_own() {
    let policy = policy("");
    let rejected = Rejected { policy: &policy, rejection: OPEN };
    let reply = rejected.reply();
    let reason = "open for another 1.2s after 3 consecutive failures";
    assert_eq!(
        fields(&reply),
        [
            ("x-bimetal-rule", "echo/breaker"),
            ("x-bimetal-reason", reason),
            ("retry-after", "2"),
            ("content-type", "application/json"),
        ]
    );
    let body = format!(r#"{{"error":"circuit breaker: {reason}"}}"#);
    assert_eq!((reply.status, &*reply.body), (503, &*body));
}

#[test]
fn a_fallback_chooses_all_but_what_explains() {
    let policy = policy(
        r#""fallback": {"status": 200, "body": "later", "headers":
            {"Content-Type": "text/plain", "retry-after": "99", "x-own": "1"}},"#,
    );
    let reply = |rejection| {
        let reply = Rejected { policy: &policy, rejection };
        let reply = reply.reply();
        let told: Vec<_> = fields(&reply)
            .into_iter()
            .filter(|(name, _)| !name.starts_with("x-bimetal"))
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        (reply.status, reply.body.into_owned(), told.join(", "))
    };
    let (status, body, told) = reply(OPEN);
    assert_eq!((status, &*body), (200, "later"));
    assert_eq!(told, "retry-after: 2, content-type: text/plain, x-own: 1");
    // Where we know no time the policy's word stands.
    let (_, _, told) = reply(Rejection::ForcedOpen);
    assert_eq!(told, "content-type: text/plain, retry-after: 99, x-own: 1");
}

#[test]
fn a_failure_has_one_where_the_policy_wants_it() {
    assert_eq!(policy("").reply_when_failed(&"gone"), None);
    let policy = policy(r#""fallback": {"when": ["failed"]},"#);
    let reply = policy.reply_when_failed(&"gone").unwrap();
    assert_eq!((reply.status, &*reply.body), (503, r#"{"error":"gone"}"#));
    assert_eq!(fields(&reply), [("content-type", "application/json")]);
}
