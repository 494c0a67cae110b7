//! What each way of ending counts as.

use super::slow_policy;
use crate::rig::{Rig, TestResult, Tools, policy, same};
use bimetal_conformance::envoy::Upstream;
use serde_json::json;

pub(super) fn connect_refused_is_a_failure(tools: &Tools) -> TestResult {
    let closed = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let rig = Rig::start(tools, &policy("30s", json!({})), |config| config.upstream = closed)?;
    for _ in 0..3 {
        same(rig.get("/")?.header("x-bimetal-rule"), "")?;
    }
    same(rig.get("/")?.header("x-bimetal-rule"), "echo/breaker")?;
    rig.finish()
}

pub(super) fn broken_answers_are_failures(tools: &Tools) -> TestResult {
    let rig = Rig::start(
        tools,
        &policy(
            "30s",
            json!({"breaker": {"trip":
        {"consecutive_failures": 100}}}),
        ),
        |_| {},
    )?;
    for (number, path) in ["/close", "/half", "/garbage", "/status/500"].into_iter().enumerate() {
        rig.get(path)?;
        let outcomes = rig.outcomes(number + 1)?;
        same((path, outcomes.last().map(String::as_str)), (path, Some("failure")))?;
    }
    for path in ["/status/200", "/status/404", "/status/301"] {
        rig.get(path)?;
    }
    same(rig.outcomes(7)?.split_off(4), vec!["success".to_owned(); 3])?;
    rig.finish()
}

pub(super) fn a_hang_ends_with_the_policy_timeout(tools: &Tools) -> TestResult {
    let rig = Rig::start(tools, &policy("30s", json!({"timeout": {"request": "300ms"}})), |_| {})?;
    same(rig.get("/hang")?.status, 504)?;
    same(rig.get("/hang")?.status, 504)?;
    same(rig.get("/hang")?.status, 504)?;
    same(rig.outcomes(3)?, vec!["failure".to_owned(); 3])?;
    same(rig.get("/hang")?.header("x-bimetal-rule"), "echo/breaker")?;
    rig.finish()
}

pub(super) fn a_client_cannot_replace_the_plan(tools: &Tools) -> TestResult {
    let rig = Rig::start(tools, &policy("30s", json!({"timeout": {"request": "5s"}})), |_| {})?;
    let hostile = b"x-envoy-upstream-rq-timeout-ms: 1\r\n\
        x-envoy-upstream-rq-per-try-timeout-ms: 1\r\nx-envoy-expected-rq-timeout-ms: 1\r\n";
    same(rig.send("/slow/100", hostile)?.status, 200)?;
    same(rig.outcomes(1)?, vec!["success".to_owned()])?;
    rig.finish()
}

pub(super) fn a_client_that_leaves_is_neutral(tools: &Tools) -> TestResult {
    let rig = Rig::start(tools, &policy("30s", json!({})), |_| {})?;
    rig.abort("/hang")?;
    same(rig.outcomes(1)?, vec!["neutral".to_owned()])?;
    rig.abort("/stall")?;
    same(rig.outcomes(2)?, vec!["neutral".to_owned(); 2])?;
    rig.finish()
}

pub(super) fn a_client_that_leaves_a_slow_upstream_is_slow(tools: &Tools) -> TestResult {
    let slow = json!({"breaker": {"trip": {"slow_rate": {"threshold": 1, "slower_than": "50ms",
        "window": {"calls": 10}, "minimum_calls": 10}}}});
    let rig = Rig::start(tools, &policy("30s", slow), |_| {})?;
    let stream = rig.begin("/hang", b"")?;
    rig.until("the request upstream", || {
        Ok((!rig.upstream.requests("/hang").is_empty()).then_some(()))
    })?;
    // A moment in the life of this client: it gives up when `slower_than` is over.
    std::thread::sleep(std::time::Duration::from_millis(100));
    drop(stream);
    same(rig.outcomes(1)?, vec!["slow".to_owned()])?;
    rig.finish()
}

pub(super) fn a_slow_answer_is_slow(tools: &Tools) -> TestResult {
    let rig = Rig::start(tools, &policy("30s", slow_policy()), |_| {})?;
    same(rig.get("/slow/300")?.status, 200)?;
    same(rig.outcomes(1)?, vec!["slow".to_owned()])?;
    rig.finish()
}

pub(super) fn a_grpc_failure_in_headers_alone(tools: &Tools) -> TestResult {
    let rig = Rig::start(tools, &policy("30s", json!({})), |_| {})?;
    same(rig.get("/grpc/0")?.status, 200)?;
    for _ in 0..3 {
        same(rig.get("/grpc/14")?.header("grpc-status"), "14")?;
    }
    let outcomes = rig.outcomes(4)?;
    same(outcomes, ["success", "failure", "failure", "failure"].map(str::to_owned).to_vec())?;
    let rejected = rig.send("/grpc/0", b"content-type: application/grpc\r\n")?;
    // Envoy turns our 503 into gRPC's own form: 200 with UNAVAILABLE.
    same((rejected.status, rejected.header("grpc-status")), (200, "14"))?;
    same(rejected.header("x-bimetal-rule"), "echo/breaker")?;
    rig.finish()
}

pub(super) fn an_event_stream_is_good_at_its_headers(tools: &Tools) -> TestResult {
    let rig = Rig::start(tools, &policy("30s", json!({})), |_| {})?;
    let stream = rig.begin("/events", b"")?;
    same(rig.outcomes(1)?, vec!["success".to_owned()])?;
    drop(stream);
    rig.finish()
}

pub(super) fn an_http2_upstream_that_speaks_http1(tools: &Tools) -> TestResult {
    let rig = Rig::start(tools, &policy("30s", json!({})), |config| {
        config.protocol = Upstream::Http2;
    })?;
    rig.get("/garbage")?;
    same(rig.outcomes(1)?, vec!["failure".to_owned()])?;
    rig.finish()
}

pub(super) fn a_grpc_failure_in_trailers(tools: &Tools) -> TestResult {
    let rig = Rig::start(tools, &policy("30s", json!({})), |_| {})?;
    for status in ["0", "14", "14", "14"] {
        same(rig.get(&format!("/grpc-trailers/{status}"))?.status, 200)?;
    }
    let outcomes = ["success", "failure", "failure", "failure"];
    same(rig.outcomes(4)?, outcomes.map(str::to_owned).to_vec())?;
    rig.finish()
}
