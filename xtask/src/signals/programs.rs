//! The programs of the check: both hosts and the analytics service, Prometheus and Alertmanager.

use super::{Tools, text};
use crate::demo::scene::{self, Parts};
use crate::place;
use crate::process::{Guest, Running};
use crate::traces::wait;
use anyhow::{Context, Result, ensure};
use bimetal_conformance::envoy::{Config, Envoy, Filter, Log};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The hosts under load.
#[derive(Debug)]
pub(super) struct Hosts {
    /// The proxy's listener.
    pub proxy: SocketAddr,
    /// Its health listener: metrics.
    pub health: SocketAddr,
    /// The analytics service.
    pub analytics: SocketAddr,
    envoy: Envoy,
    spans: PathBuf,
    _guest: Guest,
    _running: [Running; 3],
}

/// One policy for each thing that can happen; a call says by `x-case` which.
fn policies(is_native: bool) -> Value {
    let case = |name: &str| json!({"headers": {"x-case": name}});
    let mut all = json!([
        {
            "name": "trips", "match": case("trips"), "scope": "policy",
            "breaker": {"trip": {"consecutive_failures": 3}, "open": {"base": "1s", "multiplier": 1, "jitter": 0}},
            "fallback": {"when": ["rejected"], "status": 503},
            "anomaly": {"window": 5, "threshold": 1.5, "interval": "100ms"},
        },
        {
            "name": "shadow", "match": case("shadow"), "scope": "policy", "mode": "shadow",
            "breaker": {"trip": {"consecutive_failures": 1}, "open": {"base": "1s", "jitter": 0}},
        },
        {
            "name": "limit", "match": case("limit"), "scope": "policy",
            "concurrency": {"max": 1, "queue": {"max": 1, "max_wait": "5s"}},
        },
        {
            "name": "retry", "match": case("retry"), "scope": "policy",
            "retry": {"tries": 2, "on": ["5xx"], "methods": "all", "budget": {"share": 0, "floor": "0/s"}},
            "timeout": {"request": {"auto": {"min": "1s", "max": "5s"}}},
        },
    ]);
    if is_native {
        all[0]["warnings"] = json!({});
    }
    all
}

