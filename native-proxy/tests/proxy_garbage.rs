//! Upstreams that answer what is no answer: nothing ambiguous reaches a client, and no connection
//! is used again on which it came.

#[path = "../src/framing/answer_cases.rs"]
#[allow(dead_code, reason = "the unit tests use more of them")]
mod answer_cases;
mod proxy_support;

use answer_cases::BAD;
use bimetal_proxy::framing::Ask;
use proxy_support::{Running, TEST_DEADLINE, Upstream, get, ok, value, wait_for};
use std::io::{ErrorKind, Read};
use std::sync::mpsc::{self, Receiver};

const MANY: &str = "policies: [{name: p, scope: policy, \
                    breaker: {trip: {consecutive_failures: 1000}}}]";

/// What an upstream does once its bytes are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Waits,
    Closes,
}

/// Answers `/N` by the bytes with that number, and all else well. Tells when the proxy closes a
/// connection on which such bytes went out.
fn upstream(cases: Vec<(Vec<u8>, Then)>) -> (Upstream, Receiver<usize>) {
    let (left, closed) = mpsc::channel();
    let upstream = Upstream::start(move |mut peer| {
        while let Some((head, _)) = peer.request() {
            let path = head.split(' ').nth(1).unwrap().trim_start_matches('/').to_owned();
            let Ok(number) = path.parse::<usize>() else {
                peer.send(&ok("fine"));
                continue;
            };
            let (bytes, then) = &cases[number];
            peer.send_bytes(bytes);
            if *then == Then::Waits {
                peer.closed();
            }
            left.send(number).unwrap();
            return;
        }
    });
    (upstream, closed)
}

