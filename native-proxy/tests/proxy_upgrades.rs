//! Switches of protocols: which are asked for, which are granted, and whose bytes come behind.

mod proxy_support;

use proxy_support::{Peer, Running, Upstream, file, get, ok, policy, value};
use std::net::Shutdown;
use std::sync::mpsc::{self, Receiver};

const SWITCH: &str =
    "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";

/// An upstream that tells every head it gets, and switches wherever it is asked to, to what it is
/// asked for.
fn switcher() -> (Upstream, Receiver<String>) {
    let (told, heads) = mpsc::channel();
    let upstream = Upstream::start(move |mut peer| {
        while let Some((head, _)) = peer.request() {
            told.send(head.clone()).unwrap();
            match value(&head, "upgrade") {
                Some(protocol) => {
                    peer.send(&SWITCH.replace("websocket", protocol));
                    return echo(&mut peer);
                }
                None => peer.send(&ok("fine")),
            }
        }
    });
    (upstream, heads)
}

fn echo(peer: &mut Peer) {
    let line = peer.line();
    peer.send(&line);
    peer.closed();
}

fn asking(lines: &str) -> String {
    format!("GET /chat HTTP/1.1\r\nhost: t\r\n{lines}\r\n")
}

#[test]
fn only_listed_protocols_are_asked_for() {
    let (upstream, heads) = switcher();
    let proxy = Running::start(upstream.address, &policy(""));
    let asked = "connection: Upgrade\r\nupgrade: ";
    for (request, protocol) in [
        (asking(&format!("{asked}websocket\r\n")), Some("websocket")),
        (asking(&format!("{asked}WebSocket\r\n")), Some("websocket")),
        (asking(&format!("{asked}h2c, websocket\r\n")), Some("websocket")),
        (asking(&format!("{asked}h2c\r\nupgrade: websocket\r\n")), Some("websocket")),
        (asking(&format!("{asked}websocket\r\nte: trailers\r\n")), Some("websocket")),
        (asking(&format!("{asked}h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n")), None),
        (
            asking("connection: upgrade, http2-settings\r\nupgrade: H2C\r\nhttp2-settings: AA\r\n"),
            None,
        ),
        (asking("connection: http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AA\r\n"), None),
        (asking(&format!("{asked}\th2c \r\n")), None),
        (asking(&format!("{asked}h2c\r\nupgrade: H2c\r\n")), None),
        (asking(&format!("{asked}HTTP/2.0, TLS/1.0\r\n")), None),
        (asking(&format!("{asked}tcp\r\n")), None),
        (asking(&format!("{asked}websocket\r\ncontent-length: 1\r\n")) + "x", None),
        (asking("upgrade: websocket\r\n"), None),
        (asking("connection: keep-alive\r\nupgrade: websocket\r\n"), None),
        (asking(&format!("{asked}websocket\r\n")).replace("HTTP/1.1", "HTTP/1.0"), None),
    ] {
        let mut client = proxy.client();
        client.peer.send(&request);
        let head = client.peer.head().expect("an answer");
        let went = heads.recv().unwrap();
        assert_eq!(value(&went, "upgrade"), protocol, "{request}{went}");
        assert_eq!(value(&went, "http2-settings"), None, "{request}");
        let status = if protocol.is_some() { " 101 " } else { " 200 " };
        assert!(head[8..].starts_with(status), "{request}{head}");
    }
    // HEAD has no body to read, and no tunnel either.
    let head = asking("connection: upgrade\r\nupgrade: websocket\r\n").replace("GET", "HEAD");
    let mut client = proxy.client();
    client.peer.send(&head);
    assert!(client.peer.head().unwrap().starts_with("http/1.1 200 "));
    assert_eq!(value(&heads.recv().unwrap(), "upgrade"), None);
}

