//! The time that callers have: told to the router and the upstream, and looked after by the tick.

use crate::fake::Fake;
use crate::{END_OF_STREAM, MORE_FOLLOWS, answer, flags, pass, plugin};
use bimetal_filter::port::Map;
use serde_json::{Value, json};

const PER_TRY: &str = "x-envoy-upstream-rq-per-try-timeout-ms";

fn request_header(host: &Fake, name: &str) -> Option<String> {
    let value = host.set(|state| state.headers.get(&("request", name.to_owned())).cloned());
    value.map(|value| String::from_utf8(value).unwrap())
}

fn response_header(host: &Fake, name: &str) -> Option<String> {
    let value = host.set(|state| state.headers.get(&("response", name.to_owned())).cloned());
    value.map(|value| String::from_utf8(value).unwrap())
}

fn more(timeout: Value) -> Value {
    json!({"timeout": timeout, "deadline": {"margin": "10ms"}})
}

/// The router's answer to a try whose time is over.
fn router_times_out(host: &Fake) {
    answer(host, "504", "response_timeout");
    flags(host, &["UT"]);
}

#[test]
fn what_is_left_is_the_routers_limit_and_the_upstreams_time() {
    // The caller's fields, the router's limit, what the upstream is told.
    let rows = [
        ([None, Some("300")], Some("290"), [None, Some("290")]),
        ([Some("2S"), None], Some("1000"), [Some("1990000u"), None]),
        ([Some("2S"), Some("700")], Some("690"), [Some("690000u"), Some("690")]),
        // Beyond all ranges.
        ([Some("99999999H"), None], Some("1000"), [Some("5124095H"), None]),
        // What cannot be read says nothing, and stays as it came.
        ([Some("soon"), Some("1.5")], Some("1000"), [Some("soon"), Some("1.5")]),
        ([None, None], Some("1000"), [None, None]),
    ];
    for (index, (asked, limit, told)) in rows.into_iter().enumerate() {
        let (host, root) = plugin(&format!("left {index}"), more(json!({"request": "1s"})));
        let names = ["grpc-timeout", "x-request-deadline-ms"];
        for (name, value) in names.iter().zip(asked) {
            value.into_iter().for_each(|value| host.header(Map::Request, name, value));
        }
        assert!(root.call(1).request_headers(END_OF_STREAM));
        assert_eq!(request_header(&host, PER_TRY).as_deref(), limit, "{asked:?}");
        let seen = names.map(|name| request_header(&host, name));
        assert_eq!(seen.each_ref().map(Option::as_deref), told, "{asked:?}");
    }
}

#[test]
fn without_a_limit_of_the_policy_a_callers_is_the_only_one() {
    for (asked, limit) in [("300", "290"), ("18446744073709551615", "2147483648")] {
        let (host, root) = plugin(&format!("only {asked}"), more(json!({})));
        host.header(Map::Request, "x-request-deadline-ms", asked);
        // What a client asks Envoy for gives way.
        host.header(Map::Request, "x-envoy-upstream-rq-timeout-ms", "1");
        assert!(root.call(1).request_headers(END_OF_STREAM));
        assert_eq!(request_header(&host, PER_TRY).as_deref(), Some(limit));
        assert_eq!(request_header(&host, "x-envoy-upstream-rq-timeout-ms"), None);
    }
}

#[test]
fn a_call_without_time_is_refused_and_reaches_nobody() {
    for (name, value) in
        [("x-request-deadline-ms", "10"), ("x-request-deadline-ms", "-3"), ("grpc-timeout", "0n")]
    {
        let (host, root) = plugin(&format!("refused {value}"), more(json!({})));
        host.header(Map::Request, name, value);
        assert!(!root.call(1).request_headers(END_OF_STREAM), "{value}");
        let reply = host.set(|state| state.reply.clone()).unwrap();
        assert_eq!((reply.status, &*reply.details), (504, "bimetal_echo_deadline"));
    }
}

#[test]
fn the_routers_end_of_a_callers_time_is_no_failure() {
    for (waited, expected) in [(90, "neutral"), (190, "slow")] {
        let (host, mut root) = plugin(&format!("router {waited}"), more(json!({"request": "1s"})));
        host.header(Map::Request, "x-request-deadline-ms", (waited + 10).to_string());
        let mut call = root.call(1);
        assert!(call.request_headers(END_OF_STREAM));
        pass(&host, waited);
        router_times_out(&host);
        call.response_headers(MORE_FOLLOWS);
        // The router's answer says whose limit it was.
        assert_eq!(response_header(&host, "x-bimetal-rule").as_deref(), Some("echo/deadline"));
        let reason = response_header(&host, "x-bimetal-reason").unwrap();
        assert_eq!(reason, format!("of {}ms nothing is left", waited + 10));
        assert_eq!(host.outcomes(), [expected]);
        root.tick();
        assert_eq!(host.metric(&["wasted_total"]), 1);
    }
}

