//! `tree: semconv`: names and attributes by OpenTelemetry's conventions for HTTP.

use crate::lines::tree;
use crate::proxy_support::{Upstream, file, ok, policy};
use crate::traced::{Traced, on_stdout, post};

fn semconv(rest: &str) -> String {
    format!("{}\n{rest}", on_stdout("sample: 1.0"))
}

#[test]
fn a_call_is_a_servers_span_and_a_clients() {
    let upstream = Upstream::answering(ok("x"));
    let proxy = Traced::start("semconv", upstream.address, &semconv(&policy("mode: enforce")));
    let agent = "user-agent: test/1\r\n";
    assert_eq!(proxy.ask(&post("/echo/1?secret=2", agent)).status, 200);
    let trace = proxy.lines.next();
    assert_eq!(tree(&[&trace]), "POST / (server)\n  POST (client)\n");
    let port = upstream.address.port().to_string();
    let url = format!("http://127.0.0.1:{port}/echo/1");
    for (span, wanted) in [
        (
            trace.root(),
            &[
                ("http.request.method", "POST"),
                ("http.response.status_code", "200"),
                ("http.route", "/"),
                ("url.path", "/echo/1"),
                ("url.scheme", "http"),
                ("server.address", "shop"),
                ("server.port", "80"),
                ("network.peer.address", "127.0.0.1"),
                ("network.protocol.version", "1.1"),
                ("user_agent.original", "test/1"),
                ("circuitbreaker.policy", "p"),
                ("circuitbreaker.decision", "admitted"),
                ("circuitbreaker.state", "closed"),
                ("circuitbreaker.new_state", "closed"),
                ("circuitbreaker.failure_count", "0"),
                ("circuitbreaker.outcome", "success"),
            ][..],
        ),
        (
            trace.span("POST"),
            &[
                ("http.request.method", "POST"),
                ("http.response.status_code", "200"),
                ("url.full", &url),
                ("server.address", "127.0.0.1"),
                ("server.port", &port),
                ("peer.service", "echo"),
                ("network.protocol.version", "1.1"),
            ],
        ),
    ] {
        let wanted = wanted.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        assert_eq!(span.attributes, wanted.collect());
    }
}

#[test]
fn an_upstream_that_stands_in_is_named() {
    let broken = Upstream::answering("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n");
    let spare = Upstream::answering(ok("x"));
    let policy = policy("fallback: {when: [failed], upstream: spare, methods: all}");
    let both = format!("upstreams: {{spare: {{endpoints: ['{}']}}, ", spare.address);
    let file = file(broken.address, &semconv(&policy)).replace("upstreams: {", &both);
    let proxy = Traced::of("stands-in", &file);
    assert_eq!(proxy.ask(&post("/", "")).status, 200);
    let trace = proxy.lines.next();
    assert_eq!(tree(&[&trace]), "POST / (server)\n  POST (client) !\n  POST (client)\n");
    assert_eq!(trace.root().attribute("bimetal.fallback.kind"), "upstream");
    assert_eq!(trace.root().attribute("circuitbreaker.outcome"), "failure");
    let asked = trace.spans.iter().filter(|span| span.attributes.contains_key("bimetal.fallback"));
    let asked: Vec<_> = asked.map(|span| span.attribute("peer.service").to_owned()).collect();
    assert_eq!(asked, ["spare"]);
}

#[test]
fn a_rejection_says_by_what_and_why() {
    let upstream = Upstream::answering("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n");
    let proxy = Traced::start("rejects", upstream.address, &semconv(&policy("mode: enforce")));
    for _ in 0..3 {
        assert_eq!(proxy.ask(&post("/", "")).status, 500);
    }
    let [.., tripped] = [(); 3].map(|()| proxy.lines.next());
    assert_eq!(tree(&[&tripped]), "POST / (server) !\n  POST (client) !\n");
    assert_eq!(tripped.root().attribute("circuitbreaker.transition"), "closed → open");
    assert_eq!(tripped.root().attribute("error.type"), "500");
    assert_eq!(proxy.ask(&post("/", "")).status, 503);
    let blocked = proxy.lines.next();
    assert_eq!(tree(&[&blocked]), "POST / (server) !\n");
    let root = blocked.root();
    assert_eq!(root.attribute("circuitbreaker.decision"), "rejected");
    assert_eq!(root.attribute("circuitbreaker.rule"), "breaker");
    assert_eq!(root.attribute("circuitbreaker.state"), "open");
    let reason = root.attribute("circuitbreaker.reason");
    assert!(reason.ends_with(" after 3 consecutive failures"), "{reason}");
}

#[test]
fn shadow_mode_says_what_would_have_been() {
    let upstream = Upstream::answering("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n");
    let proxy = Traced::start("shadow", upstream.address, &semconv(&policy("mode: shadow")));
    for _ in 0..4 {
        assert_eq!(proxy.ask(&post("/", "")).status, 500);
    }
    let [.., last] = [(); 4].map(|()| proxy.lines.next());
    assert_eq!(tree(&[&last]), "POST / (server) !\n  POST (client) !\n");
    let root = last.root();
    assert_eq!(root.attribute("circuitbreaker.decision"), "passed");
    assert_eq!(root.attribute("circuitbreaker.state"), "open");
    assert!(!root.attribute("circuitbreaker.reason").is_empty());
}

#[test]
fn names_have_few_values_whatever_clients_send() {
    let upstream = Upstream::answering(ok("x"));
    let proxy = Traced::start("names", upstream.address, &semconv(""));
    let odd = "BREW /pot/1 HTTP/1.1\r\nhost: a\r\n\r\n";
    assert_eq!(proxy.ask(odd).status, 200);
    let trace = proxy.lines.next();
    assert_eq!(tree(&[&trace]), "HTTP / (server)\n  HTTP (client)\n");
    assert_eq!(trace.root().attribute("http.request.method"), "_OTHER");
    assert_eq!(trace.root().attribute("http.request.method_original"), "BREW");
}

/// A try that was answered and made again has its span, with its end, its status and its place.
#[test]
fn each_try_of_a_call_is_a_clients_span() {
    let upstream = Upstream::start(|mut peer| {
        for status in ["503 Later", "200 OK"] {
            peer.request().unwrap();
            peer.send(&format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n"));
        }
        peer.closed();
    });
    let retry = policy("retry: {on: [503], methods: all, backoff: {base: 1ms}}");
    let proxy = Traced::start("retries", upstream.address, &semconv(&retry));
    assert_eq!(proxy.ask(&post("/", "")).status, 200);
    let trace = proxy.lines.next();
    assert_eq!(tree(&[&trace]), "POST / (server)\n  POST (client) !\n  POST (client)\n");
    let tries: Vec<_> = trace.spans.iter().filter(|span| span.kind == 3).collect();
    let statuses = tries.iter().map(|span| span.attribute("http.response.status_code"));
    assert_eq!(statuses.collect::<Vec<_>>(), ["503", "200"]);
    assert_eq!(tries[1].attribute("http.request.resend_count"), "1");
}
