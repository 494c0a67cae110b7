//! Where the filter stands: before or behind other filters, or among a cluster's own.

use super::trip;
use crate::rig::{Answer, Rig, TestResult, Tools, policy, same};
use bimetal_conformance::envoy::Config;
use serde_json::{Value, json};

const FILTERS: &str = "type.googleapis.com/envoy.extensions.filters.http";
const ORIGIN: &[u8] = b"origin: https://shop.example\r\n";
const PREFLIGHT: &[u8] = b"origin: https://shop.example\r\naccess-control-request-method: GET\r\n";

/// Side of ours on which another filter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Before,
    Behind,
}

fn stands(config: &mut Config, side: Side, name: &str, typed: &Value) {
    let filter = json!({"name": name, "typed_config": typed});
    match side {
        Side::Before => config.first_filters.push(filter),
        Side::Behind => config.more_filters.push(filter),
    }
}

/// A CORS filter, and a route that asks it for one origin.
fn cors(config: &mut Config, side: Side) {
    stands(config, side, "cors", &json!({"@type": format!("{FILTERS}.cors.v3.Cors")}));
    let rules = json!({"@type": format!("{FILTERS}.cors.v3.CorsPolicy"),
        "allow_origin_string_match": [{"exact": "https://shop.example"}],
        "allow_methods": "GET", "expose_headers": "retry-after"});
    config.first_routes.push(json!({"name": "shop", "match": {"prefix": "/"},
        "route": {"cluster": "echo", "timeout": "0s"}, "typed_per_filter_config": {"cors": rules}}));
}

/// What a browser asks of an answer: may the page read it, and `retry-after` in it?
fn readable(answer: &Answer) -> (&str, &str) {
    (answer.header("access-control-allow-origin"), answer.header("access-control-expose-headers"))
}

pub(super) fn a_browser_reads_rejections_behind_cors(tools: &Tools) -> TestResult {
    let rig = Rig::start(tools, &policy("30s", json!({})), |config| cors(config, Side::Before))?;
    trip(&rig)?;
    let rejected = rig.send("/flaky", ORIGIN)?;
    same(rejected.header("x-bimetal-rule"), "echo/breaker")?;
    same(readable(&rejected), ("https://shop.example", "retry-after"))?;
    // A preflight is answered before it comes to us.
    let preflight = rig.ask("OPTIONS", "/flaky", PREFLIGHT)?;
    same((preflight.status, preflight.header("x-bimetal-rule")), (200, ""))?;
    rig.finish()
}

/// Istio's order. The policy says by itself what makes a rejection readable, and leaves preflights alone.
pub(super) fn a_browser_reads_rejections_before_cors_by_the_policy(tools: &Tools) -> TestResult {
    let rig = Rig::start(tools, &policy("30s", json!({})), |config| cors(config, Side::Behind))?;
    trip(&rig)?;
    same(readable(&rig.send("/flaky", ORIGIN)?), ("", ""))?;
    let preflight = rig.ask("OPTIONS", "/flaky", PREFLIGHT)?;
    same((preflight.status, preflight.header("x-bimetal-rule")), (503, "echo/breaker"))?;
    rig.finish()?;

    let careful = json!({"match": {"methods": ["GET"]}, "fallback": {"headers": {
        "access-control-allow-origin": "https://shop.example",
        "access-control-expose-headers": "retry-after", "vary": "origin"}}});
    let rig = Rig::start(tools, &policy("30s", careful), |config| cors(config, Side::Behind))?;
    trip(&rig)?;
    let rejected = rig.send("/flaky", ORIGIN)?;
    same(rejected.header("x-bimetal-rule"), "echo/breaker")?;
    same(readable(&rejected), ("https://shop.example", "retry-after"))?;
    let preflight = rig.ask("OPTIONS", "/flaky", PREFLIGHT)?;
    same((preflight.status, preflight.header("x-bimetal-rule")), (200, ""))?;
    same(readable(&preflight).0, "https://shop.example")?;
    rig.finish()
}

