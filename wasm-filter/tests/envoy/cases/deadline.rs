//! The time that callers have.

use crate::rig::{Rig, TEST_DEADLINE, TestResult, Tools, policy, same};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

fn deadlines(more: Value) -> String {
    let mut fields = json!({"deadline": {"margin": "0s"}});
    if let (Some(fields), Value::Object(more)) = (fields.as_object_mut(), more) {
        fields.extend(more);
    }
    policy("30s", fields)
}

/// What the upstream was told of its caller's time.
fn told(rig: &Rig, path: &str, name: &str) -> Vec<String> {
    let value = |head: &String| {
        let pairs = head.lines().filter_map(|line| line.split_once(": "));
        let same = pairs.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        same.map(|(_, value)| value.trim().to_owned()).next()
    };
    rig.upstream.requests(path).iter().filter_map(value).collect()
}

pub(super) fn a_caller_without_time_reaches_nobody(tools: &Tools) -> TestResult {
    let rig = Rig::start(tools, &deadlines(json!({})), |_| {})?;
    for header in ["x-request-deadline-ms: 0", "x-request-deadline-ms: -9", "grpc-timeout: 0n"] {
        let answer = rig.send("/status/200", format!("{header}\r\n").as_bytes())?;
        same((answer.status, answer.header("x-bimetal-rule")), (504, "echo/deadline"))?;
    }
    for header in ["x-request-deadline-ms: soon", "grpc-timeout: 1s", "grpc-timeout: 123456789S"] {
        let answer = rig.send("/status/200", format!("{header}\r\n").as_bytes())?;
        same(answer.status, 200)?;
    }
    same(rig.upstream.requests("/status").len(), 3)?;
    rig.finish()
}

/// Three calls that are given up open no breaker, though three failures would.
pub(super) fn a_call_ends_with_its_callers_time(tools: &Tools) -> TestResult {
    let rig = Rig::start(tools, &deadlines(json!({"timeout": {"request": "10s"}})), |_| {})?;
    for _ in 0..3 {
        let answer = rig.send("/hang", b"x-request-deadline-ms: 300\r\n")?;
        same((answer.status, answer.header("x-bimetal-rule")), (504, "echo/deadline"))?;
        same(answer.header("x-bimetal-reason"), "of 300ms nothing is left")?;
    }
    same(told(&rig, "/hang", "x-request-deadline-ms"), vec!["300".to_owned(); 3])?;
    same(rig.outcomes(3)?, vec!["neutral".to_owned(); 3])?;
    rig.until("the wasted calls", || {
        Ok((rig.envoy.metric("bimetal_wasted_total", &[])? == 3.0).then_some(()))
    })?;
    // The work upstream is cancelled: no stream of its cluster is left.
    rig.until("the end of the tries", || {
        let stats = rig.envoy.get("/stats?filter=cluster.echo.upstream_rq_active")?;
        Ok(stats.contains("upstream_rq_active: 0").then_some(()))
    })?;
    same(rig.get("/status/200")?.status, 200)?;
    rig.finish()
}

/// A time beyond all ranges is none to Envoy's timers either.
pub(super) fn a_huge_time_is_no_limit(tools: &Tools) -> TestResult {
    let rig = Rig::start(tools, &deadlines(json!({})), |_| {})?;
    for header in ["x-request-deadline-ms: 99999999999999999999999", "grpc-timeout: 99999999H"] {
        let answer = rig.send("/slow/200", format!("{header}\r\n").as_bytes())?;
        same(answer.status, 200)?;
    }
    same(told(&rig, "/slow", "grpc-timeout"), vec!["5124095H".to_owned()])?;
    rig.finish()
}

/// The router's clock begins with the end of the request: of a client that never ends it the tick does.
pub(super) fn a_callers_time_ends_within_its_upload(tools: &Tools) -> TestResult {
    let rig = Rig::start(tools, &deadlines(json!({})), |_| {})?;
    let mut stream = TcpStream::connect(rig.envoy.address())?;
    stream.set_read_timeout(Some(TEST_DEADLINE))?;
    let head = "POST /body/200 HTTP/1.1\r\nhost: echo\r\ncontent-length: 10\r\n\
                x-request-deadline-ms: 300\r\n\r\nhello";
    let begun = Instant::now();
    stream.write_all(head.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if begun.elapsed().as_millis() < 300 {
        return Err(format!("answered before its time was over: {answer}").into());
    }
    if !answer.starts_with("HTTP/1.1 504 ") || !answer.contains("x-bimetal-rule: echo/deadline") {
        return Err(format!("another answer than the rule's: {answer}").into());
    }
    same(rig.outcomes(1)?, vec!["neutral".to_owned()])?;
    rig.finish()
}

/// Beyond `slower_than` on the upstream's clock a call that is given up is slow.
pub(super) fn a_call_that_is_given_up_late_is_slow(tools: &Tools) -> TestResult {
    let trip = json!({"slow_rate": {"threshold": 1, "slower_than": "150ms",
        "window": {"calls": 10}, "minimum_calls": 10}});
    let document = json!({"version": "v1", "policies": [{"name": "echo", "scope": "policy",
        "deadline": {}, "breaker": {"trip": trip}}]});
    let rig = Rig::start(tools, &document.to_string(), |_| {})?;
    same(rig.send("/hang", b"x-request-deadline-ms: 400\r\n")?.status, 504)?;
    same(rig.send("/hang", b"x-request-deadline-ms: 80\r\n")?.status, 504)?;
    same(rig.outcomes(2)?, vec!["slow".to_owned(), "neutral".to_owned()])?;
    rig.finish()
}

/// With four workers ticks find calls of their own worker alone.
pub(super) fn each_worker_ends_its_own_calls(tools: &Tools) -> TestResult {
    let rig = Rig::start(tools, &deadlines(json!({})), |config| config.concurrency = 4)?;
    let begin = |_| {
        let mut stream = TcpStream::connect(rig.envoy.address())?;
        stream.set_read_timeout(Some(TEST_DEADLINE))?;
        let head = "POST /body/200 HTTP/1.1\r\nhost: echo\r\ncontent-length: 10\r\n\
                    x-request-deadline-ms: 500\r\n\r\nhello";
        stream.write_all(head.as_bytes())?;
        Ok(stream)
    };
    let clients = (0..40).map(begin).collect::<std::io::Result<Vec<_>>>()?;
    for mut client in clients {
        let mut answer = String::new();
        client.read_to_string(&mut answer)?;
        same(answer.lines().next().unwrap_or_default(), "HTTP/1.1 504 Gateway Timeout")?;
    }
    same(rig.outcomes(40)?, vec!["neutral".to_owned(); 40])?;
    rig.finish()
}
