//! Documents: good, wrong, changed.

use super::discovered::awaited_for_ever;
use super::trip;
use crate::rig::{Rig, TestResult, Tools, policy, same};
use bimetal_conformance::envoy::{Config, Envoy, Filter, Update};
use serde_json::json;
use std::io::Read;

pub(super) fn a_wrong_document_is_refused_at_the_start(tools: &Tools) -> TestResult {
    for wrong in ["", "{", r#"{"version":"v1","policies":[{"name":"echo","braker":{}}]}"#] {
        let mut config = Config::new("127.0.0.1:9".parse()?);
        config.filters.push(Filter::new(&tools.filter, wrong));
        let folder = tempfile::tempdir()?;
        let Err(error) = Envoy::start(&tools.envoy, folder.path(), &config) else {
            return Err(format!("Envoy took the document {wrong:?}").into());
        };
        let error = error.to_string();
        same((wrong, error.contains("policy refused: ")), (wrong, true))?;
        same(error.contains("policies[0].braker"), wrong.contains("braker"))?;
    }
    Ok(())
}

pub(super) fn a_wrong_update_changes_nothing(tools: &Tools) -> TestResult {
    let mut rig = Rig::start(tools, &policy("30s", json!({})), |_| {})?;
    trip(&rig)?;
    let wrong = policy("0s", json!({"breaker": {"trip": {"consecutive_failures": 0}}}));
    same(rig.update(&wrong)?, Update::Refused)?;
    let log = rig.envoy.log()?;
    // Every error, not only the first.
    same(log.contains("policies[0].breaker.open.base"), true)?;
    same(log.contains("policies[0].breaker.trip.consecutive_failures"), true)?;
    same(rig.get("/flaky")?.header("x-bimetal-rule"), "echo/breaker")?;
    rig.finish()
}

pub(super) fn a_good_update_keeps_the_breaker(tools: &Tools) -> TestResult {
    let mut rig = Rig::start(tools, &policy("30s", json!({})), |_| {})?;
    trip(&rig)?;
    // Not of the breaker: so it stays open, and the new part is in force.
    same(rig.update(&policy("30s", json!({"debug_headers": true})))?, Update::Accepted)?;
    rig.until("the update in the worker", || {
        let answer = rig.get("/flaky")?;
        if answer.header("x-bimetal-rule") != "echo/breaker" {
            return Err(std::io::Error::other("the update closed the breaker"));
        }
        Ok((answer.header("x-bimetal-state") == "open").then_some(()))
    })?;
    same(rig.transitions()?.len(), 1)?;
    rig.finish()
}

pub(super) fn a_changed_breaker_starts_anew(tools: &Tools) -> TestResult {
    // Until the old listener has drained its calls are judged by its own breaker.
    let mut rig = Rig::start(tools, &policy("30s", json!({})), |config| {
        config.arguments = ["--drain-time-s", "1"].map(str::to_owned).to_vec();
    })?;
    trip(&rig)?;
    same(rig.update(&policy("31s", json!({})))?, Update::Accepted)?;
    rig.until(
        "an answer of the upstream",
        || Ok((rig.get("/flaky")?.status == 200).then_some(())),
    )?;
    rig.until("one closed replica", || {
        let closed = rig.envoy.metric("bimetal_breaker_replicas", &["state=\"closed\""])?;
        let open = rig.envoy.metric("bimetal_breaker_replicas", &["state=\"open\""])?;
        Ok(((closed, open) == (1.0, 0.0)).then_some(()))
    })?;
    rig.finish()
}

pub(super) fn plugins_of_two_names_are_apart(tools: &Tools) -> TestResult {
    // The same module, so the same VM: a second plugin that would reject everything, but only
    // on another path.
    let other = policy(
        "30s",
        json!({"name": "other", "mode": "forced_open",
        "match": {"path": "/other"}}),
    );
    let rig = Rig::start(tools, &policy("30s", json!({})), |config| {
        let mut second = config.filters[0].clone();
        (second.name, second.configuration) = ("second".to_owned(), other);
        config.filters.push(second);
    })?;
    same(rig.get("/other")?.header("x-bimetal-rule"), "other/breaker")?;
    same(rig.get("/status/200")?.status, 200)?;
    trip(&rig)?;
    same(rig.get("/flaky")?.header("x-bimetal-rule"), "echo/breaker")?;
    rig.finish()
}

pub(super) fn an_update_loses_no_call_under_way(tools: &Tools) -> TestResult {
    let mut rig = Rig::start(tools, &policy("30s", json!({})), |_| {})?;
    let mut stream = rig.begin("/slow/1000", b"")?;
    rig.until("the request upstream", || {
        Ok((!rig.upstream.requests("/slow").is_empty()).then_some(()))
    })?;
    same(rig.update(&policy("31s", json!({})))?, Update::Accepted)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    same(answer.starts_with("HTTP/1.1 200 "), true)?;
    // It was judged by the old listener's policy, whose breaker is there for as long as it drains.
    same(rig.outcomes(1)?, vec!["success".to_owned()])?;
    rig.until("a counted result", || {
        Ok((rig.envoy.metric("bimetal_outcomes_total", &[])? == 1.0).then_some(()))
    })?;
    same(rig.envoy.metric("bimetal_late_total", &[])?, 0.0)?;
    rig.finish()
}

pub(super) fn a_listener_that_warms_judges_nothing(tools: &Tools) -> TestResult {
    let mut rig = Rig::start(tools, &policy("30s", json!({})), |config| {
        config.arguments = ["--drain-time-s", "1"].map(str::to_owned).to_vec();
    })?;
    // The new listener waits for another filter. Ours in it has its document already.
    rig.config.first_filters.push(awaited_for_ever());
    let forced = policy("30s", json!({"mode": "forced_open"}));
    same(rig.update(&forced)?, Update::Accepted)?;
    rig.until("a listener that warms", || {
        let stats = rig.envoy.get("/stats?filter=listener_manager.total_listeners_warming")?;
        Ok(stats.trim().ends_with(": 1").then_some(()))
    })?;
    for _ in 0..20 {
        same(rig.get("/status/200")?.status, 200)?;
    }
    same(rig.envoy.metric("bimetal_requests_total", &["decision=\"breaker\""])?, 0.0)?;
    rig.config.first_filters.clear();
    same(rig.update(&forced)?, Update::Accepted)?;
    rig.until("a rejection by the new listener", || {
        Ok((rig.get("/status/200")?.header("x-bimetal-rule") == "echo/breaker").then_some(()))
    })?;
    rig.finish()
}
