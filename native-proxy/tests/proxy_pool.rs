//! Connections to upstreams: how long they live, who gets the next one, and what ends them.

mod proxy_support;

use bimetal_proxy::bimetal_core::Duration;
use bimetal_proxy::config::{self, Pool, Syntax};
use proxy_support::{Peer, Running, TEST_DEADLINE, Upstream, file, get, ok, policy, wait_for};
use socket2::{Domain, Socket, Type};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};

#[test]
fn each_bound_of_a_pool_is_its_own() {
    let pool = "echo: {pool: {max_connections: 5, max_pending: 7, idle: 11s, max_requests: 3, \
                max_requests_per_connection: 4}, idle: 13s, ";
    let text = file(([127, 0, 0, 1], 9).into(), "").replace("echo: {", pool);
    let settings = config::parse(&text, Syntax::Yaml).unwrap();
    let wanted = Pool {
        max_connections: 5,
        max_pending: 7,
        idle: Duration::from_secs(11),
        max_requests: NonZeroUsize::new(3),
        max_requests_per_connection: NonZeroUsize::new(4),
    };
    assert_eq!(settings.upstreams[0].pool, wanted);
    assert_eq!(settings.upstreams[0].idle, Duration::from_secs(13));
    let none = config::parse(&file(([127, 0, 0, 1], 9).into(), ""), Syntax::Yaml).unwrap();
    let none = none.upstreams[0].pool;
    assert_eq!((none.max_requests, none.max_requests_per_connection), (None, None));
}

/// An upstream that tells when a request is there and when a connection has ended, and answers
/// `/held` when it is let.
fn watched() -> (Upstream, Sender<()>, Receiver<&'static str>) {
    let (go, wait) = mpsc::channel();
    let (tell, told) = mpsc::channel();
    let wait = Arc::new(Mutex::new(wait));
    let upstream = Upstream::start(move |mut peer| {
        while let Some((head, _)) = peer.request() {
            if head.starts_with("get /held") {
                tell.send("held").unwrap();
                wait.lock().unwrap().recv().unwrap();
            }
            peer.send(&ok("fine"));
        }
        // The test may be over.
        let _ = tell.send("closed");
    });
    (upstream, go, told)
}

#[test]
fn an_unused_connection_is_closed_after_the_pools_time() {
    let (upstream, _go, told) = watched();
    let text = file(upstream.address, "").replace("echo: {", "echo: {pool: {idle: 200ms}, ");
    let proxy = Running::with(&text);
    assert_eq!(proxy.ask(&get("/")).text(), "fine");
    assert_eq!(told.recv_timeout(TEST_DEADLINE), Ok("closed"));
}

