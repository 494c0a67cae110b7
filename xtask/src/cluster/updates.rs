//! Changes under load: no call may fail while pods and policies are replaced.

use super::access::until;
use super::answer::Pod;
use super::bench::{Bench, Call};
use super::failures::trips;
use super::objects::Mode;
use super::proofs::Proofs;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::time::Duration;

/// How long calls are made during a change, in seconds: pods pause before they stop, and drain.
const CALLS: u32 = 60;

/// How long a new policy may take to reach every host of it.
const PUSH_LIMIT: Duration = Duration::from_secs(120);

/// How long istiod may take to come back.
const ISTIOD: [&str; 6] =
    ["-n", "istio-system", "rollout", "status", "deployment/istiod", "--timeout=180s"];

/// Shows updates of the proxy, and of the filter where there is a mesh.
pub(super) fn show_all(bench: &Bench, proofs: &mut Proofs) {
    proofs.record("native: a rolling update under load loses no call", rolling_update(bench));
    proofs.record("native: nor does the way back", rollback(bench));
    proofs.record("native: a node is drained under load", drained(bench));
    if !bench.mesh {
        proofs.skipped("updates of the filter, and istiod gone", "the cluster has no Istio");
        return;
    }
    proofs.record("wasm: another policy under load loses no call", another_policy(bench));
    proofs.record("wasm: istiod is gone", without_istiod(bench));
}

/// Two pods, each replaced by one with another annotation.
fn rolling_update(bench: &Bench) -> Result<String> {
    bench.install(Mode::Native, &two("first"))?;
    bench.rolled_out(Mode::Native)?;
    let before = names(&bench.pods(Mode::Native)?);
    let load = bench.calls_during(Mode::Native, CALLS, || {
        bench.install(Mode::Native, &two("second"))?;
        bench.rolled_out(Mode::Native)
    })?;
    replaced(bench, &before)?;
    Ok(format!("two pods replaced: {}", load.is_whole()?))
}

/// The release before, by helm.
fn rollback(bench: &Bench) -> Result<String> {
    let before = names(&bench.pods(Mode::Native)?);
    let load = bench.calls_during(Mode::Native, CALLS, || {
        bench.roll_back(Mode::Native)?;
        bench.rolled_out(Mode::Native)
    })?;
    replaced(bench, &before)?;
    Ok(format!("helm rollback, two pods replaced: {}", load.is_whole()?))
}

/// The node of one pod gives its pods away; the PodDisruptionBudget has it wait for the other.
fn drained(bench: &Bench) -> Result<String> {
    let pods = bench.pods(Mode::Native)?;
    let node = pods.first().map(|pod| pod.node.clone()).context("there is no pod")?;
    // Only this chart's pods: the caller and its registry stay where they are.
    let drain = ["drain", &node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=120s"];
    let selector =
        ["--pod-selector", "app.kubernetes.io/name=bimetal,app.kubernetes.io/component=proxy"];
    let load = bench.calls_during(Mode::Native, CALLS, || {
        bench.kubectl(&[&drain[..], &selector].concat())?;
        bench.rolled_out(Mode::Native)
    });
    let left =
        bench.pods(Mode::Native).map(|pods| pods.iter().filter(|pod| pod.node == node).count());
    // The node is given back whatever happened.
    bench.kubectl(&["uncordon", &node])?;
    ensure!(left? == 0, "{node} still has a proxy");
    Ok(format!("{node} without a proxy: {}", load?.is_whole()?))
}

fn two(mark: &str) -> Value {
    json!({ "proxy": { "replicas": 2, "podAnnotations": { "bimetal.test/mark": mark } } })
}

fn names(pods: &[Pod]) -> Vec<String> {
    pods.iter().map(|pod| pod.name.clone()).collect()
}

/// That none of the pods before is there, and two others take calls.
fn replaced(bench: &Bench, before: &[String]) -> Result<()> {
    let now = bench.pods(Mode::Native)?;
    ensure!(now.len() == 2 && now.iter().all(|pod| pod.is_ready), "{now:?}");
    ensure!(names(&now).iter().all(|name| !before.contains(name)), "{before:?}, then {now:?}");
    Ok(())
}

/// The WasmPlugin's policy changes; Envoy has the new one, and calls went on.
fn another_policy(bench: &Bench) -> Result<String> {
    let policy = |base: &str| {
        json!({ "policies": [{
            "name": "echo",
            "match": { "path_prefix": "/echo" },
            "scope": "policy",
            "timeout": { "request": "3s" },
            "breaker": { "profile": "origin-study", "open": { "base": base } },
        }] })
    };
    let in_force = |base: &str| {
        until("the policy in the sidecar", PUSH_LIMIT, || {
            let dump = bench.sidecar(Mode::Wasm, "config_dump")?;
            ensure!(dump.contains(base), "Envoy has another policy");
            Ok(())
        })
    };
    let load = bench.calls_during(Mode::Wasm, CALLS, || {
        for base in ["4321ms", "5432ms"] {
            bench.install(Mode::Wasm, &policy(base))?;
            in_force(base)?;
        }
        Ok(())
    })?;
    let told = load.is_whole()?;
    bench.install(Mode::Wasm, &json!({}))?;
    trips(bench, Mode::Wasm)?;
    Ok(format!("twice another policy: {told}; then 3 failures trip it"))
}

/// Without a control plane the sidecars go on with what they have.
fn without_istiod(bench: &Bench) -> Result<String> {
    let scale = |replicas: &str| {
        let to = format!("--replicas={replicas}");
        bench.kubectl(&["-n", "istio-system", "scale", "deployment/istiod", &to])
    };
    scale("0")?;
    let gone = until("the end of istiod", PUSH_LIMIT, || {
        let arguments = ["-n", "istio-system", "get", "pod", "-l", "app=istiod", "-o", "name"];
        let left = bench.kubectl(&arguments)?;
        ensure!(left.trim().is_empty(), "{left} is still there");
        Ok(())
    });
    let shown = gone.and_then(|()| trips(bench, Mode::Wasm)).and_then(|()| {
        until("the breaker closes", PUSH_LIMIT, || {
            let answer = bench.call(Mode::Wasm, Call::Good)?;
            ensure!(answer.status == 200, "answered {}", answer.status);
            Ok(())
        })
    });
    // It comes back whatever happened.
    scale("1")?;
    bench.kubectl(&ISTIOD)?;
    shown?;
    Ok("3 failures trip the breaker, and it closes again".to_owned())
}