impl Hosts {
    /// Starts them and waits until they serve.
    ///
    /// # Errors
    /// A program does not start.
    pub(super) fn start(parts: &Parts, folder: &Path) -> Result<Self> {
        let (echo, upstream, _) = scene::echo(&parts.bimetal, folder)?;
        let [listen, admin, health, analytics] = scene::free_ports()?;
        let file = json!({
            "version": "v1",
            "listeners": [{"address": listen}],
            "admin": {"address": admin},
            "health": {"address": health},
            "workers": 1,
            "upstreams": {"echo": {"endpoints": [upstream.to_string()]}},
            "routes": [{"path_prefix": "/echo", "upstream": "echo"}],
            "policies": policies(true),
            "telemetry": {"traces": {"exporter": "otlp_stdout", "sample": 1.0}},
        });
        let config = folder.join("proxy.json");
        std::fs::write(&config, format!("{file:#}"))?;
        let spans = folder.join("spans.jsonl");
        let mut command = Command::new("sh");
        command.args(["-c", r#"exec "$@" > "$0""#]).arg(&spans).arg(&parts.bimetal);
        command.args(["proxy", "--config"]).arg(&config);
        let proxy = Running::start("native proxy", &mut command, &folder.join("proxy.log"))?;
        let mut command = Command::new(&parts.bimetal);
        command.args(["analytics", "--listen", &analytics.to_string()]);
        let service = Running::start("analytics", &mut command, &folder.join("analytics.log"))?;
        let document = json!({"version": "v1", "policies": policies(false)});
        let filter = Filter::new(&parts.filter, document.to_string());
        let config = Config { log: Log::Quiet, ..Config::new(upstream).filter(filter) };
        let envoy = Envoy::start(&parts.envoy, &folder.join("envoy"), &config)
            .context("Envoy did not start")?;
        let guest = Guest::new(envoy.id());
        wait("the proxy", || Ok(scene::get(health, "/readyz").ok()))?;
        wait("the analytics service", || Ok(scene::get(analytics, "/readyz").ok()))?;
        let _running = [proxy, service, echo];
        Ok(Self { proxy: listen, health, analytics, envoy, spans, _guest: guest, _running })
    }

    /// Where calls through Envoy go.
    pub(super) const fn envoy(&self) -> SocketAddr {
        self.envoy.address()
    }

    /// What proxy and filter print.
    ///
    /// # Errors
    /// One does not answer.
    pub(super) fn expositions(&self) -> Result<[String; 2]> {
        Ok([scene::get(self.health, "/metrics")?, self.envoy.metrics()?])
    }

    /// Ids of the traces that the proxy wrote.
    ///
    /// # Errors
    /// They cannot be read.
    pub(super) fn written_traces(&self) -> Result<BTreeSet<String>> {
        let lines = std::fs::read_to_string(&self.spans)?;
        let ids = lines.split(r#""traceId":""#).skip(1).filter_map(|rest| rest.get(..32));
        Ok(ids.map(str::to_owned).collect())
    }
}

/// A Prometheus of our own, and its Alertmanager where there is one.
#[derive(Debug)]
pub(super) struct Prometheus {
    address: SocketAddr,
    alerts: Option<SocketAddr>,
    agent: ureq::Agent,
    _running: Vec<Running>,
}

impl Prometheus {
    /// Starts it with its eyes on `hosts`, and waits until it answers.
    ///
    /// # Errors
    /// It does not.
    pub(super) fn start(tools: &Tools, hosts: &Hosts, folder: &Path) -> Result<Self> {
        let [address, manager] = scene::free_ports()?;
        let mut running = Vec::new();
        let alerts = tools.alertmanager.as_ref().map(|_| manager);
        if let Some(program) = &tools.alertmanager {
            let store = fresh(folder, "alertmanager")?;
            let mut command = Command::new(program);
            command
                .arg(format!(
                    "--config.file={}",
                    place::root().join("alerts/alertmanager/route.yaml").display()
                ))
                .arg(format!("--storage.path={}", store.display()))
                .arg(format!("--web.listen-address={manager}"))
                // It has no others to meet.
                .arg("--cluster.listen-address=");
            running.push(Running::start(
                "Alertmanager",
                &mut command,
                &folder.join("alertmanager.log"),
            )?);
        }
        let target = |job: &str, path: &str, address: SocketAddr| json!({"job_name": job, "metrics_path": path, "static_configs": [{"targets": [address.to_string()]}]});
        let alertmanagers: Vec<_> = alerts
            .iter()
            .map(|at| json!({"static_configs": [{"targets": [at.to_string()]}]}))
            .collect();
        // JSON is YAML.
        let config = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [place::root().join("alerts/bimetal.yaml")],
            "alerting": {"alertmanagers": alertmanagers},
            "scrape_configs": [
                target("proxy", "/metrics", hosts.health),
                target("envoy", "/stats/prometheus", hosts.envoy.admin()),
                target("analytics", "/metrics", hosts.analytics),
            ],
        });
        let file = folder.join("prometheus.json");
        std::fs::write(&file, format!("{config:#}"))?;
        let store = fresh(folder, "prometheus")?;
        let mut command = Command::new(&tools.prometheus);
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", store.display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--enable-feature=exemplar-storage");
        running.push(Running::start("Prometheus", &mut command, &folder.join("prometheus.log"))?);
        let agent = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(30)));
        let prometheus =
            Self { address, alerts, agent: agent.build().new_agent(), _running: running };
        wait("Prometheus", || Ok(prometheus.ask(address, "/-/ready").ok()))?;
        Ok(prometheus)
    }

    fn ask(&self, address: SocketAddr, path: &str) -> Result<String> {
        let mut answer = self.agent.get(format!("http://{address}{path}")).call()?;
        Ok(answer.body_mut().read_to_string()?)
    }

    fn data(&self, path: &str, query: &[(&str, &str)]) -> Result<Value> {
        let mut request = self.agent.get(format!("http://{}{path}", self.address));
        for (name, value) in query {
            request = request.query(*name, *value);
        }
        let answer = request.call()?.body_mut().read_to_string()?;
        let answer: Value = serde_json::from_str(&answer)?;
        ensure!(answer["status"] == "success", "{answer}");
        Ok(answer["data"].clone())
    }

    /// The series that an expression gives now.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn query(&self, expression: &str) -> Result<Vec<Value>> {
        let data = self.data("/api/v1/query", &[("query", expression)])?;
        Ok(data["result"].as_array().cloned().unwrap_or_default())
    }

    /// Whether every target was scraped well.
    ///
    /// # Errors
    /// It does not answer.
    pub(super) fn all_are_up(&self) -> Result<bool> {
        Ok(self.query("up == 1")?.len() == 3)
    }

    /// Trace ids of a metric's exemplars.
    ///
    /// # Errors
    /// It does not answer.
    pub(super) fn exemplars(&self, metric: &str) -> Result<BTreeSet<String>> {
        let query = [("query", metric), ("start", "0"), ("end", "99999999999")];
        let data = self.data("/api/v1/query_exemplars", &query)?;
        let series = data.as_array().cloned().unwrap_or_default();
        let all = series.iter().filter_map(|one| one["exemplars"].as_array()).flatten();
        Ok(all.map(|one| text(&one["labels"]["trace_id"]).to_owned()).collect())
    }

    /// Something where Alertmanager has an alert of this name.
    ///
    /// # Errors
    /// It answers what is no JSON.
    pub(super) fn has_alert(&self, name: &str) -> Result<Option<()>> {
        let Some(alerts) = self.alerts else {
            return Ok(None);
        };
        let Ok(known) = self.ask(alerts, "/api/v2/alerts") else {
            return Ok(None);
        };
        let known: Value = serde_json::from_str(&known)?;
        let known = known.as_array().cloned().unwrap_or_default();
        Ok(known.iter().any(|alert| alert["labels"]["alertname"] == name).then_some(()))
    }
}

/// An empty folder: series of an earlier run would answer for this one.
fn fresh(folder: &Path, name: &str) -> Result<PathBuf> {
    let path = folder.join(name);
    if path.exists() {
        std::fs::remove_dir_all(&path)?;
    }
    std::fs::create_dir_all(&path)?;
    Ok(path)
}
