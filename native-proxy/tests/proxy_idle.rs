//! How long either side may stand still within a body, where the policy says it.

mod proxy_support;

use proxy_support::{Peer, Running, TEST_DEADLINE, Upstream, file, get, ok, wait_for};
use std::io::{ErrorKind, Read, Write};
use std::sync::mpsc;
use std::time::Duration;

/// Times of the policy beside those of listener and upstream.
fn proxy(upstream: &Upstream, idle: &str, others: &str, more: &str) -> Running {
    let policy = format!(
        "policies: [{{name: p, scope: policy, breaker: {{trip: {{consecutive_failures: 100}}}}, \
         timeout: {{idle: {idle}}}{more}}}]"
    );
    let text = file(upstream.address, &policy)
        .replacen("'127.0.0.1:0'}]", &format!("'127.0.0.1:0', idle: {others}}}]"), 1)
        .replacen("endpoints:", &format!("idle: {others}, endpoints:"), 1);
    assert_eq!(text.matches(&format!("idle: {others}")).count(), 2, "{text}");
    Running::with(&text)
}

/// Silence that lasts at least so long: a read that times out cannot be shorter than it says.
fn silence(peer: &mut Peer, millis: u64) {
    peer.stream.set_read_timeout(Some(Duration::from_millis(millis))).unwrap();
    let silent = peer.stream.read(&mut [0; 1]);
    assert_eq!(silent.unwrap_err().kind(), ErrorKind::WouldBlock);
    peer.stream.set_read_timeout(Some(TEST_DEADLINE)).unwrap();
}

const HALF_A_REQUEST: &str = "POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 10\r\n\r\nhello";

#[test]
fn an_upstream_that_stands_still_for_the_policys_time_is_a_failure() {
    let (left, closed) = mpsc::channel();
    let upstream = Upstream::start(move |mut peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc");
        peer.closed();
        left.send(()).unwrap();
    });
    let proxy = proxy(&upstream, "200ms", "1h", "");
    let mut client = proxy.client();
    client.peer.send(&get("/"));
    closed.recv_timeout(TEST_DEADLINE).unwrap();
    proxy.wait_for_outcomes("failure", 1.0);
    assert_eq!(proxy.outcomes("success"), 0.0);
}

/// It is in place of the others, and not beside them: a stream of events may be silent for longer
/// (openhab/openhab-cloud#623, maximhq/bifrost#5010, envoyproxy/envoy#30753: streams that are well were cut).
#[test]
fn the_policy_may_allow_more_than_listener_and_upstream() {
    let upstream = Upstream::start(|mut peer| {
        let (_, body) = peer.request().unwrap();
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\nabcde");
        silence(&mut peer, 400);
        peer.send_bytes(&body);
        peer.closed();
    });
    let proxy = proxy(&upstream, "1h", "100ms", "");
    let mut client = proxy.client();
    client.peer.send(HALF_A_REQUEST);
    silence(&mut client.peer, 400);
    client.peer.send("world");
    assert_eq!(client.answer().unwrap().text(), "abcdehelloworld");
    proxy.wait_for_outcomes("success", 1.0);
}

#[test]
fn a_client_that_stops_within_its_body_is_given_up_by_the_policys_time() {
    let upstream = Upstream::start(|mut peer| drop(peer.request()));
    let proxy = proxy(&upstream, "200ms", "1h", "");
    let mut client = proxy.client();
    client.peer.send(HALF_A_REQUEST);
    let answer = client.answer().unwrap();
    assert_eq!((answer.status, answer.header("connection")), (408, Some("close")));
    proxy.wait_for_outcomes("neutral", 1.0);
    assert_eq!(proxy.outcomes("failure"), 0.0);
}

#[test]
fn a_client_that_takes_nothing_is_given_up_by_the_policys_time() {
    const SIZE: usize = 64 << 20;
    let (left, closed) = mpsc::channel();
    let upstream = Upstream::start(move |mut peer| {
        peer.request();
        peer.send(&format!("HTTP/1.1 200 OK\r\ncontent-length: {SIZE}\r\n\r\n"));
        let piece = vec![b'x'; 1 << 20];
        left.send((0..SIZE >> 20).all(|_| peer.stream.write_all(&piece).is_ok())).unwrap();
    });
    let proxy = proxy(&upstream, "200ms", "1h", "");
    let mut client = proxy.client();
    client.peer.send(&get("/"));
    assert_eq!(closed.recv_timeout(TEST_DEADLINE), Ok(false));
    proxy.wait_for_outcomes("neutral", 1.0);
    assert_eq!(proxy.outcomes("failure"), 0.0);
}

/// A call of another policy, or of none, has the listener's and the upstream's times again, also on the same
/// connections.
#[test]
fn a_policys_time_is_for_its_calls_alone() {
    let upstream = Upstream::start(|mut peer| {
        while let Some((head, _)) = peer.request() {
            if head.starts_with("get /other") {
                peer.send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nabc");
                peer.closed();
                return;
            }
            peer.send(&ok("fine"));
        }
    });
    let more = ", match: {path: /first}";
    let proxy = proxy(&upstream, "1h", "200ms", more);
    let mut client = proxy.client();
    assert_eq!(client.ask(&get("/first")).text(), "fine");
    client.peer.send(&get("/other"));
    // The upstream's connection is the one that the first call had.
    wait_for("the end of an answer that stands still", || {
        let labels = [("end", "broke_off")];
        (proxy.metrics().sum("bimetal_requests_ended_total", &labels) == 1.0).then_some(())
    });
    assert_eq!(upstream.connections(), 1);
    let mut client = proxy.client();
    assert_eq!(client.ask(&get("/first")).text(), "fine");
    client.peer.send(&HALF_A_REQUEST.replace("POST /", "POST /other"));
    assert_eq!(client.answer().unwrap().status, 408);
}

/// In shadow mode nothing is applied.
#[test]
fn a_policy_in_shadow_changes_no_time() {
    let upstream = Upstream::start(|mut peer| drop(peer.request()));
    let proxy = proxy(&upstream, "1h", "200ms", ", mode: shadow");
    let mut client = proxy.client();
    client.peer.send(HALF_A_REQUEST);
    assert_eq!(client.answer().unwrap().status, 408);
}
