//! What must hold in Envoy, one function a promise.

use crate::rig::{Checked, Rig, Tools, policy, same};
use bimetal_conformance::envoy::{Config, Envoy, Filter, Update, Upstream};
use serde_json::{Value, json};

type Case = fn(&Tools) -> Checked;

/// Every case by its name.
pub(crate) const ALL: &[(&str, Case)] = &[
    ("trips_rejects_and_recovers", trips_rejects_and_recovers),
    (
        "a_rejection_says_which_rule_and_why",
        a_rejection_says_which_rule_and_why,
    ),
    (
        "a_fallback_replaces_status_headers_and_body",
        a_fallback_replaces_status_headers_and_body,
    ),
    ("rejections_are_no_evidence", rejections_are_no_evidence),
    (
        "debug_headers_on_every_answer",
        debug_headers_on_every_answer,
    ),
    (
        "a_wrong_configuration_is_refused_at_the_start",
        wrong_at_the_start,
    ),
    (
        "a_wrong_update_changes_nothing",
        a_wrong_update_changes_nothing,
    ),
    (
        "a_good_update_keeps_the_breaker",
        a_good_update_keeps_the_breaker,
    ),
    (
        "a_changed_breaker_starts_anew",
        a_changed_breaker_starts_anew,
    ),
    (
        "plugins_of_two_names_are_apart",
        plugins_of_two_names_are_apart,
    ),
    ("connect_refused_is_a_failure", connect_refused_is_a_failure),
    ("broken_answers_are_failures", broken_answers_are_failures),
    (
        "a_hang_ends_with_the_policy_timeout",
        a_hang_ends_with_the_policy_timeout,
    ),
    (
        "a_client_cannot_replace_the_plan",
        a_client_cannot_replace_the_plan,
    ),
    (
        "a_client_that_leaves_is_neutral",
        a_client_that_leaves_is_neutral,
    ),
    (
        "a_client_that_leaves_a_slow_upstream_is_slow",
        leaves_a_slow_upstream,
    ),
    ("a_slow_answer_is_slow", a_slow_answer_is_slow),
    (
        "a_grpc_failure_in_headers_alone",
        a_grpc_failure_in_headers_alone,
    ),
    (
        "an_event_stream_is_good_at_its_headers",
        an_event_stream_is_good_at_its_headers,
    ),
    (
        "hostile_header_bytes_do_not_trap",
        hostile_header_bytes_do_not_trap,
    ),
    (
        "injected_faults_are_no_evidence",
        injected_faults_are_no_evidence,
    ),
    (
        "injected_faults_count_when_asked",
        injected_faults_count_when_asked,
    ),
    (
        "an_injected_delay_is_not_slow",
        an_injected_delay_is_not_slow,
    ),
    (
        "retries_of_the_route_are_one_outcome",
        retries_of_the_route_are_one_outcome,
    ),
    (
        "answers_of_other_filters_are_no_evidence",
        answers_of_other_filters_are_no_evidence,
    ),
    ("scopes_by_destination", scopes_by_destination),
    (
        "an_http2_upstream_that_speaks_http1",
        an_http2_upstream_that_speaks_http1,
    ),
];

fn trips_rejects_and_recovers(tools: &Tools) -> Checked {
    let rig = Rig::start(tools, &policy("1s", json!({})), |_| {})?;
    rig.upstream.fail(3);
    for _ in 0..3 {
        same(rig.get("/flaky")?.header("x-bimetal-rule"), "")?;
    }
    same(rig.get("/flaky")?.header("x-bimetal-rule"), "echo/breaker")?;
    same(rig.upstream.requests("/flaky").len(), 3)?;
    rig.until("answer after the open time", || {
        Ok((rig.get("/flaky")?.status == 200).then_some(()))
    })?;
    same(
        rig.transitions()?,
        ["closed→open", "open→half_open", "half_open→closed"]
            .map(str::to_owned)
            .to_vec(),
    )?;
    let opened = &[
        "from=\"closed\"",
        "to=\"open\"",
        "cause=\"consecutive_failures\"",
    ];
    rig.until("metrics", || {
        let trips = rig
            .envoy
            .metric("bimetal_breaker_transitions_total", opened)?;
        let closed = rig
            .envoy
            .metric("bimetal_breaker_replicas", &["state=\"closed\""])?;
        let open = rig
            .envoy
            .metric("bimetal_breaker_replicas", &["state=\"open\""])?;
        let calls = rig
            .envoy
            .metric("bimetal_request_duration_ms_count", &["policy=\"echo\""])?;
        Ok(((trips, closed, open, calls) == (1.0, 1.0, 0.0, 4.0)).then_some(()))
    })?;
    rig.finish()
}

