//! Calls that wait for a slot, held by Envoy meanwhile.

use crate::rig::{Rig, TEST_DEADLINE, TestResult, Tools, policy, same};
use bimetal_conformance::envoy::Update;
use serde_json::json;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

/// One call at a time, and so many may wait.
fn one_at_a_time(max_wait: &str) -> String {
    policy("30s", json!({"concurrency": {"max": 1, "queue": {"max": 100, "max_wait": max_wait}}}))
}

/// A request on a connection of its own, with a body that may follow later.
fn post(rig: &Rig, path: &str, length: usize) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(rig.envoy.address())?;
    stream.set_read_timeout(Some(TEST_DEADLINE))?;
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: echo\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    )?;
    Ok(stream)
}

/// The status line.
fn status(mut stream: TcpStream) -> std::io::Result<String> {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned())
}

/// A call that takes the only slot until it is read.
fn busy(rig: &Rig, millis: u32) -> Result<TcpStream, Box<dyn std::error::Error>> {
    let path = format!("/slow/{millis}");
    let stream = rig.begin(&path, b"")?;
    rig.until("the call with the slot", || {
        Ok((!rig.upstream.requests(&path).is_empty()).then_some(()))
    })?;
    Ok(stream)
}

/// Envoy holds a body back as far as it has buffers for, and lets it go with its call.
pub(super) fn bodies_wait_with_their_calls(tools: &Tools) -> TestResult {
    let rig = Rig::start(tools, &one_at_a_time("20s"), |_| {})?;
    let first = busy(&rig, 700)?;
    let mut small = post(&rig, "/body/200", 10)?;
    small.write_all(b"helloworld")?;
    let mut halved = post(&rig, "/body/201", 10)?;
    halved.write_all(b"hello")?;
    // Beyond every buffer on the way: the client is held back too.
    let large = post(&rig, "/body/202", 8 << 20)?;
    let mut sending = large.try_clone()?;
    let sender = std::thread::spawn(move || sending.write_all(&vec![b'x'; 8 << 20]));
    same(rig.upstream.requests("/body").len(), 0)?;
    same(&*status(first)?, "HTTP/1.1 200 OK")?;
    same(&*status(small)?, "HTTP/1.1 200 OK")?;
    halved.write_all(b"world")?;
    same(&*status(halved)?, "HTTP/1.1 201 Created")?;
    same(&*status(large)?, "HTTP/1.1 202 Accepted")?;
    sender.join().map_err(|_| "the sender ended by a panic")??;
    same(rig.outcomes(4)?, vec!["success".to_owned(); 4])?;
    rig.finish()
}

pub(super) fn a_call_that_waits_in_vain_is_turned_away(tools: &Tools) -> TestResult {
    let rig = Rig::start(tools, &one_at_a_time("300ms"), |_| {})?;
    let first = busy(&rig, 1_500)?;
    // Also one whose client is still sending.
    let mut uploading = post(&rig, "/body/200", 10)?;
    uploading.write_all(b"hello")?;
    let answer = rig.get("/status/200")?;
    same((answer.status, answer.header("x-bimetal-rule")), (503, "echo/concurrency"))?;
    same(&*status(uploading)?, "HTTP/1.1 503 Service Unavailable")?;
    same(&*status(first)?, "HTTP/1.1 200 OK")?;
    same(rig.get("/status/200")?.status, 200)?;
    rig.finish()
}

