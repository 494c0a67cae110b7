//! Whose time and whose doing it is: clients that upload slowly, stop or leave, and upstreams that
//! answer early, take nothing, or break.

mod proxy_support;

use proxy_support::{Client, Running, Upstream, file, get, ok, policy, wait_for};
use std::io::Write;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

/// How long slow clients take: longer than every limit of [`limits`].
const FULL: Duration = Duration::from_millis(600);

/// An upstream that answers behind each whole request.
fn good() -> Upstream {
    Upstream::answering(ok("fine"))
}

/// A policy with this limit and this rule for slow answers.
fn limits() -> String {
    "policies: [{name: p, scope: policy, timeout: {request: 300ms}, breaker: {\
     trip: {consecutive_failures: 3, slow_rate: {threshold: 0.5, slower_than: 200ms, \
     window: {calls: 10}, minimum_calls: 3}}, open: {base: 60s, jitter: 0}}}]"
        .to_owned()
}

/// A client whose request is not complete yet.
fn upload(proxy: &Running) -> Client {
    let mut client = proxy.client();
    client.peer.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\nhello");
    client
}

#[test]
fn slow_uploads_are_neither_slow_answers_nor_time_outs() {
    let upstream = good();
    let proxy = Running::start(upstream.address, &limits());
    let mut clients: Vec<Client> = (0..4).map(|_| upload(&proxy)).collect();
    // A part of the scenario: so long the clients take.
    std::thread::sleep(FULL);
    for client in &mut clients {
        client.peer.send("world");
        assert_eq!(client.answer().unwrap().status, 200);
    }
    proxy.wait_for_outcomes("success", 4.0);
}

#[test]
fn an_upload_in_chunks_byte_by_byte_is_not_slow() {
    let upstream = good();
    let proxy = Running::start(upstream.address, &limits());
    let mut client = proxy.client();
    client.peer.send("POST / HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n");
    for _ in 0..6 {
        std::thread::sleep(FULL / 6);
        client.peer.send("1\r\nx\r\n");
    }
    client.peer.send("0\r\n\r\n");
    assert_eq!(client.answer().unwrap().status, 200);
    proxy.wait_for_outcomes("success", 1.0);
}

#[test]
fn a_slow_upstream_is_slow_though_the_upload_was_slow_too() {
    let upstream = Upstream::start(|mut peer| {
        while peer.request().is_some() {
            std::thread::sleep(Duration::from_millis(250));
            peer.send(&ok("late"));
        }
    });
    // The limit is far away: a busy machine shall not make a time-out of it.
    let limits = limits().replace("timeout: {request: 300ms}", "timeout: {request: 60s}");
    let proxy = Running::start(upstream.address, &limits);
    let mut client = upload(&proxy);
    std::thread::sleep(FULL);
    client.peer.send("world");
    assert_eq!(client.answer().unwrap().status, 200);
    proxy.wait_for_outcomes("slow", 1.0);
}

#[test]
fn clients_that_leave_within_their_own_uploads_say_nothing() {
    let upstream = good();
    let proxy = Running::start(upstream.address, &limits());
    let clients: Vec<Client> = (0..4).map(|_| upload(&proxy)).collect();
    std::thread::sleep(FULL);
    drop(clients);
    proxy.wait_for_outcomes("neutral", 4.0);
    assert_eq!(proxy.ask(&get("/")).status, 200);
}

#[test]
fn a_client_that_leaves_an_upstream_that_is_late_already_says_so() {
    let upstream = Upstream::start(|mut peer| {
        peer.request();
        peer.closed();
    });
    let limits = limits().replace("timeout: {request: 300ms}", "timeout: {request: 60s}");
    let proxy = Running::start(upstream.address, &limits);
    let mut client = proxy.client();
    client.peer.send(&get("/"));
    std::thread::sleep(FULL);
    client.close();
    proxy.wait_for_outcomes("slow", 1.0);
}

#[test]
fn a_client_that_leaves_long_after_good_headers_is_no_time_out() {
    let upstream = Upstream::start(|mut peer| {
        if peer.request().is_some() {
            peer.send("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nx");
            peer.closed();
        }
    });
    let proxy = Running::start(upstream.address, &limits());
    let mut client = proxy.client();
    client.peer.send(&get("/"));
    client.peer.head().unwrap();
    std::thread::sleep(FULL);
    client.close();
    proxy.wait_for_outcomes("neutral", 1.0);
}

