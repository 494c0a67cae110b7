//! Fields on their way through (RFC 9110, 5 to 8 and 11 to 14).

use super::proxy_support::{Client, Running, file, get, ok, policy};
use super::{next, telling, values};

fn with(lines: &str) -> String {
    format!("GET /a?b HTTP/1.1\r\nHost: t\r\n{lines}\r\n")
}

/// What an intermediary has no say in.
const ASKED: &str = "authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\
    proxy-authorization: Basic Zm9vOmJhcg==\r\n\
    if-match: \"a\", W/\"b\"\r\nif-none-match: *\r\n\
    if-modified-since: Sat, 29 Oct 1994 19:43:31 GMT\r\n\
    if-unmodified-since: Sat, 29 Oct 1994 19:43:31 GMT\r\n\
    if-range: \"a\"\r\nrange: bytes=0-4,9-,odd=1\r\n\
    cache-control: no-transform, x=\"a, b\"\r\npragma: no-cache\r\n\
    accept: text/html;q=0.5, */*\r\naccept-encoding: gzip;q=0, identity\r\naccept-language: de, en\r\n\
    cookie: a=1; b=2\r\nreferer: http://t/x?y\r\nfrom: a@b.c\r\nuser-agent: Some/1 (odd; \"x\")\r\n\
    date: Sat, 29 Oct 1994 19:43:31 GMT\r\ncontent-md5: Q2hlY2s=\r\nx-never-heard-of: \u{fc} ,, x\r\n";

const ANSWERED: &str = "www-authenticate: Basic realm=\"a, b\"\r\nwww-authenticate: Newauth x=1\r\n\
    proxy-authenticate: Basic realm=\"p\"\r\nauthentication-info: a=\"b\"\r\n\
    set-cookie: a=1; Expires=Sat, 29 Oct 1994 19:43:31 GMT\r\nset-cookie: b=2\r\n\
    allow: GET, BREW\r\netag: W/\"a\"\r\nlast-modified: Sat, 29 Oct 1994 19:43:31 GMT\r\n\
    vary: accept, *\r\ncontent-range: odd 1-2/*\r\naccept-ranges: none\r\n\
    content-encoding: gzip\r\ncontent-type: text/plain;charset=\"utf-8\"\r\n\
    cache-control: no-transform, max-age=0\r\nexpires: 0\r\nage: 9\r\nlocation: ../x#y\r\n\
    server: Some/1 (odd)\r\nvia: 1.0 other\r\nretry-after: 7\r\ndate: Sat, 29 Oct 1994 19:43:31 GMT\r\n\
    x-never-heard-of: \u{fc} ,, x\r\n";

#[test]
fn end_to_end_fields_pass_as_they_came() {
    // Nothing here is what it says; whoever changed it would break it.
    let body = "no gzip, and not two bytes";
    let length = body.len();
    let (upstream, requests) = telling(move |_| {
        format!("HTTP/1.1 206 Partly\r\n{ANSWERED}content-length: {length}\r\n\r\n{body}")
    });
    let proxy = Running::start(upstream.address, &policy(""));
    let mut client = proxy.client();
    client.peer.send(&with(ASKED));
    let asked = next(&requests);
    for line in ASKED.split_terminator("\r\n") {
        let times = asked.head.matches(&format!("\r\n{line}\r\n")).count();
        assert_eq!(times, 1, "{line} in {}", asked.head);
    }
    let head = client.peer.raw_head().unwrap();
    assert!(head.starts_with("HTTP/1.1 206 Partly\r\n"), "{head}");
    for line in ANSWERED.split_terminator("\r\n") {
        assert_eq!(head.matches(&format!("\r\n{line}\r\n")).count(), 1, "{line} in {head}");
    }
    assert_eq!(client.peer.take(body.len()), body.as_bytes());
}

#[test]
fn lines_of_one_name_keep_their_order() {
    let lines = "x-a: 2\r\nx-a: 1, 3\r\nx-b: y\r\nx-a: 0\r\nset-cookie: z=1\r\nset-cookie: a=2\r\n";
    let (upstream, requests) =
        telling(move |_| format!("HTTP/1.1 200 OK\r\n{lines}content-length: 0\r\n\r\n"));
    let proxy = Running::start(upstream.address, "");
    let mut client = proxy.client();
    client.peer.send(&with(lines));
    for head in [next(&requests).head, client.peer.raw_head().unwrap()] {
        assert_eq!(values(&head, "x-a"), ["2", "1, 3", "0"], "{head}");
        assert_eq!(values(&head, "set-cookie"), ["z=1", "a=2"], "{head}");
    }
}

#[test]
fn conditions_and_ranges_are_the_upstreams_to_judge() {
    let (upstream, requests) = telling(|head| {
        let path = head.split(' ').nth(1).unwrap();
        let (status, body) = match path {
            "/304" => ("304 Not Modified", ""),
            "/412" => ("412 Precondition Failed", "no"),
            "/416" => ("416 Range Not Satisfiable", "no"),
            _ => ("200 OK", "whole"),
        };
        let length = body.len();
        format!("HTTP/1.1 {status}\r\netag: \"a\"\r\ncontent-length: {length}\r\n\r\n{body}")
    });
    let proxy = Running::start(upstream.address, "");
    let mut client = proxy.client();
    for (path, conditions, status, body) in [
        ("/", "if-none-match: \"a\"\r\n", 200, "whole"),
        ("/", "if-match: \"b\"\r\n", 200, "whole"),
        ("/", "range: bytes=1-2\r\n", 200, "whole"),
        ("/304", "if-none-match: \"b\"\r\n", 304, ""),
        ("/412", "if-match: \"a\"\r\n", 412, "no"),
        ("/416", "range: bytes=0-\r\n", 416, "no"),
    ] {
        let answer = client.ask(&with(conditions).replace("/a?b", path));
        assert_eq!((answer.status, answer.text().as_str()), (status, body), "{conditions}");
        assert_eq!(answer.header("etag"), Some("\"a\""), "{conditions}");
        assert!(next(&requests).head.contains(conditions), "{conditions}");
    }
}

