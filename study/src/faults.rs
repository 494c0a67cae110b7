//! The origin's evaluation under faults that Istio injects: calls that the caller's sidecar aborts or
//! delays, and how each configuration answers them. It shows who sees such faults at all, not what a
//! call costs, so it is apart from the blocks.

use crate::arms::Arm;
use crate::cluster::Cluster;
use crate::load::{self, Load};
use crate::record::Quantiles;
use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Calls a second. A call that is delayed holds its connection meanwhile.
const RATE: &str = "20";

/// Connections at most: a delay of 5 s for each second call needs 50.
const CONNECTIONS: usize = 128;

/// How the calls of one configuration under one fault ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Faulted {
    /// The arm.
    pub arm: String,
    /// The fault, in words.
    pub fault: String,
    /// Calls.
    pub calls: u64,
    /// Calls answered by the server.
    pub good: u64,
    /// All others, by what happened: a status, and the policy's rule where one gave it.
    pub bad: BTreeMap<String, u64>,
    /// Times of the good ones.
    pub latency: Quantiles,
}

impl Faulted {
    /// Calls that a breaker of ours turned away.
    pub fn rejected(&self) -> u64 {
        self.bad.iter().filter(|(what, _)| what.contains(" by ")).map(|(_, calls)| calls).sum()
    }
}

/// Each fault in words, and as a VirtualService has it. The delay is longer than the policy's time
/// limit of 3 s.
fn faults() -> [(&'static str, Value); 2] {
    let half = json!({"value": 50});
    [
        ("abort", json!({"abort": {"percentage": half, "httpStatus": 500}})),
        ("delay", json!({"delay": {"percentage": half, "fixedDelay": "5s"}})),
    ]
}

/// Whether Istio can inject faults into an arm: its proxy's calls leave through a sidecar.
pub fn can_be_faulted(arm: &Arm) -> bool {
    arm.release["mesh"]["inject"] == "true" && !arm.straight
}

/// The policies, so that injected faults are evidence, and a breaker that opened is seen to probe.
fn counting(policies: &Value) -> Value {
    let mut policies = policies.clone();
    for policy in policies.as_array_mut().into_iter().flatten() {
        policy["count_injected"] = true.into();
        policy["breaker"]["open"] = json!({"base": "5s"});
    }
    policies
}

/// Calls an arm for `seconds` under each fault, with pods of its own for each.
///
/// # Errors
/// The arm does not come up, or the generator does not run.
pub fn run(
    cluster: &Cluster,
    arm: &Arm,
    seconds: f64,
    mut tell: impl FnMut(&Faulted),
) -> Result<Vec<Faulted>> {
    let mut all = Vec::new();
    for (name, fault) in faults() {
        let more = json!({"fault": fault, "policies": counting(cluster.policies())});
        // The fault is there from the first call on, so no answer can be waited for.
        let pods = cluster.start_with(arm, &more, false)?;
        let load: Load = RATE.parse()?;
        let seen = cluster.send(&load::Options {
            address: pods.address(),
            load,
            warm_up: Duration::ZERO,
            measured: Duration::try_from_secs_f64(seconds)?,
            connections: CONNECTIONS,
        })?;
        let faulted = Faulted {
            arm: arm.name.clone(),
            fault: name.to_owned(),
            calls: seen.due,
            good: seen.good,
            bad: seen.bad,
            latency: seen.latency,
        };
        tell(&faulted);
        all.push(faulted);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_become_evidence_and_the_rest_of_a_policy_stays() {
        let policies = json!([{"name": "echo", "breaker": {"profile": "origin-study"}}]);
        let counting = counting(&policies);
        assert_eq!(counting[0]["count_injected"], true);
        assert_eq!(counting[0]["breaker"]["profile"], "origin-study");
        assert_eq!(counting[0]["breaker"]["open"]["base"], "5s");
        assert_eq!(counting[0]["name"], "echo");
    }

    #[test]
    fn only_calls_that_leave_through_a_sidecar_can_be_faulted() {
        let arm = |release: Value, straight| Arm { release, straight, ..Arm::default() };
        let mesh = json!({"mesh": {"inject": "true"}});
        assert!(can_be_faulted(&arm(mesh.clone(), false)));
        assert!(!can_be_faulted(&arm(mesh, true)));
        assert!(!can_be_faulted(&arm(json!({"mesh": {"inject": "false"}}), false)));
        assert!(!can_be_faulted(&arm(Value::Null, false)));
    }

    #[test]
    fn what_a_breaker_turned_away_is_told_apart() {
        let bad = [("status 500", 5), ("status 503 by echo/breaker", 7), ("status 504", 1)];
        let faulted = Faulted {
            arm: "a".into(),
            fault: "abort".into(),
            calls: 20,
            good: 7,
            bad: bad.map(|(what, calls)| (what.to_owned(), calls)).into(),
            latency: Quantiles::default(),
        };
        assert_eq!(faulted.rejected(), 7);
    }
}
