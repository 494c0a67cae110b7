//! What is said of where a request came from, targets that are no paths, answers without a body,
//! trailers.

mod proxy_support;

use proxy_support::{Running, TEST_DEADLINE, Upstream, file, get, ok, policy, value};
use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver};

/// Answers well and tells each head.
fn telling() -> (Upstream, Receiver<String>) {
    let (seen, heads) = mpsc::channel();
    let upstream = Upstream::start(move |mut peer| {
        while let Some((head, _)) = peer.request() {
            seen.send(head).unwrap();
            peer.send(&ok(""));
        }
    });
    (upstream, heads)
}

fn trusting(upstream: SocketAddr, hops: usize, rest: &str) -> Running {
    let file = file(upstream, rest);
    let with = format!("'127.0.0.1:0', trusted_hops: {hops}}}]");
    Running::with(&file.replacen("'127.0.0.1:0'}]", &with, 1))
}

/// The lines of a head with one of these names.
fn lines<'a>(head: &'a str, names: &[&str]) -> Vec<&'a str> {
    let is = |line: &&str| names.iter().any(|name| line.starts_with(&format!("{name}:")));
    let mut lines: Vec<_> = head.lines().filter(is).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn what_a_client_claims_goes_on_as_the_table_says() {
    let (upstream, heads) = telling();
    let claims = "x-forwarded-for: 6.6.6.6\r\nx-forwarded-proto: https\r\nx-forwarded-host: evil\r\n\
                  forwarded: for=6.6.6.6;host=evil;proto=https\r\n";
    let rows: [(usize, &str, &[&str]); 5] = [
        (0, "", &["x-forwarded-for: 127.0.0.1", "x-forwarded-proto: http"]),
        (0, claims, &["x-forwarded-for: 6.6.6.6, 127.0.0.1", "x-forwarded-proto: http"]),
        (1, "", &["x-forwarded-for: 127.0.0.1", "x-forwarded-proto: http"]),
        (
            1,
            claims,
            &[
                "x-forwarded-for: 6.6.6.6, 127.0.0.1",
                "x-forwarded-host: evil",
                "x-forwarded-proto: https",
            ],
        ),
        (
            1,
            "forwarded: for=6.6.6.6\r\n",
            &["x-forwarded-for: 127.0.0.1", "x-forwarded-proto: http"],
        ),
    ];
    for (hops, sent, wanted) in rows {
        let proxy = trusting(upstream.address, hops, "");
        let answer = proxy.ask(&format!("GET / HTTP/1.1\r\nhost: t\r\n{sent}\r\n"));
        assert_eq!(answer.status, 200);
        let head = heads.recv_timeout(TEST_DEADLINE).unwrap();
        let names = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded"];
        assert_eq!(lines(&head, &names), wanted, "{hops} {sent}");
    }
}

#[test]
fn the_clients_address_is_that_which_trusted_proxies_tell() {
    let upstream = Upstream::answering("HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n");
    let policy = "policies: [{name: p, scope: client, \
                  breaker: {trip: {consecutive_failures: 2}, open: {base: 60s}}}]";
    let from =
        |chain: &str| format!("GET / HTTP/1.1\r\nhost: t\r\nx-forwarded-for: {chain}\r\n\r\n");
    let rejects = |proxy: &Running, chain: &str| {
        proxy.ask(&from(chain)).header("x-bimetal-rule") == Some("p/breaker")
    };
    // Who is not believed is one client, whatever it says; so it cannot get away from itself.
    let proxy = trusting(upstream.address, 0, policy);
    assert!(!rejects(&proxy, "1.1.1.1") && !rejects(&proxy, "2.2.2.2"));
    assert!(rejects(&proxy, "3.3.3.3"));
    // A trusted proxy tells them apart; what stands further to the left is not believed.
    let proxy = trusting(upstream.address, 1, policy);
    assert!(!rejects(&proxy, "9.9.9.9, 1.1.1.1") && !rejects(&proxy, "8.8.8.8, 1.1.1.1"));
    assert!(rejects(&proxy, "7.7.7.7, 1.1.1.1"));
    assert!(!rejects(&proxy, "1.1.1.1, 2.2.2.2"));
    // Without a readable address it is the connection's own.
    assert!(!rejects(&proxy, "nobody") && !rejects(&proxy, ""));
    assert!(rejects(&proxy, "1.1.1.1, \"<script>"));
}

