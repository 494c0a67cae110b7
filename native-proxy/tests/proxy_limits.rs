//! Bodies that are too large, clients and upstreams that stand still.

mod proxy_support;

use proxy_support::{
    Client, Running, TEST_DEADLINE, Upstream, file, get, ok, policy, value, wait_for,
};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

/// A proxy whose listener has more settings.
fn listening(upstream: SocketAddr, listener: &str, rest: &str) -> Running {
    let file = file(upstream, rest);
    let with = file.replacen("'127.0.0.1:0'}]", &format!("'127.0.0.1:0', {listener}}}]"), 1);
    assert_ne!(file, with);
    Running::with(&with)
}

/// What one connection to an upstream got, whole.
fn recording() -> (Upstream, Receiver<String>) {
    let (seen, requests) = mpsc::channel();
    let upstream = Upstream::start(move |mut peer| {
        let mut bytes = Vec::new();
        let mut piece = [0; 4096];
        while let Ok(size @ 1..) = peer.stream.read(&mut piece) {
            bytes.extend_from_slice(&piece[..size]);
            if bytes.ends_with(b"\r\n0\r\n\r\n") || bytes.ends_with(b"\r\n\r\n0123456789") {
                peer.send(&ok("got it"));
            }
        }
        seen.send(String::from_utf8_lossy(&bytes).into_owned()).unwrap();
    });
    (upstream, requests)
}

/// Whether the proxy ends this connection, whatever it says before.
fn ends(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(TEST_DEADLINE)).unwrap();
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{error}: the connection is still open"),
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

const CHUNKED: &str = "POST / HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n";

