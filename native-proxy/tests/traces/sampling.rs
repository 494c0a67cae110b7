//! W3C trace context in and out, and which requests are recorded.

use crate::proxy_support::program::Program;
use crate::proxy_support::{Client, Upstream, get, ok, value};
use crate::traced::{Traced, on_stdout, post, proxy};
use std::sync::{Arc, Mutex};

const TRACE: &str = "abababababababababababababababab";
const SPAN: &str = "cdcdcdcdcdcdcdcd";

/// An upstream that keeps the heads that it gets.
fn keeping() -> (Upstream, Arc<Mutex<Vec<String>>>) {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let kept = heads.clone();
    let upstream = Upstream::start(move |mut peer| {
        while let Some((head, _)) = peer.request() {
            kept.lock().unwrap().push(head);
            peer.send(&ok("x"));
        }
    });
    (upstream, heads)
}

fn said(heads: &Mutex<Vec<String>>, name: &str) -> Option<String> {
    let heads = heads.lock().unwrap();
    value(heads.last().unwrap(), name).map(str::to_owned)
}

fn parent(flags: &str) -> String {
    format!("traceparent: 00-{TRACE}-{SPAN}-{flags}\r\ntracestate: a=1,,b=2\r\n")
}

#[test]
fn a_callers_trace_goes_on() {
    let (upstream, heads) = keeping();
    let proxy = Traced::start("joins", upstream.address, &on_stdout("sample: 0"));
    assert_eq!(proxy.ask(&post("/", &parent("01"))).status, 200);
    let trace = proxy.lines.next();
    let root = trace.root();
    assert_eq!((root.trace.as_str(), root.parent.as_str()), (TRACE, SPAN));
    assert_eq!(root.state, "a=1,b=2");
    let client = trace.span("POST");
    let sent = format!("00-{TRACE}-{}-01", client.id);
    assert_eq!(said(&heads, "traceparent"), Some(sent));
    assert_eq!(said(&heads, "tracestate").as_deref(), Some("a=1,,b=2"), "as it came");
    // What its caller does not record is recorded nowhere, and passes as it came.
    assert_eq!(proxy.ask(&post("/", &parent("00"))).status, 200);
    let came = format!("00-{TRACE}-{SPAN}-00");
    assert_eq!(said(&heads, "traceparent"), Some(came));
    // Where no trace begins here nothing is added.
    assert_eq!(proxy.ask(&get("/")).status, 200);
    assert_eq!(said(&heads, "traceparent"), None);
    assert_eq!(proxy.end().len(), 0);
}

#[test]
fn a_broken_traceparent_is_a_new_trace() {
    let (upstream, heads) = keeping();
    let proxy = Traced::start("broken", upstream.address, &on_stdout("sample: 1"));
    for broken in [
        "traceparent: 00-1-2-01\r\n".to_owned(),
        format!("traceparent: 00-{TRACE}-{SPAN}-01\r\ntraceparent: 00-{TRACE}-{SPAN}-01\r\n"),
        format!("traceparent: ff-{TRACE}-{SPAN}-01\r\n"),
        "traceparent: \r\n".to_owned(),
    ] {
        let headers = format!("{broken}tracestate: a=1\r\n");
        assert_eq!(proxy.ask(&post("/", &headers)).status, 200);
        let trace = proxy.lines.next();
        assert_ne!(trace.root().trace, TRACE);
        assert_eq!((trace.root().parent.as_str(), trace.root().state.as_str()), ("", ""));
        let sent = format!("00-{}-{}-01", trace.root().trace, trace.span("POST").id);
        assert_eq!(said(&heads, "traceparent"), Some(sent), "{broken}");
        // Two of them would be broken for the next hop.
        let head = heads.lock().unwrap().last().unwrap().clone();
        assert_eq!(head.matches("traceparent:").count(), 1, "{head}");
        assert_eq!(said(&heads, "tracestate"), None, "it was of another trace");
    }
}

#[test]
fn without_an_exporter_everything_passes_as_it_came() {
    let (upstream, heads) = keeping();
    let mut program = Program::spawn(&mut proxy("none", upstream.address, "", &[]));
    let stdout = program.child.stdout.take().unwrap();
    let broken = "traceparent: broken\r\ntracestate: a=1\r\n";
    for headers in [parent("01"), broken.to_owned()] {
        let mut client = Client::connect(program.listen);
        assert_eq!(client.ask(&post("/", &headers)).status, 200);
        let line = format!("traceparent: {}\r\n", said(&heads, "traceparent").unwrap());
        assert!(headers.starts_with(&line), "{line}");
        assert!(said(&heads, "tracestate").is_some());
    }
    program.signal("TERM");
    assert_eq!(program.exit_code(), Some(0));
    assert_eq!(std::io::read_to_string(stdout).unwrap(), "", "it is for traces alone");
}

#[test]
fn variables_win_over_the_file() {
    let (upstream, _) = keeping();
    let variables = [
        ("OTEL_TRACES_EXPORTER", "otlp_stdout"),
        ("OTEL_TRACES_SAMPLER", "parentbased_always_on"),
        ("OTEL_SERVICE_NAME", "shop"),
    ];
    let rest = "telemetry: {traces: {exporter: none, sample: 0}, service_name: other}";
    let proxy = Traced::with("variables", upstream.address, rest, &variables);
    assert_eq!(proxy.ask(&get("/")).status, 200);
    assert_eq!(proxy.lines.next().service, "shop");
}

#[test]
fn a_reload_changes_what_is_recorded_from_then_on() {
    let (upstream, _) = keeping();
    let file = |more: &str| crate::proxy_support::file(upstream.address, &on_stdout(more));
    let path = crate::proxy_support::program::write("traces-reload.yaml", &file("sample: 0"));
    let mut command = crate::proxy_support::program::command(&path);
    let mut program = Program::spawn(crate::traced::with(&mut command, &[]));
    let lines = crate::traced::Lines::of(program.child.stdout.take().unwrap());
    let ask = || Client::connect(program.listen).ask(&get("/")).status;
    assert_eq!(ask(), 200);
    std::fs::write(&path, file("sample: 1, tree: origin-study")).unwrap();
    program.signal("HUP");
    crate::proxy_support::wait_for("the reload", || {
        let metrics = crate::proxy_support::metrics::Metrics::of(program.admin);
        (metrics.sum("bimetal_reloads_total", &[("result", "applied")]) >= 1.0).then_some(())
    });
    assert_eq!(ask(), 200);
    assert_eq!(lines.next().spans.len(), 6);
}

#[test]
fn the_checks_of_readiness_are_nobodys_trace() {
    let (upstream, _) = keeping();
    let proxy = Traced::start("ready", upstream.address, &on_stdout("sample: 1"));
    assert_eq!(proxy.program.status(proxy.program.health, "/readyz"), 200);
    assert_eq!(proxy.ask(&get("/")).status, 200);
    assert_eq!(proxy.lines.next().spans.len(), 2);
    assert_eq!(proxy.end().len(), 0);
}