#[test]
fn an_asterisk_goes_on_as_it_is() {
    let (upstream, heads) = telling();
    let proxy = Running::start(upstream.address, "");
    assert_eq!(proxy.ask("OPTIONS * HTTP/1.1\r\nhost: t\r\n\r\n").status, 200);
    let head = heads.recv_timeout(TEST_DEADLINE).unwrap();
    assert!(head.starts_with("options * http/1.1\r\n"), "{head}");
    // A route for a path is none for the server as a whole.
    let text =
        file(upstream.address, "").replace("{upstream: echo}", "{path_prefix: /a, upstream: echo}");
    let proxy = Running::with(&text);
    assert_eq!(proxy.ask("OPTIONS * HTTP/1.1\r\nhost: t\r\n\r\n").status, 404);
    assert_eq!(proxy.ask("GET * HTTP/1.1\r\nhost: t\r\n\r\n").status, 400);
}

#[test]
fn a_route_asks_for_what_a_match_asks_for() {
    let upstream = Upstream::answering(ok("fine"));
    let proxy = Running::with(&file(upstream.address, "").replace(
        "{upstream: echo}",
        "{hosts: [a, \"*.b\"], methods: [GET, PUT], headers: {x-tenant: gold}, upstream: echo}",
    ));
    let ask = |method: &str, host: &str, tenant: &str| {
        let head = format!("{method} / HTTP/1.1\r\nhost: {host}\r\nx-tenant: {tenant}\r\n\r\n");
        proxy.ask(&head).status
    };
    assert_eq!((ask("GET", "a", "gold"), ask("PUT", "c.b", "gold")), (200, 200));
    assert_eq!(ask("DELETE", "a", "gold"), 404);
    assert_eq!(ask("GET", "b", "gold"), 404);
    assert_eq!(ask("GET", "a", "tin"), 404);
}

#[test]
fn an_absolute_target_overrules_the_host_for_route_policy_and_upstream() {
    let (upstream, heads) = telling();
    let text =
        file(upstream.address, "policies: [{name: p, match: {hosts: [real]}, mode: forced_open}]")
            .replace(
                "{upstream: echo}",
                "{host: real, path: /p, upstream: echo}, {host: other, path: /o, upstream: echo}",
            );
    let proxy = Running::with(&text);
    let ask = |target: &str, host: &str| {
        proxy.ask(&format!("GET {target} HTTP/1.1\r\nhost: {host}\r\n\r\n")).status
    };
    assert_eq!(ask("http://real/p", "other"), 503);
    assert_eq!(ask("http://other/p", "real"), 404);
    assert_eq!(ask("http://other/o", "real"), 200);
    let head = heads.recv_timeout(TEST_DEADLINE).unwrap();
    assert_eq!(lines(&head, &["host"]), ["host: other"], "{head}");
    assert!(head.starts_with("get /o http/1.1\r\n"), "{head}");
    assert_eq!(ask("HTTP://other:80?q", "real"), 404);
    assert_eq!(ask("http://user@other/o", "real"), 400);
}

#[test]
fn a_length_without_a_body_passes_and_keeps_both_connections() {
    let upstream = Upstream::start(|mut peer| {
        while let Some((head, _)) = peer.request() {
            peer.send(match head.split(' ').nth(1).unwrap() {
                "/204" => "HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n",
                "/304" => "HTTP/1.1 304 Not Modified\r\ncontent-length: 12\r\netag: \"a\"\r\n\r\n",
                "/chunked" => "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n",
            });
        }
    });
    let proxy = Running::start(upstream.address, &policy(""));
    let mut client = proxy.client();
    for _ in 0..2 {
        for (method, path, status, length) in [
            ("HEAD", "/", 200, Some("12")),
            ("HEAD", "/chunked", 200, None),
            ("GET", "/204", 204, None),
            // It may be left out there (RFC 9110, 15.4.5), and the HTTP library does so.
            ("GET", "/304", 304, None),
        ] {
            client.peer.send(&get(path).replace("GET", method));
            let head = client.peer.head().unwrap();
            assert!(head.starts_with(&format!("http/1.1 {status} ")), "{head}");
            assert_eq!(value(&head, "content-length"), length, "{method} {path} {head}");
        }
    }
    assert_eq!(upstream.connections(), 1);
    proxy.wait_for_outcomes("success", 8.0);
}