/// Everything that the proxy sends for a request, until it closes the connection.
fn all_of(proxy: &Running, request: &str) -> String {
    let mut client = proxy.client();
    client.peer.send(request);
    let mut bytes = Vec::new();
    match client.peer.stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{error}: the connection is still open"),
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn closing(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n")
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(120).collect::<String>().escape_debug().to_string()
}

#[test]
fn what_is_no_answer_is_a_failure_once_and_closes_the_connection() {
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "a".repeat(70_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(101));
    let listed = BAD.iter().map(|text| text.replace('^', "\0"));
    let cases: Vec<_> = listed.chain([long, many]).map(String::into_bytes).collect();
    let (upstream, closed) =
        upstream(cases.iter().map(|bytes| (bytes.clone(), Then::Waits)).collect());
    let proxy = Running::start(upstream.address, MANY);
    let mut client = proxy.client();
    for (number, bytes) in cases.iter().enumerate() {
        let got = all_of(&proxy, &closing(&format!("/{number}")));
        let context = format!("{}: {}", shown(bytes), shown(got.as_bytes()));
        // A chunked body is on its way when it turns bad; all else is known by the head.
        let is_chunked =
            bytes.starts_with(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        if is_chunked && got.starts_with("HTTP/1.1 200 ") {
            assert!(!got.ends_with("\r\n0\r\n\r\n"), "{context}");
        } else if !(is_chunked && got.is_empty()) {
            assert!(got.starts_with("HTTP/1.1 502 Bad Gateway\r\n"), "{context}");
            assert!(got.ends_with(r#"{"error":"upstream sent no valid HTTP"}"#), "{context}");
            assert_eq!(got.matches("HTTP/1.").count(), 1, "{context}");
        }
        assert_eq!(closed.recv_timeout(TEST_DEADLINE), Ok(number), "{context}");
        proxy.wait_for_outcomes("failure", number as f64 + 1.0);
        let next = client.ask(&get("/fine"));
        assert_eq!((next.status, next.text().as_str()), (200, "fine"), "{context}");
    }
    proxy.wait_for_outcomes("success", cases.len() as f64);
}

#[test]
fn a_connection_that_ends_early_is_a_failure_once() {
    let stages = [
        "",
        "HTT",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r",
        "HTTP/1.1 103 Early Hints\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx: y\r\n",
    ];
    let cases = stages.map(|text| (text.as_bytes().to_vec(), Then::Closes)).to_vec();
    let (upstream, _closed) = upstream(cases);
    let proxy = Running::start(upstream.address, MANY);
    for (number, text) in stages.iter().enumerate() {
        let got = all_of(&proxy, &closing(&format!("/{number}")));
        let context = format!("{text:?}: {}", shown(got.as_bytes()));
        let answered = got.replace("HTTP/1.1 103 Early Hints\r\n\r\n", "");
        if !answered.starts_with("HTTP/1.1 503 ") {
            // Within the body: the break may overtake what was there of it.
            assert!(text.contains("\r\n\r\n") && !text.starts_with("HTTP/1.1 103"), "{context}");
            assert!(answered.is_empty() || answered.starts_with("HTTP/1.1 200 "), "{context}");
            assert!(!got.ends_with("\r\n\r\nhello") && !got.ends_with("0\r\n\r\n"), "{context}");
        }
        proxy.wait_for_outcomes("failure", number as f64 + 1.0);
    }
    assert_eq!(proxy.outcomes("success") + proxy.outcomes("neutral"), 0.0);
}

#[test]
fn what_follows_an_answer_is_nobodys() {
    let poison = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
    let heads = [
        ("GET", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
        ("GET", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"),
        ("GET", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\ncontent-length: 6\r\n\r\n"),
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n"),
    ];
    let mut cases = Vec::new();
    for (_, head) in heads {
        // A whole answer, a body that should not be there, and a single byte.
        for more in [poison, "poison", "\r"] {
            cases.push((format!("{head}{more}").into_bytes(), Then::Waits));
        }
    }
    let count = cases.len();
    let (upstream, closed) = upstream(cases);
    let proxy = Running::start(upstream.address, MANY);
    for number in 0..count {
        let (method, head) = heads[number / 3];
        let request = closing(&format!("/{number}")).replace("GET", method);
        let got = all_of(&proxy, &request);
        let status = &head[9..12];
        let context = format!("{head:?}: {}", shown(got.as_bytes()));
        assert!(got.starts_with(&format!("HTTP/1.1 {status} ")), "{context}");
        assert!(!got.contains("poison"), "{context}");
        // Nobody asks on this connection again: it is closed, although it seemed good.
        let next = proxy.ask(&get("/fine"));
        assert_eq!((next.status, next.text().as_str()), (200, "fine"), "{context}");
        assert_eq!(closed.recv_timeout(TEST_DEADLINE), Ok(number), "{context}");
    }
    proxy.wait_for_outcomes("success", 2.0 * count as f64);
    assert_eq!(proxy.outcomes("failure"), 0.0);
}

#[test]
fn an_answer_that_comes_later_unasked_is_nobodys() {
    let (sent, unasked) = mpsc::channel();
    let upstream = Upstream::start(move |mut peer| {
        let Some((head, _)) = peer.request() else { return };
        let path = head.split(' ').nth(1).unwrap().to_owned();
        peer.send(&ok(&path));
        // Once that answer is used up, by the proxy's own word.
        if peer.number == 0 {
            sent.send(peer.stream.try_clone().unwrap()).unwrap();
        }
        while let Some((head, _)) = peer.request() {
            let path = head.split(' ').nth(1).unwrap().to_owned();
            peer.send(&ok(&path));
        }
    });
    let proxy = Running::start(upstream.address, MANY);
    assert_eq!(proxy.ask(&get("/a")).text(), "/a");
    proxy.wait_for_outcomes("success", 1.0);
    let mut stream = unasked.recv().unwrap();
    std::io::Write::write_all(&mut stream, ok("unasked").as_bytes()).unwrap();
    // The proxy sees it on its own: it sweeps its idle connections.
    wait_for("the end of the connection", || {
        (proxy.metric("bimetal_upstream_connections{upstream=\"echo\"}") == Some(0.0)).then_some(())
    });
    assert_eq!(proxy.ask(&get("/b")).text(), "/b");
    assert_eq!(upstream.connections(), 2);
}

#[test]
fn an_upstream_that_speaks_first_is_not_understood() {
    let upstream = Upstream::start(|mut peer| {
        peer.send("220 mail.example ESMTP\r\n");
        peer.closed();
    });
    let proxy = Running::start(upstream.address, MANY);
    for count in 1..=5 {
        let answer = proxy.ask(&get("/"));
        assert_eq!(answer.status, 502);
        assert_eq!(value(&answer.head, "content-type"), Some("application/json"));
        proxy.wait_for_outcomes("failure", f64::from(count));
    }
}