#[test]
fn our_own_patience_with_an_expectation_is_nobodys_latency() {
    let upstream = good();
    let proxy = Running::start(upstream.address, &limits());
    let mut client = proxy.client();
    // The upstream says no 100, as many do; after a second the body goes on unasked.
    let head = "POST / HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n";
    client.peer.send(head);
    client.peer.head().unwrap();
    client.peer.send("hello");
    assert_eq!(client.answer().unwrap().status, 200);
    proxy.wait_for_outcomes("success", 1.0);
}

#[test]
fn an_upstream_that_takes_nothing_has_its_limit() {
    let (_go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = Upstream::start(move |_peer| {
        // It is there, and reads nothing until the test ends.
        assert!(wait.lock().unwrap().recv().is_err());
    });
    let proxy = Running::start(upstream.address, &limits());
    let mut client = proxy.client();
    let length = 64 << 20;
    client.peer.send(&format!("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n"));
    let mut writer = client.peer.stream.try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        let piece = vec![b'x'; 1 << 20];
        // After the answer the proxy reads and drops the rest, within its limits: how much
        // of it that is does not matter here.
        let _all = (0..64).all(|_| writer.write_all(&piece).is_ok());
    });
    assert_eq!(client.answer().unwrap().status, 504);
    proxy.wait_for_outcomes("failure", 1.0);
    drop(client);
    writing.join().unwrap();
}

#[test]
fn an_early_answer_to_an_upload_reaches_the_client_though_the_connection_breaks() {
    for (status, outcome) in [(413, "success"), (200, "success"), (500, "failure")] {
        let upstream = Upstream::start(move |mut peer| {
            if peer.head().is_some() {
                // Answers, and leaves the rest unread: the close is a reset.
                peer.send(&format!("HTTP/1.1 {status} No\r\ncontent-length: 2\r\n\r\nno"));
            }
        });
        let proxy = Running::start(upstream.address, &policy("timeout: {request: 10s}"));
        let mut client = proxy.client();
        client.peer.send("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 8000000\r\n\r\n");
        let mut writer = client.peer.stream.try_clone().unwrap();
        let writing = std::thread::spawn(move || {
            // The proxy may close before the end.
            drop(writer.write_all(&vec![b'x'; 8_000_000]));
        });
        let answer = client.answer().unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (status, "no"));
        proxy.wait_for_outcomes(outcome, 1.0);
        drop(client);
        writing.join().unwrap();
    }
}

#[test]
fn an_answer_that_is_lost_with_the_connection_within_an_upload_says_nothing() {
    let upstream = Upstream::start(|mut peer| {
        if peer.head().is_some() {
            peer.reset();
        }
    });
    let proxy = Running::start(upstream.address, &policy("timeout: {request: 10s}"));
    for _ in 0..4 {
        let mut client = upload(&proxy);
        assert_eq!(client.answer().unwrap().status, 503);
    }
    proxy.wait_for_outcomes("neutral", 4.0);
    // With the whole request sent it is the upstream's doing.
    for _ in 0..3 {
        assert_eq!(proxy.ask(&get("/")).status, 503);
    }
    proxy.wait_for_outcomes("failure", 3.0);
}

#[test]
fn time_in_our_own_queue_is_not_the_upstreams() {
    let upstream = Upstream::start(|mut peer| {
        while peer.request().is_some() {
            std::thread::sleep(Duration::from_millis(150));
            peer.send(&ok("fine"));
        }
    });
    // The last of five waits for 600 ms in the queue and 150 ms for its answer.
    let limits = limits()
        .replace("timeout: {request: 300ms}", "timeout: {request: 10s}")
        .replace("slower_than: 200ms", "slower_than: 500ms");
    let proxy = Running::with(
        &file(upstream.address, &limits)
            .replace("endpoints: [", "pool: {max_connections: 1}, endpoints: ["),
    );
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..5).map(|_| scope.spawn(|| proxy.ask(&get("/")).status)).collect();
        assert!(calls.into_iter().all(|call| call.join().unwrap() == 200));
    });
    proxy.wait_for_outcomes("success", 5.0);
}

