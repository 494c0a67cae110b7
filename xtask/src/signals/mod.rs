//! Metrics, dashboards and alerts before a real Prometheus: it scrapes both hosts and the analytics service
//! while breakers trip, limits fill and anomalies come, and every expression of every panel and rule must
//! give series. promtool reads what the hosts print and tests the alerts.

mod expressions;
mod programs;
mod traffic;

use crate::demo::scene::{self, Parts};
use crate::traces::wait;
use crate::{place, tools};
use anyhow::{Context, Result, ensure};
use expressions::Expression;
use programs::{Hosts, Prometheus};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long the run may take until every expression gave something.
const PATIENCE: Duration = Duration::from_secs(150);

/// What cannot give series in a run of a healthy product, why, and the metric that shows that it could.
const SILENT: [(&str, &str, &str); 3] = [
    ("BimetalBoardFailing", "no board fails", "bimetal_board_errors_total"),
    ("BimetalDecisionErrors", "no decision fails", "bimetal_decision_errors_total"),
    ("BimetalLeaked", "every admitted call is settled", "bimetal_calls_outstanding"),
];

/// The programs of the check.
#[derive(Debug)]
pub struct Tools {
    /// Prometheus.
    pub prometheus: PathBuf,
    /// Its tool, of the same package.
    pub promtool: PathBuf,
    /// Alertmanager, where an alert shall reach one.
    pub alertmanager: Option<PathBuf>,
}

/// The command: gets what it needs, and checks.
///
/// # Errors
/// As [`check`]; or a program cannot be had.
pub fn signals(with_alertmanager: bool) -> Result<()> {
    check(&Parts::make()?, &Tools::get(with_alertmanager)?)
}

impl Tools {
    /// Finds or installs them.
    ///
    /// # Errors
    /// One cannot be had.
    pub fn get(with_alertmanager: bool) -> Result<Self> {
        let alertmanager = tools::named("prometheus-alertmanager")?;
        Ok(Self {
            prometheus: tools::named("prometheus")?.get()?,
            promtool: tools::named("promtool")?.get()?,
            alertmanager: with_alertmanager.then(|| alertmanager.get()).transpose()?,
        })
    }
}

/// Checks rules, expositions, expressions, exemplars and, where there is an Alertmanager, that an alert
/// gets there.
///
/// # Errors
/// A program does not start, or something is not as it shall be.
pub fn check(parts: &Parts, tools: &Tools) -> Result<()> {
    let folder = place::made("signals")?;
    rules(&tools.promtool)?;
    let hosts = Hosts::start(parts, &folder)?;
    let prometheus = Prometheus::start(tools, &hosts, &folder)?;
    wait("every target", || Ok(prometheus.all_are_up()?.then_some(())))?;
    let expressions = expressions::all(&place::root())?;
    let (run, silent) = answered(&hosts, &prometheus, &expressions)?;
    expositions(&tools.promtool, &hosts)?;
    let exemplars = exemplars(&prometheus, &hosts)?;
    if tools.alertmanager.is_some() {
        wait("an alert in Alertmanager", || prometheus.has_alert("BimetalBreakerOpen"))?;
        println!("a real Alertmanager has the alert BimetalBreakerOpen");
    }
    println!(
        "{} expressions gave series within {} s of a tripping run; {exemplars} exemplars lead to traces",
        expressions.len() - silent.len(),
        run.as_secs()
    );
    for (name, why, _) in SILENT {
        println!("{name} gave none: {why}");
    }
    Ok(())
}

/// The alerts by promtool's own tests.
fn rules(promtool: &Path) -> Result<()> {
    for arguments in
        [["check", "rules", "alerts/bimetal.yaml"], ["test", "rules", "alerts/tests/bimetal.yaml"]]
    {
        let output = Command::new(promtool)
            .current_dir(place::root())
            .args(arguments)
            .output()
            .context("promtool does not run")?;
        let told = [&output.stdout[..], &output.stderr[..]].concat();
        ensure!(output.status.success(), "promtool: {}", String::from_utf8_lossy(&told));
    }
    Ok(())
}

/// Lets traffic come until each expression gave series once. Gives how long that took, and those that
/// shall give none.
fn answered<'e>(
    hosts: &Hosts,
    prometheus: &Prometheus,
    expressions: &'e [Expression],
) -> Result<(Duration, Vec<&'e Expression>)> {
    let is_silent = |one: &&Expression| SILENT.iter().any(|(name, ..)| one.place.ends_with(name));
    let (silent, mut open): (Vec<_>, Vec<_>) = expressions.iter().partition(is_silent);
    ensure!(silent.len() == SILENT.len(), "what gives no series is not there");
    let begun = Instant::now();
    let traffic = traffic::Traffic::start(hosts)?;
    while !open.is_empty() {
        let mut left = Vec::new();
        for one in open {
            if prometheus.query(&one.expression).with_context(|| one.to_string())?.is_empty() {
                left.push(one);
            }
        }
        open = left;
        let missing = || open.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        ensure!(begun.elapsed() < PATIENCE, "no series from:\n{}", missing());
        std::thread::sleep(Duration::from_millis(500));
    }
    traffic.end()?;
    for one in &silent {
        let given = prometheus.query(&one.expression)?;
        ensure!(given.is_empty(), "{one} gives {given:?}");
    }
    for (name, _, metric) in SILENT {
        ensure!(!prometheus.query(metric)?.is_empty(), "{name}: {metric} is not there");
    }
    Ok((begun.elapsed(), silent))
}

/// What the hosts print, as promtool reads it.
fn expositions(promtool: &Path, hosts: &Hosts) -> Result<()> {
    let [proxy, envoy] = hosts.expositions()?;
    // Envoy prints no help, and its histograms of Wasm hold whole milliseconds.
    let envoys = ["no help text", "use base unit \"seconds\"", "abbreviated"];
    for (name, page, allowed) in [("proxy", proxy, &[][..]), ("envoy", envoy, &envoys)] {
        ensure!(page.contains("bimetal_requests_total"), "{name} prints nothing of ours");
        let mut lint = Command::new(promtool)
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut input) = lint.stdin.take() {
            std::io::Write::write_all(&mut input, page.as_bytes())?;
        }
        let output = lint.wait_with_output()?;
        let told = [&output.stdout[..], &output.stderr[..]].concat();
        let told = String::from_utf8_lossy(&told);
        let wrong = |line: &&str| !allowed.iter().any(|one| line.contains(one));
        let wrong: Vec<_> = told.lines().filter(wrong).collect();
        let can_be_read = output.status.success() || !allowed.is_empty();
        ensure!(can_be_read && wrong.is_empty(), "promtool of {name}: {wrong:#?}");
    }
    Ok(())
}

/// Exemplars that Prometheus took: each has the id of a trace that the proxy wrote.
fn exemplars(prometheus: &Prometheus, hosts: &Hosts) -> Result<usize> {
    let found = wait("an exemplar", || {
        let found = prometheus.exemplars("bimetal_request_duration_seconds_bucket")?;
        Ok((!found.is_empty()).then_some(found))
    })?;
    let traces = hosts.written_traces()?;
    for trace in &found {
        ensure!(trace.len() == 32 && traces.contains(trace), "{trace} is no trace of the proxy");
    }
    let text = scene::get(hosts.health, "/metrics")?;
    ensure!(!text.contains("trace_id"), "an exemplar in the text format");
    Ok(found.len())
}

/// A text of a JSON value; empty where it is none.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
