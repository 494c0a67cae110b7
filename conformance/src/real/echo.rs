//! The upstream: `bimetal echo`, told by each request what to do with it.

use super::process::Process;
use crate::scenario::{Call, Scenario, StepKind, Upstream};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{self, Error};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The header that carries a call's name to the upstream.
pub(super) const STEP: &str = "x-step";
/// Envoy's fault filter answers a request that asks for it so.
const INJECT: &str = "x-envoy-fault-abort-request";
/// A name that nobody ever releases.
const NEVER: &str = "never";

/// A running echo server.
#[derive(Debug)]
pub(crate) struct Echo {
    address: SocketAddr,
    admin: SocketAddr,
    _process: Process,
}

impl Echo {
    pub(crate) fn start(program: &Path, folder: &Path) -> io::Result<Self> {
        let ready = folder.join("echo.ready");
        // Of an earlier run: read again, it would name ports of the past.
        let _ = std::fs::remove_file(&ready);
        let text = ready.display().to_string();
        let mut command = Command::new(program);
        command.args(["echo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        command.args(["--ready-file", &text]);
        let mut process = Process::start(&mut command, &folder.join("echo.log"))?;
        let ports: Value = process.wait_for("say its ports", || {
            serde_json::from_slice(&std::fs::read(&ready).ok()?).ok()
        })?;
        let port = |name: &str| {
            let text = ports[name].as_str().and_then(|text| text.parse().ok());
            text.ok_or_else(|| Error::other(format!("no address {name} in {ports}")))
        };
        Ok(Self { address: port("listen")?, admin: port("admin")?, _process: process })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the port around every step whose upstream refuses; times count from now, the
    /// scenario begins after `lead`.
    pub(super) fn plan(&self, scenario: &Scenario, lead: Duration) -> io::Result<()> {
        let margin = scenario.tick * 5 / 2;
        let refusals = scenario.steps.iter().filter(|step| match &step.kind {
            StepKind::Call(call) => call.upstream == Upstream::Refuses,
            StepKind::Load(_) => false,
        });
        let rules: Vec<Value> = refusals
            .map(|step| {
                let at = lead + step.at;
                let (from, to) = (at.saturating_sub(margin), at + margin);
                json!({"from_s": from.as_secs_f64(), "to_s": to.as_secs_f64(), "refuse": true})
            })
            .collect();
        let url = format!("http://{}/faults", self.admin);
        let plan = json!({ "plan": rules }).to_string();
        let trouble = |error| Error::other(format!("telling the echo server its plan: {error}"));
        let answer = super::client::agent().put(url).send(plan).map_err(trouble)?;
        match answer.status().as_u16() {
            200 => Ok(()),
            status => Err(Error::other(format!("the echo server answers {status} to its plan"))),
        }
    }

    /// Lets go of what is held under `name` now, and says how many calls that were.
    pub(crate) fn release(&self, name: &str) -> io::Result<u64> {
        let url = format!("http://{}/release/{name}", self.admin);
        let trouble = |error| Error::other(format!("telling the echo server to release: {error}"));
        let mut answer = super::client::agent().post(url).send_empty().map_err(trouble)?;
        let text = answer.body_mut().read_to_string().map_err(Error::other)?;
        let page: Value = serde_json::from_str(&text)?;
        page["released"]
            .as_u64()
            .ok_or_else(|| Error::other(format!("no number of releases in {text}")))
    }

    /// How often each call arrived, by its name.
    pub(super) fn received(&self) -> io::Result<BTreeMap<String, usize>> {
        let url = format!("http://{}/received", self.admin);
        let trouble = |error| Error::other(format!("asking the echo server: {error}"));
        let mut answer = super::client::agent().get(url).call().map_err(trouble)?;
        let text = answer.body_mut().read_to_string().map_err(Error::other)?;
        let page: Value = serde_json::from_str(&text)?;
        let requests = page["requests"].as_array().cloned().unwrap_or_default();
        let mut counts = BTreeMap::new();
        for request in requests {
            if let Some(step) = request["headers"][STEP].as_str() {
                *counts.entry(step.to_owned()).or_default() += 1;
            }
        }
        Ok(counts)
    }
}

/// Headers that tell the echo server, or the mesh, what to do with a call.
pub(super) fn fault_headers(call: &Call) -> Vec<(&'static str, String)> {
    let millis = |span: Duration| span.as_millis().to_string();
    match call.upstream {
        Upstream::Refuses => vec![],
        Upstream::Hangs => vec![("x-fault-hold", NEVER.to_owned())],
        Upstream::ResetsBeforeHeaders => vec![("x-fault-reset", "before_headers".to_owned())],
        Upstream::ResetsAfterHeaders => vec![("x-fault-reset", "after_headers".to_owned())],
        Upstream::Injected { status } => vec![(INJECT, status.to_string())],
        Upstream::Answers(reply) => {
            let mut headers = match reply.grpc_status {
                Some(status) => vec![("x-fault-grpc-status", status.to_string())],
                None => vec![("x-fault-status", reply.status.to_string())],
            };
            if !reply.after.is_zero() {
                headers.push(("x-fault-delay-ms", millis(reply.after)));
            }
            if !reply.body.is_zero() {
                headers.push(("x-fault-body-delay-ms", millis(reply.body)));
            }
            if let Some(seconds) = reply.retry_after {
                headers.push(("x-fault-retry-after-s", seconds.to_string()));
            }
            headers
        }
    }
}
