//! Calls that wait for tokens of a rate limit, over real sockets.

mod proxy_support;

use proxy_support::{Client, Running, TEST_DEADLINE, Upstream, file, get, ok, policy, wait_for};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

const LENGTH: &str = r#"bimetal_queue_length{policy="p",scope="policy"}"#;

fn limit(rate: &str, queue: &str, more: &str) -> String {
    format!(
        "policies: [{{name: p, scope: policy, {more} \
         rate_limits: [{{rate: {rate}, capacity: 1, queue: {{{queue}}}}}]}}]"
    )
}

/// An upstream that tells of each path.
fn told() -> (Upstream, Receiver<String>) {
    let (told, heads) = mpsc::channel();
    let upstream = Upstream::start(move |mut peer| {
        while let Some((head, _)) = peer.request() {
            told.send(head.split(' ').nth(1).unwrap().to_owned()).unwrap();
            peer.send(&ok("fine"));
        }
    });
    (upstream, heads)
}

fn waiting(proxy: &Running, count: f64) {
    wait_for(&format!("{count} calls that wait"), || {
        (proxy.metric(LENGTH)? == count).then_some(())
    });
}

fn begun(proxy: &Running, path: &str) -> Client {
    let mut client = proxy.client();
    client.peer.send(&get(path));
    client
}

#[test]
fn calls_wait_for_their_turn_and_go_on_in_their_order() {
    let (upstream, heads) = told();
    let proxy = Running::start(upstream.address, &limit("2/s", "max: 50, max_wait: 1h", ""));
    let started = Instant::now();
    assert_eq!(proxy.ask(&get("/0")).status, 200);
    let mut calls = Vec::new();
    for count in 1..4 {
        calls.push(begun(&proxy, &format!("/{count}")));
        // One after the other: each is seen waiting, or its turn has come already.
        wait_for("it to be decided", || {
            let metrics = proxy.metrics();
            let admitted = [("policy", "p"), ("decision", "admitted")];
            let waits = metrics.line(LENGTH).unwrap_or(0.0);
            let known = waits + metrics.sum("bimetal_requests_total", &admitted);
            (known >= f64::from(count) + 1.0).then_some(())
        });
    }
    calls.iter_mut().for_each(|call| assert_eq!(call.answer().unwrap().status, 200));
    assert!(started.elapsed() >= Duration::from_millis(1_500), "{:?}", started.elapsed());
    let order: Vec<_> = (0..4).map(|_| heads.recv_timeout(TEST_DEADLINE).unwrap()).collect();
    assert_eq!(order, ["/0", "/1", "/2", "/3"]);
    waiting(&proxy, 0.0);
}

#[test]
fn one_more_than_may_wait_is_told_when_there_is_room() {
    let (upstream, _heads) = told();
    let proxy = Running::start(upstream.address, &limit("1/m", "max: 2, max_wait: 1h", ""));
    assert_eq!(proxy.ask(&get("/")).status, 200);
    let kept = [begun(&proxy, "/"), begun(&proxy, "/")];
    waiting(&proxy, 2.0);
    let refused = proxy.ask(&get("/"));
    assert_eq!((refused.status, refused.header("x-bimetal-rule")), (429, Some("p/rate_limit")));
    let after: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((121..=180).contains(&after), "{after}");
    // A client that leaves makes room for another.
    let [first, _second] = kept;
    first.close();
    waiting(&proxy, 1.0);
    let _third = begun(&proxy, "/");
    waiting(&proxy, 2.0);
    let admitted = r#"bimetal_requests_total{policy="p",scope="policy",decision="admitted"}"#;
    assert_eq!(proxy.metric(admitted), Some(1.0));
}

#[test]
fn who_has_not_the_time_is_turned_away_at_once() {
    let (upstream, _heads) = told();
    let rest = limit("1/m", "max: 50, max_wait: 1h", "deadline: {},");
    let proxy = Running::start(upstream.address, &rest);
    assert_eq!(proxy.ask(&get("/")).status, 200);
    let request = "GET / HTTP/1.1\r\nhost: t\r\nx-request-deadline-ms: 5000\r\n\r\n";
    assert_eq!(proxy.ask(request).header("x-bimetal-rule"), Some("p/rate_limit"));
}

/// What a call waited for is not its upstream's time.
#[test]
fn the_wait_is_nobodys_latency() {
    let (upstream, _heads) = told();
    let slow = "breaker: {trip: {slow_rate: {threshold: 1, slower_than: 400ms, window: {calls: 1}, \
        minimum_calls: 1}}}, timeout: {request: 900ms},";
    let rest = limit("1/s", "max: 50, max_wait: 1h", slow);
    let proxy = Running::start(upstream.address, &rest);
    let mut calls = [begun(&proxy, "/"), begun(&proxy, "/"), begun(&proxy, "/")];
    calls.iter_mut().for_each(|call| assert_eq!(call.answer().unwrap().status, 200));
    proxy.wait_for_outcomes("success", 3.0);
}

/// A reload changes the limit: who waits is served by the one that it came under.
#[test]
fn who_waits_over_a_reload_is_served() {
    let (upstream, _heads) = told();
    let proxy = Running::start(upstream.address, &limit("1/3s", "max: 50, max_wait: 1h", ""));
    assert_eq!(proxy.ask(&get("/")).status, 200);
    let mut call = begun(&proxy, "/");
    waiting(&proxy, 1.0);
    proxy.reload(&file(upstream.address, &policy("mode: forced_open")));
    wait_for("the new policy", || (proxy.ask(&get("/")).status == 503).then_some(()));
    assert_eq!(call.answer().unwrap().status, 200);
}
