//! Statuses, and what comes before an answer (RFC 9110, 7.8, 10.1.1 and 15; RFC 9112, 4).

use super::proxy_support::{Running, get, ok, policy};
use super::{next, telling, values};

fn first_line(head: &str) -> &str {
    head.split_once("\r\n").map_or(head, |(line, _)| line)
}

#[test]
fn statuses_pass_with_their_reasons_known_or_not() {
    let (upstream, _requests) = telling(|head| {
        let line = head.split(' ').nth(1).unwrap().trim_start_matches('/').replace('_', " ");
        format!("HTTP/1.1 {line}\r\ncontent-length: 0\r\n\r\n")
    });
    let proxy = Running::start(upstream.address, "");
    let mut client = proxy.client();
    for (sent, wanted) in [
        ("200_OK", "200 OK"),
        ("200_Fine!", "200 Fine!"),
        ("299_Odd", "299 Odd"),
        ("418_I'm_a_teapot", "418 I'm a teapot"),
        ("499_", "499 "),
        ("599_Worse", "599 Worse"),
        ("404_", "404 "),
        ("404", "404 "),
        ("299", "299 "),
    ] {
        client.peer.send(&get(&format!("/{sent}")));
        let head = client.peer.raw_head().unwrap();
        assert_eq!(first_line(&head), format!("HTTP/1.1 {wanted}"));
    }
}

#[test]
fn statuses_are_judged_by_their_class() {
    let (upstream, _requests) = telling(|head| {
        let status = head.split(' ').nth(1).unwrap().trim_start_matches('/').to_owned();
        format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n")
    });
    let proxy = Running::start(upstream.address, &policy("debug_headers: true"));
    for status in [299, 399, 499, 599] {
        assert_eq!(proxy.ask(&get(&format!("/{status}"))).status, status);
    }
    proxy.wait_for_outcomes("failure", 1.0);
    assert_eq!(proxy.outcomes("success"), 3.0);
    // 600 is of no class.
    assert_eq!(proxy.ask(&get("/600")).status, 502);
}

#[test]
fn an_informational_line_has_its_space_before_no_reason() {
    let (upstream, _requests) =
        telling(|_| format!("HTTP/1.1 103\r\nlink: </a>\r\n\r\n{}", ok("")));
    let proxy = Running::start(upstream.address, "");
    let mut client = proxy.client();
    client.peer.send(&get("/"));
    let head = client.peer.raw_head().unwrap();
    assert_eq!(first_line(&head), "HTTP/1.1 103 ");
    assert_eq!(client.answer().unwrap().status, 200);
}

#[test]
fn whoever_must_upgrade_is_told_to_what() {
    let (upstream, _requests) = telling(|head| {
        let status = if head.starts_with("GET /must") { "426 Upgrade Required" } else { "200 OK" };
        format!(
            "HTTP/1.1 {status}\r\nconnection: upgrade\r\nupgrade: websocket\r\nupgrade: x/1\r\n\
             content-length: 0\r\n\r\n"
        )
    });
    let proxy = Running::start(upstream.address, "");
    let mut client = proxy.client();
    for (path, upgrade, connection) in
        [("/must", &["websocket", "x/1"][..], &["upgrade"][..]), ("/", &[], &[])]
    {
        client.peer.send(&get(path));
        let head = client.peer.raw_head().unwrap();
        assert_eq!(values(&head, "upgrade"), upgrade, "{head}");
        assert_eq!(values(&head, "connection"), connection, "{head}");
    }
}

#[test]
fn whoever_waits_for_permission_and_gets_an_answer_of_ours_is_told_of_the_close() {
    let (upstream, _requests) = telling(|_| ok(""));
    let proxy = Running::start(upstream.address, "");
    for line in ["CONNECT t:80 HTTP/1.1", "POST https://t/ HTTP/1.1", "POST /..%2f HTTP/1.1"] {
        let mut client = proxy.client();
        let expecting = "host: t\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\n";
        client.peer.send(&format!("{line}\r\n{expecting}"));
        let mut head = client.peer.raw_head().unwrap();
        if head.starts_with("HTTP/1.1 100 ") {
            head = client.peer.raw_head().unwrap();
        }
        assert!(head.starts_with("HTTP/1.1 4"), "{line}: {head}");
        assert_eq!(values(&head.to_lowercase(), "connection"), ["close"], "{line}");
    }
}

#[test]
fn there_is_nothing_to_expect_without_content() {
    let (upstream, requests) = telling(|_| ok(""));
    let proxy = Running::start(upstream.address, "");
    let mut client = proxy.client();
    for (request, expected) in [
        ("GET / HTTP/1.1\r\nhost: t\r\nexpect: 100-continue\r\n\r\n", &[][..]),
        ("POST / HTTP/1.1\r\nhost: t\r\nexpect: 100-continue\r\ncontent-length: 0\r\n\r\n", &[]),
        (
            "POST / HTTP/1.1\r\nhost: t\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\nx",
            &["100-continue"],
        ),
        ("POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 1\r\n\r\nx", &[]),
        ("POST / HTTP/1.0\r\nhost: t\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\nx", &[]),
    ] {
        client.peer.send(request);
        assert_eq!(next(&requests).values("expect"), expected, "{request}");
        if !expected.is_empty() {
            assert!(client.peer.head().unwrap().starts_with("http/1.1 100 "));
        }
        assert_eq!(client.answer().unwrap().status, 200, "{request}");
    }
}
