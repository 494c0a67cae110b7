//! The programs: three replicas of the model, and the host of the arm at hand.

use super::arm::Arm;
use crate::demo::metrics::Page;
use crate::demo::scene::{Parts, free_ports, get, proxy, ready_address};
use crate::process::{self, Guest, Running};
use anyhow::{Context, Result, bail};
use bimetal_conformance::envoy::{Config, Envoy, Filter, Log};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// The policy of both hosts.
pub const POLICY: &str = include_str!("policy.json");

/// Replicas of the model.
pub const REPLICAS: usize = 3;

/// How long the replicas may take until nothing waits or is worked on.
const IDLE_WAIT: Duration = Duration::from_secs(30);

/// How the replicas are started.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    /// Calls that one replica serves at once.
    pub slots: u32,
    /// How long each takes, as the program takes it.
    pub work: &'static str,
}

/// The replicas at work.
#[derive(Debug)]
pub struct Models {
    replicas: Vec<(Running, SocketAddr)>,
}

impl Models {
    /// Starts them on free ports of loopback.
    ///
    /// # Errors
    /// One does not start.
    pub fn start(bimetal: &Path, folder: &Path, capacity: Capacity) -> Result<Self> {
        let mut replicas = Vec::new();
        for number in 0..REPLICAS {
            let ready = folder.join(format!("model-{number}.ready"));
            // Of an earlier run: read again, it would name a port of the past.
            let _ = std::fs::remove_file(&ready);
            let mut command = Command::new(bimetal);
            command.args(["model", "--listen", "127.0.0.1:0", "--work", capacity.work]);
            command.args(["--slots", &capacity.slots.to_string(), "--ready-file"]).arg(&ready);
            let log = folder.join(format!("model-{number}.log"));
            let mut model = Running::start("model", &mut command, &log)?;
            let address = ready_address(&mut model, &ready, "listen")?;
            replicas.push((model, address));
        }
        Ok(Self { replicas })
    }

    /// Where they listen.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.replicas.iter().map(|(_, address)| *address).collect()
    }

    /// The sum of a metric over them.
    ///
    /// # Errors
    /// One does not answer.
    pub fn sum(&self, metric: &str) -> Result<f64> {
        let mut sum = 0.0;
        for (_, address) in &self.replicas {
            sum += Page(get(*address, "/metrics")?).sum(metric, &[]);
        }
        Ok(sum)
    }

    /// Waits until nothing waits or is worked on; gives the work done so far.
    ///
    /// # Errors
    /// One has ended, or they do not become idle.
    pub fn idle(&mut self) -> Result<f64> {
        let deadline = Instant::now() + IDLE_WAIT;
        loop {
            for (model, _) in &mut self.replicas {
                if let Some(status) = model.status()? {
                    bail!("a model ended by itself ({status}): {}", model.last_words());
                }
            }
            let under_way = self.sum("bimetal_model_busy")? + self.sum("bimetal_model_waiting")?;
            if under_way == 0.0 {
                return self.sum("bimetal_model_done_total");
            }
            if process::stopping() || Instant::now() > deadline {
                bail!("{under_way} calls are still under way in the models");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The host of one arm at work; ended when dropped.
#[derive(Debug)]
pub enum Host {
    /// Envoy, with our filter or without.
    Envoy {
        /// The program.
        envoy: Box<Envoy>,
        /// Ends it when the demo is told to stop.
        _guest: Guest,
    },
    /// The native proxy.
    Native {
        /// The program.
        _proxy: Running,
        /// Where it listens.
        listen: SocketAddr,
        /// Where its metrics are.
        health: SocketAddr,
    },
}

impl Host {
    /// Starts the host of `arm` in front of `models`; `policy` is in force in ours.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(
        arm: Arm,
        policy: &str,
        parts: &Parts,
        folder: &Path,
        models: &Models,
    ) -> Result<Self> {
        let replicas = models.addresses();
        if arm == Arm::Native {
            let [listen, admin, health] = free_ports()?;
            let config = native(policy, &replicas, [listen, admin, health])?;
            let _proxy = proxy(&parts.bimetal, folder, &config, health)?;
            return Ok(Self::Native { _proxy, listen, health });
        }
        let first = *replicas.first().context("there is no replica")?;
        let mut config = Config {
            log: Log::Quiet,
            more_clusters: vec![cluster(arm, &replicas)],
            first_routes: vec![json!({
                "match": {"prefix": "/"}, "route": {"cluster": "model", "timeout": "0s"},
            })],
            ..Config::new(first)
        };
        if arm == Arm::Envoy {
            config = config.filter(Filter::new(&parts.filter, policy));
        }
        let envoy = Envoy::start(&parts.envoy, &folder.join("envoy"), &config)
            .context("Envoy did not start")?;
        let _guest = Guest::new(envoy.id());
        Ok(Self::Envoy { envoy: Box::new(envoy), _guest })
    }

    /// Where its clients go.
    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Envoy { envoy, .. } => envoy.address(),
            Self::Native { listen, .. } => *listen,
        }
    }

    /// What it counted.
    ///
    /// # Errors
    /// It does not answer.
    pub fn metrics(&self) -> Result<Page> {
        match self {
            // All of Envoy's own metrics would be thousands of lines.
            Self::Envoy { envoy, .. } => Ok(Page(envoy.get("/stats/prometheus?filter=bimetal_")?)),
            Self::Native { health, .. } => get(*health, "/metrics").map(Page),
        }
    }
}

