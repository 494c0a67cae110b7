//! What happens when the protection itself cannot be had: a wrong file, a module that is not there, one
//! that traps.

use super::access::until;
use super::answer::{Answer, metric};
use super::bench::{Bench, Call};
use super::modes::{OUTAGE, statuses};
use super::objects::{Mode, TOOLS, TRAP};
use super::proofs::Proofs;
use super::registry;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::time::Duration;

/// How long a change may take to be seen where it must be.
const SEEN_LIMIT: Duration = Duration::from_secs(150);

/// The error that a wrong policy's text names.
const WRONG: &str = "policies[0].breaker.open.base";

/// Shows each failure, and that nothing of it stays.
pub(super) fn show_all(bench: &Bench, proofs: &mut Proofs) {
    proofs.record("native: helm refuses a wrong policy", refused_by_helm(bench));
    proofs.record("native: a wrong file later is refused", wrong_file_later(bench));
    proofs.record("native: a wrong file at the start never takes over", wrong_file_at_start(bench));
    if !bench.mesh {
        proofs.skipped("modules that cannot be had", "the cluster has no Istio");
        return;
    }
    proofs.record("wasm: the image cannot be pulled", no_image(bench));
    proofs.record("wasm: the module traps", trapped(bench));
    proofs.record("wasm: a sidecar starts with a wrong policy", wrong_policy_at_start(bench));
}

/// A policy that the chart's schema cannot find fault with, and both hosts refuse.
fn wrong() -> Value {
    json!([{
        "name": "echo",
        "match": { "path_prefix": "/echo" },
        "scope": "policy",
        "breaker": { "profile": "origin-study", "open": { "base": "0s" } },
    }])
}

/// The chart's Job reads the policies before anything is changed.
fn refused_by_helm(bench: &Bench) -> Result<String> {
    let values = json!({ "check": { "enabled": true }, "policies": wrong() });
    ensure!(bench.install(Mode::Native, &values).is_err(), "helm took it");
    let namespace = Mode::Native.namespace();
    let log = bench.kubectl(&["-n", &namespace, "logs", "job/bimetal-check"])?;
    let line = log.lines().find(|line| line.contains(WRONG));
    let line = line.with_context(|| format!("the Job says {log:?}"))?;
    trips(bench, Mode::Native)?;
    Ok(format!("{}; then 3 failures trip the breaker as before", line.trim()))
}

/// The proxy reads its file again when it changes, and keeps what it has.
fn wrong_file_later(bench: &Bench) -> Result<String> {
    bench.install(Mode::Native, &json!({}))?;
    bench.rolled_out(Mode::Native)?;
    let pod = bench.pods(Mode::Native)?.first().map(|pod| pod.name.clone());
    let pod = pod.context("there is no pod")?;
    bench.install(Mode::Native, &json!({ "policies": wrong() }))?;
    let told = until("the refusal in the proxy's log", SEEN_LIMIT, || {
        let log = bench.log(Mode::Native, "proxy", Some(&pod))?;
        let line = log.lines().find(|line| line.contains(WRONG)).map(str::to_owned);
        line.context("the proxy's log has no refusal yet")
    })?;
    trips(bench, Mode::Native)?;
    Ok(format!("{}; then 3 failures trip the breaker as before", told.trim()))
}

/// The file is still wrong: pods that start with it do not become ready, and the old ones stay.
fn wrong_file_at_start(bench: &Bench) -> Result<String> {
    let before: Vec<String> = bench.pods(Mode::Native)?.into_iter().map(|pod| pod.name).collect();
    let mark = json!({ "policies": wrong(), "proxy": { "podAnnotations": { "bimetal.test/mark": "wrong" } } });
    bench.install(Mode::Native, &mark)?;
    let told = until("a pod that refuses to start", SEEN_LIMIT, || {
        let pods = bench.pods(Mode::Native)?;
        let new = pods.iter().find(|pod| !before.contains(&pod.name)).context("no new pod yet")?;
        ensure!(!new.is_ready, "{} is ready", new.name);
        let log = bench.log(Mode::Native, "proxy", Some(&new.name))?;
        let line = log.lines().find(|line| line.contains(WRONG)).map(str::to_owned);
        line.with_context(|| format!("{} says nothing of the policy", new.name))
    })?;
    let answers = bench.calls(Mode::Native, &[Call::Good; 3])?;
    let now = bench.pods(Mode::Native)?;
    // What follows begins with a good file again.
    bench.install(Mode::Native, &json!({}))?;
    bench.rolled_out(Mode::Native)?;
    ensure!(statuses(&answers) == [200; 3], "answers {:?}", statuses(&answers));
    let stay = now.iter().any(|pod| before.contains(&pod.name) && pod.is_ready);
    ensure!(stay, "no pod of before takes calls: {now:?}");
    Ok(format!("{}; the pod of before goes on", told.trim()))
}

