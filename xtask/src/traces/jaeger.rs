//! A Jaeger of our own: OTLP over HTTP in, its query API out, everything in memory.

use super::spans::Span;
use super::{PATIENCE, wait};
use crate::demo::scene;
use crate::process::Running;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

/// A running Jaeger.
#[derive(Debug)]
pub(super) struct Jaeger {
    otlp: SocketAddr,
    query: SocketAddr,
    agent: ureq::Agent,
    _running: Running,
}

impl Jaeger {
    /// Starts `program` on free ports and waits until it answers.
    ///
    /// # Errors
    /// It does not.
    pub(super) fn start(program: &Path, folder: &Path) -> Result<Self> {
        let [otlp, query, grpc] = scene::free_ports()?;
        // JSON is YAML, which is what it reads.
        let config = json!({
            "service": {
                "extensions": ["jaeger_storage", "jaeger_query"],
                "pipelines": {
                    "traces": {"receivers": ["otlp"], "exporters": ["jaeger_storage_exporter"]},
                },
                "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "warn"}},
            },
            "extensions": {
                "jaeger_query": {
                    "storage": {"traces": "memory"},
                    "http": {"endpoint": query.to_string()},
                    "grpc": {"endpoint": grpc.to_string()},
                },
                "jaeger_storage": {"backends": {"memory": {"memory": {"max_traces": 100_000}}}},
            },
            "receivers": {"otlp": {"protocols": {"http": {"endpoint": otlp.to_string()}}}},
            "exporters": {"jaeger_storage_exporter": {"trace_storage": "memory"}},
        });
        let file = folder.join("jaeger.yaml");
        std::fs::write(&file, format!("{config:#}"))
            .with_context(|| format!("cannot write {}", file.display()))?;
        let mut command = Command::new(program);
        command.arg("--config").arg(&file);
        // Else it looks for a collector of its own traces.
        command.env("OTEL_TRACES_SAMPLER", "always_off");
        let running = Running::start("Jaeger", &mut command, &folder.join("jaeger.log"))?;
        let agent = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).build();
        let jaeger = Self { otlp, query, agent: agent.new_agent(), _running: running };
        wait("Jaeger", || Ok(jaeger.get("/api/services").ok()))?;
        Ok(jaeger)
    }

    /// Sends it a line of OTLP/JSON.
    ///
    /// # Errors
    /// It does not take it.
    pub(super) fn post(&self, line: &str) -> Result<()> {
        let url = format!("http://{}/v1/traces", self.otlp);
        let request = self.agent.post(url).header("content-type", "application/json");
        request.send(line).with_context(|| format!("Jaeger does not take {line}"))?;
        Ok(())
    }

    /// What it has of a trace; nothing where it does not know it yet.
    ///
    /// # Errors
    /// Its answer cannot be read.
    pub(super) fn trace(&self, id: &str) -> Result<Vec<Span>> {
        let Ok(answer) = self.get(&format!("/api/traces/{id}")) else {
            return Ok(Vec::new());
        };
        let spans = answer["data"][0]["spans"].as_array();
        spans.into_iter().flatten().map(Span::stored).collect()
    }

    fn get(&self, path: &str) -> Result<Value> {
        let mut answer = self.agent.get(format!("http://{}{path}", self.query)).call()?;
        Ok(serde_json::from_str(&answer.body_mut().read_to_string()?)?)
    }
}
