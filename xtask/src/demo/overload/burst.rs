//! The overload in short, for the tests: no rate and no time is judged, only who is let through.

use super::arm::Arm;
use super::scene::{Capacity, Host, Models};
use crate::demo::scene::Parts;
use crate::{place, say};
use anyhow::{Context, Result};
use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::task::JoinSet;

/// Calls at once.
const CALLS: usize = 200;
/// What the policy lets through at once: as many as the replicas have slots.
const LIMIT: usize = 18;
/// A limit alone: a time limit would end calls while others are still sent.
const POLICY: &str = r#"{"version": "v1", "policies": [
    {"name": "model", "match": {"path_prefix": "/predict"}, "scope": "policy", "concurrency": {"max": 18}}
]}"#;
/// Longer than it takes to send them all, however slow the machine: no slot is free again before
/// the last call is decided.
const CAPACITY: Capacity = Capacity { slots: 6, work: "5s" };
/// How long a call may take; a client that left would not be counted.
const ANSWER_WAIT: Duration = Duration::from_secs(120);

/// Sends a burst through both hosts. True means that each let through what it should, and the models
/// saw no more than that.
///
/// # Errors
/// A program cannot be started, or a call has no answer at all.
pub fn burst(parts: &Parts) -> Result<bool> {
    let folder = place::made("demo/burst")?;
    let mut models = Models::start(&parts.bimetal, &folder, CAPACITY)?;
    let mut good = true;
    for arm in Arm::OURS {
        let before = models.idle()?;
        let host = Host::start(arm, POLICY, parts, &folder, &models)?;
        let answered = statuses(host.address(), CALLS)?;
        let count = |status| answered.iter().filter(|one| **one == status).count();
        let reached = models.idle()? - before;
        // Servers were seen that stayed dead after a burst (triton-inference-server/server#4662).
        let alive = statuses(host.address(), 1)? == [200];
        let holds = count(200) == LIMIT && count(503) == CALLS - LIMIT && reached == LIMIT as f64;
        say::line(format!(
            "    {}: of {CALLS} calls at once {} were served, {} turned away, and the models saw \
             {reached}; one more was {}: {}",
            arm.name(),
            count(200),
            count(503),
            if alive { "served" } else { "NOT served" },
            if holds { "as it should be" } else { "FAIL" }
        ));
        good &= holds;
    }
    Ok(good)
}

/// The statuses of so many calls that are sent at once.
fn statuses(address: SocketAddr, calls: usize) -> Result<Vec<u16>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the load")?;
    runtime.block_on(async {
        let client: Client<HttpConnector, Full<Bytes>> =
            Client::builder(TokioExecutor::new()).build_http();
        let mut under_way = JoinSet::new();
        for _ in 0..calls {
            let request = Request::post(format!("http://{address}/predict"))
                .body(Full::from(r#"{"data":[[5.1,3.5,1.4,0.2]]}"#))?;
            let call = client.request(request);
            under_way.spawn(async move { tokio::time::timeout(ANSWER_WAIT, call).await });
        }
        let mut statuses = Vec::new();
        while let Some(call) = under_way.join_next().await {
            let answer = call.context("a call ended by itself")?;
            statuses.push(answer.context("a call has no answer")??.status().as_u16());
        }
        Ok(statuses)
    })
}

#[cfg(test)]
mod tests {
    use super::super::scene::REPLICAS;
    use super::*;

    #[test]
    fn the_limit_is_what_the_replicas_have() {
        assert_eq!(LIMIT, CAPACITY.slots as usize * REPLICAS);
        assert!(POLICY.contains(&format!("{{\"max\": {LIMIT}}}")));
    }
}
