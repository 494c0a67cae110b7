//! Calls that wait for a slot of a limit of calls under way, over real sockets.

mod proxy_support;

use proxy_support::{Client, Running, TEST_DEADLINE, Upstream, file, get, ok, wait_for};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};

const LENGTH: &str = r#"bimetal_queue_length{policy="p",scope="policy"}"#;

fn queue(fields: &str) -> String {
    format!("policies: [{{name: p, scope: policy, concurrency: {{{fields}}}}}]")
}

/// One slot, and a wait that no test outlasts.
fn one() -> String {
    queue("max: 1, queue: {max: 50, max_wait: 1h}")
}

/// An upstream that tells of each request, and answers it when it is let.
fn held() -> (Upstream, Sender<()>, Receiver<String>) {
    let (go, wait) = mpsc::channel();
    let (told, heads) = mpsc::channel();
    let wait = Arc::new(Mutex::new(wait));
    let upstream = Upstream::start(move |mut peer| {
        while let Some((head, _)) = peer.request() {
            let path = head.split(' ').nth(1).unwrap().to_owned();
            told.send(path).unwrap();
            if wait.lock().unwrap().recv().is_err() {
                return;
            }
            peer.send(&ok("fine"));
        }
    });
    (upstream, go, heads)
}

fn waiting(proxy: &Running, count: f64) {
    wait_for(&format!("{count} calls that wait"), || {
        (proxy.metric(LENGTH)? == count).then_some(())
    });
}

/// A client whose call has begun and is not answered yet.
fn begun(proxy: &Running, path: &str) -> Client {
    let mut client = proxy.client();
    client.peer.send(&get(path));
    client
}