fn a_rejection_says_which_rule_and_why(tools: &Tools) -> Checked {
    let mut rig = Rig::start(tools, &policy("30s", json!({})), |_| {})?;
    trip(&rig)?;
    let rejected = rig.get("/flaky")?;
    same(rejected.status, 503)?;
    same(rejected.header("x-bimetal-rule"), "echo/breaker")?;
    same(rejected.header("content-type"), "application/json")?;
    same(rejected.header("retry-after"), "30")?;
    let reason = rejected.header("x-bimetal-reason").to_owned();
    same(reason.starts_with("open for another 29."), true)?;
    same(reason.ends_with("s after 3 consecutive failures"), true)?;
    let body: Value = serde_json::from_str(rejected.body())?;
    same(body, json!({"error": format!("circuit breaker: {reason}")}))?;
    rig.envoy.stop()?;
    let log = rig.envoy.access_log()?;
    same(log.contains("\"details\":\"bimetal_echo_breaker\""), true)
}

fn a_fallback_replaces_status_headers_and_body(tools: &Tools) -> Checked {
    let fallback = json!({"fallback": {"on": ["rejected"], "status": 200, "body": "later",
        "headers": {"content-type": "text/plain", "x-more": "1"}}});
    let rig = Rig::start(tools, &policy("30s", fallback), |_| {})?;
    trip(&rig)?;
    let rejected = rig.get("/flaky")?;
    same(rejected.status, 200)?;
    same(rejected.body(), "later")?;
    same(rejected.header("content-type"), "text/plain")?;
    same(rejected.header("x-more"), "1")?;
    same(rejected.header("x-bimetal-rule"), "echo/breaker")?;
    rig.finish()
}

fn rejections_are_no_evidence(tools: &Tools) -> Checked {
    let rig = Rig::start(tools, &policy("30s", json!({})), |_| {})?;
    trip(&rig)?;
    for _ in 0..5 {
        same(rig.get("/flaky")?.header("x-bimetal-rule"), "echo/breaker")?;
    }
    rig.until("rejections in the metrics", || {
        let rejected = rig
            .envoy
            .metric("bimetal_requests_total", &["decision=\"breaker\""])?;
        Ok((rejected == 5.0).then_some(()))
    })?;
    same(
        rig.outcomes(3)?,
        vec!["failure"; 3].into_iter().map(str::to_owned).collect(),
    )?;
    rig.finish()
}

fn debug_headers_on_every_answer(tools: &Tools) -> Checked {
    let rig = Rig::start(
        tools,
        &policy("30s", json!({"debug_headers": true})),
        |_| {},
    )?;
    rig.upstream.fail(3);
    for _ in 0..3 {
        same(rig.get("/flaky")?.header("x-bimetal-state"), "closed")?;
    }
    let rejected = rig.get("/flaky")?;
    same(rejected.header("x-bimetal-state"), "open")?;
    same(rejected.header("x-bimetal-policy"), "echo")?;
    rig.finish()
}

fn wrong_at_the_start(tools: &Tools) -> Checked {
    for wrong in [
        "",
        "{",
        r#"{"version":"v1","policies":[{"name":"echo","braker":{}}]}"#,
    ] {
        let mut config = Config::new("127.0.0.1:9".parse()?);
        config.filters.push(Filter::new(&tools.filter, wrong));
        let folder = tempfile::tempdir()?;
        let Err(error) = Envoy::start(&tools.envoy, folder.path(), &config) else {
            return Err(format!("Envoy took the document {wrong:?}").into());
        };
        let error = error.to_string();
        same((wrong, error.contains("policy refused: ")), (wrong, true))?;
        same(
            error.contains("policies[0].braker"),
            wrong.contains("braker"),
        )?;
    }
    Ok(())
}