#[test]
fn trailers_pass_both_ways_to_those_that_take_them() {
    let (seen, requests) = mpsc::channel();
    let upstream = Upstream::start(move |mut peer| {
        while let Some(head) = peer.head() {
            let mut body = String::new();
            while !body.ends_with("\r\n\r\n") {
                body += &peer.line();
            }
            seen.send((head, body)).unwrap();
            peer.send(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
                 3\r\nabc\r\n0\r\nx-sum: 3\r\n\r\n",
            );
        }
    });
    let proxy = Running::start(upstream.address, &policy(""));
    let mut client = proxy.client();
    for (te, trailer) in [("te: trailers\r\n", Some("x-sum: 3")), ("", None)] {
        client.peer.send(&format!(
            "POST / HTTP/1.1\r\nhost: t\r\n{te}transfer-encoding: chunked\r\ntrailer: x-mine\r\n\r\n\
             2\r\nhi\r\n0\r\nx-mine: 2\r\n\r\n"
        ));
        let (head, body) = requests.recv_timeout(TEST_DEADLINE).unwrap();
        assert_eq!(value(&head, "te"), (!te.is_empty()).then_some("trailers"), "{head}");
        assert!(body.ends_with("\r\n0\r\nx-mine: 2\r\n\r\n"), "{body:?}");
        client.peer.head().unwrap();
        let mut body = String::new();
        while !body.ends_with("0\r\n") {
            body += &client.peer.line();
        }
        let mut trailers = Vec::new();
        loop {
            match client.peer.line().trim() {
                "" => break,
                line => trailers.push(line.to_owned()),
            }
        }
        assert_eq!(trailers, Vec::from_iter(trailer), "{te}");
    }
    proxy.wait_for_outcomes("success", 2.0);
    assert_eq!(upstream.connections(), 1);
}

#[test]
fn what_a_client_chose_cannot_break_out_of_a_page() {
    let upstream = Upstream::answering("HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n");
    // The first that matches decides, so the narrow one stands first.
    let policy = "policies: [{name: q, match: {path: /q}, scope: 'header:x-key', \
                  breaker: {trip: {consecutive_failures: 2}}}, \
                  {name: p, scope: authority, \
                  breaker: {trip: {consecutive_failures: 2}}}]";
    let proxy = Running::start(upstream.address, policy);
    let hostile = "a\\\"} 1 x{y=\"";
    for path in ["/", "/q"] {
        for _ in 0..3 {
            proxy.ask(&format!("GET {path} HTTP/1.1\r\nhost: a'$(b)\r\nx-key: {hostile}\r\n\r\n"));
        }
    }
    let page = proxy_support::Client::connect(proxy.admin).ask(&get("/metrics")).text();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        // One name, balanced labels, one number.
        let (series, number) = line.rsplit_once(' ').unwrap();
        assert!(number.parse::<f64>().is_ok(), "{line}");
        let name = series.split('{').next().unwrap();
        assert!(name.starts_with("bimetal_"), "{line}");
        assert_eq!(series.ends_with('}'), series.contains('{'), "{line}");
    }
    let rows = proxy_support::Client::connect(proxy.admin).ask(&get("/breakers"));
    let rows: serde_json::Value = serde_json::from_slice(&rows.body).unwrap();
    // Both are there, as data.
    let scopes: Vec<_> = rows.as_array().unwrap().iter().map(|row| row["scope"].as_str()).collect();
    assert_eq!(scopes, [Some(hostile), Some("a'$(b)")], "{rows}");
}
