//! What other filters and the route do is told from what the upstream does.

use super::slow_policy;
use crate::rig::{Rig, TestResult, Tools, policy, same};
use bimetal_conformance::envoy::Config;
use serde_json::{Value, json};

pub(super) fn fault(config: &mut Config, fault: Value) {
    let kind = "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault";
    let mut typed = json!({"@type": kind});
    if let (Some(typed), Some(fault)) = (typed.as_object_mut(), fault.as_object()) {
        typed.extend(fault.clone());
    }
    config.more_filters.push(json!({"name": "fault", "typed_config": typed}));
}

pub(super) fn abort_all(config: &mut Config) {
    fault(config, json!({"abort": {"http_status": 500, "percentage": {"numerator": 100}}}));
}

pub(super) fn injected_faults_are_no_evidence(tools: &Tools) -> TestResult {
    let rig = Rig::start(tools, &policy("30s", json!({})), abort_all)?;
    for _ in 0..4 {
        same(rig.get("/")?.status, 500)?;
    }
    same(rig.outcomes(4)?, vec!["neutral".to_owned(); 4])?;
    rig.finish()
}

pub(super) fn injected_faults_count_when_asked(tools: &Tools) -> TestResult {
    let rig = Rig::start(tools, &policy("30s", json!({"count_injected": true})), abort_all)?;
    for _ in 0..3 {
        same(rig.get("/")?.header("x-bimetal-rule"), "")?;
    }
    same(rig.get("/")?.header("x-bimetal-rule"), "echo/breaker")?;
    rig.finish()
}

pub(super) fn an_injected_delay_is_not_slow(tools: &Tools) -> TestResult {
    let rig = Rig::start(tools, &policy("30s", slow_policy()), |config| {
        fault(config, json!({"delay": {"fixed_delay": "0.4s", "percentage": {"numerator": 100}}}));
    })?;
    same(rig.get("/status/200")?.status, 200)?;
    same(rig.outcomes(1)?, vec!["success".to_owned()])?;
    rig.finish()
}

pub(super) fn retries_of_the_route_are_one_outcome(tools: &Tools) -> TestResult {
    let rig = Rig::start(tools, &policy("30s", json!({})), |config| {
        config.route = json!({"retry_policy": {"retry_on": "5xx", "num_retries": 3,
            "retry_back_off": {"base_interval": "0.001s"}}});
    })?;
    rig.upstream.fail(2);
    same(rig.get("/flaky")?.status, 200)?;
    same(rig.upstream.requests("/flaky").len(), 3)?;
    same(rig.outcomes(1)?, vec!["success".to_owned()])?;
    rig.upstream.fail(100);
    same(rig.get("/flaky")?.status, 503)?;
    same(rig.upstream.requests("/flaky").len(), 7)?;
    same(rig.outcomes(2)?, ["success", "failure"].map(str::to_owned).to_vec())?;
    rig.finish()
}

pub(super) fn answers_of_other_filters_are_no_evidence(tools: &Tools) -> TestResult {
    let kind =
        "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit";
    let always = json!({"default_value": {"numerator": 100}, "runtime_key": "limit"});
    let limit = json!({"name": "limit", "typed_config": {"@type": kind, "stat_prefix": "limit",
        "status": {"code": "ServiceUnavailable"},
        "token_bucket": {"max_tokens": 1, "tokens_per_fill": 1, "fill_interval": "3600s"},
        "filter_enabled": always, "filter_enforced": always}});
    let rig =
        Rig::start(tools, &policy("30s", json!({})), |config| config.more_filters.push(limit))?;
    same(rig.get("/status/200")?.status, 200)?;
    for _ in 0..4 {
        same(rig.get("/status/200")?.header("x-bimetal-rule"), "")?;
    }
    let outcomes = ["success", "neutral", "neutral", "neutral", "neutral"];
    same(rig.outcomes(5)?, outcomes.map(str::to_owned).to_vec())?;
    rig.finish()
}

pub(super) fn a_redirect_that_envoy_follows_is_two_calls(tools: &Tools) -> TestResult {
    let rig = Rig::start(tools, &policy("30s", json!({})), |config| {
        config.route = json!({"internal_redirect_policy": {"max_internal_redirects": 1}});
    })?;
    same(rig.get("/redirect")?.status, 200)?;
    same(rig.upstream.requests("/redirect").len(), 1)?;
    same(rig.upstream.requests("/status").len(), 1)?;
    same(rig.outcomes(2)?, vec!["neutral".to_owned(), "success".to_owned()])?;
    rig.finish()
}
