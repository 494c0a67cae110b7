//! The programs of the soak: one host in front of the echo server, with workers that share.

use crate::demo::metrics::Page;
use crate::demo::scene::{self, Parts};
use crate::place;
use crate::process::{Guest, Running};
use anyhow::{Context, Result};
use bimetal_conformance::envoy::{Config, Envoy, Filter, Log};
use clap::ValueEnum;
use serde_json::{Value, json};
use std::net::SocketAddr;

/// Workers of the host: more than cores, so that they take turns in every order.
const WORKERS: u32 = 4;

/// Which host is soaked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// The native proxy.
    Native,
    /// The filter in Envoy.
    Envoy,
}

impl Kind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Native, Self::Envoy];

    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native proxy",
            Self::Envoy => "filter in Envoy",
        }
    }
}

/// A host at work, and the server behind it.
#[derive(Debug)]
pub struct Host {
    /// Where calls go.
    pub address: SocketAddr,
    program: Program,
    _echo: Running,
}

#[derive(Debug)]
enum Program {
    Native { running: Running, metrics: SocketAddr },
    Envoy { envoy: Box<Envoy>, _guest: Guest },
}

/// A breaker for each tenant that trips on a streak and on a rate, and is open for a short time:
/// so that every rule is at work all the time.
fn policies() -> Value {
    json!([{
        "name": "soak",
        "match": {"path_prefix": "/echo"},
        "scope": "header:x-tenant",
        // Fewer places than tenants that pass by.
        "scopes": {"max": 500},
        "breaker": {
            "trip": {
                "consecutive_failures": 4,
                "failure_rate": {"threshold": 0.6, "window": {"time": "1s"}, "minimum_calls": 10},
            },
            "open": {"base": "40ms", "max": "400ms"},
            "half_open": {"max_probes": 2, "required_successes": 2},
            "recovery": {"ramp": "50ms"},
        },
        // An upstream that answers waits for nothing but this machine's two cores.
        "timeout": {"request": "1500ms"},
    }])
}

impl Host {
    /// Starts both and waits until they serve.
    ///
    /// # Errors
    /// A program does not start.
    pub fn start(kind: Kind, parts: &Parts) -> Result<Self> {
        let folder = place::made(&format!("soak/{}", kind.name().replace(' ', "-")))?;
        let (echo, upstream, _) = scene::echo(&parts.bimetal, &folder)?;
        let policies = policies();
        let (address, program) = match kind {
            Kind::Native => {
                let [listen, admin, health] = scene::free_ports()?;
                let file = json!({
                    "version": "v1",
                    "listeners": [{"address": listen}],
                    "admin": {"address": admin},
                    "health": {"address": health},
                    "workers": WORKERS,
                    "upstreams": {"echo": {"endpoints": [upstream.to_string()]}},
                    "routes": [{"host": "*", "path_prefix": "/echo", "upstream": "echo"}],
                    "policies": policies,
                });
                let running = scene::proxy(&parts.bimetal, &folder, &file, health)?;
                (listen, Program::Native { running, metrics: health })
            }
            Kind::Envoy => {
                let document = json!({"version": "v1", "policies": policies});
                let filter = Filter::new(&parts.filter, document.to_string());
                let config = Config {
                    log: Log::Quiet,
                    concurrency: WORKERS,
                    ..Config::new(upstream).filter(filter)
                };
                let envoy = Envoy::start(&parts.envoy, &folder.join("envoy"), &config)
                    .context("Envoy did not start")?;
                let guest = Guest::new(envoy.id());
                (envoy.address(), Program::Envoy { envoy: Box::new(envoy), _guest: guest })
            }
        };
        Ok(Self { address, program, _echo: echo })
    }

    /// Its metrics.
    ///
    /// # Errors
    /// It does not answer.
    pub fn metrics(&self) -> Result<Page> {
        match &self.program {
            // Envoy has thousands of others.
            Program::Envoy { envoy, .. } => {
                Ok(Page(envoy.get("/stats/prometheus?filter=bimetal_")?))
            }
            Program::Native { metrics, .. } => scene::get(*metrics, "/metrics").map(Page),
        }
    }

    /// Bytes of memory that it has in use (`VmRSS` of its process).
    ///
    /// # Errors
    /// It has ended.
    pub fn memory(&self) -> Result<u64> {
        let id = match &self.program {
            Program::Native { running, .. } => running.id(),
            Program::Envoy { envoy, .. } => envoy.id(),
        };
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))
            .context("the host has ended in the middle of the soak")?;
        resident(&status).context("the system does not tell how much memory the host uses")
    }
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bimetal_core::policy::{self, Document};

    #[test]
    fn the_policy_is_good_on_both_hosts() {
        let document = json!({"version": "v1", "policies": policies()}).to_string();
        for host in [policy::Host::Native, policy::Host::Wasm] {
            Document::parse(document.as_bytes(), host).unwrap();
        }
    }

    #[test]
    fn memory_is_read_from_the_systems_words() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t    1234 kB\nVmData: 1 kB\n"), Some(1234 * 1024));
        assert_eq!(resident("Name:\tx\n"), None);
    }
}
