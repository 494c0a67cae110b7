//! What is asked for, and of whom (RFC 9110, 4, 7 and 9; RFC 9112, 3).

use super::proxy_support::{Running, file, ok, value};
use super::{next, telling};

#[test]
fn an_absolute_target_without_a_path_asks_for_the_root() {
    let (upstream, requests) = telling(|_| ok(""));
    let proxy = Running::start(upstream.address, "");
    for (target, line) in [
        ("http://a", "GET / HTTP/1.1"),
        ("http://a?", "GET /? HTTP/1.1"),
        ("http://a?b", "GET /?b HTTP/1.1"),
        ("HTTP://a/", "GET / HTTP/1.1"),
    ] {
        assert_eq!(proxy.ask(&format!("GET {target} HTTP/1.1\r\nhost: t\r\n\r\n")).status, 200);
        let got = next(&requests);
        assert_eq!(got.head.lines().next(), Some(line), "{target}");
        assert_eq!(got.values("host"), ["a"]);
    }
}

#[test]
fn an_old_request_without_a_host_gets_one() {
    let (upstream, requests) = telling(|_| ok(""));
    let proxy = Running::start(upstream.address, "");
    for (target, host) in [("/", "echo"), ("http://a:81/", "a:81")] {
        assert_eq!(proxy.ask(&format!("GET {target} HTTP/1.0\r\n\r\n")).status, 200);
        let got = next(&requests);
        assert!(got.head.starts_with("GET / HTTP/1.1\r\n"), "{}", got.head);
        assert_eq!(got.values("host"), [host]);
    }
}

#[test]
fn methods_are_the_upstreams_to_know() {
    let (upstream, requests) =
        telling(|_| "HTTP/1.1 501 No\r\ncontent-length: 0\r\n\r\n".to_owned());
    let proxy = Running::start(upstream.address, "");
    // They are case-sensitive: `get` is not GET.
    for method in ["BREW", "get", "PROPFIND", "X!#$%&'*+-.^_`|~9", "TRACE"] {
        let answer = proxy.ask(&format!("{method} /a HTTP/1.1\r\nhost: t\r\n\r\n"));
        assert_eq!(answer.status, 501, "{method}");
        let got = next(&requests);
        assert!(got.head.starts_with(&format!("{method} /a HTTP/1.1\r\n")), "{}", got.head);
    }
}

#[test]
fn a_refused_method_comes_with_those_that_are_not() {
    let (upstream, _requests) = telling(|_| ok(""));
    let proxy = Running::start(upstream.address, "");
    for request in [
        "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n",
        "CONNECT a: HTTP/1.1\r\nhost: a\r\n\r\n",
        "TRACE / HTTP/1.1\r\nhost: t\r\nmax-forwards: 0\r\n\r\n",
    ] {
        let answer = proxy.ask(request);
        assert_eq!(answer.status, 405, "{request}");
        let allowed = answer.header("allow").expect("an Allow");
        let has = |method: &str| allowed.split(", ").any(|is| is.eq_ignore_ascii_case(method));
        assert!(has("get") && has("options"), "{allowed}");
        assert!(!has("connect") && !has("trace"), "{allowed}");
    }
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn no_hops_are_counted_where_the_client_counts_none() {
    let (upstream, requests) = telling(|_| ok(""));
    let proxy = Running::start(upstream.address, "");
    for method in ["OPTIONS", "TRACE", "GET"] {
        proxy.ask(&format!("{method} / HTTP/1.1\r\nhost: t\r\n\r\n"));
        assert_eq!(next(&requests).values("max-forwards"), Vec::<&str>::new(), "{method}");
    }
}

#[test]
fn what_is_secure_is_not_served_over_a_plain_connection() {
    let (upstream, requests) = telling(|_| ok(""));
    let text = file(upstream.address, "");
    let trusting = text.replacen("'127.0.0.1:0'}]", "'127.0.0.1:0', trusted_hops: 1}]", 1);
    let request = "GET HTTPS://a/x HTTP/1.1\r\nhost: a\r\n\r\n";
    let open = Running::with(&text);
    let answer = open.ask(request);
    assert_eq!(answer.status, 421);
    assert!(answer.text().contains("https"), "{}", answer.text());
    assert_eq!(open.ask("OPTIONS https://a HTTP/1.1\r\nhost: a\r\n\r\n").status, 421);
    assert_eq!(upstream.connections(), 0);
    // Behind whoever ends TLS it is what was asked for.
    assert_eq!(Running::with(&trusting).ask(request).status, 200);
    let got = next(&requests);
    assert_eq!(got.head.lines().next(), Some("GET /x HTTP/1.1"));
    assert_eq!(value(&got.head, "host"), Some("a"));
}
