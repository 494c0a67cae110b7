//! Where messages end (RFC 9112, 6 and 7).

use super::proxy_support::{Running, file, get, ok, policy};
use super::{next, telling, values};

#[test]
fn a_message_has_a_length_or_chunks_and_never_both() {
    let (upstream, requests) = telling(|_| {
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n".to_owned()
    });
    let proxy = Running::start(upstream.address, "");
    let mut client = proxy.client();
    for (method, framing, body, length, coding) in [
        ("POST", "content-length: 2\r\n\r\nab", &b"ab"[..], &["2"][..], &[][..]),
        ("POST", "content-length: 0\r\n\r\n", b"", &["0"], &[]),
        ("GET", "content-length: 2\r\n\r\nab", b"ab", &["2"], &[]),
        ("PUT", "transfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", b"ab", &[], &["chunked"]),
        ("GET", "transfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", b"ab", &[], &["chunked"]),
        ("GET", "\r\n", b"", &[], &[]),
        ("DELETE", "\r\n", b"", &[], &[]),
    ] {
        client.peer.send(&format!("{method} / HTTP/1.1\r\nhost: t\r\n{framing}"));
        let got = next(&requests);
        // Not a line too many stands before it.
        assert!(got.head.starts_with(&format!("{method} / ")), "{:?}", got.head);
        assert_eq!(got.body, body, "{method} {framing}");
        assert_eq!(got.values("content-length"), length, "{}", got.head);
        assert_eq!(got.values("transfer-encoding"), coding, "{}", got.head);
        let answer = client.answer().unwrap();
        assert_eq!((answer.text().as_str(), answer.header("content-length")), ("hi", None));
        assert_eq!(values(&answer.head, "transfer-encoding"), ["chunked"]);
    }
}

#[test]
fn chunk_extensions_are_overlooked_and_go_no_further() {
    let chunks = "2;a\r\nhi\r\n3 ;\ta=b ; c = \"d;\\\"\"\r\nyou\r\n0;z=1\r\n\r\n";
    let (upstream, requests) =
        telling(move |_| format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}"));
    let proxy = Running::start(upstream.address, "");
    let mut client = proxy.client();
    client
        .peer
        .send(&format!("POST / HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n{chunks}"));
    // Whoever reads here takes a line for a size, and nothing else.
    assert_eq!(next(&requests).body, b"hiyou");
    assert_eq!(client.answer().unwrap().text(), "hiyou");
}

#[test]
fn an_old_client_gets_no_chunks_and_no_trailers() {
    let (upstream, requests) = telling(|_| {
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
         5\r\nhello\r\n0\r\nx-sum: 5\r\n\r\n"
            .to_owned()
    });
    let proxy = Running::start(upstream.address, &policy(""));
    for lines in ["", "te: trailers\r\n", "connection: keep-alive\r\n"] {
        let mut client = proxy.client();
        client.peer.send(&format!("GET / HTTP/1.0\r\nhost: t\r\n{lines}\r\n"));
        assert!(next(&requests).head.starts_with("GET / HTTP/1.1\r\n"));
        let head = client.peer.raw_head().unwrap();
        assert!(head.starts_with("HTTP/1.0 200 ") || head.starts_with("HTTP/1.1 200 "), "{head}");
        assert_eq!(values(&head, "transfer-encoding"), Vec::<&str>::new());
        assert_eq!(client.peer.take(5), b"hello");
        // What says where it ends is the end of the connection.
        assert_eq!(values(&head, "content-length"), Vec::<&str>::new());
        assert_eq!(client.peer.raw_head(), None);
    }
    proxy.wait_for_outcomes("success", 3.0);
}

#[test]
fn an_answer_up_to_the_connections_end_is_framed_anew() {
    let upstream = super::Upstream::start(|mut peer| {
        peer.request();
        peer.send("HTTP/1.0 200 OK\r\n\r\nall of it");
    });
    let proxy = Running::start(upstream.address, &policy(""));
    let mut client = proxy.client();
    for _ in 0..2 {
        client.peer.send(&get("/"));
        let head = client.peer.raw_head().unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert_eq!(values(&head, "transfer-encoding"), ["chunked"], "{head}");
        assert_eq!(client.peer.body_of(&head), b"all of it");
    }
    proxy.wait_for_outcomes("success", 2.0);
}

#[test]
fn the_proxys_own_answer_to_head_has_no_body() {
    let (upstream, _requests) = telling(|_| ok("hi"));
    let text =
        file(upstream.address, "policies: [{name: p, match: {path: /no}, mode: forced_open}]")
            .replace("{upstream: echo}", "{host: t, upstream: echo}");
    let proxy = Running::with(&text);
    let mut client = proxy.client();
    for (host, path, status) in
        [("t", "/no", "503"), ("other", "/", "404"), ("t", "/a/..%2Fb", "400")]
    {
        let request = |method| format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
        let whole = client.ask(&request("GET"));
        client.peer.send(&request("HEAD"));
        let head = client.peer.raw_head().unwrap();
        assert_eq!(head.split(' ').nth(1), Some(status), "{head}");
        let length = whole.body.len().to_string();
        assert_eq!(values(&head, "content-length"), [length], "{head}");
        // The next answer comes right behind it.
        let next = client.ask("GET / HTTP/1.1\r\nhost: t\r\n\r\n");
        assert_eq!(next.text(), "hi");
    }
}

#[test]
fn an_upstream_of_http_1_0_gets_every_body_whole() {
    let (upstream, requests) = telling(|_| {
        "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nhi".to_owned()
    });
    let proxy = Running::start(upstream.address, &policy(""));
    let mut client = proxy.client();
    for request in [
        "POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 4\r\n\r\nbody",
        "POST / HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    ] {
        client.peer.send(request);
        let got = next(&requests);
        assert_eq!(got.body, b"body", "{request} became {}", got.head);
        assert!(got.head.starts_with("POST / HTTP/1.1\r\n"), "{}", got.head);
        assert_eq!(client.answer().unwrap().text(), "hi");
    }
}
