//! What users of other proxies reported of retries, replayed on ours.

mod proxy_support;

use proxy_support::{Running, Upstream, nowhere, ok, wait_for};
use std::sync::{Mutex, mpsc};

const DEAD: &str = "HTTP/1.1 503 Dead\r\ncontent-length: 4\r\n\r\ndead";

fn retries(fields: &str) -> String {
    format!("policies: [{{name: p, retry: {{backoff: {{base: 1ms, max: 1s}}, {fields}}}}}]")
}

fn results(proxy: &Running, result: &str) -> f64 {
    proxy.metrics().sum("bimetal_retries_total", &[("policy", "p"), ("result", result)])
}

/// linkerd/linkerd2 15649: a retry before any of the body was read sent its first piece twice, and the
/// upstream answered 200 to that.
#[test]
fn a_retry_before_the_body_came_sends_it_once() {
    for length in ["content-length: 10", "transfer-encoding: chunked"] {
        let (told, heard) = mpsc::channel();
        let upstream = Upstream::start(move |mut peer| {
            let head = peer.head().unwrap();
            if peer.number == 0 {
                peer.send(DEAD);
                return peer.closed();
            }
            told.send(peer.body_of(&head)).unwrap();
            peer.send(&ok("fine"));
        });
        let proxy = Running::start(upstream.address, &retries(""));
        let mut client = proxy.client();
        client.peer.send(&format!("PUT /a HTTP/1.1\r\nhost: t\r\n{length}\r\n\r\n"));
        wait_for("the next try", || (upstream.connections() == 2).then_some(()));
        let body = match length {
            "content-length: 10" => ["hello", "world"],
            _ => ["5\r\nhello\r\n", "5\r\nworld\r\n0\r\n\r\n"],
        };
        body.into_iter().for_each(|piece| client.peer.send(piece));
        assert_eq!(heard.recv().unwrap(), b"helloworld", "{length}");
        assert_eq!(client.answer().unwrap().status, 200);
    }
}

/// envoyproxy/envoy 32464: a request whose body is longer than what is kept was not tried again, although
/// no connection had been made and nothing had left.
#[test]
fn what_never_left_is_tried_again_however_long_it_is() {
    let proxy = Running::start(nowhere(), &retries("tries: 3, buffer: 1KiB"));
    let body = "x".repeat(100_000);
    let length = body.len();
    let answer =
        proxy.ask(&format!("POST / HTTP/1.1\r\nhost: t\r\ncontent-length: {length}\r\n\r\n{body}"));
    assert_eq!(answer.status, 503);
    assert_eq!((results(&proxy, "made"), results(&proxy, "body_gone")), (2.0, 0.0));
}

/// envoyproxy/envoy 15211: a client that went on sending while a retry waited, beyond what is kept, got a
/// 507. Here it is not read from meanwhile, and what comes then streams.
#[test]
fn a_client_that_sends_on_while_a_retry_waits_is_kept_waiting() {
    let (told, heard) = mpsc::channel();
    let upstream = Upstream::start(move |mut peer| {
        let head = peer.head().unwrap();
        if peer.number == 0 {
            peer.send(DEAD);
            return peer.closed();
        }
        told.send(peer.body_of(&head).len()).unwrap();
        peer.send(&ok("fine"));
    });
    let proxy = Running::start(upstream.address, &retries("buffer: 64KiB"));
    let mut client = proxy.client();
    client.peer.send("PUT /a HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n");
    wait_for("the next try", || (upstream.connections() == 2).then_some(()));
    let piece = format!("10000\r\n{}\r\n", "x".repeat(65_536));
    (0..16).for_each(|_| client.peer.send(&piece));
    client.peer.send("0\r\n\r\n");
    assert_eq!(heard.recv().unwrap(), 1 << 20);
    assert_eq!(client.answer().unwrap().status, 200);
}

/// microsoft/aspire 4631: calls that create something were made twice where the upstream was slow.
#[test]
fn a_slow_upstream_makes_no_second_order() {
    let (told, orders) = mpsc::channel();
    let upstream = Upstream::start(move |mut peer| {
        while peer.request().is_some() {
            told.send(()).unwrap();
        }
    });
    let policy = "policies: [{name: p, timeout: {request: 1h, per_try: 200ms}, \
                  retry: {tries: 5, on: [timeout], backoff: {base: 1ms}}}]";
    let proxy = Running::start(upstream.address, policy);
    let answer = proxy.ask("POST /orders HTTP/1.1\r\nhost: t\r\ncontent-length: 2\r\n\r\n{}");
    assert_eq!((answer.status, orders.try_iter().count()), (504, 1));
    assert_eq!(results(&proxy, "not_idempotent"), 1.0);
}

/// haproxy/haproxy 2061: a connection that was reset while an answer was waited for was no reason for
/// another try; here it is, and never once the answer began.
#[test]
fn a_reset_is_tried_again_until_the_answer_begins() {
    for begun in ["", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"] {
        let (go, seen) = mpsc::channel::<()>();
        let seen = Mutex::new(seen);
        let upstream = Upstream::start(move |mut peer| {
            peer.request().unwrap();
            if peer.number > 0 {
                peer.send(&ok("fine"));
                return peer.closed();
            }
            if !begun.is_empty() {
                peer.send(begun);
                seen.lock().unwrap().recv().unwrap();
            }
            peer.reset();
        });
        let proxy = Running::start(upstream.address, &retries(""));
        let mut client = proxy.client();
        client.peer.send("GET / HTTP/1.1\r\nhost: t\r\n\r\n");
        let head = client.peer.head().unwrap();
        assert!(head.starts_with("http/1.1 200"), "{head}");
        go.send(()).unwrap_or_default();
        if begun.is_empty() {
            assert_eq!(upstream.connections(), 2);
        } else {
            assert_eq!(client.peer.take(4), b"half");
            client.peer.closed();
            assert_eq!(upstream.connections(), 1);
        }
    }
}
