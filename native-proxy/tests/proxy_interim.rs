//! Informational answers (1xx), and clients that wait for leave to send their body.

mod proxy_support;

use proxy_support::{Client, Peer, Running, Upstream, get, ok, policy, value};
use std::io::Write;
use std::sync::mpsc;

const HINT: &str = "HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\n\r\n";
const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";

fn post(version: &str, more: &str, body: &str) -> String {
    let length = body.len();
    format!("POST / HTTP/{version}\r\nhost: t\r\ncontent-length: {length}\r\n{more}\r\n{body}")
}

/// The status of the next head.
fn status(client: &mut Client) -> u16 {
    let head = client.peer.head().expect("a head");
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Waits for something to send, then sends it, for each of `steps`.
fn stepping(steps: mpsc::Receiver<&'static str>) -> Upstream {
    let steps = std::sync::Mutex::new(steps);
    Upstream::start(move |mut peer| {
        while peer.head().is_some() {
            while let Ok(step) = steps.lock().unwrap().recv() {
                peer.send(step);
                if step.starts_with("HTTP/1.1 2") {
                    break;
                }
            }
        }
    })
}

#[test]
fn informational_answers_pass_when_they_come() {
    let (next, steps) = mpsc::channel();
    let upstream = stepping(steps);
    let proxy = Running::start(upstream.address, &policy(""));
    let mut client = proxy.client();
    for _ in 0..2 {
        client.peer.send(&get("/"));
        // Each is there before the next one is sent.
        for (text, wanted) in [(HINT, 103), ("HTTP/1.1 102 Processing\r\n\r\n", 102), (HINT, 103)] {
            next.send(text).unwrap();
            let head = client.peer.head().unwrap();
            assert!(head.starts_with(&format!("http/1.1 {wanted} ")), "{head}");
            assert_eq!(value(&head, "link").is_some(), wanted == 103, "{head}");
        }
        next.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").unwrap();
        let answer = client.answer().unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "hi"));
    }
    proxy.wait_for_outcomes("success", 2.0);
    assert_eq!(proxy.outcomes("failure") + proxy.outcomes("neutral"), 0.0);
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn they_come_before_the_answer_that_came_with_them() {
    let text = format!(
        "HTTP/1.1 103 Early Hints\r\nconnection: x-mine\r\nx-mine: 1\r\nlink: </a>\r\n\r\n\
         {HINT}{CONTINUE}{}",
        ok("hi")
    );
    let upstream = Upstream::answering(text);
    let proxy = Running::start(upstream.address, "");
    let mut client = proxy.client();
    // Pipelined: each has its own heads before its answer.
    client.peer.send(&[get("/"), get("/"), get("/")].concat());
    for _ in 0..3 {
        let head = client.peer.head().unwrap();
        assert_eq!(head, "http/1.1 103 early hints\r\nlink: </a>\r\n\r\n");
        assert_eq!([status(&mut client), status(&mut client)], [103, 100]);
        assert_eq!(client.answer().unwrap().text(), "hi");
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn a_client_that_reads_late_gets_every_byte_in_order() {
    // Larger than what sockets hold, so that heads queue up behind a half sent answer.
    const SIZE: usize = 16 << 20;
    let upstream = Upstream::start(|mut peer| {
        while peer.request().is_some() {
            peer.send(HINT);
            peer.send(&format!("HTTP/1.1 200 OK\r\ncontent-length: {SIZE}\r\n\r\n"));
            peer.send(&"x".repeat(SIZE));
        }
    });
    let proxy = Running::start(upstream.address, "");
    let mut client = proxy.client();
    client.peer.send(&[get("/"), get("/")].concat());
    for _ in 0..2 {
        assert_eq!(status(&mut client), 103);
        let answer = client.answer().unwrap();
        assert!(answer.body.len() == SIZE && answer.body.iter().all(|byte| *byte == b'x'));
    }
}

#[test]
fn an_old_client_gets_none() {
    let upstream = Upstream::answering(format!("{HINT}{CONTINUE}{}", ok("hi")));
    let proxy = Running::start(upstream.address, "");
    let mut client = proxy.client();
    let answer = client.ask("GET / HTTP/1.0\r\nhost: t\r\n\r\n");
    assert_eq!((answer.status, answer.text().as_str()), (200, "hi"));
}

#[test]
fn a_flood_of_them_is_a_failure() {
    let upstream = Upstream::start(|mut peer| {
        while peer.request().is_some() {
            // It does not end by itself.
            while peer.stream.write_all(HINT.as_bytes()).is_ok() {}
        }
    });
    let proxy = Running::start(upstream.address, &policy(""));
    for count in 1..=2 {
        let mut client = proxy.client();
        client.peer.send(&get("/"));
        let mut hints = 0;
        let last = loop {
            match status(&mut client) {
                103 => hints += 1,
                other => break other,
            }
        };
        assert_eq!(last, 502);
        assert!(hints <= 64, "{hints}");
        proxy.wait_for_outcomes("failure", f64::from(count));
    }
    assert_eq!(proxy.outcomes("success"), 0.0);
}

#[test]
fn the_time_for_headers_runs_on() {
    let upstream = Upstream::start(|mut peer| {
        peer.request();
        peer.send(HINT);
        peer.closed();
    });
    let proxy = Running::start(upstream.address, &policy("timeout: {request: 200ms}"));
    let mut client = proxy.client();
    client.peer.send(&get("/"));
    assert_eq!([status(&mut client), status(&mut client)], [103, 504]);
    proxy.wait_for_outcomes("failure", 1.0);
}

#[test]
fn a_waiting_client_gets_leave_from_the_upstream_once() {
    let (go, wait) = mpsc::channel::<()>();
    let (seen, heads) = mpsc::channel();
    let wait = std::sync::Mutex::new(wait);
    let upstream = Upstream::start(move |mut peer| {
        while let Some(head) = peer.head() {
            seen.send(head).unwrap();
            wait.lock().unwrap().recv().unwrap();
            peer.send(&format!("{HINT}{CONTINUE}{CONTINUE}"));
            assert_eq!(peer.take(4), b"body");
            peer.send(&ok("got it"));
        }
    });
    let proxy = Running::start(upstream.address, &policy(""));
    let mut client = proxy.client();
    for _ in 0..2 {
        client.peer.send(
            &post("1.1", "expect: 100-continue\r\n", "body").replace("\r\n\r\nbody", "\r\n\r\n"),
        );
        let head = heads.recv_timeout(proxy_support::TEST_DEADLINE).unwrap();
        assert_eq!(value(&head, "expect"), Some("100-continue"), "{head}");
        go.send(()).unwrap();
        let mut leave = [status(&mut client), status(&mut client)];
        leave.sort_unstable();
        assert_eq!(leave, [100, 103]);
        client.peer.send("body");
        let answer = client.answer().unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, "got it"));
    }
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn a_waiting_client_gets_leave_also_where_the_upstream_knows_none() {
    let upstream = Upstream::answering(ok("got it"));
    let proxy = Running::start(upstream.address, "");
    let mut client = proxy.client();
    client
        .peer
        .send(&post("1.1", "expect: 100-Continue\r\n", "body").replace("\r\n\r\nbody", "\r\n\r\n"));
    assert_eq!(status(&mut client), 100);
    client.peer.send("body");
    assert_eq!(client.answer().unwrap().text(), "got it");
}

#[test]
fn whoever_does_not_wait_for_leave_needs_none() {
    let (seen, bodies) = mpsc::channel();
    let upstream = Upstream::start(move |mut peer: Peer| {
        while let Some((_, body)) = peer.request() {
            seen.send(body).unwrap();
            peer.send(&format!("{CONTINUE}{}", ok("got it")));
        }
    });
    let proxy = Running::start(upstream.address, "");
    let mut client = proxy.client();
    // Its body comes with the head, so the upstream gets it in time and 100 means nothing more.
    client.peer.send(&post("1.1", "expect: 100-continue\r\n", "body"));
    assert_eq!([status(&mut client), status(&mut client)], [100, 200]);
    assert_eq!(bodies.recv().unwrap(), b"body");
    // An old client's expectation is none.
    let mut old = proxy.client();
    old.peer.send(&post("1.0", "expect: 100-continue\r\n", "body"));
    assert_eq!(status(&mut old), 200);
    assert_eq!(bodies.recv().unwrap(), b"body");
}

#[test]
fn no_leave_is_given_where_the_answer_is_known() {
    let upstream = Upstream::start(|mut peer| {
        peer.head().unwrap();
        peer.send("HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n");
        peer.closed();
    });
    let expecting =
        post("1.1", "expect: 100-continue\r\n", "body").replace("\r\n\r\nbody", "\r\n\r\n");
    let open = Running::start(upstream.address, &policy(""));
    let rejecting = Running::start(upstream.address, "policies: [{name: p, mode: forced_open}]");
    for (proxy, wanted) in [(&open, 403), (&rejecting, 503)] {
        let mut client = proxy.client();
        client.peer.send(&expecting);
        let answer = client.answer().unwrap();
        assert_eq!(answer.status, wanted);
        // Nobody knows whether the body comes: the connection ends here.
        assert_eq!(answer.header("connection"), Some("close"), "{}", answer.head);
        client.peer.stream.shutdown(std::net::Shutdown::Write).unwrap();
        client.peer.closed();
    }
}

#[test]
fn other_expectations_are_refused_before_anything_is_sent() {
    let upstream = Upstream::answering(ok(""));
    let proxy = Running::start(upstream.address, "");
    let answer = proxy.ask(&post("1.1", "expect: the-unexpected\r\n", "body"));
    assert_eq!(answer.status, 417);
    assert_eq!(upstream.connections(), 0);
    assert_eq!(proxy.metric("bimetal_refused_total{reason=\"expectation\"}"), Some(1.0));
}
