//! Traces that are sent to collectors: good ones, bad ones, and none.

use crate::collector::Collector;
use crate::proxy_support::metrics::Metrics;
use crate::proxy_support::program::Program;
use crate::proxy_support::{Client, Running, Upstream, get, ok, wait_for};
use crate::traced::{nobody, post, proxy};
use bimetal_proxy::config::{self, Endpoint, Exporter};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use std::net::SocketAddr;
use std::sync::Arc;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// Long enough that nothing goes out before the end.
const AT_THE_END: (&str, &str) = ("OTEL_BSP_SCHEDULE_DELAY", "600000");
const AT_ONCE: (&str, &str) = ("OTEL_BSP_SCHEDULE_DELAY", "1");

fn sending(exporter: &str, collector: SocketAddr) -> String {
    format!("telemetry: {{traces: {{exporter: {exporter}, endpoint: 'http://{collector}'}}}}")
}

fn ask(program: &Program, requests: usize) {
    let mut client = Client::connect(program.listen);
    for _ in 0..requests {
        assert_eq!(client.ask(&get("/")).status, 200);
    }
}

fn wait_for_dropped(program: &Program, spans: f64) {
    wait_for("dropped spans", || {
        let dropped = Metrics::of(program.admin).sum("bimetal_spans_dropped_total", &[]);
        assert!(dropped <= spans, "{dropped}");
        (dropped == spans).then_some(())
    });
}

#[test]
fn what_waits_at_the_end_is_sent() {
    let upstream = Upstream::answering(ok("x"));
    for (name, exporter, variables, collector) in [
        ("http", "otlp_http", &[AT_THE_END][..], Collector::http(OK)),
        (
            "json",
            "otlp_http",
            &[AT_THE_END, ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")],
            Collector::http(OK),
        ),
        ("grpc", "otlp_grpc", &[AT_THE_END], Collector::grpc()),
        (
            "by-variable",
            "otlp_http",
            &[AT_THE_END, ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc")],
            Collector::grpc(),
        ),
    ] {
        let rest = sending(exporter, collector.address);
        let mut command = proxy(&format!("end-{name}"), upstream.address, &rest, variables);
        let mut program = Program::spawn(&mut command);
        ask(&program, 3);
        assert!(collector.batches.try_recv().is_err(), "{name}");
        program.signal("TERM");
        let spans = collector.next();
        assert_eq!(spans.len(), 6, "{name}");
        let servers = spans.iter().filter(|span| span.kind() == SpanKind::Server);
        assert_eq!(servers.filter(|span| span.name == "GET /").count(), 3, "{name}");
        assert_eq!(program.exit_code(), Some(0));
    }
}

#[test]
fn spans_go_out_in_batches_before_their_delay_is_over() {
    let upstream = Upstream::answering(ok("x"));
    let collector = Collector::http(OK);
    let batch = ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "10");
    let rest = sending("otlp_http", collector.address);
    let mut command = proxy("batch", upstream.address, &rest, &[AT_THE_END, batch]);
    let program = Program::spawn(&mut command);
    ask(&program, 5);
    assert_eq!(collector.next().len(), 10);
    wait_for_dropped(&program, 0.0);
}

#[test]
fn a_collector_that_answers_400_costs_the_spans_and_nothing_else() {
    let upstream = Upstream::answering(ok("x"));
    let collector = Collector::http("HTTP/1.1 400 Bad\r\ncontent-length: 0\r\n\r\n");
    let rest = sending("otlp_http", collector.address);
    let program = Program::spawn(&mut proxy("bad", upstream.address, &rest, &[AT_ONCE]));
    ask(&program, 10);
    wait_for_dropped(&program, 20.0);
    assert!(!program.log_with("spans are lost: ").is_empty());
}

#[test]
fn a_collector_that_answers_500_or_hangs_or_is_not_there_delays_nobody() {
    let upstream = Upstream::answering(ok("x"));
    let failing = Collector::http("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n");
    let hangs = Upstream::start(|mut peer| peer.closed());
    let (_socket, nobody) = nobody();
    for (name, exporter, collector) in [
        ("fails", "otlp_http", failing.address),
        ("hangs", "otlp_http", hangs.address),
        ("hangs-grpc", "otlp_grpc", hangs.address),
        ("nobody", "otlp_http", nobody),
        ("nobody-grpc", "otlp_grpc", nobody),
    ] {
        let variables = [AT_ONCE, ("OTEL_BSP_EXPORT_TIMEOUT", "100")];
        let rest = sending(exporter, collector);
        let mut program = Program::spawn(&mut proxy(name, upstream.address, &rest, &variables));
        ask(&program, 10);
        wait_for_dropped(&program, 20.0);
        program.signal("TERM");
        assert_eq!(program.exit_code(), Some(0), "{name}");
    }
}

#[test]
fn a_queue_that_is_full_behind_a_collector_drops_whole_traces() {
    let upstream = Upstream::answering(ok("x"));
    let hangs = Upstream::start(|mut peer| peer.closed());
    let variables = [AT_ONCE, ("OTEL_BSP_MAX_QUEUE_SIZE", "10")];
    let rest = sending("otlp_http", hangs.address);
    let program = Program::spawn(&mut proxy("full", upstream.address, &rest, &variables));
    ask(&program, 20);
    wait_for_dropped(&program, 30.0);
}

#[test]
fn a_collector_behind_tls_is_refused_in_words() {
    let upstream = Upstream::answering(ok("x"));
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4318");
    let exporter = ("OTEL_TRACES_EXPORTER", "otlp");
    let output = proxy("tls", upstream.address, "", &[endpoint, exporter]).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains(
        "traces: https://collector:4318: the proxy reaches a collector only without TLS"
    ));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn the_studys_test_failure_has_a_span_of_its_own() {
    let upstream = Upstream::answering(ok(r#"{"message":"Echo: hi"}"#));
    let collector = Collector::http(OK);
    let mut settings = config::builtin("127.0.0.1").unwrap();
    let free = ([127, 0, 0, 1], 0).into();
    settings.workers = 1;
    (settings.listeners[0].address, settings.admin, settings.health) = (free, free, free);
    let echo = Arc::make_mut(&mut settings.upstreams[0]);
    echo.endpoints = vec![Endpoint::Address(upstream.address)];
    settings.telemetry.exporter = Exporter::OtlpHttp;
    settings.telemetry.endpoint = Some(format!("http://{}", collector.address).into());
    let proxy = Running::of(settings);
    for _ in 0..3 {
        assert_eq!(proxy.ask(&post("/test-failure", "")).status, 503);
    }
    assert_eq!(
        proxy.ask(&post("/test-failure", "")).header("x-bimetal-rule"),
        Some("echo/breaker")
    );
    assert_eq!(proxy.ask(&post("/nowhere", "")).status, 404);
    // The end of the proxy is that of what waits.
    drop(proxy);
    let spans = collector.next();
    let tree: Vec<_> = spans
        .iter()
        .map(|span| {
            let parent = spans.iter().find(|other| other.span_id == span.parent_span_id);
            let parent = parent.map_or("", |parent| &parent.name);
            (span.name.as_str(), parent, span.events.len())
        })
        .collect();
    let failed = [
        ("POST /test-failure", "", 0),
        ("test_failure", "POST /test-failure", 1),
        ("circuit_breaker_call", "test_failure", 1),
    ];
    let mut wanted = failed.repeat(3);
    // Turned away like any other: there is nothing below.
    wanted.extend(failed);
    wanted.push(("POST /nowhere", "", 0));
    assert_eq!(tree, wanted);
}
