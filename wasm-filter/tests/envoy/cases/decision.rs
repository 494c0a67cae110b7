//! What a client gets, and what the metrics say of it.

use super::trip;
use crate::rig::{Rig, TestResult, Tools, policy, same};
use serde_json::{Value, json};

pub(super) fn trips_rejects_and_recovers(tools: &Tools) -> TestResult {
    let rig = Rig::start(tools, &policy("1s", json!({})), |_| {})?;
    rig.upstream.fail(3);
    for _ in 0..3 {
        same(rig.get("/flaky")?.header("x-bimetal-rule"), "")?;
    }
    same(rig.get("/flaky")?.header("x-bimetal-rule"), "echo/breaker")?;
    same(rig.upstream.requests("/flaky").len(), 3)?;
    rig.until("answer after the open time", || {
        Ok((rig.get("/flaky")?.status == 200).then_some(()))
    })?;
    same(
        rig.transitions()?,
        ["closed→open", "open→half_open", "half_open→closed"].map(str::to_owned).to_vec(),
    )?;
    let opened = &["from=\"closed\"", "to=\"open\"", "cause=\"consecutive_failures\""];
    rig.until("metrics", || {
        let trips = rig.envoy.metric("bimetal_breaker_transitions_total", opened)?;
        let closed = rig.envoy.metric("bimetal_breaker_replicas", &["state=\"closed\""])?;
        let open = rig.envoy.metric("bimetal_breaker_replicas", &["state=\"open\""])?;
        let calls = rig.envoy.metric("bimetal_request_duration_ms_count", &["policy=\"echo\""])?;
        Ok(((trips, closed, open, calls) == (1.0, 1.0, 0.0, 4.0)).then_some(()))
    })?;
    rig.finish()
}

pub(super) fn a_rejection_says_which_rule_and_why(tools: &Tools) -> TestResult {
    let mut rig = Rig::start(tools, &policy("30s", json!({})), |_| {})?;
    trip(&rig)?;
    let rejected = rig.get("/flaky")?;
    same(rejected.status, 503)?;
    same(rejected.header("x-bimetal-rule"), "echo/breaker")?;
    same(rejected.header("content-type"), "application/json")?;
    same(rejected.header("retry-after"), "30")?;
    let reason = rejected.header("x-bimetal-reason").to_owned();
    // In milliseconds, rounded up: the whole time, where the machine is quick.
    let left = ["open for another 29.", "open for another 30s"];
    same(left.iter().any(|left| reason.starts_with(left)), true)?;
    same(reason.ends_with("s after 3 consecutive failures"), true)?;
    let body: Value = serde_json::from_str(rejected.body())?;
    same(body, json!({"error": format!("circuit breaker: {reason}")}))?;
    rig.envoy.stop()?;
    let log = rig.envoy.access_log()?;
    same(log.contains("\"details\":\"bimetal_echo_breaker\""), true)
}

pub(super) fn a_fallback_replaces_status_headers_and_body(tools: &Tools) -> TestResult {
    let fallback = json!({"fallback": {"when": ["rejected"], "status": 200, "body": "later",
        "headers": {"content-type": "text/plain", "x-more": "1"}}});
    let rig = Rig::start(tools, &policy("30s", fallback), |_| {})?;
    trip(&rig)?;
    let rejected = rig.get("/flaky")?;
    same(rejected.status, 200)?;
    same(rejected.body(), "later")?;
    same(rejected.header("content-type"), "text/plain")?;
    same(rejected.header("x-more"), "1")?;
    same(rejected.header("x-bimetal-rule"), "echo/breaker")?;
    rig.finish()
}

pub(super) fn rejections_are_no_evidence(tools: &Tools) -> TestResult {
    let rig = Rig::start(tools, &policy("30s", json!({})), |_| {})?;
    trip(&rig)?;
    for _ in 0..5 {
        same(rig.get("/flaky")?.header("x-bimetal-rule"), "echo/breaker")?;
    }
    rig.until("rejections in the metrics", || {
        let rejected = rig.envoy.metric("bimetal_requests_total", &["decision=\"breaker\""])?;
        Ok((rejected == 5.0).then_some(()))
    })?;
    same(rig.outcomes(3)?, vec!["failure"; 3].into_iter().map(str::to_owned).collect())?;
    rig.finish()
}

pub(super) fn debug_headers_on_every_answer(tools: &Tools) -> TestResult {
    let rig = Rig::start(tools, &policy("30s", json!({"debug_headers": true})), |_| {})?;
    rig.upstream.fail(3);
    for _ in 0..3 {
        same(rig.get("/flaky")?.header("x-bimetal-state"), "closed")?;
    }
    let rejected = rig.get("/flaky")?;
    same(rejected.header("x-bimetal-state"), "open")?;
    same(rejected.header("x-bimetal-policy"), "echo")?;
    rig.finish()
}

pub(super) fn scopes_by_destination(tools: &Tools) -> TestResult {
    let rig = Rig::start(tools, &policy("30s", json!({"scope": "destination"})), |_| {})?;
    trip(&rig)?;
    rig.until("the cluster as a label", || {
        let open = &["scope=\"echo\"", "state=\"open\"", "policy=\"echo\""];
        Ok((rig.envoy.metric("bimetal_breaker_replicas", open)? == 1.0).then_some(()))
    })?;
    let rig_by_route = Rig::start(tools, &policy("30s", json!({"scope": "route"})), |_| {})?;
    trip(&rig_by_route)?;
    rig_by_route.until("the route as a label", || {
        let open = &["scope=\"all>default\"", "state=\"open\""];
        Ok((rig_by_route.envoy.metric("bimetal_breaker_replicas", open)? == 1.0).then_some(()))
    })?;
    rig_by_route.finish()?;
    rig.finish()
}

pub(super) fn hostile_header_bytes_do_not_trap(tools: &Tools) -> TestResult {
    let by_header = json!({"scope": "header:x-tenant",
        "match": {"headers": {"x-tenant": "*"}}, "breaker": {"trip": {"consecutive_failures": 2}}});
    let rig = Rig::start(tools, &policy("30s", by_header), |_| {})?;
    let hostile = b"x-tenant: \xff\xfe\xf0\x9f\x80\r\nx-other: \xc3\x28\r\n";
    for _ in 0..2 {
        same(rig.send("/hostile", hostile)?.status, 500)?;
    }
    same(rig.send("/hostile", hostile)?.header("x-bimetal-rule"), "echo/breaker")?;
    same(rig.send("/status/200", b"x-tenant: \xff\r\n")?.status, 200)?;
    same(rig.get("/status/200")?.status, 200)?;
    rig.finish()
}

pub(super) fn workers_trip_as_one(tools: &Tools) -> TestResult {
    let rig = Rig::start(tools, &policy("30s", json!({})), |config| {
        config.concurrency = 2;
    })?;
    // The kernel spreads connections over the workers: in the end both have seen one.
    rig.until("two closed replicas", || {
        rig.get("/status/200")?;
        let closed = &["state=\"closed\""];
        Ok((rig.envoy.metric("bimetal_breaker_replicas", closed)? == 2.0).then_some(()))
    })?;
    // Three failures in all, whichever worker saw them.
    trip(&rig)?;
    rig.until("two open replicas", || {
        let open = &["state=\"open\""];
        Ok((rig.envoy.metric("bimetal_breaker_replicas", open)? == 2.0).then_some(()))
    })?;
    for _ in 0..10 {
        same(rig.get("/flaky")?.header("x-bimetal-rule"), "echo/breaker")?;
    }
    rig.finish()
}
