//! Upstreams with addresses that do not answer.

mod proxy_support;

use proxy_support::{Client, Running, Upstream, file, file_of, get, ok, policy, wait_for};
use socket2::{Domain, Socket, Type};
use std::net::{Ipv4Addr, SocketAddr};

/// An address that takes no connection and says nothing: its queue is full.
struct BlackHole {
    address: SocketAddr,
    _sockets: Vec<Socket>,
}

impl BlackHole {
    fn new() -> Self {
        let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let listener = socket();
        listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let mut sockets = vec![listener];
        for _ in 0..6 {
            let client = socket();
            client.set_nonblocking(true).unwrap();
            let _ = client.connect(&address.into());
            sockets.push(client);
        }
        Self { address, _sockets: sockets }
    }
}

#[test]
fn a_black_hole_is_passed_over_and_takes_no_place() {
    let holes = [BlackHole::new(), BlackHole::new()];
    let upstream = Upstream::answering(ok("fine"));
    let endpoints = [holes[0].address, holes[1].address, upstream.address];
    // One connection at most: the attempts beside it count for nothing.
    let text = file_of(&endpoints, "", &policy("timeout: {connect: 15s}"))
        .replace("echo: {", "echo: {pool: {max_connections: 1, max_pending: 0}, ");
    let proxy = Running::with(&text);
    for _ in 0..3 {
        // A connection each, so that each endpoint has its turn.
        let answer = proxy.ask("GET / HTTP/1.0\r\n\r\n");
        assert_eq!((answer.status, answer.text().as_str()), (200, "fine"));
    }
    proxy.wait_for_outcomes("success", 3.0);
    let connections = "bimetal_upstream_connections{upstream=\"echo\"}";
    wait_for("one connection", || (proxy.metric(connections)? <= 1.0).then_some(()));
    assert_eq!(proxy.outcomes("failure"), 0.0);
}

#[test]
fn when_none_answers_it_is_one_failure_that_names_them_all() {
    let hole = BlackHole::new();
    let nobody = proxy_support::nowhere();
    let text = file_of(&[nobody, hole.address], "", &policy("timeout: {connect: 300ms}"));
    let proxy = Running::with(&text);
    let answer = proxy.ask(&get("/"));
    let wanted = format!(
        "upstream connection failed: {nobody}: Connection refused (os error 111); {}: no answer, \
         within 300ms",
        hole.address
    );
    let body: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
    assert_eq!((answer.status, body["error"].as_str().unwrap()), (503, wanted.as_str()));
    proxy.wait_for_outcomes("failure", 1.0);
    let connections = "bimetal_upstream_connections{upstream=\"echo\"}";
    wait_for("no connection", || (proxy.metric(connections)? == 0.0).then_some(()));
}

#[test]
fn a_calls_own_limit_ends_before_the_one_for_connections() {
    let hole = BlackHole::new();
    // The longer one is longer than a test may take.
    let limits = policy("timeout: {request: 300ms, connect: 60s}");
    let proxy = Running::start(hole.address, &limits);
    let answer = proxy.ask(&get("/"));
    assert_eq!(answer.status, 504);
    assert_eq!(answer.text(), r#"{"error":"upstream request timed out"}"#);
    proxy.wait_for_outcomes("failure", 1.0);
}

#[test]
fn a_name_that_is_nowhere_is_a_failure_in_our_words() {
    let upstream = Upstream::answering(ok("fine"));
    let text = file(upstream.address, &policy("timeout: {connect: 10s}"))
        .replace(&format!("'{}'", upstream.address), "'no-such-name.invalid:80'");
    let proxy = Running::with(&text);
    let answer = Client::connect(proxy.listen).ask(&get("/"));
    let text = answer.text();
    assert_eq!(answer.status, 503);
    let begin = "{\"error\":\"upstream connection failed: cannot resolve no-such-name.invalid: ";
    let is_told = text.starts_with(begin) || text.contains("no-such-name.invalid: no address yet");
    assert!(is_told && !text.contains("Query"), "{text}");
}
