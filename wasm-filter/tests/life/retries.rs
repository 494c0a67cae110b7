//! Retries, which the router makes by the headers that it is given.

use crate::fake::Fake;
use crate::{END_OF_STREAM, MORE_FOLLOWS, answer, flags, pass, plugin};
use bimetal_filter::port::{Map, Property};
use serde_json::{Value, json};

fn header(host: &Fake, map: &'static str, name: &str) -> Option<String> {
    let value = host.set(|state| state.headers.get(&(map, name.to_owned())).cloned());
    value.map(|value| String::from_utf8(value).unwrap())
}

fn asked(host: &Fake) -> [Option<String>; 4] {
    ["max-retries", "retry-on", "retriable-status-codes", "upstream-rq-per-try-timeout-ms"]
        .map(|name| header(host, "request", &format!("x-envoy-{name}")))
}

fn told(expected: [Option<&str>; 4]) -> [Option<String>; 4] {
    expected.map(|value| value.map(str::to_owned))
}

fn retry(more: Value) -> Value {
    let mut retry = json!({"tries": 3, "on": ["connect", "reset", "503"]});
    retry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"timeout": {}, "retry": retry})
}

fn tries(host: &Fake, number: u64) {
    host.property(Property::Attempts, number.to_le_bytes());
}

#[test]
fn the_plan_of_tries_becomes_headers_and_a_clients_own_are_removed() {
    let (host, root) = plugin("words", retry(json!({"on": ["timeout", "5xx", "unavailable"]})));
    host.header(Map::Request, ":method", "GET");
    for name in ["hedge-on-per-try-timeout", "retriable-header-names", "max-retries"] {
        host.header(Map::Request, &format!("x-envoy-{name}"), "9");
    }
    assert!(root.call(1).request_headers(END_OF_STREAM));
    let [max, on, statuses, per_try] = asked(&host);
    assert_eq!((max.as_deref(), on.as_deref()), (Some("2"), Some("reset,retriable-status-codes")));
    assert_eq!(statuses.unwrap().split(',').count(), 100);
    assert_eq!(header(&host, "request", "x-envoy-retry-grpc-on").as_deref(), Some("unavailable"));
    assert_eq!(per_try, None);
    for name in ["hedge-on-per-try-timeout", "retriable-header-names"] {
        assert_eq!(header(&host, "request", &format!("x-envoy-{name}")), None);
    }
}

#[test]
fn what_could_do_harm_twice_is_tried_again_where_nothing_was_sent() {
    for (method, key, expected) in [
        ("POST", false, [Some("2"), Some("connect-failure"), None, None]),
        (
            "POST",
            true,
            [Some("2"), Some("connect-failure,reset,retriable-status-codes"), Some("503"), None],
        ),
        (
            "PUT",
            false,
            [Some("2"), Some("connect-failure,reset,retriable-status-codes"), Some("503"), None],
        ),
    ] {
        let more = retry(json!({"methods": ["idempotent", "idempotency_key"]}));
        let (host, root) = plugin(&format!("harm {method} {key}"), more);
        host.header(Map::Request, ":method", method);
        if key {
            host.header(Map::Request, "idempotency-key", "7");
        }
        assert!(root.call(1).request_headers(END_OF_STREAM));
        assert_eq!(asked(&host), told(expected), "{method}");
    }
}

#[test]
fn the_budget_pays_before_and_gets_back_what_was_not_used() {
    let (host, mut root) = plugin("budget", retry(json!({"budget": {"share": 1}})));
    host.header(Map::Request, ":method", "GET");
    let mut first = root.call(1);
    assert!(first.request_headers(END_OF_STREAM));
    assert_eq!(asked(&host)[0].as_deref(), Some("1"));
    // The answer of the first try: the retry is others' again, beside their own.
    tries(&host, 1);
    answer(&host, "200", "via_upstream");
    host.header(Map::Response, "x-envoy-upstream-service-time", "1");
    first.response_headers(END_OF_STREAM);
    let mut second = root.call(2);
    assert!(second.request_headers(END_OF_STREAM));
    assert_eq!(asked(&host)[0].as_deref(), Some("2"));
    // Both are made, and fail.
    tries(&host, 3);
    answer(&host, "503", "via_upstream");
    second.response_headers(END_OF_STREAM);
    assert_eq!(header(&host, "response", "x-bimetal-retries").as_deref(), Some("exhausted"));
    root.tick();
    assert_eq!(host.metric(&["result=.=made", "retries_total"]), 2);
    assert_eq!(host.metric(&["result=.=tries", "retries_total"]), 1);
}

