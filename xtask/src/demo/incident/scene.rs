//! The incident's programs: the tracker (the test upstream), the tiers, their clients, and in the
//! protected arm the proxy on every edge.

use super::numbers::{
    CHECKOUT_RATE, JOB_PATIENCE, JOB_RATES, LENGTH, MONOLITH_LIMIT, MONOLITH_RATE, PATIENCE,
    SHARDS, SLOW_FROM, SLOW_TO, TRIES,
};
use super::record::{Log, Part, Sight};
use super::shard::{Shard, submit_all};
use super::tiers::{Edge, Tier, checkout, monolith};
use crate::demo::metrics::Page;
use crate::demo::scene::{echo, free_ports, get, proxy, put};
use crate::process::Running;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// The policies of the protected arm.
pub const POLICIES: &str = include_str!("policies.json");

/// Everything at work in one arm.
#[derive(Debug)]
pub struct Scene {
    _tracker: Running,
    tracker_admin: SocketAddr,
    proxy: Option<(Running, SocketAddr)>,
    monolith: Tier,
    checkout: Tier,
    to_monolith: Edge,
    to_checkout: Edge,
    shards: [Arc<Shard>; SHARDS],
}

impl Scene {
    /// Starts it all; `is_protected` puts the proxy on every edge.
    ///
    /// # Errors
    /// A program does not start.
    pub async fn start(bimetal: &Path, folder: &Path, is_protected: bool) -> Result<Self> {
        let (tracker, tracker_address, tracker_admin) = echo(bimetal, folder)?;
        let [listen, admin, health] = free_ports()?;
        // Where a call on an edge goes: to the callee itself, or to the proxy, which knows it by path.
        let edge = |callee: SocketAddr, path: &str| {
            Edge::new(if is_protected { listen } else { callee }, path)
        };
        let monolith = monolith(edge(tracker_address, "/echo")).await?;
        let checkout = checkout(edge(monolith.address, "/monolith")).await?;
        let proxy = match is_protected {
            false => None,
            true => {
                let upstreams = [
                    ("tracker", "/echo", tracker_address),
                    ("monolith", "/monolith", monolith.address),
                    ("checkout", "/checkout", checkout.address),
                ];
                let config = config([listen, admin, health], upstreams)?;
                Some((proxy(bimetal, folder, &config, health)?, health))
            }
        };
        Ok(Self {
            _tracker: tracker,
            tracker_admin,
            proxy,
            to_monolith: edge(monolith.address, "/monolith"),
            to_checkout: edge(checkout.address, "/checkout"),
            monolith,
            checkout,
            shards: [(); SHARDS].map(|()| Arc::default()),
        })
    }

    /// Sends all the load of the story; returns at its end, whether or not everything is answered.
    ///
    /// # Errors
    /// The tracker does not take its plan.
    pub async fn play(&self, log: &Arc<Log>, start: Instant) -> Result<()> {
        let slow = json!({"plan": [{
            "from_s": SLOW_FROM.as_secs(), "to_s": SLOW_TO.as_secs(), "delay_ms": 10_000,
        }]});
        let admin = self.tracker_admin;
        tokio::task::spawn_blocking(move || put(admin, "/faults", &slow)).await??;
        // Aborted when it is dropped.
        let mut load = JoinSet::new();
        for (part, edge, rate, tries) in [
            (Part::Monolith, &self.to_monolith, MONOLITH_RATE, 1),
            (Part::Checkout, &self.to_checkout, CHECKOUT_RATE, TRIES),
        ] {
            load.spawn(clients(edge.clone(), part, (rate, tries), start, Arc::clone(log)));
        }
        for (number, (shard, rate)) in self.shards.iter().zip(JOB_RATES).enumerate() {
            let job = (rate, JOB_PATIENCE);
            let part = Part::Shard(number);
            load.spawn(submit_all(Arc::clone(shard), part, job, (start, LENGTH), Arc::clone(log)));
            let (shard, checkout) = (Arc::clone(shard), self.to_checkout.clone());
            load.spawn(async move {
                shard.work(|left| checkout.call(MONOLITH_LIMIT, left, &[])).await;
            });
        }
        // Calls that were due last have their time, too.
        tokio::time::sleep_until(start + LENGTH + PATIENCE).await;
        Ok(())
    }

    /// The state of the tiers.
    pub fn sight(&self, at: Duration) -> Sight {
        Sight {
            at,
            monolith_waiting: self.monolith.places.waiting(),
            checkout_waiting: self.checkout.places.waiting(),
            database: self.checkout.places.taken(),
            backlog: [0, 1, 2, 3].map(|number| self.shards[number].backlog()),
        }
    }

    /// What the proxy counted, where there is one.
    ///
    /// # Errors
    /// It does not answer.
    pub fn metrics(&self) -> Result<Option<Page>> {
        let page = self.proxy.as_ref().map(|(_, health)| get(*health, "/metrics"));
        Ok(page.transpose()?.map(Page))
    }
}

/// Clients that call `rate` times a second, whatever became of the calls before, and try again at once.
async fn clients(edge: Edge, part: Part, (rate, tries): (u32, u32), start: Instant, log: Arc<Log>) {
    let mut calls = JoinSet::new();
    let mut due = Duration::ZERO;
    while due < LENGTH {
        tokio::time::sleep_until(start + due).await;
        let (edge, log) = (edge.clone(), Arc::clone(&log));
        calls.spawn(async move {
            let mut is_good = false;
            for _ in 0..tries {
                is_good = edge.call(PATIENCE, PATIENCE, &[]).await;
                if is_good {
                    break;
                }
            }
            log.note(part, due, is_good);
        });
        due += Duration::from_secs(1) / rate;
        // Finished calls are let go of now and then, not all at the end.
        while calls.try_join_next().is_some() {}
    }
    calls.join_all().await;
}

/// The proxy's file; the addresses are those of listener, admin and health.
fn config(
    [listen, admin, health]: [SocketAddr; 3],
    edges: [(&str, &str, SocketAddr); 3],
) -> Result<Value> {
    let policies: Value = serde_json::from_str(POLICIES).context("the policies are not JSON")?;
    let routes: Vec<Value> = edges
        .iter()
        .map(|(name, path, _)| json!({"host": "*", "path_prefix": path, "upstream": name}))
        .collect();
    let upstreams: serde_json::Map<String, Value> = edges
        .iter()
        .map(|(name, _, address)| ((*name).to_owned(), json!({"endpoints": [address.to_string()]})))
        .collect();
    Ok(json!({
        "version": "v1",
        "listeners": [{"address": listen}],
        "admin": {"address": admin},
        "health": {"address": health},
        "workers": 1,
        "upstreams": upstreams,
        "routes": routes,
        "policies": policies["policies"],
    }))
}

#[cfg(test)]
mod tests {
    use super::super::numbers::{MARGIN, SLOTS};
    use super::*;

    #[test]
    fn the_proxy_takes_the_policies_and_calls_wait_at_most_twice_their_work() {
        use bimetal_core::policy::{Document, Host};
        assert!(Document::parse(POLICIES.as_bytes(), Host::Native).is_ok());
        let policies: Value = serde_json::from_str(POLICIES).unwrap();
        let margin = format!("{}ms", MARGIN.as_millis());
        assert_eq!(policies["policies"][2]["deadline"]["margin"], margin);
        assert_eq!(policies["policies"][1]["concurrency"]["max"], 3 * SLOTS);
    }
}