/// Such a call is ours to refuse: it waits for nobody, and says nothing about the upstream.
#[test]
fn calls_beyond_the_limit_are_refused_at_once_and_are_no_evidence() {
    let (upstream, go, told) = watched();
    let text =
        file(upstream.address, &policy("")).replace("echo: {", "echo: {pool: {max_requests: 1}, ");
    let proxy = Running::with(&text);
    let (mut held, mut other) = (proxy.client(), proxy.client());
    held.peer.send(&get("/held"));
    assert_eq!(told.recv_timeout(TEST_DEADLINE), Ok("held"));
    for _ in 0..4 {
        let answer = other.ask(&get("/"));
        assert_eq!(answer.status, 503);
        assert_eq!(answer.text(), r#"{"error":"all connections to the upstream are in use"}"#);
    }
    go.send(()).unwrap();
    assert_eq!(held.answer().unwrap().text(), "fine");
    assert_eq!(other.ask(&get("/")).text(), "fine");
    proxy.wait_for_outcomes("success", 2.0);
    assert_eq!((proxy.outcomes("neutral"), proxy.outcomes("failure")), (4.0, 0.0));
    let overflow = "bimetal_upstream_failures_total{upstream=\"echo\",reason=\"overflow\"}";
    assert_eq!(proxy.metric(overflow), Some(4.0));
}

#[test]
fn a_connection_is_closed_after_so_many_requests() {
    let (upstream, _go, told) = watched();
    let text = file(upstream.address, "")
        .replace("echo: {", "echo: {pool: {max_requests_per_connection: 2}, ");
    let proxy = Running::with(&text);
    let mut client = proxy.client();
    for calls in 1..=5_usize {
        assert_eq!(client.ask(&get("/")).text(), "fine");
        assert_eq!(upstream.connections(), calls.div_ceil(2));
    }
    assert_eq!(told.recv_timeout(TEST_DEADLINE), Ok("closed"));
}

#[test]
fn a_reload_closes_the_connections_of_upstreams_that_are_gone_and_no_others() {
    let ((kept, ..), (gone, go, told)) = (watched(), watched());
    let gone_at = format!("upstreams: {{gone: {{endpoints: ['{}']}}, ", gone.address);
    let before = file(kept.address, "")
        .replace("upstreams: {", &gone_at)
        .replace("[{upstream: echo}]", "[{path: /held, upstream: gone}, {upstream: echo}]");
    let proxy = Running::with(&before);
    let (mut held, mut other) = ([proxy.client(), proxy.client()], proxy.client());
    for client in &mut held {
        client.peer.send(&get("/held"));
        assert_eq!(told.recv_timeout(TEST_DEADLINE), Ok("held"));
    }
    assert_eq!(other.ask(&get("/")).text(), "fine");
    // One of the two is answered, and its connection waits for the next call.
    go.send(()).unwrap();
    let metric = "bimetal_requests_ended_total{end=\"answered\"}";
    wait_for("an answer", || (proxy.metric(metric)? == 2.0).then_some(()));
    proxy.reload(&file(kept.address, &policy("")));
    assert_eq!(told.recv_timeout(TEST_DEADLINE), Ok("closed"), "the idle one");
    go.send(()).unwrap();
    assert_eq!(told.recv_timeout(TEST_DEADLINE), Ok("closed"), "the busy one");
    for client in &mut held {
        assert_eq!(client.answer().unwrap().text(), "fine");
    }
    // What stayed the same kept its connection, though a policy came.
    assert_eq!(other.ask(&get("/")).text(), "fine");
    proxy.wait_for_outcomes("success", 1.0);
    assert_eq!(kept.connections(), 1);
}

#[test]
fn live_endpoints_take_turns_where_that_is_asked_for() {
    let answer = ok("").replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
    let upstreams = [Upstream::answering(answer.as_str()), Upstream::answering(answer.as_str())];
    let addresses: [SocketAddr; 2] = [upstreams[0].address, upstreams[1].address];
    let both = format!("['{}', '{}']", addresses[0], addresses[1]);
    let both = format!("{both}, balance: round_robin");
    let text = file(addresses[0], "").replace(&format!("['{}']", addresses[0]), &both);
    let proxy = Running::with(&text);
    for calls in 1..=6_usize {
        assert_eq!(proxy.ask(&get("/")).status, 200);
        let taken = [upstreams[0].connections(), upstreams[1].connections()];
        assert_eq!(taken, [calls.div_ceil(2), calls / 2]);
    }
}

#[test]
fn a_fallback_keeps_the_connection_of_an_answer_that_is_short() {
    const LONGEST: usize = 64 << 10;
    let fallback = "policies: [{name: p, breaker: {trip: {consecutive_failures: 9}}, \
                    fallback: {when: [failed], status: 203}}]";
    for (length, sent, connections) in
        [(0, 0, 1), (LONGEST, LONGEST, 1), (LONGEST + 1, LONGEST + 1, 2), (5, 3, 2)]
    {
        let head = format!("HTTP/1.1 500 No\r\ncontent-length: {length}\r\n\r\n");
        let upstream = Upstream::answering(head + &"x".repeat(sent));
        // There is one place: the second call waits until it is known what becomes of the first
        // one's connection.
        let text = file(upstream.address, fallback)
            .replace("echo: {", "echo: {pool: {max_connections: 1}, ");
        let proxy = Running::with(&text);
        let mut client = proxy.client();
        for _ in 0..2 {
            assert_eq!(client.ask(&get("/")).status, 203);
        }
        assert_eq!(upstream.connections(), connections, "{sent} of {length}");
    }
}

/// A backlog that is full drops what comes, and the system asks again only after a second, and then later
/// and later.
#[test]
fn a_call_whose_connection_is_late_takes_one_that_comes_back() {
    let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let listener = socket();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let text = file(address, "").replace("echo: {", "echo: {pool: {max_connections: 2}, ");
    let proxy = Running::with(&text);
    let (mut first, mut second) = (proxy.client(), proxy.client());
    first.peer.send(&get("/first"));
    let mut upstream = Peer::new(TcpStream::from(listener.accept().unwrap().0));
    assert!(upstream.request().unwrap().0.starts_with("get /first"));
    let fill = |_| {
        let client = socket();
        client.set_nonblocking(true).unwrap();
        // It stays under way.
        let _ = client.connect(&address.into());
        client
    };
    let full: Vec<Socket> = (0..6).map(fill).collect();
    second.peer.send(&get("/second"));
    let metric = "bimetal_upstream_connections{upstream=\"echo\"}";
    wait_for("a second connection", || (proxy.metric(metric)? == 2.0).then_some(()));
    upstream.send(&ok("one"));
    assert_eq!(first.answer().unwrap().text(), "one");
    // By the first one's connection.
    assert!(upstream.request().unwrap().0.starts_with("get /second"));
    upstream.send(&ok("two"));
    assert_eq!(second.answer().unwrap().text(), "two");
    // The late one goes on: of two calls at once each has a connection, and there is no place for a
    // third (golang/go 66442: who gives it up has a pool that never grows).
    let port = |socket: &Socket| socket.local_addr().unwrap().as_socket().unwrap().port();
    let full: Vec<u16> = full.iter().map(port).collect();
    listener.set_nonblocking(true).unwrap();
    let late = wait_for("the late connection", || {
        let (stream, peer) = listener.accept().ok()?;
        (!full.contains(&peer.as_socket()?.port())).then_some(stream)
    });
    let mut late = Peer::new(TcpStream::from(late));
    first.peer.send(&get("/third"));
    second.peer.send(&get("/fourth"));
    assert!(upstream.request().is_some() && late.request().is_some());
}