#[test]
fn a_route_names_other_protocols_or_none() {
    let (upstream, heads) = switcher();
    for (upgrades, passes) in [("[tcp, websocket]", true), ("[]", false)] {
        let text = file(upstream.address, "")
            .replace("{upstream: echo}", &format!("{{upstream: echo, upgrades: {upgrades}}}"));
        let proxy = Running::with(&text);
        let mut client = proxy.client();
        client.peer.send(&asking("connection: upgrade\r\nupgrade: TCP\r\n"));
        let head = client.peer.head().unwrap();
        assert_eq!(head.starts_with("http/1.1 101 "), passes, "{upgrades} {head}");
        assert_eq!(value(&heads.recv().unwrap(), "upgrade").is_some(), passes);
        if passes {
            assert_eq!(
                (value(&head, "upgrade"), value(&head, "connection")),
                (Some("tcp"), Some("upgrade"))
            );
            client.peer.send("hello\n");
            assert_eq!(client.peer.line(), "hello\n");
        }
    }
}

#[test]
fn protocols_that_carry_calls_are_refused_in_the_file() {
    let upstream = ([127, 0, 0, 1], 9).into();
    for name in ["h2c", "H2C", "h2", "HTTP/2.0", "TLS/1.2", "a b", "''"] {
        let text = file(upstream, "")
            .replace("{upstream: echo}", &format!("{{upstream: echo, upgrades: [{name}]}}"));
        let wrong = bimetal_proxy::config::parse(&text, bimetal_proxy::config::Syntax::Yaml);
        let wrong = wrong.expect_err(name).to_string();
        assert!(wrong.contains("routes[0].upgrades[0]"), "{wrong}");
    }
}

#[test]
fn a_switch_to_what_was_not_asked_for_is_no_answer() {
    for granted in ["h2c", "websocket, h2c", "tcp", ""] {
        let answer = SWITCH.replace("upgrade: websocket", &format!("upgrade: {granted}"));
        let upstream = Upstream::answering(answer);
        let proxy = Running::start(upstream.address, &policy(""));
        for lines in ["", "connection: upgrade\r\nupgrade: websocket\r\n"] {
            assert_eq!(proxy.ask(&asking(lines)).status, 502, "{granted:?} {lines:?}");
        }
        proxy.wait_for_outcomes("failure", 2.0);
    }
}

#[test]
fn early_bytes_are_the_tunnels() {
    let (upstream, heads) = switcher();
    let proxy = Running::start(upstream.address, &policy(""));
    let asked = asking("connection: upgrade\r\nupgrade: websocket\r\n");
    for early in ["EARLY\n", "GET / HTTP/1.1\n", "\u{16}\u{3}\u{1}\n", "a: b\r\n\r\n\n"] {
        for cut in [true, false] {
            let mut client = proxy.client();
            if cut {
                client.peer.send(&asked);
                std::thread::sleep(std::time::Duration::from_millis(5));
                client.peer.send(early);
            } else {
                client.peer.send(&format!("{asked}{early}"));
            }
            assert!(client.peer.head().unwrap().starts_with("http/1.1 101 "));
            let line = early.split_inclusive('\n').next().unwrap();
            assert_eq!(client.peer.line(), line, "{early:?}");
            heads.recv().unwrap();
        }
    }
    // They may be many, and the last ones.
    let many = format!("{}\n", "x".repeat(300_000));
    let mut client = proxy.client();
    client.peer.send(&asked);
    client.peer.send(&many);
    client.peer.stream.shutdown(Shutdown::Write).unwrap();
    assert!(client.peer.head().unwrap().starts_with("http/1.1 101 "));
    assert_eq!(client.peer.line(), many);
    client.peer.closed();
    assert!(!proxy.metric("bimetal_refused_total{reason=\"malformed\"}").is_some_and(|n| n > 0.0));
}

#[test]
fn behind_any_other_answer_they_are_the_next_request() {
    let upstream = Upstream::answering(ok("no sockets here"));
    let proxy = Running::start(upstream.address, &policy(""));
    for protocol in ["websocket", "h2c"] {
        let asked = asking(&format!("connection: upgrade\r\nupgrade: {protocol}\r\n"));
        let mut client = proxy.client();
        client.peer.send(&format!("{asked}{}{}", get("/second"), &asked[..20]));
        assert_eq!(client.answer().unwrap().status, 200);
        assert_eq!(client.answer().unwrap().status, 200);
        client.peer.send(&asked[20..]);
        assert_eq!(client.answer().unwrap().status, 200);
        // What is no request is refused, and only then.
        client.peer.send(&format!("{asked}EARLY\n"));
        assert_eq!(client.answer().unwrap().status, 200);
        assert_eq!(client.answer().unwrap().status, 400);
    }
}