#[test]
fn a_body_above_the_limit_is_413_and_no_byte_of_it_goes_on() {
    let (upstream, _requests) = recording();
    let proxy = listening(upstream.address, "max_body: 10B", &policy(""));
    for more in ["", "expect: 100-continue\r\n"] {
        let head = format!("POST / HTTP/1.1\r\nhost: t\r\n{more}content-length: 11\r\n\r\n");
        let answer = proxy.ask(&head);
        assert_eq!(answer.status, 413);
        assert_eq!(answer.text(), r#"{"error":"the body is too large"}"#);
    }
    assert_eq!(upstream.connections(), 0);
    assert_eq!(proxy.metric("bimetal_refused_total{reason=\"body_too_large\"}"), Some(2.0));
    let fits = "POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 10\r\n\r\n0123456789";
    assert_eq!(proxy.ask(fits).text(), "got it");
    proxy.wait_for_outcomes("success", 1.0);
    assert_eq!(proxy.outcomes("neutral") + proxy.outcomes("failure"), 0.0);
}

#[test]
fn a_chunked_body_that_passes_the_limit_breaks_off_both_sides() {
    let (upstream, requests) = recording();
    let proxy = listening(upstream.address, "max_body: 10B", &policy(""));
    let fits = format!("{CHUNKED}5\r\nhello\r\n5\r\nhello\r\n0\r\n\r\n");
    let mut client = proxy.client();
    assert_eq!(client.ask(&fits).text(), "got it");
    // The first part is on its way before the limit is passed.
    client.peer.send(&format!("{CHUNKED}5\r\nhello\r\n"));
    wait_for("the call", || (proxy.metric("bimetal_calls_outstanding")? == 1.0).then_some(()));
    client.peer.send("6\r\nhello!\r\n0\r\n\r\n");
    let answer = client.answer().unwrap();
    assert_eq!((answer.status, answer.header("connection")), (413, Some("close")));
    client.peer.closed();
    let got = requests.recv_timeout(TEST_DEADLINE).unwrap();
    let (_, second) = got.split_once("\r\n0\r\n\r\n").unwrap();
    assert!(second.starts_with("POST / "), "{second}");
    assert!(!second.contains("hello!") && !second.contains("\r\n0\r\n"), "{second}");
    proxy.wait_for_outcomes("neutral", 1.0);
    assert_eq!(proxy.outcomes("failure"), 0.0);
    assert_eq!(proxy.metric("bimetal_refused_total{reason=\"body_too_large\"}"), Some(1.0));
}

#[test]
fn a_body_that_turns_bad_while_it_is_answered_is_no_failure() {
    let upstream = Upstream::start(|mut peer| {
        peer.head();
        peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n");
        peer.closed();
    });
    let proxy = Running::start(upstream.address, &policy(""));
    let mut client = proxy.client();
    client.peer.send(&format!("{CHUNKED}5\r\nhello\r\n"));
    client.peer.head().unwrap();
    client.peer.send("what?\r\n");
    client.peer.closed();
    proxy.wait_for_outcomes("neutral", 1.0);
    assert_eq!(proxy.outcomes("failure"), 0.0);
}

#[test]
fn without_a_limit_bodies_are_streamed_whatever_their_size() {
    const SIZE: usize = 20 << 20;
    let upstream = Upstream::start(|mut peer| {
        while let Some((_, body)) = peer.request() {
            peer.send(&ok(&body.len().to_string()));
        }
    });
    let proxy = Running::start(upstream.address, "");
    let head = format!("POST / HTTP/1.1\r\nhost: t\r\ncontent-length: {SIZE}\r\n\r\n");
    assert_eq!(proxy.ask(&(head + &"x".repeat(SIZE))).text(), SIZE.to_string());
}

#[test]
fn a_client_that_stops_within_its_body_is_given_up() {
    let (upstream, requests) = recording();
    let proxy = listening(upstream.address, "idle: 200ms", &policy(""));
    let known = "POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 10\r\n\r\nhello".to_owned();
    for (count, part) in [known, format!("{CHUNKED}5\r\nhel")].into_iter().enumerate() {
        let mut client = proxy.client();
        client.peer.send(&part);
        let answer = client.answer().unwrap();
        assert_eq!((answer.status, answer.header("connection")), (408, Some("close")));
        client.peer.closed();
        let got = requests.recv_timeout(TEST_DEADLINE).unwrap();
        assert!(!got.contains("\r\n0\r\n\r\n"), "{got}");
        proxy.wait_for_outcomes("neutral", count as f64 + 1.0);
    }
    assert_eq!(proxy.outcomes("failure"), 0.0);
    assert_eq!(proxy.metric("bimetal_refused_total{reason=\"stalled\"}"), Some(2.0));
}

#[test]
fn a_body_that_trickles_in_is_waited_for() {
    let upstream = Upstream::start(|mut peer| {
        while let Some((_, body)) = peer.request() {
            peer.send(&ok(std::str::from_utf8(&body).unwrap()));
        }
    });
    let proxy = listening(upstream.address, "idle: 400ms", "");
    let mut client = proxy.client();
    client.peer.send("POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 10\r\n\r\n");
    // Longer than the limit in all, but never between two bytes: the wait is for a read that
    // times out, so it cannot be shorter than it says.
    for byte in "0123456789".chars() {
        client.peer.stream.set_read_timeout(Some(Duration::from_millis(60))).unwrap();
        let silent = client.peer.stream.read(&mut [0; 1]);
        assert_eq!(silent.unwrap_err().kind(), ErrorKind::WouldBlock);
        client.peer.send(&byte.to_string());
    }
    client.peer.stream.set_read_timeout(Some(TEST_DEADLINE)).unwrap();
    assert_eq!(client.answer().unwrap().text(), "0123456789");
}

#[test]
fn an_answer_that_trickles_in_is_waited_for() {
    const PIECES: usize = 15;
    let upstream = Upstream::start(|mut peer| {
        peer.request();
        peer.send(&format!("HTTP/1.1 200 OK\r\ncontent-length: {PIECES}\r\n\r\n"));
        for _ in 0..PIECES {
            // As above: longer than the limit in all, but never between two bytes.
            peer.stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            let silent = peer.stream.read(&mut [0; 1]);
            assert_eq!(silent.unwrap_err().kind(), ErrorKind::WouldBlock);
            peer.send("x");
        }
        peer.stream.set_read_timeout(Some(TEST_DEADLINE)).unwrap();
        peer.closed();
    });
    let text = file(upstream.address, &policy("")).replace("endpoints:", "idle: 1s, endpoints:");
    let proxy = Running::with(&text);
    assert_eq!(proxy.ask(&get("/")).text(), "x".repeat(PIECES));
    proxy.wait_for_outcomes("success", 1.0);
}

#[test]
fn a_client_that_takes_nothing_of_its_answer_is_given_up() {
    const SIZE: usize = 64 << 20;
    let (left, closed) = mpsc::channel();
    let upstream = Upstream::start(move |mut peer| {
        peer.request();
        peer.send(&format!("HTTP/1.1 200 OK\r\ncontent-length: {SIZE}\r\n\r\n"));
        let piece = vec![b'x'; 1 << 20];
        let all = (0..SIZE >> 20).all(|_| peer.stream.write_all(&piece).is_ok());
        left.send(all).unwrap();
    });
    let proxy = listening(upstream.address, "idle: 200ms", &policy(""));
    let mut client = proxy.client();
    client.peer.send(&get("/"));
    // It reads nothing at all. The upstream's connection ends with the client's.
    assert_eq!(closed.recv_timeout(TEST_DEADLINE), Ok(false));
    proxy.wait_for_outcomes("neutral", 1.0);
    assert_eq!(proxy.outcomes("failure"), 0.0);
}

#[test]
fn an_upstream_that_stops_within_its_answer_is_a_failure() {
    let (left, closed) = mpsc::channel();
    let upstream = Upstream::start(move |mut peer| {
        let (head, _) = peer.request().unwrap();
        let framing = if head.starts_with("get /chunked") {
            "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"
        } else {
            "content-length: 10\r\n\r\nabc"
        };
        peer.send(&format!("HTTP/1.1 200 OK\r\n{framing}"));
        peer.closed();
        left.send(()).unwrap();
    });
    let text = file(upstream.address, &policy("")).replace("endpoints:", "idle: 200ms, endpoints:");
    let proxy = Running::with(&text);
    for (count, path) in ["/known", "/chunked"].into_iter().enumerate() {
        let mut client = proxy.client();
        client.peer.send(&get(path));
        let got = ends(&mut client.peer.stream);
        assert!(got.starts_with("HTTP/1.1 200 OK\r\n") && !got.ends_with("0\r\n\r\n"), "{got}");
        closed.recv_timeout(TEST_DEADLINE).unwrap();
        proxy.wait_for_outcomes("failure", count as f64 + 1.0);
    }
    assert_eq!(proxy.outcomes("success"), 0.0);
}

#[test]
fn a_connection_without_a_request_is_closed() {
    let upstream = Upstream::answering(ok("fine"));
    let proxy = listening(upstream.address, "header_timeout: 200ms, keep_alive: 200ms", "");
    // One that never asks, and one that does not ask again.
    let mut silent = proxy.client();
    let mut once = proxy.client();
    assert_eq!(once.ask(&get("/")).text(), "fine");
    assert!(!ends(&mut silent.peer.stream).contains("HTTP/1.1 2"));
    assert!(!ends(&mut once.peer.stream).contains("HTTP/1.1 2"));
    wait_for("no connection", || (proxy.metric("bimetal_connections")? == 0.0).then_some(()));
}

#[test]
fn slow_ones_take_no_place_from_others_for_long() {
    let upstream = Upstream::answering(ok("fine"));
    let limits = "max_connections: 8, header_timeout: 300ms, idle: 300ms";
    let proxy = listening(upstream.address, limits, "");
    // Every place is taken by a client that stopped: first in its head, then in its body.
    for part in [
        "GET / HTTP/1.1\r\nhost: t\r\nx: ",
        "POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 10\r\n\r\nhel",
    ] {
        let slow: Vec<Client> = (0..8)
            .map(|_| {
                let mut client = proxy.client();
                client.peer.send(part);
                client
            })
            .collect();
        assert_eq!(proxy.ask(&get("/")).text(), "fine", "{part:?}");
        drop(slow);
    }
}

/// The kernel's own list says of each connection whether it asks after silent ends.
#[test]
fn the_system_asks_after_silent_clients_and_upstreams() {
    let (arrived, arrivals) = mpsc::channel();
    let upstream = Upstream::start(move |mut peer| {
        peer.request();
        arrived.send(peer.stream.peer_addr().unwrap()).unwrap();
        peer.closed();
    });
    let proxy = Running::start(upstream.address, "");
    let mut client = proxy.client();
    client.peer.send(&get("/"));
    let towards_upstream = arrivals.recv_timeout(TEST_DEADLINE).unwrap();
    let of_client = client.peer.stream.local_addr().unwrap();
    for (local, remote) in [(proxy.listen, of_client), (towards_upstream, upstream.address)] {
        let wanted = format!(":{:04X} 0100007F:{:04X} 01 ", local.port(), remote.port());
        wait_for("a timer", || {
            let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
            let row = table.lines().find_map(|row| Some(row.split_once(&wanted)?.1.to_owned()))?;
            // Queues, then the kind of timer: 2 asks after the other end.
            (row.split(' ').nth(1)?.starts_with("02:")).then_some(())
        });
    }
}

#[test]
fn a_refused_form_is_counted_by_its_reason() {
    let upstream = Upstream::answering(ok("fine"));
    let proxy = Running::start(upstream.address, "");
    let long = format!("GET /{} HTTP/1.1\r\nhost: t\r\n\r\n", "a".repeat(9_000));
    for (reason, request) in [
        ("malformed", "GET / HTTP/1.1\r\n\r\n"),
        ("version", "GET / HTTP/3.0\r\nhost: t\r\n\r\n"),
        ("target_too_long", &long),
        ("expectation", "GET / HTTP/1.1\r\nhost: t\r\nexpect: x\r\n\r\n"),
    ] {
        let metric = format!("bimetal_refused_total{{reason=\"{reason}\"}}");
        assert_eq!(proxy.metric(&metric), Some(0.0), "{reason}");
        let answer = proxy.ask(request);
        assert!(value(&answer.head, "connection") == Some("close"), "{}", answer.head);
        assert_eq!(proxy.metric(&metric), Some(1.0), "{reason}");
    }
    let mut client = proxy.client();
    client.peer.stream.write_all(format!("{CHUNKED}x").as_bytes()).unwrap();
    assert_eq!(client.answer().unwrap().status, 400);
    let malformed = "bimetal_refused_total{reason=\"malformed\"}";
    assert_eq!(proxy.metric(malformed), Some(2.0));
}