/// A name that no registry knows: the pod starts nevertheless, its calls pass unprotected.
fn no_image(bench: &Bench) -> Result<String> {
    bench.change_module(&registry::url_of(TOOLS, "nowhere"))?;
    bench.restart(Mode::Wasm)?;
    let shown = unprotected(bench);
    put_back(bench)?;
    Ok(format!("{}; with the image again it trips", shown?))
}

/// A module that the sidecar takes, and that traps at the first call.
fn trapped(bench: &Bench) -> Result<String> {
    bench.change_module(&registry::url_of(TOOLS, TRAP))?;
    bench.restart(Mode::Wasm)?;
    let shown = unprotected(bench).and_then(|told| {
        let log = bench.sidecar_log(Mode::Wasm)?;
        let trap = log.lines().find(|line| line.contains("unreachable"));
        let trap = trap.context("the sidecar's log has no trap")?;
        let trap = trap.split('\t').find(|part| part.contains("unreachable")).unwrap_or(trap);
        Ok(format!("{}; {told}", trap.trim()))
    });
    put_back(bench)?;
    Ok(format!("{}; with the filter again it trips", shown?))
}

/// Calls pass, failures do not trip anything, and Envoy's metrics have nothing of the filter.
fn unprotected(bench: &Bench) -> Result<String> {
    until("an answer", SEEN_LIMIT, || {
        let answer = bench.call(Mode::Wasm, Call::Good)?;
        ensure!(answer.status == 200, "answered {}", answer.status);
        Ok(())
    })?;
    let answers = bench.calls(Mode::Wasm, &OUTAGE)?;
    ensure!(statuses(&answers) == [200, 500, 500, 500, 200], "answers {:?}", statuses(&answers));
    let page = bench.page(Mode::Wasm, "proxy", ":15090/stats/prometheus")?;
    let scopes = metric(&page, "bimetal_scopes", &[]);
    ensure!(scopes.is_none(), "bimetal_scopes is {scopes:?}");
    Ok("the pod is ready, calls pass, 3 failures trip nothing, and there is no metric bimetal_scopes".to_owned())
}

/// With the wrong policy from its start on a sidecar has none in force.
fn wrong_policy_at_start(bench: &Bench) -> Result<String> {
    bench.change_plugin(&json!({ "policies": wrong() }))?;
    bench.restart(Mode::Wasm)?;
    let shown = until("the refusal in the sidecar's log", SEEN_LIMIT, || {
        let log = bench.sidecar_log(Mode::Wasm)?;
        ensure!(log.contains(WRONG), "the sidecar's log has no refusal yet");
        Ok(())
    })
    .and_then(|()| {
        let answers = bench.calls(Mode::Wasm, &[Call::Good; 2])?;
        ensure!(statuses(&answers) == [500; 2], "answers {:?}", statuses(&answers));
        Ok(())
    });
    put_back(bench)?;
    shown?;
    Ok("its calls are answered 500, its log names the path; with a right one it trips".to_owned())
}

/// The plugin as it was, and pods that start with it.
fn put_back(bench: &Bench) -> Result<()> {
    bench.restore_plugin()?;
    bench.restart(Mode::Wasm)?;
    trips(bench, Mode::Wasm)
}

/// One outage, as soon as the breaker is closed.
pub(super) fn trips(bench: &Bench, mode: Mode) -> Result<()> {
    until("a closed breaker", SEEN_LIMIT, || {
        let answer = bench.call(mode, Call::Good)?;
        ensure!(answer.status == 200, "answered {}", answer.status);
        Ok(())
    })?;
    let answers = bench.calls(mode, &OUTAGE)?;
    ensure!(statuses(&answers) == [200, 500, 500, 500, 503], "answers {:?}", statuses(&answers));
    ensure!(answers.last().is_some_and(Answer::is_rejection), "another 503: {answers:?}");
    Ok(())
}
