//! Whose time it is: uploads, limits of the route, long answers, probes.

use super::slow_policy;
use crate::rig::{Rig, TEST_DEADLINE, TestResult, Tools, policy, same};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A client that has sent the first bytes of its body.
fn upload(rig: &Rig) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(rig.envoy.address())?;
    stream.set_read_timeout(Some(TEST_DEADLINE))?;
    let head = "POST /body/200 HTTP/1.1\r\nhost: echo\r\ncontent-length: 10\r\n\
                connection: close\r\n\r\nhello";
    stream.write_all(head.as_bytes())?;
    Ok(stream)
}

/// Sends the rest, and gives the status line.
fn complete(mut stream: TcpStream) -> std::io::Result<String> {
    stream.write_all(b"world")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

/// Three clients that upload for longer than `of` allows the upstream.
fn slow_uploads(tools: &Tools, of: Value, route: Value) -> TestResult {
    let rig = Rig::start(tools, &policy("30s", of), |config| config.route = route)?;
    let clients = (0..3).map(|_| upload(&rig)).collect::<std::io::Result<Vec<_>>>()?;
    // A part of the scenario: so long the clients take.
    std::thread::sleep(Duration::from_millis(600));
    for client in clients {
        same(&*complete(client)?, "HTTP/1.1 200 OK")?;
    }
    same(rig.outcomes(3)?, vec!["success".to_owned(); 3])?;
    same(rig.get("/status/200")?.header("x-bimetal-rule"), "")?;
    rig.finish()
}

pub(super) fn slow_uploads_are_within_the_timeout(tools: &Tools) -> TestResult {
    slow_uploads(tools, json!({"timeout": {"request": "300ms"}}), json!({}))
}

pub(super) fn slow_uploads_are_not_slow_answers(tools: &Tools) -> TestResult {
    slow_uploads(tools, slow_policy(), json!({}))
}

pub(super) fn clients_that_leave_within_their_own_uploads_open_nothing(
    tools: &Tools,
) -> TestResult {
    let limit = json!({"timeout": {"request": "300ms"}});
    let rig = Rig::start(tools, &policy("30s", limit), |_| {})?;
    let clients = (0..3).map(|_| upload(&rig)).collect::<std::io::Result<Vec<_>>>()?;
    // A part of the scenario: they leave when the upstream's limit would be over.
    std::thread::sleep(Duration::from_millis(500));
    drop(clients);
    same(rig.outcomes(3)?, vec!["neutral".to_owned(); 3])?;
    same(rig.get("/status/200")?.status, 200)?;
    rig.finish()
}

pub(super) fn a_long_answer_is_not_cut(tools: &Tools) -> TestResult {
    let limit = json!({"timeout": {"request": "100ms"}});
    let rig = Rig::start(tools, &policy("30s", limit), |_| {})?;
    // Its headers come at once, its body takes a quarter of a second.
    same(rig.get("/drip")?.body(), "xxxxx")?;
    same(rig.outcomes(1)?, vec!["success".to_owned()])?;
    rig.finish()
}

pub(super) fn a_shorter_limit_of_the_route_stays(tools: &Tools) -> TestResult {
    let limit = json!({"timeout": {"request": "10s"}});
    let rig = Rig::start(tools, &policy("30s", limit), |config| {
        config.route = json!({"timeout": "0.2s"});
    })?;
    same(rig.get("/slow/2000")?.status, 504)?;
    same(rig.outcomes(1)?, vec!["failure".to_owned()])?;
    rig.finish()
}

pub(super) fn a_longer_limit_of_the_route_gives_way(tools: &Tools) -> TestResult {
    let limit = json!({"timeout": {"request": "200ms"}});
    let rig = Rig::start(tools, &policy("30s", limit), |config| {
        config.route = json!({"timeout": "20s"});
    })?;
    same(rig.get("/hang")?.status, 504)?;
    same(rig.outcomes(1)?, vec!["failure".to_owned()])?;
    rig.finish()
}

pub(super) fn a_probe_whose_client_holds_back_gives_its_slot_back(tools: &Tools) -> TestResult {
    let half_open = json!({"breaker": {"half_open": {"lease": "500ms"}}});
    let rig = Rig::start(tools, &policy("300ms", half_open), |config| config.concurrency = 2)?;
    super::trip(&rig)?;
    // A part of the scenario: the open time is over.
    std::thread::sleep(Duration::from_millis(400));
    let probe = upload(&rig)?;
    rig.until("the probe upstream", || {
        Ok((!rig.upstream.requests("/body").is_empty()).then_some(()))
    })?;
    same(rig.get("/status/200")?.status, 503)?;
    // Its client never completes it: the slot comes back, and another call closes the breaker.
    rig.until("the slot", || Ok((rig.get("/status/200")?.status == 200).then_some(())))?;
    drop(probe);
    let events = rig.envoy.events()?;
    let opened = events
        .iter()
        .filter(|line| line.contains(r#""to":"open""#) && !line.contains(r#""adopted":true"#));
    same(opened.count(), 1)?;
    rig.finish()
}
