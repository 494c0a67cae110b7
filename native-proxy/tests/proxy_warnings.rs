//! Warnings of how services call each other: what is counted, what is logged, and that no decision
//! changes.

mod proxy_support;

use bimetal_proxy::bimetal_core::policy::WarningsPolicy;
use bimetal_proxy::config;
use proxy_support::program::{Program, command, write};
use proxy_support::{Client, Running, TEST_DEADLINE, Upstream, file, ok, wait_for};
use std::sync::Arc;

const POLICY: &str = "policies: [{name: p, scope: policy, warnings: {}, \
    breaker: {trip: {consecutive_failures: 1}}}]";

const KINDS: [&str; 3] = ["calls_per_trace", "after_deadline", "db_transaction"];

fn asked(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: t\r\n{fields}\r\n")
}

/// The field of a trace with this number.
fn trace(number: u128) -> String {
    format!("traceparent: 00-{number:032x}-00f067aa0ba902b7-00\r\n")
}

fn upstream() -> Upstream {
    Upstream::answering(ok("fine"))
}

/// How often each kind was warned of.
fn warned(proxy: &Running) -> [f64; 3] {
    let metrics = proxy.metrics();
    KINDS.map(|kind| metrics.sum("bimetal_warnings_total", &[("policy", "p"), ("kind", kind)]))
}

/// Sends requests with these fields to `/`; every one is answered well.
fn send(client: &mut Client, fields: &str, times: usize) {
    for _ in 0..times {
        assert_eq!(client.ask(&asked("/", fields)).status, 200);
    }
}

/// In the source's story it was 11 calls of one service within one request, found late.
#[test]
fn the_eleventh_call_within_a_trace_is_warned_of_once() {
    let upstream = upstream();
    let proxy = Running::start(upstream.address, POLICY);
    let mut client = proxy.client();
    send(&mut client, &trace(1), 10);
    assert_eq!(warned(&proxy), [0.0; 3]);
    // Over another connection it is the same trace.
    send(&mut proxy.client(), &trace(1), 1);
    assert_eq!(warned(&proxy), [1.0, 0.0, 0.0]);
    send(&mut client, &trace(1), 20);
    assert_eq!(warned(&proxy), [1.0, 0.0, 0.0], "once a trace");
    send(&mut client, &trace(2), 11);
    assert_eq!(warned(&proxy), [2.0, 0.0, 0.0]);
    // No trace, and what is none.
    send(&mut client, "", 30);
    send(&mut client, "traceparent: 00-1-2-01\r\n", 30);
    send(&mut client, &trace(0), 30);
    assert_eq!(warned(&proxy), [2.0, 0.0, 0.0]);
}

#[test]
fn each_route_and_upstream_has_a_count_of_its_own() {
    let upstream = upstream();
    let policy = POLICY.replace("{}", "{calls_per_trace: 3}");
    let routes = "routes: [{path_prefix: /a, upstream: echo}, {path_prefix: /b, upstream: echo}]";
    let text = file(upstream.address, &policy);
    let begin = text.find("routes:").unwrap();
    let end = begin + text[begin..].find('\n').unwrap();
    let proxy = Running::with(&format!("{}{routes}{}", &text[..begin], &text[end..]));
    let mut client = proxy.client();
    for _ in 0..3 {
        for path in ["/a", "/b"] {
            assert_eq!(client.ask(&asked(path, &trace(1))).status, 200);
        }
    }
    assert_eq!(warned(&proxy), [0.0; 3]);
    assert_eq!(client.ask(&asked("/b", &trace(1))).status, 200);
    assert_eq!(warned(&proxy), [1.0, 0.0, 0.0]);
}

#[test]
fn workers_count_a_traces_calls_together() {
    let upstream = upstream();
    let text = file(upstream.address, POLICY).replace("workers: 1", "workers: 4");
    let proxy = Running::with(&text);
    for _ in 0..40 {
        send(&mut proxy.client(), &trace(7), 1);
    }
    assert_eq!(warned(&proxy), [1.0, 0.0, 0.0]);
}

#[test]
fn calls_within_an_open_transaction_are_warned_of() {
    let upstream = upstream();
    let proxy = Running::start(upstream.address, POLICY);
    let mut client = proxy.client();
    for fields in ["x-db-transaction: open\r\n", "X-DB-Transaction:  OPEN \r\n"] {
        send(&mut client, fields, 1);
    }
    assert_eq!(warned(&proxy), [0.0, 0.0, 2.0]);
    for fields in ["", "x-db-transaction: none\r\n", "x-db-transaction:\r\n", "x-tx: open\r\n"] {
        send(&mut client, fields, 1);
    }
    assert_eq!(warned(&proxy), [0.0, 0.0, 2.0]);

    let named = POLICY.replace("{}", "{db_transaction_header: X-Tx}");
    let proxy = Running::start(upstream.address, &named);
    send(&mut proxy.client(), "x-db-transaction: open\r\n", 1);
    send(&mut proxy.client(), "x-tx: open\r\n", 1);
    assert_eq!(warned(&proxy), [0.0, 0.0, 1.0]);
}

