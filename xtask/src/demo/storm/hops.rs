//! The three hops of an arm: three Envoys, or three native proxies.

use crate::demo::scene::{Parts, free_ports, proxy};
use crate::process::{Guest, Running};
use anyhow::{Context, Result};
use bimetal_conformance::envoy::{Config, Envoy, Log};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;

/// Hops between client and service.
pub const HOPS: u32 = 3;
/// Tries of each hop.
pub const TRIES: u32 = 3;
/// Of the calls of the last ten seconds, the share that a hop may try again.
pub const SHARE: f64 = 0.05;

/// How the hops try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arm {
    /// Envoy, three tries each, nothing else.
    Naive,
    /// The native proxy, three tries each: who gave up says so.
    Marked,
    /// The same within a budget.
    Budgeted,
}

impl Arm {
    /// Every arm.
    pub const ALL: [Self; 3] = [Self::Naive, Self::Marked, Self::Budgeted];

    /// Its name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Naive => "naive (Envoy)",
            Self::Marked => "exhaustion is told",
            Self::Budgeted => "and a budget of 5 %",
        }
    }

    /// Tries of one call at the last hop that are to be expected at most.
    pub fn expected(self) -> f64 {
        match self {
            Self::Naive => f64::from(TRIES.pow(HOPS)),
            // The last hop alone tries again.
            Self::Marked => f64::from(TRIES),
            // Each hop has 5 % of its own calls to spend: 1.05³, if none is told to stop.
            Self::Budgeted => 1.0 + SHARE * 2.0,
        }
    }

    /// The policy of a hop of ours.
    pub fn policy(self) -> Value {
        let mut retry = json!({
            "tries": TRIES, "on": ["503"], "methods": ["GET"],
            "backoff": {"base": "1ms", "max": "5ms"},
        });
        if self == Self::Budgeted {
            retry["budget"] = json!({"share": SHARE, "floor": "0/s"});
        }
        json!([{"name": "hop", "match": {"path_prefix": "/"}, "scope": "destination", "retry": retry}])
    }
}

/// The hops at work, the last one first; ended when dropped.
#[derive(Debug)]
pub struct Hops {
    _programs: Vec<Hop>,
    first: SocketAddr,
}

/// One hop; ended when dropped.
#[derive(Debug)]
enum Hop {
    Envoy { _envoy: Box<Envoy>, _guest: Guest },
    Native { _proxy: Running },
}

impl Hops {
    /// Starts the hops of `arm` before `service`.
    ///
    /// # Errors
    /// One does not start.
    pub fn start(arm: Arm, parts: &Parts, folder: &Path, service: SocketAddr) -> Result<Self> {
        let mut next = service;
        let mut programs = Vec::new();
        for number in (1..=HOPS).rev() {
            let folder = super::within(folder, number as usize)?;
            let (hop, address) = match arm {
                Arm::Naive => envoy(parts, &folder, next)?,
                Arm::Marked | Arm::Budgeted => native(arm, parts, &folder, next)?,
            };
            programs.push(hop);
            next = address;
        }
        Ok(Self { _programs: programs, first: next })
    }

    /// Where clients go.
    pub fn address(&self) -> SocketAddr {
        self.first
    }
}

/// Envoy as many have it: three tries, and its own limit of retries at once out of reach.
fn envoy(parts: &Parts, folder: &Path, next: SocketAddr) -> Result<(Hop, SocketAddr)> {
    let config = Config {
        log: Log::Quiet,
        route: json!({"retry_policy": {
            "retry_on": "5xx", "num_retries": TRIES - 1,
            "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.005s"},
        }}),
        ..Config::new(next)
    };
    let envoy = Envoy::start(&parts.envoy, &folder.join("envoy"), &config)
        .context("Envoy did not start")?;
    let address = envoy.address();
    let _guest = Guest::new(envoy.id());
    Ok((Hop::Envoy { _envoy: Box::new(envoy), _guest }, address))
}

fn native(arm: Arm, parts: &Parts, folder: &Path, next: SocketAddr) -> Result<(Hop, SocketAddr)> {
    let [listen, admin, health] = free_ports()?;
    let config = json!({
        "version": "v1",
        "listeners": [{"address": listen}],
        "admin": {"address": admin},
        "health": {"address": health},
        "workers": 1,
        "upstreams": {"next": {"endpoints": [next.to_string()]}},
        "routes": [{"host": "*", "path_prefix": "/", "upstream": "next"}],
        "policies": arm.policy(),
    });
    let _proxy = proxy(&parts.bimetal, folder, &config, health)?;
    Ok((Hop::Native { _proxy }, listen))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxy_takes_the_policies_and_naive_is_27() {
        use bimetal_core::policy::{Document, Host};
        for arm in [Arm::Marked, Arm::Budgeted] {
            let document = json!({"version": "v1", "policies": arm.policy()}).to_string();
            assert!(Document::parse(document.as_bytes(), Host::Native).is_ok(), "{arm:?}");
        }
        assert!((Arm::Naive.expected() - 27.0).abs() < 1e-9);
        assert!((Arm::Budgeted.expected() - 1.1).abs() < 1e-9);
    }
}