fn a_wrong_update_changes_nothing(tools: &Tools) -> Checked {
    let mut rig = Rig::start(tools, &policy("30s", json!({})), |_| {})?;
    trip(&rig)?;
    let wrong = policy(
        "0s",
        json!({"breaker": {"trip": {"consecutive_failures": 0}}}),
    );
    same(rig.update(&wrong)?, Update::Refused)?;
    let log = rig.envoy.log()?;
    // Every error, not only the first.
    same(log.contains("policies[0].breaker.open.base"), true)?;
    same(
        log.contains("policies[0].breaker.trip.consecutive_failures"),
        true,
    )?;
    same(rig.get("/flaky")?.header("x-bimetal-rule"), "echo/breaker")?;
    rig.finish()
}

fn a_good_update_keeps_the_breaker(tools: &Tools) -> Checked {
    let mut rig = Rig::start(tools, &policy("30s", json!({})), |_| {})?;
    trip(&rig)?;
    // Not of the breaker: so it stays open, and the new part is in force.
    same(
        rig.update(&policy("30s", json!({"debug_headers": true})))?,
        Update::Accepted,
    )?;
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

fn a_changed_breaker_starts_anew(tools: &Tools) -> Checked {
    let mut rig = Rig::start(tools, &policy("30s", json!({})), |_| {})?;
    trip(&rig)?;
    same(rig.update(&policy("31s", json!({})))?, Update::Accepted)?;
    rig.until("an answer of the upstream", || {
        Ok((rig.get("/flaky")?.status == 200).then_some(()))
    })?;
    rig.until("one closed replica", || {
        let closed = rig
            .envoy
            .metric("bimetal_breaker_replicas", &["state=\"closed\""])?;
        let open = rig
            .envoy
            .metric("bimetal_breaker_replicas", &["state=\"open\""])?;
        Ok(((closed, open) == (1.0, 0.0)).then_some(()))
    })?;
    rig.finish()
}

fn plugins_of_two_names_are_apart(tools: &Tools) -> Checked {
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

fn connect_refused_is_a_failure(tools: &Tools) -> Checked {
    let closed = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let rig = Rig::start(tools, &policy("30s", json!({})), |config| {
        config.upstream = closed
    })?;
    for _ in 0..3 {
        same(rig.get("/")?.header("x-bimetal-rule"), "")?;
    }
    same(rig.get("/")?.header("x-bimetal-rule"), "echo/breaker")?;
    rig.finish()
}

fn broken_answers_are_failures(tools: &Tools) -> Checked {
    let rig = Rig::start(
        tools,
        &policy(
            "30s",
            json!({"breaker": {"trip":
        {"consecutive_failures": 100}}}),
        ),
        |_| {},
    )?;
    for (number, path) in ["/close", "/half", "/garbage", "/status/500"]
        .into_iter()
        .enumerate()
    {
        rig.get(path)?;
        let outcomes = rig.outcomes(number + 1)?;
        same(
            (path, outcomes.last().map(String::as_str)),
            (path, Some("failure")),
        )?;
    }
    for path in ["/status/200", "/status/404", "/status/301"] {
        rig.get(path)?;
    }
    same(rig.outcomes(7)?.split_off(4), vec!["success".to_owned(); 3])?;
    rig.finish()
}

fn a_hang_ends_with_the_policy_timeout(tools: &Tools) -> Checked {
    let rig = Rig::start(
        tools,
        &policy("30s", json!({"timeout": {"request": "300ms"}})),
        |_| {},
    )?;
    same(rig.get("/hang")?.status, 504)?;
    // Good headers in time, then nothing: Envoy's limit covers the whole answer.
    same(rig.get("/stall")?.body(), "half")?;
    same(rig.get("/hang")?.status, 504)?;
    same(rig.outcomes(3)?, vec!["failure".to_owned(); 3])?;
    same(rig.get("/hang")?.header("x-bimetal-rule"), "echo/breaker")?;
    rig.finish()
}

fn a_client_cannot_replace_the_plan(tools: &Tools) -> Checked {
    let rig = Rig::start(
        tools,
        &policy("30s", json!({"timeout": {"request": "5s"}})),
        |_| {},
    )?;
    let hostile = b"x-envoy-upstream-rq-timeout-ms: 1\r\n\
        x-envoy-upstream-rq-per-try-timeout-ms: 1\r\nx-envoy-expected-rq-timeout-ms: 1\r\n";
    same(rig.send("/slow/100", hostile)?.status, 200)?;
    same(rig.outcomes(1)?, vec!["success".to_owned()])?;
    rig.finish()
}

fn a_client_that_leaves_is_neutral(tools: &Tools) -> Checked {
    let rig = Rig::start(tools, &policy("30s", json!({})), |_| {})?;
    rig.abort("/hang")?;
    same(rig.outcomes(1)?, vec!["neutral".to_owned()])?;
    rig.abort("/stall")?;
    same(rig.outcomes(2)?, vec!["neutral".to_owned(); 2])?;
    rig.finish()
}

fn leaves_a_slow_upstream(tools: &Tools) -> Checked {
    let slow = json!({"breaker": {"trip": {"slow_rate": {"threshold": 1, "slower_than": "50ms",
        "window": {"calls": 10}, "minimum_calls": 10}}}});
    let rig = Rig::start(tools, &policy("30s", slow), |_| {})?;
    let stream = rig.begin("/hang", b"")?;
    rig.until("the request upstream", || {
        Ok((!rig.upstream.requests("/hang").is_empty()).then_some(()))
    })?;
    // A moment in the life of this client: it gives up when `slower_than` is over.
    std::thread::sleep(std::time::Duration::from_millis(100));
    drop(stream);
    same(rig.outcomes(1)?, vec!["slow".to_owned()])?;
    rig.finish()
}

fn a_slow_answer_is_slow(tools: &Tools) -> Checked {
    let rig = Rig::start(tools, &policy("30s", slow_policy()), |_| {})?;
    same(rig.get("/slow/300")?.status, 200)?;
    same(rig.outcomes(1)?, vec!["slow".to_owned()])?;
    rig.finish()
}

fn a_grpc_failure_in_headers_alone(tools: &Tools) -> Checked {
    let rig = Rig::start(tools, &policy("30s", json!({})), |_| {})?;
    same(rig.get("/grpc/0")?.status, 200)?;
    for _ in 0..3 {
        same(rig.get("/grpc/14")?.header("grpc-status"), "14")?;
    }
    let outcomes = rig.outcomes(4)?;
    same(
        outcomes,
        ["success", "failure", "failure", "failure"]
            .map(str::to_owned)
            .to_vec(),
    )?;
    let rejected = rig.send("/grpc/0", b"content-type: application/grpc\r\n")?;
    // Envoy turns our 503 into gRPC's own form: 200 with UNAVAILABLE.
    same(
        (rejected.status, rejected.header("grpc-status")),
        (200, "14"),
    )?;
    same(rejected.header("x-bimetal-rule"), "echo/breaker")?;
    rig.finish()
}

fn an_event_stream_is_good_at_its_headers(tools: &Tools) -> Checked {
    let rig = Rig::start(tools, &policy("30s", json!({})), |_| {})?;
    let stream = rig.begin("/events", b"")?;
    same(rig.outcomes(1)?, vec!["success".to_owned()])?;
    drop(stream);
    rig.finish()
}

fn hostile_header_bytes_do_not_trap(tools: &Tools) -> Checked {
    let by_header = json!({"scope": "header:x-tenant",
        "match": {"headers": {"x-tenant": "*"}}, "breaker": {"trip": {"consecutive_failures": 2}}});
    let rig = Rig::start(tools, &policy("30s", by_header), |_| {})?;
    let hostile = b"x-tenant: \xff\xfe\xf0\x9f\x80\r\nx-other: \xc3\x28\r\n";
    for _ in 0..2 {
        same(rig.send("/hostile", hostile)?.status, 500)?;
    }
    same(
        rig.send("/hostile", hostile)?.header("x-bimetal-rule"),
        "echo/breaker",
    )?;
    same(rig.send("/status/200", b"x-tenant: \xff\r\n")?.status, 200)?;
    same(rig.get("/status/200")?.status, 200)?;
    rig.finish()
}

fn fault(config: &mut Config, fault: Value) {
    let kind = "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault";
    let mut typed = json!({"@type": kind});
    if let (Some(typed), Some(fault)) = (typed.as_object_mut(), fault.as_object()) {
        typed.extend(fault.clone());
    }
    config
        .more_filters
        .push(json!({"name": "fault", "typed_config": typed}));
}

fn abort_all(config: &mut Config) {
    fault(
        config,
        json!({"abort": {"http_status": 500, "percentage": {"numerator": 100}}}),
    );
}

fn injected_faults_are_no_evidence(tools: &Tools) -> Checked {
    let rig = Rig::start(tools, &policy("30s", json!({})), abort_all)?;
    for _ in 0..4 {
        same(rig.get("/")?.status, 500)?;
    }
    same(rig.outcomes(4)?, vec!["neutral".to_owned(); 4])?;
    rig.finish()
}

fn injected_faults_count_when_asked(tools: &Tools) -> Checked {
    let rig = Rig::start(
        tools,
        &policy("30s", json!({"count_injected": true})),
        abort_all,
    )?;
    for _ in 0..3 {
        same(rig.get("/")?.header("x-bimetal-rule"), "")?;
    }
    same(rig.get("/")?.header("x-bimetal-rule"), "echo/breaker")?;
    rig.finish()
}

fn slow_policy() -> Value {
    json!({"breaker": {"trip": {"slow_rate": {"threshold": 1, "slower_than": "150ms",
        "window": {"calls": 10}, "minimum_calls": 10}}}})
}

fn an_injected_delay_is_not_slow(tools: &Tools) -> Checked {
    let rig = Rig::start(tools, &policy("30s", slow_policy()), |config| {
        fault(
            config,
            json!({"delay": {"fixed_delay": "0.4s", "percentage": {"numerator": 100}}}),
        );
    })?;
    same(rig.get("/status/200")?.status, 200)?;
    same(rig.outcomes(1)?, vec!["success".to_owned()])?;
    rig.finish()
}

fn retries_of_the_route_are_one_outcome(tools: &Tools) -> Checked {
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
    same(
        rig.outcomes(2)?,
        ["success", "failure"].map(str::to_owned).to_vec(),
    )?;
    rig.finish()
}

fn answers_of_other_filters_are_no_evidence(tools: &Tools) -> Checked {
    let kind =
        "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit";
    let always = json!({"default_value": {"numerator": 100}, "runtime_key": "limit"});
    let limit = json!({"name": "limit", "typed_config": {"@type": kind, "stat_prefix": "limit",
        "status": {"code": "ServiceUnavailable"},
        "token_bucket": {"max_tokens": 1, "tokens_per_fill": 1, "fill_interval": "3600s"},
        "filter_enabled": always, "filter_enforced": always}});
    let rig = Rig::start(tools, &policy("30s", json!({})), |config| {
        config.more_filters.push(limit)
    })?;
    same(rig.get("/status/200")?.status, 200)?;
    for _ in 0..4 {
        same(rig.get("/status/200")?.header("x-bimetal-rule"), "")?;
    }
    let outcomes = ["success", "neutral", "neutral", "neutral", "neutral"];
    same(rig.outcomes(5)?, outcomes.map(str::to_owned).to_vec())?;
    rig.finish()
}

fn scopes_by_destination(tools: &Tools) -> Checked {
    let rig = Rig::start(
        tools,
        &policy("30s", json!({"scope": "destination"})),
        |_| {},
    )?;
    trip(&rig)?;
    rig.until("the cluster as a label", || {
        let open = &["scope=\"echo\"", "state=\"open\"", "policy=\"echo\""];
        Ok((rig.envoy.metric("bimetal_breaker_replicas", open)? == 1.0).then_some(()))
    })?;
    let rig_by_route = Rig::start(tools, &policy("30s", json!({"scope": "route"})), |_| {})?;
    trip(&rig_by_route)?;
    rig_by_route.until("the route as a label", || {
        let open = &["scope=\"default\"", "state=\"open\""];
        Ok((rig_by_route
            .envoy
            .metric("bimetal_breaker_replicas", open)?
            == 1.0)
            .then_some(()))
    })?;
    rig_by_route.finish()?;
    rig.finish()
}

fn an_http2_upstream_that_speaks_http1(tools: &Tools) -> Checked {
    let rig = Rig::start(tools, &policy("30s", json!({})), |config| {
        config.protocol = Upstream::Http2;
    })?;
    rig.get("/garbage")?;
    same(rig.outcomes(1)?, vec!["failure".to_owned()])?;
    rig.finish()
}

fn trip(rig: &Rig) -> Checked {
    rig.upstream.fail(3);
    for _ in 0..3 {
        same(rig.get("/flaky")?.header("x-bimetal-rule"), "")?;
    }
    Ok(())
}
