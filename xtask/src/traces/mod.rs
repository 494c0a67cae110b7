//! Traces from their lines on standard output into a real Jaeger and back: every span with its name,
//! parent, kind, attributes and exceptions.

mod jaeger;
mod ship;
mod spans;

use crate::demo::scene;
use crate::place;
use crate::process::Running;
use anyhow::{Context, Result, bail, ensure};
use jaeger::Jaeger;
use serde_json::{Value, json};
use ship::Tail;
use spans::Span;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks.
const GLANCE: Duration = Duration::from_millis(50);

/// The trace that the first call says it belongs to, and the caller's span.
const TRACE: &str = "abababababababababababababababab";
const CALLER: &str = "cdcdcdcdcdcdcdcd";

/// Path, headers and status of a call.
type Call = (&'static str, &'static [(&'static str, &'static str)], u16);

/// Calls by how they shall end: a good one, three failures, a blocked one, one without a route.
const CALLS: [Call; 6] = [
    ("/echo", &[("traceparent", "00-abababababababababababababababab-cdcdcdcdcdcdcdcd-01")], 200),
    ("/echo", &[("x-fault-status", "500")], 500),
    ("/echo", &[("x-fault-status", "500")], 500),
    ("/echo", &[("x-fault-status", "500")], 500),
    ("/echo", &[], 503),
    ("/nowhere", &[], 404),
];

/// Lines of the proxy, one for each call, and of the echo server, which four of them reach.
const LINES: [usize; 2] = [CALLS.len(), 4];

/// Makes the calls and follows their traces; `program` is Jaeger's.
///
/// # Errors
/// A program does not start, or a span is not in Jaeger as it was written.
pub fn check(bimetal: &Path, program: &Path) -> Result<()> {
    let folder = place::made("xtask/traces")?;
    let jaeger = Jaeger::start(program, &folder)?;
    let (programs, files) = calls(bimetal, &folder)?;
    let mut tails = files.map(Tail::new);
    let mut written = Vec::new();
    for (tail, lines) in tails.iter_mut().zip(LINES) {
        written.extend(tail.ship(lines, &jaeger)?);
    }
    drop(programs);
    for tail in &mut tails {
        let more = tail.ship(0, &jaeger)?;
        ensure!(more.is_empty(), "{} more spans came at the end", more.len());
    }
    compare(&written, &jaeger)
}

/// Starts both programs and makes the calls. Gives the programs, and their standard outputs.
fn calls(bimetal: &Path, folder: &Path) -> Result<([Running; 2], [PathBuf; 2])> {
    let [listen, admin, health, upstream] = scene::free_ports()?;
    let file = json!({
        "version": "v1",
        "listeners": [{"address": listen}],
        "admin": {"address": admin},
        "health": {"address": health},
        "workers": 1,
        "upstreams": {"echo": {"endpoints": [upstream.to_string()]}},
        "routes": [{"path_prefix": "/echo", "upstream": "echo"}],
        "policies": [{"name": "echo", "scope": "policy", "breaker": {"profile": "origin-study"}}],
        "telemetry": {
            "service_name": "echo-proxy",
            "traces": {"exporter": "otlp_stdout", "tree": "origin-study"},
        },
    });
    let config = folder.join("proxy.json");
    std::fs::write(&config, format!("{file:#}"))
        .with_context(|| format!("cannot write {}", config.display()))?;
    let at = upstream.to_string();
    let config = config.display().to_string();
    let echo = traced(bimetal, &["echo", "--listen", &at, "--traces", "otlp_stdout"], folder)?;
    let proxy = traced(bimetal, &["proxy", "--config", &config], folder)?;
    wait("the echo server", || Ok(scene::get(upstream, "/healthz").ok()))?;
    wait("the proxy", || Ok(scene::get(health, "/readyz").ok()))?;
    for (path, headers, wanted) in CALLS {
        let status = call(listen, path, headers)?;
        ensure!(status == wanted, "{path} with {headers:?}: {status}, not {wanted}");
    }
    Ok(([proxy.0, echo.0], [proxy.1, echo.1]))
}

/// Starts `bimetal` with standard output in a file of its own.
fn traced(bimetal: &Path, arguments: &[&str], folder: &Path) -> Result<(Running, PathBuf)> {
    let name = arguments.first().copied().unwrap_or_default();
    let lines = folder.join(format!("{name}.jsonl"));
    let mut command = Command::new("sh");
    command.args(["-c", r#"exec "$@" > "$0""#]).arg(&lines).arg(bimetal).args(arguments);
    let running = Running::start(name, &mut command, &folder.join(format!("{name}.log")))?;
    Ok((running, lines))
}

fn call(at: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Result<u16> {
    let agent = ureq::Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(false)
        .build()
        .new_agent();
    let mut request = agent.post(format!("http://{at}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Ok(request.send(r#"{"message":"hi"}"#)?.status().as_u16())
}

/// Holds what Jaeger has against what was written.
fn compare(written: &[Span], jaeger: &Jaeger) -> Result<()> {
    let mut traces: BTreeMap<&str, Vec<&Span>> = BTreeMap::new();
    for span in written {
        traces.entry(&span.trace).or_default().push(span);
    }
    ensure!(traces.len() == CALLS.len(), "{} traces, one for each call wanted", traces.len());
    for (trace, spans) in &traces {
        let stored = wait(&format!("trace {trace} in Jaeger"), || {
            let stored = jaeger.trace(trace)?;
            Ok(Some(stored).filter(|stored| stored.len() >= spans.len()))
        })?;
        ensure!(stored.len() == spans.len(), "{trace}: {} spans in Jaeger", stored.len());
        for span in spans {
            let Some(found) = stored.iter().find(|found| found.id == span.id) else {
                bail!("{trace}: {} is not in Jaeger", span.name);
            };
            span.is_stored_as(found).with_context(|| format!("{trace}: {}", span.name))?;
        }
    }
    let good = traces.get(TRACE).context("the caller's trace is not there")?;
    ensure!(good.len() == 12, "{} spans in the good call's tree, 12 wanted", good.len());
    let root = good.iter().find(|span| span.parent == CALLER);
    ensure!(root.is_some_and(|root| root.name == "POST /echo"), "no root below the caller's span");
    println!(
        "{} spans of {} traces are in Jaeger as they were written",
        written.len(),
        traces.len()
    );
    Ok(())
}

/// Asks `look` until it has an answer.
///
/// # Errors
/// It has none in time, or fails.
pub(crate) fn wait<T>(what: &str, look: impl Fn() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        ensure!(Instant::now() < deadline, "{what} is not there in time");
        std::thread::sleep(GLANCE);
    }
}

/// A text of a JSON value; empty where it is none.
fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
