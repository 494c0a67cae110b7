//! The proxy without a file: the origin study's own.

mod proxy_support;

use bimetal_proxy::config::{self, Settings};
use proxy_support::{Running, Upstream, get};
use std::sync::Arc;

/// The embedded settings, on free ports and with one worker, in front of `upstream`.
fn settings(upstream: &Upstream) -> Settings {
    let mut settings = config::builtin("127.0.0.1").unwrap();
    let free = ([127, 0, 0, 1], 0).into();
    settings.workers = 1;
    (settings.listeners[0].address, settings.admin, settings.health) = (free, free, free);
    let echo = Arc::make_mut(&mut settings.upstreams[0]);
    echo.endpoints = vec![config::Endpoint::Address(upstream.address)];
    settings
}

fn post(path: &str) -> String {
    let body = r#"{"message":"hi"}"#;
    format!("POST {path} HTTP/1.1\r\nhost: t\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn it_is_the_studys_proxy() {
    let defaults = config::builtin("echo-server").unwrap();
    assert_eq!(defaults.listeners[0].address, "0.0.0.0:8001".parse().unwrap());
    assert_eq!(defaults.admin, "127.0.0.1:9000".parse().unwrap());
    assert_eq!(defaults.health, "0.0.0.0:9001".parse().unwrap());
    assert_eq!(defaults.upstreams[0].endpoints[0].to_string(), "echo-server:5001");
    let wrong = config::builtin("not a name").unwrap_err().to_string();
    assert!(wrong.contains("not a name:5001"), "{wrong}");
}

#[test]
fn three_test_failures_open_the_breaker_of_echo() {
    let upstream = Upstream::answering(proxy_support::ok(r#"{"message":"Echo: hi"}"#));
    let proxy = Running::of(settings(&upstream));
    let answer = proxy.ask(&post("/echo"));
    assert_eq!((answer.status, answer.text().as_str()), (200, r#"{"message":"Echo: hi"}"#));
    for _ in 0..3 {
        let answer = proxy.ask(&post("/test-failure"));
        assert_eq!((answer.status, answer.text().as_str()), (503, r#"{"error":"test failure"}"#));
        assert_eq!(answer.header("x-bimetal-rule"), None);
    }
    for path in ["/test-failure", "/echo"] {
        let answer = proxy.ask(&post(path));
        assert_eq!(answer.status, 503, "{path}");
        assert_eq!(answer.header("x-bimetal-rule"), Some("echo/breaker"), "{path}");
        assert!(answer.text().starts_with(r#"{"error":"circuit breaker: open for another"#));
    }
}

#[test]
fn failures_are_503_and_unknown_paths_404() {
    let upstream = Upstream::answering("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
    let proxy = Running::of(settings(&upstream));
    let answer = proxy.ask(&post("/echo"));
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (503, r#"{"error":"upstream answered 404"}"#)
    );
    for request in [get("/unknown"), get("/test-failure"), get("/")] {
        let answer = proxy.ask(&request);
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (404, r#"{"error":"endpoint not found"}"#)
        );
    }
}
