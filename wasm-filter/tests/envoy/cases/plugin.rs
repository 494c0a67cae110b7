//! The plugin's own configuration in Envoy, beside the document.

use super::trip;
use crate::rig::{Rig, TestResult, Tools, policy, same};
use bimetal_conformance::envoy::{Config, Envoy, Filter};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What `docs/filter.md` lists for `allowed_capabilities`.
fn documented() -> BTreeMap<String, Value> {
    let page = include_str!("../../../../docs/filter.md");
    let list = page.split("allowed_capabilities:").nth(1).unwrap_or_default();
    let list = list.split("```").next().unwrap_or_default();
    let entry = |line: &str| Some((line.trim().strip_suffix(": {}")?.to_owned(), json!({})));
    list.lines().filter_map(entry).collect()
}

fn restricted_to(config: &mut Config, capabilities: BTreeMap<String, Value>) {
    config.filters[0].more =
        json!({"capability_restriction_config": {"allowed_capabilities": capabilities}});
}

/// Calls of every kind, of which each must work as without a restriction.
fn works(rig: &Rig) -> TestResult {
    same(rig.get("/status/200")?.header("x-bimetal-state"), "closed")?;
    // A body goes up and a body comes down, trailers too.
    let upload = b"content-length: 1\r\n\r\nx";
    same(rig.ask("POST", "/body/200", upload)?.status, 200)?;
    same(rig.get("/grpc-trailers/14")?.status, 200)?;
    let web = b"content-type: application/grpc-web\r\n";
    same(rig.send("/status/200", web)?.status, 200)?;
    same(rig.get("/close")?.status, 503)?;
    let outcomes = ["success", "success", "failure", "success", "failure"];
    same(rig.outcomes(5)?, outcomes.map(str::to_owned).to_vec())?;
    same(rig.get("/status/200")?.status, 200)?;
    trip(rig)?;
    same(rig.get("/flaky")?.header("x-bimetal-rule"), "echo/breaker")?;
    rig.until("answer after the open time", || Ok((rig.get("/flaky")?.status == 200).then_some(())))
}

fn everything() -> String {
    policy(
        "1s",
        json!({"debug_headers": true, "scope": "destination", "timeout": {"request": "10s"},
            "breaker": {"trip": {"slow_rate": {"threshold": 1, "slower_than": "20s",
                "window": {"calls": 100}, "minimum_calls": 100}}}}),
    )
}

pub(super) fn the_capabilities_in_the_documentation_suffice(tools: &Tools) -> TestResult {
    let capabilities = documented();
    same(capabilities.contains_key("proxy_on_request_headers"), true)?;
    let rig = Rig::start(tools, &everything(), |config| restricted_to(config, capabilities))?;
    works(&rig)?;
    same(rig.envoy.log()?.contains("restricted"), false)?;
    rig.finish()
}

pub(super) fn without_random_numbers_it_works_and_says_so(tools: &Tools) -> TestResult {
    let mut capabilities = documented();
    same(capabilities.remove("random_get").is_some(), true)?;
    let mut rig = Rig::start(tools, &everything(), |config| restricted_to(config, capabilities))?;
    works(&rig)?;
    rig.until("a line that says so", || {
        Ok(rig.envoy.log()?.contains("host call random_get failed with status 76").then_some(()))
    })?;
    // Once in each VM, of the worker and of the main thread, and not at each request.
    rig.until("two errors", || {
        let errors = rig.envoy.metric("bimetal_decision_errors_total", &[])?;
        Ok((errors == 2.0).then_some(()))
    })?;
    rig.envoy.stop()?;
    same(rig.envoy.log()?.contains("panicked"), false)
}

/// Envoy's documentation says that a `Struct` comes as JSON.
pub(super) fn a_struct_is_told_what_to_do(tools: &Tools) -> TestResult {
    let document: Value = serde_json::from_str(&policy("30s", json!({})))?;
    let given = |name: &str, value: Value| json!({"configuration": {"@type": format!("type.googleapis.com/{name}"), "value": value}});
    let typed = json!({"configuration": {"@type": "type.googleapis.com/xds.type.v3.TypedStruct",
        "type_url": "policy", "value": document}});
    for more in [given("google.protobuf.Struct", document.clone()), typed] {
        let mut config = Config::new("127.0.0.1:9".parse()?);
        config.filters.push(Filter { more: more.clone(), ..Filter::new(&tools.filter, "") });
        let folder = tempfile::tempdir()?;
        let Err(error) = Envoy::start(&tools.envoy, folder.path(), &config) else {
            return Err(format!("Envoy took {more}").into());
        };
        let told = "give the policy document as JSON in a google.protobuf.StringValue";
        same((error.to_string().contains(told), &more), (true, &more))?;
    }
    Ok(())
}