#[test]
fn a_call_that_is_cut_short_gives_back_what_it_did_not_use() {
    let (host, mut root) = plugin("cut", retry(json!({"budget": {"share": 1}})));
    host.header(Map::Request, ":method", "GET");
    let mut call = root.call(1);
    assert!(call.request_headers(END_OF_STREAM));
    tries(&host, 1);
    flags(&host, &["DC"]);
    call.log();
    root.tick();
    assert_eq!(host.metric(&["retry_budget"]), 1);
    assert_eq!(host.find_metric(&["retries_total"]), None);
}

#[test]
fn the_last_answer_says_whether_they_helped() {
    let (host, mut root) = plugin("helped", retry(json!({})));
    host.header(Map::Request, ":method", "GET");
    let mut call = root.call(1);
    assert!(call.request_headers(END_OF_STREAM));
    tries(&host, 2);
    answer(&host, "200", "via_upstream");
    host.header(Map::Response, "x-envoy-upstream-service-time", "1");
    call.response_headers(END_OF_STREAM);
    root.tick();
    assert_eq!(host.metric(&["result=.=helped", "retries_total"]), 1);
    assert_eq!(header(&host, "response", "x-bimetal-retries"), None);
}

/// As the limit of each try it would only end in another try.
#[test]
fn the_time_of_a_call_is_kept_by_the_tick_where_there_are_tries() {
    let mut policy = retry(json!({}));
    policy["timeout"] = json!({"request": "1s"});
    let (host, mut root) = plugin("limit", policy.clone());
    host.header(Map::Request, ":method", "GET");
    let mut call = root.call(1);
    assert!(call.request_headers(MORE_FOLLOWS));
    assert_eq!(asked(&host)[3], None);
    // The client's own time is none of it.
    pass(&host, 3_000);
    root.tick();
    call.request_body(END_OF_STREAM);
    pass(&host, 999);
    root.tick();
    assert_eq!(host.set(|state| state.reply.take()), None);
    pass(&host, 1);
    root.tick();
    let reply = host.set(|state| state.reply.take()).unwrap();
    assert_eq!((reply.status, &*reply.details), (504, "bimetal_echo_timeout"));
    assert_eq!(host.outcomes(), ["failure"]);
    // A limit of each try that is shorter is the router's.
    policy["timeout"] = json!({"request": "1s", "per_try": "300ms"});
    let (host, root) = plugin("limit of each", policy);
    host.header(Map::Request, ":method", "GET");
    assert!(root.call(1).request_headers(END_OF_STREAM));
    assert_eq!(asked(&host)[3].as_deref(), Some("300"));
}

#[test]
fn a_probe_and_a_caller_without_time_have_one_try() {
    let mut policy = retry(json!({}));
    policy["deadline"] = json!({"margin": "0s"});
    let (host, root) = plugin("one try", policy);
    host.header(Map::Request, ":method", "GET");
    host.header(Map::Request, "x-request-deadline-ms", "25");
    assert!(root.call(1).request_headers(END_OF_STREAM));
    assert_eq!(asked(&host), told([Some("0"), None, None, Some("25")]));
    host.set(|state| state.headers.clear());
    host.header(Map::Request, ":method", "GET");
    let mut call = root.call(2);
    assert!(call.request_headers(END_OF_STREAM));
    assert_eq!(asked(&host)[0].as_deref(), Some("2"));
    answer(&host, "500", "via_upstream");
    call.response_headers(END_OF_STREAM);
    pass(&host, 10_000);
    assert!(root.call(3).request_headers(END_OF_STREAM));
    assert_eq!(asked(&host)[0].as_deref(), Some("0"));
}

/// A policy that only watches tells the router nothing, and counts what it would have.
#[test]
fn what_would_be_tried_again_is_counted_in_shadow() {
    let mut shadow = retry(json!({}));
    shadow["mode"] = json!("shadow");
    shadow["breaker"] = json!({"trip": {"consecutive_failures": 100}});
    let (host, mut root) = plugin("shadow retries", shadow);
    host.header(Map::Request, ":method", "GET");
    for status in ["200", "503", "503"] {
        let mut call = root.call(1);
        assert!(call.request_headers(END_OF_STREAM));
        assert_eq!(asked(&host), told([None; 4]));
        answer(&host, status, "via_upstream");
        tries(&host, 1);
        call.response_headers(END_OF_STREAM);
        assert_eq!(header(&host, "response", "x-bimetal-retries"), None);
        call.log();
    }
    root.tick();
    assert_eq!(host.metric(&["decision=.=retry", "bimetal_shadow_total"]), 2);
    assert_eq!(host.find_metric(&["bimetal_retries_total"]), None);
}