#[test]
fn blanks_around_a_value_are_not_part_of_it() {
    let lines = "x-a:none\r\nx-b: \t both \t \r\nx-c:\t\r\n";
    let (upstream, requests) =
        telling(move |_| format!("HTTP/1.1 200 OK\r\n{lines}content-length: \t0 \r\n\r\n"));
    let proxy = Running::start(upstream.address, "");
    let mut client = proxy.client();
    client.peer.send(&with(lines));
    for head in [next(&requests).head, client.peer.raw_head().unwrap()] {
        let got: Vec<_> = ["x-a", "x-b", "x-c"].map(|name| values(&head, name)).concat();
        assert_eq!(got, ["none", "both", ""], "{head:?}");
    }
}

#[test]
fn empty_elements_of_a_list_are_overlooked() {
    let (upstream, requests) = telling(|_| ok(""));
    let proxy = Running::start(upstream.address, "");
    proxy.ask(&with("connection: , ,x-a ,,\tte,\r\nte: ,, trailers ,\r\nx-a: 1\r\n"));
    let got = next(&requests);
    assert_eq!(got.values("x-a"), Vec::<&str>::new(), "{}", got.head);
    assert_eq!((got.values("te"), got.values("connection")), (vec!["trailers"], vec!["te"]));
}

#[test]
fn what_connection_names_is_no_trailer_either() {
    let chunks = "2\r\nhi\r\n0\r\nx-secret: 1\r\nkeep-alive: 2\r\nx-sum: 3\r\n\r\n";
    let head = "connection: x-secret\r\ntrailer: x-secret, keep-alive\r\ntrailer: X-Sum\r\n\
                transfer-encoding: chunked\r\n\r\n";
    let (told, bodies) = std::sync::mpsc::channel();
    let upstream = super::Upstream::start(move |mut peer| {
        while let Some(asked) = peer.head() {
            let mut body = String::new();
            while !body.ends_with("\r\n\r\n") {
                body += &peer.line();
            }
            told.send((asked, body)).unwrap();
            peer.send(&format!("HTTP/1.1 200 OK\r\n{head}{chunks}"));
        }
    });
    let proxy = Running::start(upstream.address, "");
    let mut client = proxy.client();
    client.peer.send(&format!("POST / HTTP/1.1\r\nhost: t\r\nte: trailers\r\n{head}{chunks}"));
    let (asked, body) = bodies.recv_timeout(super::TEST_DEADLINE).unwrap();
    assert!(body.ends_with("\r\n0\r\nx-sum: 3\r\n\r\n"), "{asked}{body}");
    assert!(!asked.contains("x-secret"), "{asked}");
    let answered = client.peer.head().unwrap();
    assert!(!answered.contains("x-secret"), "{answered}");
    let mut body = String::new();
    while !body.ends_with("\r\n\r\n") {
        body += &client.peer.line();
    }
    assert!(body.ends_with("\r\n0\r\nx-sum: 3\r\n\r\n"), "{answered}{body}");
}

/// `Sat, 29 Oct 1994 19:43:31 GMT`
fn is_fixdate(text: &str) -> bool {
    let form = "Aaa, 00 Aaa 0000 00:00:00 GMT";
    text.len() == form.len()
        && text.bytes().zip(form.bytes()).all(|(is, wanted)| match wanted {
            b'0' => is.is_ascii_digit(),
            b'A' => is.is_ascii_uppercase(),
            b'a' => is.is_ascii_lowercase(),
            other => is == other,
        })
}

#[test]
fn every_answer_has_one_date() {
    let (upstream, _requests) = telling(|head| {
        let date = if head.starts_with("GET /dated") {
            "DATE: Sat, 29 Oct 1994 19:43:31 GMT\r\n"
        } else {
            ""
        };
        format!("HTTP/1.1 200 OK\r\n{date}content-length: 0\r\n\r\n")
    });
    let text =
        file(upstream.address, "policies: [{name: p, match: {path: /no}, mode: forced_open}]")
            .replace("{upstream: echo}", "{host: t, upstream: echo}");
    let proxy = Running::with(&text);
    let date = |request: &str| {
        let mut client: Client = proxy.client();
        client.peer.send(request);
        let head = client.peer.raw_head().unwrap();
        let dates = values(&head, "date");
        assert!(dates.len() == 1 && is_fixdate(dates[0]), "{head}");
        dates[0].to_owned()
    };
    let old = "Sat, 29 Oct 1994 19:43:31 GMT";
    assert_eq!(date("GET /dated HTTP/1.1\r\nhost: t\r\n\r\n"), old);
    for request in [
        "GET / HTTP/1.1\r\nhost: t\r\n\r\n".to_owned(),
        // No route, a rejection, a refusal.
        get("/"),
        "GET /no HTTP/1.1\r\nhost: t\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
    ] {
        assert_ne!(date(&request), old, "{request}");
    }
}