/// The proxy's file; the addresses are those of listener, admin and health.
fn native(
    policy: &str,
    replicas: &[SocketAddr],
    [listen, admin, health]: [SocketAddr; 3],
) -> Result<Value> {
    let policy: Value = serde_json::from_str(policy).context("the demo's policy is not JSON")?;
    let endpoints: Vec<String> = replicas.iter().map(ToString::to_string).collect();
    Ok(json!({
        "version": "v1",
        "listeners": [{"address": listen}],
        "admin": {"address": admin},
        "health": {"address": health},
        // As many as Envoy has, so that both have the same part of the machine.
        "workers": 1,
        "upstreams": {"model": {"endpoints": endpoints}},
        "routes": [{"host": "*", "path_prefix": "/", "upstream": "model"}],
        "policies": policy["policies"],
    }))
}

/// The cluster of the replicas as Envoy's own JSON, limited as Istio would write it.
fn cluster(arm: Arm, replicas: &[SocketAddr]) -> Value {
    let endpoints: Vec<Value> = replicas
        .iter()
        .map(|replica| {
            json!({"endpoint": {"address": {"socket_address": {
                "address": replica.ip().to_string(), "port_value": replica.port(),
            }}}})
        })
        .collect();
    // Istio writes this for every limit that a rule does not give.
    let unlimited = u32::MAX;
    let (connections, pending, requests_each) = match arm {
        // A rule's http1MaxPendingRequests of 0 is no limit: Istio applies it above 0 alone.
        Arm::IstioStudy => (1, unlimited, 1),
        Arm::IstioPool => (100, 100, 0),
        Arm::Unprotected | Arm::Envoy | Arm::Native => (unlimited, unlimited, 0),
    };
    let mut http = json!({
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http_protocol_options": {}},
    });
    if requests_each > 0 {
        http["common_http_protocol_options"] =
            json!({"max_requests_per_connection": requests_each});
    }
    let mut cluster = json!({
        "name": "model",
        "type": "STATIC",
        "connect_timeout": "10s",
        "lb_policy": "LEAST_REQUEST",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http,
        },
        "circuit_breakers": {"thresholds": [{
            "max_connections": connections,
            "max_pending_requests": pending,
            "max_requests": unlimited,
            "max_retries": unlimited,
        }]},
        "load_assignment": {"cluster_name": "model", "endpoints": [{"lb_endpoints": endpoints}]},
    });
    if matches!(arm, Arm::IstioStudy | Arm::IstioPool) {
        cluster["outlier_detection"] = json!({
            "consecutive_gateway_failure": 3, "enforcing_consecutive_gateway_failure": 100,
            "consecutive_5xx": 3, "interval": "10s", "base_ejection_time": "30s",
            "max_ejection_percent": 100, "enforcing_success_rate": 0,
        });
    }
    cluster
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_is_one_that_both_hosts_take() {
        use bimetal_core::policy::{Document, Host};
        for host in [Host::Native, Host::Wasm] {
            assert!(Document::parse(POLICY.as_bytes(), host).is_ok(), "{host:?}");
        }
    }

    #[test]
    fn only_the_arms_of_istio_are_limited() {
        let replicas = ["127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap()];
        let limits = |arm| {
            let cluster = cluster(arm, &replicas);
            let limits = &cluster["circuit_breakers"]["thresholds"][0];
            let get = |name: &str| limits[name].as_u64().unwrap();
            (get("max_connections"), get("max_pending_requests"))
        };
        let none = u64::from(u32::MAX);
        assert_eq!(limits(Arm::Unprotected), (none, none));
        assert_eq!(limits(Arm::Envoy), (none, none));
        assert_eq!(limits(Arm::IstioStudy), (1, none));
        assert_eq!(limits(Arm::IstioPool), (100, 100));
        let endpoints = &cluster(Arm::Envoy, &replicas)["load_assignment"]["endpoints"][0];
        assert_eq!(endpoints["lb_endpoints"].as_array().unwrap().len(), 2);
    }
}
