//! Two Envoys, one behind the other.

use super::trip;
use crate::rig::{Rig, TestResult, Tools, policy, same};
use bimetal_conformance::envoy::Config;
use serde_json::{Value, json};

/// An Envoy in front of `next`, with `change` made to it.
fn before(
    next: &Rig,
    tools: &Tools,
    policy: &str,
    change: impl FnOnce(&mut Config),
) -> Result<Rig, Box<dyn std::error::Error>> {
    let address = next.envoy.address();
    Rig::start(tools, policy, |config| {
        config.upstream = address;
        change(config);
    })
}

/// A hop that rejects everything, with this fallback.
fn rejecting(tools: &Tools, fallback: Value) -> Result<Rig, Box<dyn std::error::Error>> {
    let closed = json!({"name": "second", "mode": "forced_open", "fallback": fallback});
    Rig::start(tools, &policy("30s", closed), |_| {})
}

fn rejections(rig: &Rig, wanted: f64) -> TestResult {
    rig.until(&format!("{wanted} rejections"), || {
        let rejected = rig.envoy.metric("bimetal_requests_total", &["decision=\"breaker\""])?;
        if rejected > wanted {
            return Err(std::io::Error::other(format!("{rejected} rejections")));
        }
        Ok((rejected == wanted).then_some(()))
    })
}

/// Without a mark a rejection is a 503 like others to the caller's Envoy, which tries again.
pub(super) fn a_callers_retries_of_rejections_end_where_they_are_marked(
    tools: &Tools,
) -> TestResult {
    let mark = json!({"headers": {"x-envoy-ratelimited": "true"}});
    let grpc: &[u8] = b"content-type: application/grpc\r\n";
    let cases = [
        ("5xx", &b""[..], json!({}), 3.0),
        ("5xx", b"", mark.clone(), 1.0),
        // A gRPC client gets `unavailable`, which Istio retries by default.
        ("unavailable", grpc, json!({}), 3.0),
        ("unavailable", grpc, mark.clone(), 1.0),
        ("5xx,envoy-ratelimited", b"", mark, 3.0),
    ];
    for (retry_on, headers, fallback, arrive) in cases {
        let second = rejecting(tools, fallback)?;
        let first = before(&second, tools, "", |config| {
            config.filters.clear();
            config.route = json!({"retry_policy": {"retry_on": retry_on, "num_retries": 2,
                "retry_back_off": {"base_interval": "0.001s"}}});
        })?;
        let rejected = first.send("/", headers)?;
        same((retry_on, rejected.header("x-bimetal-rule")), (retry_on, "second/breaker"))?;
        rejections(&second, arrive)?;
        first.finish()?;
        second.finish()?;
    }
    Ok(())
}

pub(super) fn rejections_of_the_next_hop_are_failures_unless_ignored(tools: &Tools) -> TestResult {
    let second = rejecting(tools, json!({}))?;
    let first = before(&second, tools, &policy("30s", json!({"name": "first"})), |_| {})?;
    for _ in 0..3 {
        same(first.get("/")?.header("x-bimetal-rule"), "second/breaker")?;
    }
    same(first.get("/")?.header("x-bimetal-rule"), "first/breaker")?;
    rejections(&second, 3.0)?;
    first.finish()?;
    second.finish()?;

    // A status of their own tells rejections from failures.
    let second = rejecting(tools, json!({"status": 429}))?;
    let ignoring = json!({"name": "first", "breaker": {"failure": {"ignore": [429]}}});
    let first = before(&second, tools, &policy("30s", ignoring), |_| {})?;
    for _ in 0..5 {
        let rejected = first.get("/")?;
        same((rejected.status, rejected.header("x-bimetal-rule")), (429, "second/breaker"))?;
    }
    same(first.outcomes(5)?, vec!["neutral".to_owned(); 5])?;
    first.finish()?;
    second.finish()
}

/// `retry-after` of a rejection: the first hop asks again when the second will.
pub(super) fn the_first_hop_waits_as_long_as_the_second(tools: &Tools) -> TestResult {
    let second = Rig::start(tools, &policy("300s", json!({"name": "second"})), |_| {})?;
    trip(&second)?;
    let first = before(&second, tools, &policy("1s", json!({"name": "first"})), |_| {})?;
    for _ in 0..3 {
        same(first.get("/flaky")?.header("x-bimetal-rule"), "second/breaker")?;
    }
    let rejected = first.get("/flaky")?;
    same(rejected.header("x-bimetal-rule"), "first/breaker")?;
    let seconds: u64 = rejected.header("retry-after").parse()?;
    same((200..=300).contains(&seconds), true)?;
    first.finish()?;
    second.finish()
}
