//! What goes through the proxy, byte by byte.

mod proxy_support;

use proxy_support::{Running, Upstream, get, ok, policy, value};
use std::sync::mpsc;

#[test]
fn both_sides_keep_their_connections() {
    let upstream = Upstream::answering(ok("hello"));
    let proxy = Running::start(upstream.address, "");
    let mut client = proxy.client();
    for _ in 0..5 {
        let answer = client.ask(&get("/"));
        assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    }
    assert_eq!(proxy.ask(&get("/")).text(), "hello");
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn bodies_pass_both_ways_whatever_their_framing() {
    let (seen, requests) = mpsc::channel();
    let upstream = Upstream::start(move |mut peer| {
        while let Some(request) = peer.request() {
            seen.send(request).unwrap();
            peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n");
            peer.send("3\r\nabc\r\n2\r\nde\r\n0\r\nx-sum: 5\r\n\r\n");
        }
    });
    let proxy = Running::start(upstream.address, "");
    let mut client = proxy.client();
    for request in [
        "POST /a?b=c HTTP/1.1\r\nhost: t\r\ncontent-length: 4\r\n\r\nbody",
        "POST /a?b=c HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n",
        "GET /a?b=c HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    ] {
        assert_eq!(client.ask(request).text(), "abcde");
        let (head, body) = requests.recv().unwrap();
        assert!(head.split(' ').nth(1) == Some("/a?b=c"), "{head}");
        assert_eq!(body, b"body");
    }
}

#[test]
fn headers_of_one_hop_stay_there() {
    let (seen, requests) = mpsc::channel();
    let upstream = Upstream::start(move |mut peer| {
        while let Some((head, _)) = peer.request() {
            seen.send(head).unwrap();
            peer.send(
                "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: x-mine\r\nx-mine: 1\r\n\
                 keep-alive: timeout=9\r\nx-kept: 2\r\n\r\n",
            );
        }
    });
    let proxy = Running::start(upstream.address, "");
    let answer = proxy.ask(
        "GET / HTTP/1.1\r\nhost: t\r\nconnection: x-secret, keep-alive\r\nx-secret: 1\r\n\
         te: trailers, gzip\r\nkeep-alive: 5\r\nproxy-connection: keep-alive\r\nupgrade: h2c\r\n\
         x-forwarded-for: 9.9.9.9\r\nx-kept: 2\r\n\r\n",
    );
    let head = requests.recv().unwrap();
    for gone in ["x-secret", "keep-alive", "proxy-connection", "upgrade"] {
        assert_eq!(value(&head, gone), None, "{gone} in {head}");
    }
    for (kept, wanted) in [
        ("te", "trailers"),
        ("connection", "te"),
        ("x-kept", "2"),
        ("host", "t"),
        ("x-forwarded-for", "9.9.9.9, 127.0.0.1"),
        ("x-forwarded-proto", "http"),
    ] {
        assert_eq!(value(&head, kept), Some(wanted), "{head}");
    }
    assert_eq!(answer.header("x-kept"), Some("2"));
    for gone in ["connection", "x-mine", "keep-alive"] {
        assert_eq!(answer.header(gone), None, "{gone} in {}", answer.head);
    }
}

#[test]
fn answers_without_a_body_keep_their_length() {
    let upstream = Upstream::start(|mut peer| {
        while let Some((head, _)) = peer.request() {
            peer.send(match head.split(' ').nth(1).unwrap() {
                "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                "/304" => "HTTP/1.1 304 Not Modified\r\netag: \"a\"\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n",
            });
        }
    });
    let proxy = Running::start(upstream.address, &policy(""));
    let mut client = proxy.client();
    client.peer.send("HEAD / HTTP/1.1\r\nhost: t\r\n\r\n");
    let head = client.peer.head().unwrap();
    assert_eq!(value(&head, "content-length"), Some("12"), "{head}");
    assert_eq!(client.ask(&get("/204")).status, 204);
    assert_eq!(client.ask(&get("/304")).status, 304);
    assert_eq!(upstream.connections(), 1);
    proxy.wait_for_outcomes("success", 3.0);
}

#[test]
fn a_slow_reader_slows_the_upstream_down() {
    // Far more than every buffer on the way holds.
    const SIZE: usize = 64 << 20;
    let (progress, sent) = mpsc::channel();
    let upstream = Upstream::start(move |mut peer| {
        peer.request();
        peer.send(&format!("HTTP/1.1 200 OK\r\ncontent-length: {SIZE}\r\n\r\n"));
        let piece = "x".repeat(1 << 20);
        for _ in 0..SIZE >> 20 {
            peer.send(&piece);
            progress.send(()).unwrap();
        }
    });
    let proxy = Running::start(upstream.address, "");
    let mut client = proxy.client();
    client.peer.send(&get("/"));
    // The upstream is held up once nothing arrives any more, long before it is done.
    let mut pieces = 0;
    while sent.recv_timeout(std::time::Duration::from_millis(500)).is_ok() {
        pieces += 1;
    }
    assert!(pieces < SIZE >> 20, "the whole body was taken in");
    assert_eq!(client.answer().unwrap().body.len(), SIZE);
}

#[test]
fn a_slow_upstream_slows_the_sender_down() {
    const SIZE: usize = 64 << 20;
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let upstream = Upstream::start(move |mut peer| {
        let head = peer.head().unwrap();
        wait.lock().unwrap().recv().unwrap();
        peer.take(value(&head, "content-length").unwrap().parse().unwrap());
        peer.send(&ok("got it"));
    });
    let proxy = Running::start(upstream.address, "");
    let mut client = proxy.client();
    let mut stream = client.peer.stream.try_clone().unwrap();
    let (progress, sent) = mpsc::channel();
    let sender = std::thread::spawn(move || {
        use std::io::Write;
        write!(stream, "POST / HTTP/1.1\r\nhost: t\r\ncontent-length: {SIZE}\r\n\r\n").unwrap();
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..SIZE >> 20 {
            stream.write_all(&piece).unwrap();
            progress.send(()).unwrap();
        }
    });
    let mut pieces = 0;
    while sent.recv_timeout(std::time::Duration::from_millis(500)).is_ok() {
        pieces += 1;
    }
    assert!(pieces < SIZE >> 20, "the whole body was taken in");
    go.send(()).unwrap();
    assert_eq!(client.answer().unwrap().text(), "got it");
    sender.join().unwrap();
}

#[test]
fn a_connection_that_died_idle_costs_no_call() {
    let (closed, closes) = mpsc::channel();
    let upstream = Upstream::start(move |mut peer| {
        if peer.request().is_some() {
            peer.send(&ok("once"));
        }
        drop(peer);
        closed.send(()).unwrap();
    });
    let proxy = Running::start(upstream.address, &policy(""));
    let mut client = proxy.client();
    for _ in 0..20 {
        let answer = client.ask("POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 2\r\n\r\nhi");
        assert_eq!((answer.status, answer.text().as_str()), (200, "once"));
        closes.recv_timeout(proxy_support::TEST_DEADLINE).unwrap();
    }
    assert_eq!(upstream.connections(), 20);
}

#[test]
fn a_switch_of_protocols_joins_both_ends() {
    let upstream = Upstream::start(|mut peer| {
        let (head, _) = peer.request().unwrap();
        assert_eq!(value(&head, "upgrade"), Some("chat"));
        assert_eq!(value(&head, "connection"), Some("upgrade"));
        // The first words come in one piece with the head.
        peer.send("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\nhello\n");
        let line = peer.line();
        peer.send(&line.to_uppercase());
    });
    let text = proxy_support::file(upstream.address, &policy(""))
        .replace("{upstream: echo}", "{upstream: echo, upgrades: [chat]}");
    let proxy = Running::with(&text);
    let mut client = proxy.client();
    client.peer.send("GET / HTTP/1.1\r\nhost: t\r\nconnection: Upgrade\r\nupgrade: chat\r\n\r\n");
    let head = client.peer.head().unwrap();
    assert!(head.starts_with("http/1.1 101"), "{head}");
    assert_eq!(client.peer.line(), "hello\n");
    client.peer.send("bye\n");
    assert_eq!(client.peer.line(), "BYE\n");
    client.peer.closed();
    proxy.wait_for_outcomes("success", 1.0);
}

#[test]
fn an_absolute_target_names_the_host() {
    let (seen, requests) = mpsc::channel();
    let upstream = Upstream::start(move |mut peer| {
        while let Some((head, _)) = peer.request() {
            seen.send(head).unwrap();
            peer.send(&ok(""));
        }
    });
    let proxy = Running::start(upstream.address, "");
    proxy.ask("GET http://real:80/x?y HTTP/1.1\r\nhost: other\r\n\r\n");
    let head = requests.recv().unwrap();
    assert!(head.starts_with("get /x?y http/1.1\r\n"), "{head}");
    assert_eq!(value(&head, "host"), Some("real:80"));
}

#[test]
fn an_older_client_that_names_no_host_asks_the_upstream_by_name() {
    let (seen, requests) = mpsc::channel();
    let upstream = Upstream::start(move |mut peer| {
        while let Some((head, _)) = peer.request() {
            seen.send(head).unwrap();
            peer.send(&ok(""));
        }
    });
    let proxy = Running::start(upstream.address, "");
    for (request, host) in
        [("GET / HTTP/1.0\r\n\r\n", "echo"), ("GET / HTTP/1.0\r\nhost: t\r\n\r\n", "t")]
    {
        assert_eq!(proxy.ask(request).status, 200);
        let head = requests.recv().unwrap();
        assert!(head.starts_with("get / http/1.1\r\n"), "{head}");
        assert_eq!(value(&head, "host"), Some(host));
    }
}

#[test]
fn an_upstream_may_get_its_own_name_as_host() {
    let (seen, requests) = mpsc::channel();
    let upstream = Upstream::start(move |mut peer| {
        while let Some((head, _)) = peer.request() {
            seen.send(head).unwrap();
            peer.send(&ok(""));
        }
    });
    let file = proxy_support::file(upstream.address, "");
    let proxy = Running::with(&file.replace("endpoints:", "host: endpoint, endpoints:"));
    let own = upstream.address.to_string();
    for request in
        ["GET /x HTTP/1.1\r\nhost: t\r\n\r\n", "GET http://t/x HTTP/1.1\r\nhost: t\r\n\r\n"]
    {
        proxy.ask(request);
        let head = requests.recv().unwrap();
        assert_eq!(value(&head, "host"), Some(own.as_str()));
        assert_eq!(value(&head, "x-forwarded-host"), Some("t"));
    }
}
