//! Connections, and what is sent on them twice or not (RFC 9110, 3.3 and 9.2.2; RFC 9112, 9).

use super::proxy_support::{Running, TEST_DEADLINE, Upstream, file, get, ok, policy, value};
use super::{next, telling};
use std::sync::mpsc;

#[test]
fn nothing_behind_a_close_is_processed() {
    let (upstream, requests) = telling(|_| ok("hi"));
    let proxy = Running::start(upstream.address, "");
    for (first, second) in [
        (
            "GET /1 HTTP/1.1\r\nhost: t\r\nconnection: x, Close\r\n\r\n",
            "GET /2 HTTP/1.1\r\nhost: t\r\n\r\n",
        ),
        ("GET /1 HTTP/1.0\r\n\r\n", "GET /2 HTTP/1.0\r\n\r\n"),
    ] {
        let mut client = proxy.client();
        client.peer.send(&format!("{first}{second}"));
        let answer = client.answer().unwrap();
        assert_eq!(answer.status, 200);
        if first.contains("1.1") {
            assert_eq!(answer.header("connection"), Some("close"), "{}", answer.head);
        }
        assert_eq!(client.peer.raw_head(), None, "the connection ends behind {first}");
        assert!(next(&requests).head.starts_with("GET /1 "));
        // A later one is the next that the upstream sees.
        assert_eq!(proxy.ask(&get("/3")).status, 200);
        assert!(next(&requests).head.starts_with("GET /3 "));
    }
}

#[test]
fn an_old_client_is_kept_where_it_asks_for_that() {
    let (upstream, _requests) = telling(|_| ok("hi"));
    let proxy = Running::start(upstream.address, "");
    let mut client = proxy.client();
    for _ in 0..2 {
        let answer = client.ask("GET / HTTP/1.0\r\nconnection: keep-alive\r\n\r\n");
        assert_eq!(answer.header("connection"), Some("keep-alive"), "{}", answer.head);
        assert_eq!(answer.header("content-length"), Some("2"), "{}", answer.head);
    }
    assert_eq!(client.ask("GET / HTTP/1.0\r\n\r\n").text(), "hi");
    assert_eq!(client.peer.raw_head(), None);
}

#[test]
fn an_upstream_that_says_close_is_left_after_its_answer() {
    for line in ["HTTP/1.1 200 OK\r\nconnection: x, Close\r\n", "HTTP/1.0 200 OK\r\n"] {
        let (told, ends) = mpsc::channel();
        let upstream = Upstream::start(move |mut peer| {
            peer.request();
            peer.send(&format!("{line}content-length: 2\r\n\r\nhi"));
            // It waits for the proxy to close.
            assert_eq!(peer.raw_head(), None, "a request after {line}");
            told.send(()).unwrap();
        });
        let proxy = Running::start(upstream.address, &policy(""));
        let mut client = proxy.client();
        for number in 1..=2 {
            let answer = client.ask(&get("/"));
            assert_eq!((answer.text().as_str(), answer.header("connection")), ("hi", None));
            ends.recv_timeout(TEST_DEADLINE).expect("the proxy closes");
            assert_eq!(upstream.connections(), number, "{line}");
        }
    }
}

#[test]
fn a_request_that_may_have_been_read_is_not_sent_again() {
    let (told, heads) = mpsc::channel();
    let upstream = Upstream::start(move |mut peer| {
        while let Some((head, _)) = peer.request() {
            let dies = head.contains(" /dies ");
            told.send(head).unwrap();
            if dies {
                return;
            }
            peer.send(&ok("hi"));
        }
    });
    let proxy = Running::start(upstream.address, "");
    let mut client = proxy.client();
    for method in ["POST", "GET", "DELETE"] {
        let ask = |path: &str| format!("{method} {path} HTTP/1.1\r\nhost: t\r\n\r\n");
        // On a connection that was good before: there a retry would tempt.
        assert_eq!(client.ask(&ask("/")).status, 200);
        assert_eq!(client.ask(&ask("/dies")).status, 503);
        assert_eq!(client.ask(&ask("/after")).status, 200);
        let seen: Vec<String> =
            (0..3).map(|_| heads.recv_timeout(TEST_DEADLINE).unwrap()).collect();
        let paths: Vec<_> = seen.iter().map(|head| head.split(' ').nth(1).unwrap()).collect();
        assert_eq!(paths, ["/", "/dies", "/after"], "{method}");
    }
    assert!(heads.try_recv().is_err());
}

#[test]
fn requests_of_one_connection_have_each_their_own_sender() {
    let (upstream, requests) =
        telling(|_| "HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n".to_owned());
    let rules = "policies: [{name: p, scope: client, breaker: {trip: {consecutive_failures: 1}}}]";
    let text = file(upstream.address, rules).replacen(
        "'127.0.0.1:0'}]",
        "'127.0.0.1:0', trusted_hops: 1}]",
        1,
    );
    let proxy = Running::with(&text);
    let mut client = proxy.client();
    let mut ask = |sender: &str, secret: &str| {
        let lines = format!("x-forwarded-for: {sender}\r\n{secret}");
        client.ask(&format!("GET / HTTP/1.1\r\nhost: t\r\n{lines}\r\n")).status
    };
    assert_eq!(ask("1.1.1.1", "cookie: a=1\r\nauthorization: Basic YTpi\r\n"), 500);
    assert_eq!(value(&next(&requests).head, "authorization"), Some("Basic YTpi"));
    assert_eq!(ask("2.2.2.2", ""), 500, "another client's failure is not this one's");
    let got = next(&requests);
    assert_eq!((got.values("cookie"), got.values("authorization")), (vec![], vec![]));
    assert_eq!(ask("1.1.1.1", ""), 503);
}
