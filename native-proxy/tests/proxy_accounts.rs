//! Every request has one account, whoever answered it and however it ended.

mod proxy_support;

use proxy_support::{Running, TEST_DEADLINE, Upstream, file, get, ok, wait_for};
use std::collections::BTreeMap;
use std::sync::mpsc;

const ENDS: [&str; 6] = ["answered", "broke_off", "client_gone", "refused", "cut_off", "panicked"];
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// What the proxy has counted of requests: ends, answers as `proxy 4xx`, and durations as `took p`.
fn books(proxy: &Running) -> BTreeMap<String, f64> {
    let metrics = proxy.metrics();
    let mut books = BTreeMap::new();
    for end in ENDS {
        let count = metrics.sum("bimetal_requests_ended_total", &[("end", end)]);
        books.insert(end.to_owned(), count);
    }
    for by in ["proxy", "upstream"] {
        for class in CLASSES {
            let labels = [("by", by), ("class", class)];
            books.insert(format!("{by} {class}"), metrics.sum("bimetal_answers_total", &labels));
        }
    }
    for policy in ["", "p", "q"] {
        let count = metrics.sum("bimetal_request_duration_seconds_count", &[("policy", policy)]);
        books.insert(format!("took {policy}"), count);
    }
    books.retain(|_, count| *count > 0.0);
    books
}

/// What an upstream does by the path it is asked for; tells when a request is here, and when its
/// connection is closed.
fn upstream() -> (Upstream, mpsc::Receiver<&'static str>) {
    let (tell, told) = mpsc::channel();
    let upstream = Upstream::start(move |mut peer| {
        while let Some(head) = peer.head() {
            match head.split(' ').nth(1).unwrap() {
                "/a/reset" => return peer.reset(),
                "/a/short" => {
                    return peer.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort");
                }
                "/a/hang" => return peer.closed(),
                "/a/switch" => {
                    peer.send(
                        "HTTP/1.1 101 Go\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
                    );
                    return peer.closed();
                }
                path @ ("/a/before" | "/a/within") => {
                    if path == "/a/within" {
                        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nshort");
                    }
                    tell.send("here").unwrap();
                    peer.closed();
                    return tell.send("left").unwrap();
                }
                "/a/chunked" => peer.send(
                    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
                ),
                "/a/500" => peer.send("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"),
                "/a/moved" => peer.send("HTTP/1.1 301 Moved\r\ncontent-length: 2\r\n\r\nno"),
                _ => peer.send(&ok("fine")),
            }
        }
    });
    (upstream, told)
}

const CHUNKED: &str = "host: t\r\ntransfer-encoding: chunked\r\n\r\n";