#[test]
fn a_call_waits_for_a_slot_and_goes_on_with_it() {
    let (upstream, go, heads) = held();
    let proxy = Running::start(upstream.address, &one());
    let mut first = begun(&proxy, "/1");
    assert_eq!(heads.recv_timeout(TEST_DEADLINE).unwrap(), "/1");
    let mut calls = Vec::new();
    for count in 2..5 {
        calls.push(begun(&proxy, &format!("/{count}")));
        waiting(&proxy, f64::from(count - 1));
    }
    let full = r#"bimetal_limit_fill{policy="p",scope="policy"}"#;
    assert_eq!(proxy.metric(full), Some(1.0));
    assert_eq!(proxy.metric(r#"bimetal_concurrency_limit{policy="p",scope="policy"}"#), Some(1.0));
    go.send(()).unwrap();
    assert_eq!(first.answer().unwrap().status, 200);
    // In the order of their coming, each when the one before it is done.
    for (place, mut call) in calls.into_iter().enumerate() {
        assert_eq!(heads.recv_timeout(TEST_DEADLINE).unwrap(), format!("/{}", place + 2));
        assert!(heads.try_recv().is_err());
        go.send(()).unwrap();
        assert_eq!(call.answer().unwrap().status, 200);
    }
    waiting(&proxy, 0.0);
    wait_for("nobody under way", || (proxy.metric(full)? == 0.0).then_some(()));
    let admitted = r#"bimetal_requests_total{policy="p",scope="policy",decision="admitted"}"#;
    assert_eq!(proxy.metric(admitted), Some(4.0));
    assert_eq!(proxy.metric("bimetal_decision_errors_total"), Some(0.0));
}

#[test]
fn who_waited_in_vain_is_rejected_and_told_for_how_long() {
    let (upstream, go, heads) = held();
    let short = queue("max: 1, queue: {max: 50, max_wait: 30ms}");
    let proxy = Running::start(upstream.address, &short);
    let mut first = begun(&proxy, "/1");
    heads.recv_timeout(TEST_DEADLINE).unwrap();
    let refused = proxy.ask(&get("/2"));
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("x-bimetal-rule"), Some("p/concurrency"));
    let reason = refused.header("x-bimetal-reason").unwrap().to_owned();
    let waited = reason.strip_prefix("1 call under way, and no more may be; waited ").unwrap();
    let millis: u64 = waited.strip_suffix("ms").unwrap().parse().unwrap();
    assert!(millis >= 30, "{reason}");
    go.send(()).unwrap();
    assert_eq!(first.answer().unwrap().status, 200);
    let rejected = r#"bimetal_requests_total{policy="p",scope="policy",decision="concurrency"}"#;
    assert_eq!(proxy.metric(rejected), Some(1.0));
}

#[test]
fn a_full_queue_drops_the_oldest() {
    let (upstream, go, heads) = held();
    let small = queue("max: 1, queue: {max: 1, max_wait: 1h}");
    let proxy = Running::start(upstream.address, &small);
    let mut first = begun(&proxy, "/1");
    heads.recv_timeout(TEST_DEADLINE).unwrap();
    let mut second = begun(&proxy, "/2");
    waiting(&proxy, 1.0);
    let mut third = begun(&proxy, "/3");
    assert_eq!(second.answer().unwrap().status, 503);
    go.send(()).unwrap();
    assert_eq!(first.answer().unwrap().status, 200);
    assert_eq!(heads.recv_timeout(TEST_DEADLINE).unwrap(), "/3");
    go.send(()).unwrap();
    assert_eq!(third.answer().unwrap().status, 200);
}

#[test]
fn a_client_that_leaves_while_it_waits_is_forgotten() {
    let (upstream, go, heads) = held();
    let proxy = Running::start(upstream.address, &one());
    let mut first = begun(&proxy, "/1");
    heads.recv_timeout(TEST_DEADLINE).unwrap();
    let second = begun(&proxy, "/2");
    waiting(&proxy, 1.0);
    let mut third = begun(&proxy, "/3");
    waiting(&proxy, 2.0);
    second.close();
    waiting(&proxy, 1.0);
    go.send(()).unwrap();
    assert_eq!(first.answer().unwrap().status, 200);
    assert_eq!(heads.recv_timeout(TEST_DEADLINE).unwrap(), "/3");
    go.send(()).unwrap();
    assert_eq!(third.answer().unwrap().status, 200);
    waiting(&proxy, 0.0);
}

#[test]
fn nobody_waits_longer_than_its_deadline() {
    let (upstream, go, heads) = held();
    let policy = one().replace("scope: policy", "scope: policy, deadline: {margin: 5ms}");
    let proxy = Running::start(upstream.address, &policy);
    let mut first = begun(&proxy, "/1");
    heads.recv_timeout(TEST_DEADLINE).unwrap();
    let late = proxy.ask("GET /2 HTTP/1.1\r\nhost: t\r\nx-request-deadline-ms: 40\r\n\r\n");
    assert_eq!((late.status, late.header("x-bimetal-rule")), (504, Some("p/deadline")));
    waiting(&proxy, 0.0);
    go.send(()).unwrap();
    assert_eq!(first.answer().unwrap().status, 200);
}

/// Slots are the process's: one that comes free in a worker serves calls that wait in another.
#[test]
fn workers_hand_slots_to_one_another() {
    const CALLS: usize = 24;
    let (upstream, go, heads) = held();
    let text = file(upstream.address, &one()).replace("workers: 1", "workers: 3");
    let proxy = Running::with(&text);
    let mut calls = vec![begun(&proxy, "/0")];
    heads.recv_timeout(TEST_DEADLINE).unwrap();
    calls.extend((1..CALLS).map(|call| begun(&proxy, &format!("/{call}"))));
    waiting(&proxy, CALLS as f64 - 1.0);
    for call in 0..CALLS {
        go.send(()).unwrap();
        // One after the other, and all of them.
        if call + 1 < CALLS {
            heads.recv_timeout(TEST_DEADLINE).unwrap();
        }
        assert!(heads.try_recv().is_err());
    }
    for mut call in calls {
        assert_eq!(call.answer().unwrap().status, 200);
    }
    waiting(&proxy, 0.0);
}

/// A call that waits is judged by what it came under, and its slot is the same.
#[test]
fn a_reload_forgets_nobody_who_waits() {
    let (upstream, go, heads) = held();
    let proxy = Running::start(upstream.address, &one());
    let mut first = begun(&proxy, "/1");
    heads.recv_timeout(TEST_DEADLINE).unwrap();
    let mut second = begun(&proxy, "/2");
    waiting(&proxy, 1.0);
    let shut = one().replace("scope: policy", "scope: policy, mode: forced_open");
    proxy.reload(&file(upstream.address, &shut));
    wait_for("the reload", || {
        (proxy.metric(r#"bimetal_reloads_total{result="applied"}"#)? == 1.0).then_some(())
    });
    assert_eq!(proxy.ask(&get("/3")).status, 503);
    go.send(()).unwrap();
    assert_eq!(first.answer().unwrap().status, 200);
    assert_eq!(heads.recv_timeout(TEST_DEADLINE).unwrap(), "/2");
    go.send(()).unwrap();
    assert_eq!(second.answer().unwrap().status, 200);
}

#[test]
fn a_drain_serves_those_who_wait() {
    let (upstream, go, heads) = held();
    let proxy = Running::start(upstream.address, &one());
    let mut first = begun(&proxy, "/1");
    heads.recv_timeout(TEST_DEADLINE).unwrap();
    let mut second = begun(&proxy, "/2");
    waiting(&proxy, 1.0);
    let drains = std::thread::spawn(move || proxy.drain(TEST_DEADLINE));
    for client in [&mut first, &mut second] {
        go.send(()).unwrap();
        assert_eq!(client.answer().unwrap().status, 200);
    }
    drains.join().unwrap();
}

/// The time in our queue is not the upstream's: its limit begins when the call is sent.
#[test]
fn what_a_call_waited_is_not_its_upstreams_time() {
    let (upstream, go, heads) = held();
    let policy = one().replace("scope: policy", "scope: policy, timeout: {request: 700ms}");
    let proxy = Running::start(upstream.address, &policy);
    let mut first = begun(&proxy, "/1");
    heads.recv_timeout(TEST_DEADLINE).unwrap();
    let mut second = begun(&proxy, "/2");
    waiting(&proxy, 1.0);
    // The first runs out of its time; the second has waited for as long.
    assert_eq!(first.answer().unwrap().status, 504);
    assert_eq!(heads.recv_timeout(TEST_DEADLINE).unwrap(), "/2");
    go.send(()).unwrap();
    go.send(()).unwrap();
    assert_eq!(second.answer().unwrap().status, 200);
}

/// An adaptive limit learns by what the proxy measures: answers without a queue let it rise.
#[test]
fn an_adaptive_limit_rises_while_it_is_reached() {
    let upstream = Upstream::answering(ok("fine"));
    let proxy = Running::start(upstream.address, &queue("adaptive: {min: 1, max: 50}"));
    let limit = r#"bimetal_concurrency_limit{policy="p",scope="policy"}"#;
    let mut client = proxy.client();
    assert_eq!(client.ask(&get("/")).status, 200);
    assert_eq!(proxy.metric(limit), Some(1.0));
    // One call at a time reaches a limit of one.
    wait_for("a higher limit", || {
        (0..20).for_each(|_| assert_eq!(client.ask(&get("/")).status, 200));
        (proxy.metric(limit)? > 1.0).then_some(())
    });
}