#[test]
fn a_shorter_limit_of_the_mesh_is_the_upstreams_failure() {
    let (host, mut root) = plugin("mesh", more(json!({})));
    host.header(Map::Request, "x-request-deadline-ms", "5000");
    let mut call = root.call(1);
    assert!(call.request_headers(END_OF_STREAM));
    pass(&host, 1_000);
    router_times_out(&host);
    call.response_headers(MORE_FOLLOWS);
    assert_eq!(
        (host.outcomes(), response_header(&host, "x-bimetal-rule")),
        (vec!["failure".into()], None)
    );
    root.tick();
    assert_eq!(host.find_metric(&["wasted_total"]), None);
}

#[test]
fn a_limit_of_the_policy_that_ends_before_is_a_failure() {
    let (host, root) = plugin("policy first", more(json!({"request": "50ms"})));
    host.header(Map::Request, "x-request-deadline-ms", "70");
    let mut call = root.call(1);
    assert!(call.request_headers(END_OF_STREAM));
    assert_eq!(request_header(&host, PER_TRY).as_deref(), Some("50"));
    pass(&host, 50);
    router_times_out(&host);
    call.response_headers(MORE_FOLLOWS);
    assert_eq!(host.outcomes(), ["failure"]);
}

/// The router's clock begins with the end of the request, which may never come.
#[test]
fn the_tick_ends_a_call_whose_request_goes_on() {
    let (host, mut root) = plugin("upload", more(json!({})));
    host.header(Map::Request, "x-request-deadline-ms", "300");
    let mut call = root.call(7);
    assert!(call.request_headers(MORE_FOLLOWS));
    pass(&host, 289);
    call.request_body(MORE_FOLLOWS);
    root.tick();
    assert_eq!(host.set(|state| state.reply.clone()), None);
    pass(&host, 1);
    root.tick();
    let reply = host.set(|state| state.reply.take()).unwrap();
    assert_eq!((reply.status, &*reply.details), (504, "bimetal_echo_deadline"));
    assert!(reply.headers.contains(&("x-bimetal-rule".into(), "echo/deadline".into())));
    // In the request's own context, and back.
    host.set(|state| assert_eq!((&*state.visits, state.entered), (&[7][..], None)));
    assert_eq!(host.outcomes(), ["neutral"]);
    // Envoy shows the answer, and the end.
    answer(&host, "504", "bimetal_echo_deadline");
    call.response_headers(MORE_FOLLOWS);
    call.log();
    drop(call);
    root.tick();
    assert_eq!(host.outcomes(), ["neutral"]);
    assert_eq!(host.metric(&["wasted_total"]), 1);
    host.set(|state| assert_eq!(state.visits, [7]));
}

#[test]
fn headers_in_time_end_the_wait() {
    let (host, mut root) = plugin("in time", more(json!({})));
    host.header(Map::Request, "x-request-deadline-ms", "300");
    let mut call = root.call(1);
    assert!(call.request_headers(END_OF_STREAM));
    pass(&host, 50);
    answer(&host, "200", "via_upstream");
    host.header(Map::Response, "x-envoy-upstream-service-time", "50");
    call.response_headers(MORE_FOLLOWS);
    // A long answer is nobody's wait.
    pass(&host, 1_000);
    root.tick();
    assert_eq!(host.set(|state| state.reply.clone()), None);
    call.response_body(9, END_OF_STREAM);
    assert_eq!(host.outcomes(), ["success"]);
}

#[test]
fn an_answer_of_the_tick_that_cannot_be_given_leaves_the_call_to_envoy() {
    for failing in ["reply", "enter"] {
        let (host, mut root) = plugin(&format!("tick {failing}"), more(json!({})));
        host.header(Map::Request, "x-request-deadline-ms", "300");
        let mut call = root.call(1);
        assert!(call.request_headers(END_OF_STREAM));
        pass(&host, 400);
        host.set(|state| state.failing.insert(failing));
        root.tick();
        assert_eq!(host.outcomes().len(), 0, "{failing}");
        answer(&host, "200", "via_upstream");
        host.header(Map::Response, "x-envoy-upstream-service-time", "1");
        call.response_headers(END_OF_STREAM);
        assert_eq!(host.outcomes(), ["success"], "{failing}");
        root.tick();
        assert_eq!(host.metric(&["decision_errors_total"]), 1, "{failing}");
    }
}

/// A fault filter that holds the request back, or no try yet: the wait says nothing of the upstream.
#[test]
fn a_wait_that_is_not_the_upstreams_is_not_slow() {
    let (host, mut root) = plugin("delayed", more(json!({})));
    host.header(Map::Request, "x-request-deadline-ms", "300");
    let mut call = root.call(1);
    assert!(call.request_headers(END_OF_STREAM));
    pass(&host, 300);
    flags(&host, &["DI"]);
    root.tick();
    assert_eq!(host.outcomes(), ["neutral"]);
    drop(call);
}

#[test]
fn in_shadow_nobody_is_cut() {
    let mut policy = more(json!({}));
    policy["mode"] = "shadow".into();
    let (host, mut root) = plugin("shadow", policy);
    host.header(Map::Request, "x-request-deadline-ms", "300");
    let _call = {
        let mut call = root.call(1);
        assert!(call.request_headers(END_OF_STREAM));
        call
    };
    pass(&host, 400);
    root.tick();
    assert_eq!(request_header(&host, PER_TRY), None);
    assert_eq!(request_header(&host, "x-request-deadline-ms").as_deref(), Some("300"));
    assert_eq!(host.set(|state| state.reply.clone()), None);
}