#[test]
fn every_request_is_counted_once_by_how_it_ended_and_who_answered() {
    let (upstream, told) = upstream();
    let many = "breaker: {trip: {consecutive_failures: 1000}}, timeout: {request: 300ms}";
    let rest = format!(
        "policies: [{{name: q, match: {{path: /a/q}}, mode: forced_open}}, \
         {{name: r, match: {{path: /a/none}}, breaker: {{trip: {{consecutive_failures: 9}}}}}}, \
         {{name: p, match: {{path_prefix: /a}}, scope: policy, {many}}}]"
    );
    let routes = "{path_prefix: /a, upstream: echo}, {path: /bare, upstream: echo}";
    let proxy = Running::with(&file(upstream.address, &rest).replace("{upstream: echo}", routes));
    let mut expected = BTreeMap::new();
    // After each step the books are what they were and what the step adds to them.
    let mut after = |what: &str, adds: &[(&str, f64)]| {
        for (name, count) in adds {
            *expected.entry((*name).to_owned()).or_insert(0.0) += count;
        }
        let mut seen = BTreeMap::new();
        let end = std::time::Instant::now() + TEST_DEADLINE;
        while seen != expected && std::time::Instant::now() < end {
            seen = books(&proxy);
        }
        assert_eq!(seen, expected, "after {what}");
    };

    // Answered by the upstream.
    let mut client = proxy.client();
    for (path, class) in [("ok", "2xx"), ("chunked", "2xx"), ("500", "5xx"), ("moved", "3xx")] {
        client.ask(&get(&format!("/a/{path}")));
        let by = format!("upstream {class}");
        after(path, &[("answered", 1.0), (&by, 1.0), ("took p", 1.0)]);
    }
    client.peer.send(&get("/a/ok").replace("GET", "HEAD"));
    client.peer.head().unwrap();
    after("HEAD", &[("answered", 1.0), ("upstream 2xx", 1.0), ("took p", 1.0)]);
    client.peer.send(&[get("/a/ok"), get("/bare"), get("/a/ok")].concat());
    for _ in 0..3 {
        assert_eq!(client.answer().unwrap().text(), "fine");
    }
    let three = [("answered", 3.0), ("upstream 2xx", 3.0), ("took p", 2.0), ("took ", 1.0)];
    after("pipelining", &three);
    let upgrade =
        "GET /a/switch HTTP/1.1\r\nhost: t\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let mut tunnel = proxy.client();
    tunnel.peer.send(upgrade);
    tunnel.peer.head().unwrap();
    after("an upgrade", &[("answered", 1.0), ("upstream 1xx", 1.0), ("took p", 1.0)]);

    // Answered by the proxy. What was turned away before its route is known, and what a breaker
    // rejected, took no time worth telling.
    let mut client = proxy.client();
    assert_eq!(client.ask(&get("/b")).status, 404);
    client.peer.send(&get("/b").replace("GET", "HEAD"));
    assert!(client.peer.head().unwrap().starts_with("http/1.1 404"));
    after("no route", &[("answered", 2.0), ("proxy 4xx", 2.0)]);
    assert_eq!(client.ask(&get("/a/q")).status, 503);
    after("a rejection", &[("answered", 1.0), ("proxy 5xx", 1.0)]);
    assert_eq!(proxy.ask("CONNECT t:80 HTTP/1.1\r\nhost: t\r\n\r\n").status, 405);
    after("CONNECT", &[("answered", 1.0), ("proxy 4xx", 1.0)]);
    for (path, status) in [("reset", 503), ("hang", 504)] {
        assert_eq!(proxy.ask(&get(&format!("/a/{path}"))).status, status);
        after(path, &[("answered", 1.0), ("proxy 5xx", 1.0), ("took p", 1.0)]);
    }

    // Refused: the head, and the body before and within the answer.
    assert_eq!(proxy.ask("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n").status, 400);
    assert_eq!(proxy.ask("GET / HTTP/3.0\r\nhost: a\r\n\r\n").status, 505);
    after("bad heads", &[("refused", 2.0), ("proxy 4xx", 1.0), ("proxy 5xx", 1.0)]);
    let mut client = proxy.client();
    client.peer.send(&[get("/a/ok"), "what?\r\n\r\n".into()].concat());
    assert_eq!((client.answer().unwrap().status, client.answer().unwrap().status), (200, 400));
    let two = [("answered", 1.0), ("upstream 2xx", 1.0), ("took p", 1.0)];
    after(
        "a bad head behind a good one",
        &[&two[..], &[("refused", 1.0), ("proxy 4xx", 1.0)]].concat(),
    );
    let mut client = proxy.client();
    client.peer.send(&format!("POST /a/before HTTP/1.1\r\n{CHUNKED}1\r\nx\r\n"));
    assert_eq!(told.recv_timeout(TEST_DEADLINE), Ok("here"));
    client.peer.send("what?\r\n");
    assert_eq!(client.answer().unwrap().status, 400);
    assert_eq!(told.recv_timeout(TEST_DEADLINE), Ok("left"));
    after("a bad body", &[("refused", 1.0), ("proxy 4xx", 1.0), ("took p", 1.0)]);
    let mut client = proxy.client();
    client.peer.send(&format!("POST /a/within HTTP/1.1\r\n{CHUNKED}1\r\nx\r\n"));
    client.peer.head().unwrap();
    assert_eq!(told.recv_timeout(TEST_DEADLINE), Ok("here"));
    client.peer.send("what?\r\n");
    assert_eq!(told.recv_timeout(TEST_DEADLINE), Ok("left"));
    let within = [("refused", 1.0), ("upstream 2xx", 1.0), ("took p", 1.0)];
    after("a bad body within the answer", &within);

    // Broken off by either side.
    let mut client = proxy.client();
    client.peer.send(&get("/a/short"));
    client.peer.closed();
    after("a short answer", &[("broke_off", 1.0), ("upstream 2xx", 1.0), ("took p", 1.0)]);
    for (path, head) in [("before", false), ("within", true)] {
        let mut client = proxy.client();
        client.peer.send(&get(&format!("/a/{path}")));
        assert_eq!(told.recv_timeout(TEST_DEADLINE), Ok("here"));
        if head {
            client.peer.head().unwrap();
        }
        client.close();
        assert_eq!(told.recv_timeout(TEST_DEADLINE), Ok("left"));
        let answers = if head { 1.0 } else { 0.0 };
        let gone = [("client_gone", 1.0), ("upstream 2xx", answers), ("took p", 1.0)];
        after(path, &gone);
    }
    // Every request that was sent, once.
    drop((client, tunnel));
    let ended = proxy.metrics().sum("bimetal_requests_ended_total", &[]);
    assert_eq!(ended, 24.0);
}

#[test]
fn a_fallback_is_the_proxys_answer_and_a_request_without_a_policy_has_its_duration() {
    let upstream = Upstream::answering("HTTP/1.1 500 No\r\ncontent-length: 6\r\n\r\nsecret");
    let rest = "policies: [{name: p, match: {path: /p}, scope: policy, \
                breaker: {trip: {consecutive_failures: 1}, open: {base: 60s}}, \
                fallback: {on: [rejected, failed], status: 203}}, {name: q, mode: shadow}]";
    let proxy = Running::start(upstream.address, rest);
    for _ in 0..2 {
        assert_eq!(proxy.ask(&get("/p")).status, 203);
    }
    assert_eq!(proxy.ask(&get("/")).status, 500);
    let wanted = [
        ("answered", 3.0),
        ("proxy 2xx", 2.0),
        ("upstream 5xx", 1.0),
        // The second was rejected.
        ("took p", 1.0),
        ("took q", 1.0),
    ];
    let wanted: BTreeMap<_, _> =
        wanted.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
    assert_eq!(books(&proxy), wanted);
}

#[test]
fn a_client_that_takes_nothing_is_gone() {
    let (left, closed) = mpsc::channel();
    let upstream = Upstream::start(move |mut peer| {
        peer.head();
        peer.send(&ok(&"x".repeat(20 << 20)));
        peer.closed();
        left.send(()).unwrap();
    });
    let text =
        file(upstream.address, "").replacen("'127.0.0.1:0'}]", "'127.0.0.1:0', idle: 200ms}]", 1);
    let proxy = Running::with(&text);
    let mut client = proxy.client();
    client.peer.send(&get("/"));
    closed.recv_timeout(TEST_DEADLINE).unwrap();
    let ended = [("end", "client_gone")];
    wait_for("the end", || {
        (proxy.metrics().sum("bimetal_requests_ended_total", &ended) == 1.0).then_some(())
    });
    assert_eq!(proxy.metrics().sum("bimetal_requests_ended_total", &[]), 1.0);
}