#[test]
fn a_probe_whose_client_does_not_complete_its_request_gives_its_slot_back() {
    let upstream = Upstream::start(|mut peer| {
        while let Some((head, _)) = peer.request() {
            let fails = head.starts_with("get /fail");
            peer.send(&if fails { ok("no").replace("200 OK", "500 No") } else { ok("fine") });
        }
    });
    let proxy = Running::start(
        upstream.address,
        "policies: [{name: p, scope: policy, breaker: {trip: {consecutive_failures: 3}, \
         open: {base: 200ms, jitter: 0}, half_open: {lease: 400ms}}}]",
    );
    for _ in 0..3 {
        assert_eq!(proxy.ask(&get("/fail")).status, 500);
    }
    // A part of the scenario: the open time is over, and the next call is the probe.
    std::thread::sleep(Duration::from_millis(300));
    let mut probe = upload(&proxy);
    wait_for("half-open", || (proxy.ask(&get("/")).status == 503).then_some(()));
    let opened = r#"bimetal_breaker_transitions_total{policy="p",scope="policy",from="half_open",to="open",cause="probes_expired"}"#;
    wait_for("the slot", || (proxy.ask(&get("/")).status == 200).then_some(()));
    assert_eq!(proxy.metric(opened), Some(0.0));
    // What it brings now is late.
    probe.peer.send("world");
    assert_eq!(probe.answer().unwrap().status, 200);
    let late = r#"bimetal_late_total{policy="p",scope="policy"}"#;
    wait_for("the late result", || (proxy.metric(late) == Some(1.0)).then_some(()));
}

#[test]
fn a_probe_whose_answer_has_begun_lets_another_pass() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = Upstream::start(move |mut peer| {
        while let Some((head, _)) = peer.request() {
            if head.starts_with("get /fail") {
                peer.send("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n");
            } else if head.starts_with("get /long") {
                peer.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlo");
                // The test may be over.
                let _ = wait.lock().unwrap().recv();
                peer.send("ng");
            } else {
                peer.send(&ok("fine"));
            }
        }
    });
    let proxy = Running::start(
        upstream.address,
        "policies: [{name: p, scope: policy, breaker: {trip: {consecutive_failures: 1}, \
         open: {base: 50ms, jitter: 0}, half_open: {lease: 60s, required_successes: 2}}}]",
    );
    assert_eq!(proxy.ask(&get("/fail")).status, 500);
    let mut probe = wait_for("a probe", || {
        let mut client = proxy.client();
        client.peer.send(&get("/long"));
        client.peer.head().unwrap().starts_with("http/1.1 200 ").then_some(client)
    });
    // One probe at a time; its download may last as long as it likes.
    assert_eq!(proxy.ask(&get("/")).status, 200);
    go.send(()).unwrap();
    assert_eq!(probe.peer.take(4), b"long");
    proxy.wait_for_outcomes("success", 2.0);
}

#[test]
fn the_status_of_grpc_web_is_read_where_it_comes_by() {
    for (media, body) in [
        ("application/grpc-web", "\0\0\0\0\u{1}x\u{80}\0\0\0\u{10}grpc-status: 14\n"),
        ("application/grpc-web-text", "AAAAAAF4gAAAABBncnBjLXN0YXR1czogMTQK"),
    ] {
        let bytes: Vec<u8> = body.chars().map(|letter| letter as u8).collect();
        let upstream = Upstream::start(move |mut peer| {
            while peer.request().is_some() {
                let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n";
                peer.send(&format!("{head}content-type: {media}\r\n\r\n"));
                for byte in &bytes {
                    peer.send_bytes(&[b"1\r\n", &[*byte][..], b"\r\n"].concat());
                }
                peer.send("0\r\n\r\n");
            }
        });
        let proxy = Running::start(upstream.address, &policy("timeout: {request: 10s}"));
        for _ in 0..3 {
            assert_eq!(proxy.ask(&get("/")).status, 200);
        }
        proxy.wait_for_outcomes("failure", 3.0);
        assert_eq!(proxy.ask(&get("/")).status, 503);
    }
}
