//! How connections with clients end: half of them, in the middle of an upload, for want of time.

mod proxy_support;

use proxy_support::{
    Answer, Client, Running, TEST_DEADLINE, Upstream, file, get, ok, policy, wait_for,
};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::mpsc;
use std::time::{Duration, Instant};

fn listening(upstream: SocketAddr, settings: &str, rest: &str) -> Running {
    let with = format!("{{address: '127.0.0.1:0', {settings}}}]");
    Running::with(&file(upstream, rest).replace("{address: '127.0.0.1:0'}]", &with))
}

/// One that takes its time.
fn slow() -> Upstream {
    Upstream::start(|mut peer| {
        while peer.request().is_some() {
            std::thread::sleep(Duration::from_millis(100));
            peer.send("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nslow");
            std::thread::sleep(Duration::from_millis(100));
            peer.send("body");
        }
    })
}

/// Sends all of it and its end in one segment, as far as a client can.
fn send_and_end(client: &mut Client, request: &str) {
    let socket = socket2::SockRef::from(&client.peer.stream);
    socket.set_tcp_cork(true).unwrap();
    client.peer.send(request);
    client.peer.stream.shutdown(Shutdown::Write).unwrap();
}

#[test]
fn an_end_that_comes_with_the_request_is_half_a_close() {
    let upstream = slow();
    let proxy = Running::start(upstream.address, &policy(""));
    let post = "POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 5\r\n\r\nhello";
    for (requests, count) in [(get("/"), 1), (post.into(), 1), (format!("{}{post}", get("/")), 2)] {
        let mut client = proxy.client();
        send_and_end(&mut client, &requests);
        for _ in 0..count {
            let answer = client.answer().expect("an answer");
            assert_eq!((answer.status, answer.text()), (200, "slowbody".into()), "{requests}");
        }
        client.peer.closed();
    }
    proxy.wait_for_outcomes("success", 4.0);
    wait_for("no connection", || (proxy.metric("bimetal_connections")? == 0.0).then_some(()));
}

#[test]
fn a_later_end_is_a_client_that_left() {
    let (arrived, arrivals) = mpsc::channel();
    let (gone, ends) = mpsc::channel();
    let upstream = Upstream::start(move |mut peer| {
        peer.request();
        arrived.send(()).unwrap();
        peer.closed();
        gone.send(()).unwrap();
    });
    let proxy = Running::start(upstream.address, &policy(""));
    let mut client = proxy.client();
    client.peer.send(&get("/"));
    arrivals.recv_timeout(TEST_DEADLINE).unwrap();
    client.peer.stream.shutdown(Shutdown::Write).unwrap();
    ends.recv_timeout(TEST_DEADLINE).unwrap();
    proxy.wait_for_outcomes("neutral", 1.0);
    assert_eq!(client.answer().map(|answer| answer.status), None);
}

