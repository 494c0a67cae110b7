//! Deadlines in the proxy: what is left is told to the upstream, and kept.

mod proxy_support;

use proxy_support::{Running, Upstream, file, get, ok, value, wait_for};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

const POLICY: &str = "policies: [{name: p, scope: policy, deadline: {margin: 10ms}, \
    breaker: {trip: {consecutive_failures: 1}, open: {base: 60s}}}]";

fn with(fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nhost: t\r\n{fields}\r\n")
}

/// What the upstream hears of a request with these fields.
fn heard(policy: &str, fields: &str) -> String {
    let (told, heads) = mpsc::channel();
    let upstream = Upstream::start(move |mut peer| {
        while let Some((head, _)) = peer.request() {
            told.send(head).unwrap();
            peer.send(&ok("fine"));
        }
    });
    let proxy = Running::start(upstream.address, policy);
    assert_eq!(proxy.ask(&with(fields)).status, 200);
    heads.recv().unwrap()
}

#[test]
fn the_upstream_hears_what_is_left() {
    let head = heard(POLICY, "x-request-deadline-ms: 600000\r\n");
    let left: u64 = value(&head, "x-request-deadline-ms").unwrap().parse().unwrap();
    // The margin is off at least.
    assert!((300_000..=599_990).contains(&left), "{left}");
    assert_eq!(value(&head, "grpc-timeout"), None);
    // The shorter one counts, and both fields say it.
    let head = heard(POLICY, "grpc-timeout: 300S\r\nx-request-deadline-ms: 600000\r\n");
    let left: u64 = value(&head, "x-request-deadline-ms").unwrap().parse().unwrap();
    assert!((100_000..=299_990).contains(&left), "{left}");
    let grpc = value(&head, "grpc-timeout").and_then(|text| text.strip_suffix('m')).unwrap();
    let left: u64 = grpc.parse().unwrap();
    assert!((100_000..=299_990).contains(&left), "{left}");
    let heads = [
        heard(&POLICY.replace("margin", "forward: false, margin"), "grpc-timeout: 300S\r\n"),
        heard(
            &POLICY.replace("margin", "accept: [x-request-deadline-ms], margin"),
            "grpc-timeout: 300S\r\n",
        ),
        heard(
            &POLICY.replace("scope: policy", "scope: policy, mode: shadow"),
            "grpc-timeout: 300S\r\n",
        ),
        heard(POLICY, "grpc-timeout: 300S, 5S\r\n"),
    ];
    assert_eq!(heads.map(|head| head.contains("grpc-timeout: 300s")), [true; 4]);
}

/// What the call waited before it was sent is its caller's time as well (grpc/grpc-java 4412: calls in
/// the queue had "stale timeouts in their headers").
#[test]
fn time_in_the_queue_is_taken_off() {
    let (told, heads) = mpsc::channel();
    let (go, wait) = mpsc::channel();
    let wait = Mutex::new(wait);
    let upstream = Upstream::start(move |mut peer| {
        while let Some((head, _)) = peer.request() {
            told.send(head).unwrap();
            wait.lock().unwrap().recv().unwrap();
            peer.send(&ok("fine"));
        }
    });
    let one = "echo: {pool: {max_connections: 1}, ";
    let proxy = Running::with(&file(upstream.address, POLICY).replace("echo: {", one));
    let (mut first, mut second) = (proxy.client(), proxy.client());
    first.peer.send(&get("/"));
    heads.recv().unwrap();
    second.peer.send(&with("x-request-deadline-ms: 600000\r\n"));
    let metric = "bimetal_calls_outstanding";
    wait_for("the second call", || (proxy.metric(metric)? == 2.0).then_some(()));
    let (queued, waited) = (Instant::now(), Duration::from_millis(50));
    wait_for("a while", || (queued.elapsed() >= waited).then_some(()));
    go.send(()).unwrap();
    let head = heads.recv().unwrap();
    let left: u64 = value(&head, "x-request-deadline-ms").unwrap().parse().unwrap();
    assert!(left <= 599_940, "{left}");
    go.send(()).unwrap();
    assert_eq!(second.answer().unwrap().status, 200);
}

#[test]
fn a_call_whose_time_is_over_reaches_nobody() {
    let upstream = Upstream::answering(ok("fine"));
    let proxy = Running::start(upstream.address, POLICY);
    for left in ["0", "10", "-1"] {
        let refused = proxy.ask(&with(&format!("x-request-deadline-ms: {left}\r\n")));
        assert_eq!(refused.status, 504, "{left}");
        assert_eq!(refused.header("x-bimetal-rule"), Some("p/deadline"));
    }
    assert_eq!(upstream.connections(), 0);
}

/// The upstream never answers: at its end the call is given up, which says nothing about the upstream,
/// and the connection is closed, so that the upstream can stop.
#[test]
fn work_for_a_caller_that_gave_up_is_cancelled() {
    let (told, closed) = mpsc::channel();
    let upstream = Upstream::start(move |mut peer| {
        let (head, _) = peer.request().unwrap();
        if head.contains("x-request-deadline-ms") {
            peer.closed();
            told.send(()).unwrap();
        } else {
            peer.send(&ok("fine"));
        }
    });
    let proxy = Running::start(upstream.address, POLICY);
    let mut client = proxy.client();
    let late = client.ask(&with("x-request-deadline-ms: 60\r\n"));
    assert_eq!(late.status, 504);
    assert_eq!(late.header("x-bimetal-rule"), Some("p/deadline"));
    assert_eq!(late.header("x-bimetal-reason"), Some("of 60ms nothing is left"));
    closed.recv().unwrap();
    proxy.wait_for_outcomes("neutral", 1.0);
    // The breaker is closed, and the client's connection goes on.
    assert_eq!(client.ask(&get("/")).status, 200);
    assert_eq!(proxy.metrics().sum("bimetal_wasted_total", &[("policy", "p")]), 1.0);
    let labels = [("upstream", "echo"), ("reason", "deadline")];
    assert_eq!(proxy.metrics().sum("bimetal_upstream_failures_total", &labels), 1.0);
}

/// envoyproxy/envoy 12578: the timer began only when the request was complete, so never for a client that
/// stops within its upload.
#[test]
fn a_client_that_stops_within_its_upload_has_no_more_time_than_it_said() {
    let upstream = Upstream::start(|mut peer| peer.closed());
    let proxy = Running::start(upstream.address, POLICY);
    let mut client = proxy.client();
    client.peer.send(
        "POST / HTTP/1.1\r\nhost: t\r\nx-request-deadline-ms: 60\r\ncontent-length: 9\r\n\r\nhalf",
    );
    let late = client.answer().unwrap();
    assert_eq!((late.status, late.header("x-bimetal-rule")), (504, Some("p/deadline")));
    proxy.wait_for_outcomes("neutral", 1.0);
}