/// Who leaves while it waits takes no slot, and holds nobody up.
pub(super) fn clients_that_leave_while_they_wait_are_forgotten(tools: &Tools) -> TestResult {
    let rig = Rig::start(tools, &one_at_a_time("20s"), |_| {})?;
    let first = busy(&rig, 700)?;
    let leaving = (0..20).map(|_| rig.begin("/status/200", b"")).collect::<Result<Vec<_>, _>>()?;
    let active = |wanted: u32| {
        let stats = rig.envoy.get("/stats?filter=http.main.downstream_rq_active")?;
        Ok(stats.contains(&format!("downstream_rq_active: {wanted}\n")).then_some(()))
    };
    rig.until("all to wait", || active(21))?;
    for client in leaving {
        client.shutdown(Shutdown::Both)?;
    }
    rig.until("their end", || active(1))?;
    let last = rig.begin("/status/201", b"")?;
    same(&*status(first)?, "HTTP/1.1 200 OK")?;
    same(&*status(last)?, "HTTP/1.1 201 Created")?;
    same(rig.upstream.requests("/status/200").len(), 0)?;
    rig.finish()
}

/// A call keeps the document that it came under, also where the listener is another by now.
pub(super) fn calls_wait_over_an_update(tools: &Tools) -> TestResult {
    let mut rig = Rig::start(tools, &one_at_a_time("20s"), |_| {})?;
    let first = busy(&rig, 1_500)?;
    let mut waiting = post(&rig, "/body/200", 10)?;
    waiting.write_all(b"hello")?;
    rig.until("the call to wait", || {
        let stats = rig.envoy.get("/stats?filter=http.main.downstream_rq_active")?;
        Ok(stats.contains("downstream_rq_active: 2\n").then_some(()))
    })?;
    let other = policy("30s", json!({"debug_headers": true, "concurrency": {"max": 1}}));
    same(rig.update(&other)?, Update::Accepted)?;
    // No queue in the new document.
    let turned_away = || Ok((rig.get("/status/200")?.status == 503).then_some(()));
    rig.until("the new document", turned_away)?;
    same(&*status(first)?, "HTTP/1.1 200 OK")?;
    waiting.write_all(b"world")?;
    same(&*status(waiting)?, "HTTP/1.1 200 OK")?;
    rig.finish()
}

/// A refusal of one call, found within another one's answer, stops neither that answer nor its body.
pub(super) fn who_is_turned_away_stops_nobody_else(tools: &Tools) -> TestResult {
    let more = json!({"concurrency": {"max": 1, "queue": {"max": 100, "max_wait": "20s"}},
        "breaker": {"trip": {"consecutive_failures": 1}}});
    let rig = Rig::start(tools, &policy("30s", more), |_| {})?;
    rig.upstream.fail(1);
    let first = busy(&rig, 500)?;
    let failing = rig.begin("/flaky", b"")?;
    let active = |wanted: u32| {
        let stats = rig.envoy.get("/stats?filter=http.main.downstream_rq_active")?;
        Ok(stats.contains(&format!("downstream_rq_active: {wanted}\n")).then_some(()))
    };
    rig.until("the next call", || active(2))?;
    let waiting = (0..5).map(|_| rig.begin("/status/200", b"")).collect::<Result<Vec<_>, _>>()?;
    rig.until("all to wait", || active(7))?;
    same(&*status(first)?, "HTTP/1.1 200 OK")?;
    same(&*status(failing)?, "HTTP/1.1 503 Service Unavailable")?;
    for client in waiting {
        same(&*status(client)?, "HTTP/1.1 503 Service Unavailable")?;
    }
    same((rig.upstream.requests("/flaky").len(), rig.upstream.requests("/status").len()), (1, 0))?;
    rig.finish()
}

/// Far more calls than slots, on four workers: each is served.
pub(super) fn everybody_is_served_in_the_end(tools: &Tools) -> TestResult {
    let more = json!({"concurrency": {"max": 2, "queue": {"max": 1000, "max_wait": "20s"}}});
    let rig = Rig::start(tools, &policy("30s", more), |config| config.concurrency = 4)?;
    let clients = (0..120).map(|_| rig.begin("/slow/20", b"")).collect::<Result<Vec<_>, _>>()?;
    for client in clients {
        same(&*status(client)?, "HTTP/1.1 200 OK")?;
    }
    same(rig.outcomes(120)?, vec!["success".to_owned(); 120])?;
    rig.finish()
}
