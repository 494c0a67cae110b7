//! How fast answers go to their clients, over real sockets.

mod proxy_support;

use proxy_support::{Client, Running, TEST_DEADLINE, Upstream, file, get, ok, wait_for};
use std::io::Write;
use std::sync::mpsc;
use std::time::{Duration, Instant};

fn limit(fields: &str) -> String {
    format!("policies: [{{name: p, scope: policy, bandwidth: {{{fields}}}}}]")
}

/// The body that comes on a client's connection; one that is paced where it is not to be would outlast
/// any test.
fn soon(mut client: Client, times: usize) -> Vec<String> {
    let (told, answers) = mpsc::channel();
    std::thread::spawn(move || {
        for _ in 0..times {
            drop(told.send(client.ask(&get("/")).text()));
        }
    });
    (0..times).map(|_| answers.recv_timeout(TEST_DEADLINE).unwrap()).collect()
}

/// Bytes that are like no others at another place.
fn body(length: usize) -> String {
    (0..length / 8).map(|place| format!("{place:07}\n")).collect()
}

/// traefik/traefik#3633: slow downloads ended early, a few MB of 55.
#[test]
fn a_body_takes_at_least_what_its_rate_says_and_comes_whole() {
    let sent = body(256 << 10);
    let upstream = Upstream::answering(ok(&sent));
    let proxy = Running::start(upstream.address, &limit("per_connection: 256KiB/s, after: 64KiB"));
    let mut client = proxy.client();
    let begun = Instant::now();
    let answer = client.ask(&get("/"));
    // 192 KiB are paced, two pieces of which may come at once.
    assert!(begun.elapsed() >= Duration::from_millis(650), "{:?}", begun.elapsed());
    assert!(answer.text() == sent, "another body came");
    proxy.wait_for_outcomes("success", 1.0);
    let labels = [("end", "answered")];
    wait_for("its end", || {
        (proxy.metrics().sum("bimetal_requests_ended_total", &labels) == 1.0).then_some(())
    });
}

/// As nginx's `limit_rate_after`: of each answer, not of the connection (traefik/traefik#2964, caddyserver/caddy#4476
/// ask for that).
#[test]
fn each_answer_has_its_free_part() {
    let sent = body(96 << 10);
    let upstream = Upstream::answering(ok(&sent));
    // By its rate alone it would outlast the test.
    let proxy = Running::start(upstream.address, &limit("per_connection: 1KiB/s, after: 96KiB"));
    assert!(soon(proxy.client(), 3) == [&*sent; 3]);
}

#[test]
fn others_on_the_same_worker_are_not_held_up() {
    let upstream = Upstream::start(|mut peer| {
        while let Some((head, _)) = peer.request() {
            let length = if head.starts_with("get /large") { 1 << 20 } else { 8 };
            peer.send(&ok(&body(length)));
        }
    });
    let rest = limit("per_connection: 1KiB/s").replace("scope: policy", "scope: route");
    let proxy = Running::start(upstream.address, &rest);
    let mut large = proxy.client();
    large.peer.send(&get("/large"));
    assert!(large.peer.head().unwrap().contains(" 200 "));
    let mut small = proxy.client();
    for _ in 0..50 {
        assert_eq!(small.ask(&get("/small")).status, 200);
    }
    // It has a thousand seconds to go.
    let labels = [("end", "answered")];
    assert_eq!(proxy.metrics().sum("bimetal_requests_ended_total", &labels), 50.0);
    large.close();
    proxy.wait_for_outcomes("neutral", 1.0);
}

/// The pieces come further apart than either side may be silent within a body.
#[test]
fn nobody_is_silent_whose_answer_is_paced() {
    let sent = body(64 << 10);
    let upstream = Upstream::answering(ok(&sent));
    let rest = "policies: [{name: p, scope: policy, bandwidth: {per_connection: 64KiB/s}, \
        breaker: {trip: {consecutive_failures: 1}, failure: {transport: [reset, timeout]}}}]";
    let text = file(upstream.address, rest).replace("echo: {", "echo: {idle: 40ms, ").replacen(
        "'127.0.0.1:0'}]",
        "'127.0.0.1:0', idle: 40ms}]",
        1,
    );
    let proxy = Running::with(&text);
    let mut client = proxy.client();
    assert!(client.ask(&get("/")).text() == sent);
    proxy.wait_for_outcomes("success", 1.0);
    assert!(client.ask(&get("/")).text() == sent);
    proxy.wait_for_outcomes("success", 2.0);
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn an_upstream_that_breaks_off_within_a_paced_answer_has_failed() {
    let upstream = Upstream::start(|mut peer| {
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n");
        peer.send(&body(64));
    });
    let proxy = Running::start(upstream.address, &limit("per_connection: 1KiB/s"));
    let mut client = proxy.client();
    client.peer.send(&get("/"));
    assert!(client.peer.head().unwrap().contains(" 200 "));
    client.peer.closed();
    proxy.wait_for_outcomes("failure", 1.0);
}

#[test]
fn a_body_of_unknown_length_keeps_its_trailers() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
         3\r\none\r\n3\r\ntwo\r\n0\r\nx-sum: 6\r\n\r\n",
    );
    let proxy = Running::start(upstream.address, &limit("per_connection: 1KiB/s"));
    let mut client = proxy.client();
    let request = "GET / HTTP/1.1\r\nhost: t\r\nte: trailers\r\n\r\n";
    for count in 1..3 {
        client.peer.send(request);
        assert!(client.peer.head().unwrap().contains("chunked"));
        let mut text = String::new();
        loop {
            let line = client.peer.line();
            let size = usize::from_str_radix(line.trim(), 16).unwrap();
            if size == 0 {
                break;
            }
            text += &String::from_utf8(client.peer.take(size)).unwrap();
            client.peer.take(2);
        }
        assert_eq!(text, "onetwo");
        assert_eq!(client.peer.line(), "x-sum: 6\r\n");
        assert_eq!(client.peer.line(), "\r\n");
        proxy.wait_for_outcomes("success", f64::from(count));
    }
}

/// An answer that begins before its request is whole: the request goes on while the answer is paced
/// (mistakster/throttle-proxy#5 tells the two apart).
#[test]
fn an_upload_goes_on_beside_a_paced_answer() {
    let (told, whole) = mpsc::channel();
    let upstream = Upstream::start(move |mut peer| {
        let head = peer.head().unwrap();
        peer.send("HTTP/1.1 200 OK\r\ncontent-length: 65536\r\n\r\n");
        peer.send(&body(65536));
        told.send(peer.body_of(&head).len()).unwrap();
    });
    let proxy = Running::start(upstream.address, &limit("per_connection: 1KiB/s"));
    let mut client = proxy.client();
    let length = 4 << 20;
    client.peer.send(&format!("POST / HTTP/1.1\r\nhost: t\r\ncontent-length: {length}\r\n\r\n"));
    assert!(client.peer.head().unwrap().contains(" 200 "));
    let mut upload = client.peer.stream.try_clone().unwrap();
    let sends = std::thread::spawn(move || upload.write_all(&vec![b'x'; length]));
    assert_eq!(whole.recv_timeout(TEST_DEADLINE).unwrap(), length);
    sends.join().unwrap().unwrap();
}

#[test]
fn in_shadow_nothing_is_paced() {
    let sent = body(512 << 10);
    let upstream = Upstream::answering(ok(&sent));
    let rest = limit("per_connection: 1KiB/s}, mode: shadow, fallback: {");
    let proxy = Running::start(upstream.address, &rest);
    assert!(soon(proxy.client(), 1) == [&*sent]);
}