/// Behind the translating filter a rejection has a gRPC status; before it, Envoy does not know that the
/// client speaks gRPC, and gRPC-Web clients take the status from 503.
pub(super) fn a_grpc_web_client_reads_rejections_on_both_sides_of_its_filter(
    tools: &Tools,
) -> TestResult {
    for side in [Side::Before, Side::Behind] {
        let rig = Rig::start(tools, &policy("30s", json!({})), |config| {
            let web = json!({"@type": format!("{FILTERS}.grpc_web.v3.GrpcWeb")});
            stands(config, side, "web", &web);
        })?;
        let web = b"content-type: application/grpc-web+proto\r\n";
        for _ in 0..3 {
            let failed = rig.send("/grpc/14", web)?;
            same((failed.status, failed.header("x-bimetal-rule")), (200, ""))?;
        }
        let rejected = rig.send("/grpc/14", web)?;
        same((side, rejected.header("x-bimetal-rule")), (side, "echo/breaker"))?;
        let seen =
            (rejected.status, rejected.header("grpc-status"), rejected.header("content-type"));
        let wanted = match side {
            Side::Before => (503, "14", "application/grpc-web+proto"),
            Side::Behind => (503, "", "application/json"),
        };
        same((side, seen), (side, wanted))?;
        rig.finish()?;
    }
    Ok(())
}

/// Ours among the router's upstream filters, which each try passes, and nowhere else.
fn upstream_filter(config: &mut Config) {
    let ours: Vec<Value> = config.filters.drain(..).map(|filter| filter.to_json()).collect();
    let codec = json!({"@type": format!("{FILTERS}.upstream_codec.v3.UpstreamCodec")});
    let codec = json!({"name": "codec", "typed_config": codec});
    config.router = json!({"upstream_http_filters": [ours[0], codec]});
}

pub(super) fn an_upstream_filter_sees_answers_of_each_try_alone(tools: &Tools) -> TestResult {
    let rig = Rig::start(tools, &policy("30s", json!({})), |config| {
        upstream_filter(config);
        config.route = json!({"retry_policy": {"retry_on": "5xx,reset", "num_retries": 1,
            "retry_back_off": {"base_interval": "0.001s"}}});
    })?;
    // No try that ends without an answer is evidence.
    same(rig.get("/close")?.status, 503)?;
    same(rig.outcomes(2)?, ["neutral", "neutral"].map(str::to_owned).to_vec())?;
    // Two tries of one call, two outcomes.
    rig.upstream.fail(4);
    same(rig.get("/flaky")?.header("x-bimetal-rule"), "")?;
    same(rig.outcomes(4)?[2..].to_vec(), ["failure", "failure"].map(str::to_owned).to_vec())?;
    // The third opens the breaker, which rejects the second try; nobody retries that.
    let rejected = rig.get("/flaky")?;
    same(rejected.header("x-bimetal-rule"), "echo/breaker")?;
    same(rig.upstream.requests("/flaky").len(), 3)?;
    same(rig.get("/flaky")?.header("x-bimetal-rule"), "echo/breaker")?;
    same(rig.upstream.requests("/flaky").len(), 3)?;
    rig.until("two rejections", || {
        let rejected = rig.envoy.metric("bimetal_requests_total", &["decision=\"breaker\""])?;
        Ok((rejected == 2.0).then_some(()))
    })?;
    rig.finish()
}

pub(super) fn an_upstream_filter_keeps_no_limit(tools: &Tools) -> TestResult {
    let limited = json!({"timeout": {"request": "100ms"}});
    let rig = Rig::start(tools, &policy("30s", limited), upstream_filter)?;
    same(rig.get("/slow/500")?.status, 200)?;
    same(rig.outcomes(1)?, vec!["success".to_owned()])?;
    // The router has read its limits before; this one goes to the upstream.
    let seen = rig.upstream.requests("/slow");
    same(seen[0].contains("x-envoy-upstream-rq-per-try-timeout-ms: 100"), true)?;
    rig.finish()
}