/// A client that reads nothing before everything is written.
fn upload(proxy: &Running, head: &str, size: usize) -> Answer {
    let mut client = proxy.client();
    let mut stream = client.peer.stream.try_clone().unwrap();
    let head = format!("POST / HTTP/1.1\r\nhost: t\r\n{head}\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let piece = vec![b'x'; 1 << 16];
    for _ in 0..size / piece.len() {
        stream.write_all(&piece).expect("nobody resets an upload");
    }
    client.answer().expect("an answer")
}

#[test]
fn whoever_writes_first_reads_why_it_was_refused() {
    let size = 16 << 20;
    let length = format!("content-length: {size}\r\n");
    let upstream = Upstream::answering(ok("fine"));
    let open = Running::start(upstream.address, &policy("mode: forced_open"));
    assert_eq!(upload(&open, &length, size).status, 503);
    let small = listening(upstream.address, "max_body: 1KiB", "");
    assert_eq!(upload(&small, &length, size).status, 413);
    // A chunk of that size, too.
    let chunked = format!("transfer-encoding: chunked\r\n\r\n{size:x}");
    assert_eq!(upload(&small, &chunked, size).status, 413);
    assert_eq!(upload(&small, "content-length: x\r\n", size).status, 400);
    let nowhere =
        file(upstream.address, "").replace("{upstream: echo}", "{path: /x, upstream: echo}");
    assert_eq!(upload(&Running::with(&nowhere), &length, size).status, 404);
    // The upstream itself may refuse it early.
    let early = Upstream::start(move |mut peer| {
        peer.head();
        peer.send("HTTP/1.1 403 no\r\ncontent-length: 0\r\n\r\n");
        peer.closed();
    });
    assert_eq!(upload(&Running::start(early.address, ""), &length, size).status, 403);
}

#[test]
fn a_bad_chunk_is_told() {
    let upstream = slow();
    let head = "POST / HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n";
    let nowhere =
        file(upstream.address, "").replace("{upstream: echo}", "{path: /x, upstream: echo}");
    let (proxy, nowhere) = (Running::start(upstream.address, &policy("")), Running::with(&nowhere));
    for pause in [0, 20] {
        for good in ["", "3\r\nabc\r\n"] {
            let mut client = proxy.client();
            client.peer.send(&format!("{head}{good}"));
            std::thread::sleep(Duration::from_millis(pause));
            client.peer.send("zz\r\n");
            let answer = client.answer().expect("an answer");
            assert_eq!(answer.status, 400, "{pause} {good}");
            assert!(answer.text().contains("chunk size"), "{}", answer.text());
            // A request that is answered anyway keeps its answer.
            let mut client = nowhere.client();
            client.peer.send(&format!("{head}{good}zz\r\n"));
            assert_eq!(client.answer().expect("an answer").status, 404);
        }
    }
    assert_eq!(proxy.outcomes("failure"), 0.0);
}

#[test]
fn tls_on_a_plain_port_is_refused_at_its_first_byte() {
    let upstream = Upstream::answering(ok("fine"));
    let proxy = Running::start(upstream.address, "");
    let mut client = proxy.client();
    client.peer.send_bytes(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
    let answer = client.answer().expect("an answer");
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("without TLS"), "{}", answer.text());
    assert_eq!(proxy.metric("bimetal_refused_total{reason=\"tls\"}"), Some(1.0));
}

/// Waits until the proxy ends a connection to which nothing is sent any more.
fn wait_for_end(client: &mut Client) {
    let mut rest = Vec::new();
    let _ = client.peer.stream.read_to_end(&mut rest);
    assert_eq!(rest, b"");
}

#[test]
fn a_head_and_the_time_between_requests_have_limits_of_their_own() {
    let upstream = slow();
    let (short, long) = (Duration::from_millis(300), Duration::from_secs(3));
    let hasty = listening(upstream.address, "header_timeout: 300ms, keep_alive: 30s", "");
    let begun = Instant::now();
    wait_for_end(&mut hasty.client());
    assert!(begun.elapsed() >= short);
    let mut client = hasty.client();
    assert_eq!(client.ask(&get("/")).status, 200);
    std::thread::sleep(2 * short);
    // That was no head; this one has its time, however it trickles in.
    client.peer.send("GET / HTTP/1.1\r\n");
    let begun = Instant::now();
    while begun.elapsed() < long && client.peer.stream.write_all(b"a: b\r\n").is_ok() {
        std::thread::sleep(short / 10);
    }
    assert!(begun.elapsed() < long, "a head without end");

    let idle = listening(upstream.address, "header_timeout: 30s, keep_alive: 300ms", "");
    let mut client = idle.client();
    // Neither a connection's begin nor a head nor an answer is a time between requests.
    std::thread::sleep(2 * short);
    client.peer.send("GET / HTTP/1.1\r\n");
    std::thread::sleep(2 * short);
    let begun = Instant::now();
    assert_eq!(client.ask("host: t\r\n\r\n").text(), "slowbody");
    wait_for_end(&mut client);
    assert!((short..long).contains(&begun.elapsed()), "{begun:?}");
}

#[test]
fn an_answer_may_take_longer_than_the_time_between_requests() {
    let upstream = Upstream::start(|mut peer| {
        while peer.request().is_some() {
            std::thread::sleep(Duration::from_millis(300));
            peer.send("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nslow");
            std::thread::sleep(Duration::from_millis(300));
            peer.send("body");
        }
    });
    let proxy = listening(upstream.address, "header_timeout: 100ms, keep_alive: 100ms", "");
    assert_eq!(proxy.ask(&get("/")).text(), "slowbody");
}