/// The policy keeps no deadline, so the upstream works on for nobody.
#[test]
fn work_for_a_caller_whose_time_was_over_is_warned_of() {
    let upstream = upstream();
    let proxy = Running::start(upstream.address, POLICY);
    let mut client = proxy.client();
    send(&mut client, "x-request-deadline-ms: 0\r\n", 2);
    send(&mut client, "grpc-timeout: 0n\r\n", 1);
    wait_for("the warnings", || (warned(&proxy) == [0.0, 3.0, 0.0]).then_some(()));
    send(&mut client, "x-request-deadline-ms: 600000\r\n", 1);
    send(&mut client, "", 1);
    // Told once the answer has gone; the next request comes after that.
    send(&mut client, "", 1);
    assert_eq!(warned(&proxy), [0.0, 3.0, 0.0]);
}

#[test]
fn a_call_that_is_given_up_at_its_deadline_was_worked_on_and_one_that_is_refused_was_not() {
    let upstream = Upstream::start(|mut peer| {
        peer.request();
        peer.closed();
    });
    // Given up long before its caller's time is over, so that it is late by nothing else.
    let keeps = POLICY.replace("warnings: {}", "warnings: {}, deadline: {margin: 60s}");
    let proxy = Running::start(upstream.address, &keeps);
    let late = proxy.ask(&asked("/", "x-request-deadline-ms: 60060\r\n"));
    assert_eq!(late.status, 504);
    wait_for("the warning", || (warned(&proxy) == [0.0, 1.0, 0.0]).then_some(()));
    let refused = proxy.ask(&asked("/", "x-request-deadline-ms: 0\r\nx-db-transaction: open\r\n"));
    assert_eq!(refused.status, 504);
    assert_eq!(warned(&proxy), [0.0, 1.0, 0.0], "nobody worked for it");
}

#[test]
fn what_reaches_no_upstream_is_no_late_work() {
    let mut settings = config::builtin("127.0.0.1").unwrap();
    let free = ([127, 0, 0, 1], 0).into();
    (settings.listeners[0].address, settings.admin, settings.health) = (free, free, free);
    let policy = Arc::make_mut(&mut settings.document.policies[0]);
    policy.name = "p".into();
    policy.warnings = Some(WarningsPolicy {
        calls_per_trace: 10,
        db_transaction_header: "x-db-transaction".to_owned(),
    });
    let proxy = Running::of(settings);
    let fields = "x-request-deadline-ms: 0\r\ncontent-length: 0\r\n";
    let failed = proxy.ask(&asked("/test-failure", fields).replace("GET", "POST"));
    assert_eq!((failed.status, failed.text().as_str()), (503, r#"{"error":"test failure"}"#));
    proxy.wait_for_outcomes("failure", 1.0);
    assert_eq!(warned(&proxy), [0.0; 3]);
}

#[test]
fn without_warnings_nothing_is_noticed() {
    let upstream = upstream();
    let silent = POLICY.replace("warnings: {}, ", "");
    let proxy = Running::start(upstream.address, &silent);
    let fields = format!("{}x-db-transaction: open\r\nx-request-deadline-ms: 0\r\n", trace(1));
    send(&mut proxy.client(), &fields, 20);
    assert_eq!(proxy.metrics().find("bimetal_warnings_total", &[]), None);
}

#[test]
fn the_log_tells_what_and_where_and_is_not_flooded() {
    let upstream = upstream();
    let path = write("log-warnings.yaml", &file(upstream.address, POLICY));
    let program = Program::spawn(&mut command(&path));
    let mut client = Client::connect(program.listen);
    send(&mut client, &trace(0xabc), 11);
    let fields = "x-db-transaction: open\r\n";
    send(&mut client, fields, 50);
    let line = |text: &str| {
        std::iter::from_fn(|| program.log.recv_timeout(TEST_DEADLINE).ok())
            .find(|line| line.contains(text))
            .unwrap_or_else(|| panic!("no {text:?}"))
    };
    let first = line("calls_per_trace");
    let wanted = format!("call 11 of upstream echo by route */ within trace {:032x}", 0xabc);
    assert!(first.starts_with("warning: policy p: ") && first.contains(&wanted), "{first}");
    assert!(line("db_transaction").contains("upstream echo is called by route */"));
    // What was held back comes as one line.
    assert!(line("db_transaction").contains("more since the last line"));
}
