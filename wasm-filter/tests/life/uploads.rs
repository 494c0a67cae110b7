//! Whose time it is and whose answer: uploads, the router's clock, other filters, gRPC-Web.

use crate::fake::Fake;
use crate::{END_OF_STREAM, MORE_FOLLOWS, answer, flags, pass, plugin, trip};
use bimetal_filter::call::Call;
use bimetal_filter::port::{Map, Property};
use serde_json::json;

/// Plays a call with a body; slow is later than 100 ms, its limit is 1 s.
fn upload(name: &str, play: impl FnOnce(&Fake, &mut Call<Fake>)) -> Vec<String> {
    let (host, root) = plugin(name, json!({}));
    let mut call = root.call(1);
    assert!(call.request_headers(MORE_FOLLOWS));
    play(&host, &mut call);
    call.log();
    drop(call);
    host.outcomes()
}

fn completes(host: &Fake, call: &mut Call<Fake>, after: u64) {
    pass(host, after / 2);
    call.request_body(MORE_FOLLOWS);
    pass(host, after / 2);
    call.request_body(END_OF_STREAM);
}

fn service_time(host: &Fake, millis: &str) {
    answer(host, "200", "via_upstream");
    host.header(Map::Response, "x-envoy-upstream-service-time", millis);
}

#[test]
fn the_time_of_a_clients_own_upload_is_not_the_upstreams() {
    for (named, header) in [("told", true), ("suppressed", false)] {
        for (millis, expected) in [(100, "success"), (101, "slow")] {
            let found = upload(&format!("slow upload {named} {millis}"), |host, call| {
                completes(host, call, 20_000);
                pass(host, millis);
                match header {
                    true => service_time(host, &millis.to_string()),
                    false => answer(host, "200", "via_upstream"),
                }
                call.response_headers(END_OF_STREAM);
            });
            assert_eq!((millis, &*found[0]), (millis, expected), "{named}");
        }
    }
    let found = upload("ends by trailers", |host, call| {
        pass(host, 20_000);
        call.request_trailers();
        pass(host, 101);
        answer(host, "200", "via_upstream");
        call.response_headers(END_OF_STREAM);
    });
    assert_eq!(found, ["slow"]);
}

#[test]
fn an_answer_before_the_requests_end_took_no_time_whatever_it_says() {
    let found = upload("early", |host, call| {
        pass(host, 20_000);
        service_time(host, "20000");
        call.response_headers(END_OF_STREAM);
    });
    assert_eq!(found, ["success"]);
}

#[test]
fn the_routers_time_holds_no_delay_of_a_fault_filter() {
    let found = upload("delayed, told", |host, call| {
        completes(host, call, 0);
        pass(host, 900);
        service_time(host, "101");
        flags(host, &["DI"]);
        call.response_headers(END_OF_STREAM);
    });
    assert_eq!(found, ["slow"]);
}

#[test]
fn a_client_that_leaves_within_its_own_upload_says_nothing() {
    let found = upload("leaves within", |host, call| {
        pass(host, 20_000);
        call.request_body(MORE_FOLLOWS);
        flags(host, &["DC"]);
    });
    assert_eq!(found, ["neutral"]);
    for (millis, expected) in [(100, "neutral"), (101, "slow"), (1000, "failure")] {
        let found = upload(&format!("leaves after {millis}"), |host, call| {
            completes(host, call, 20_000);
            pass(host, millis);
            flags(host, &["DC"]);
        });
        assert_eq!((millis, &*found[0]), (millis, expected));
        let found = upload(&format!("leaves before a try {millis}"), |host, call| {
            completes(host, call, 20_000);
            pass(host, millis);
            host.property(Property::Attempts, 0_u64.to_le_bytes());
            flags(host, &["DC"]);
        });
        assert_eq!(found, ["neutral"], "{millis}");
    }
}

#[test]
fn an_upgrade_is_complete_at_its_head() {
    let (host, root) = plugin("upgrade at its head", json!({}));
    host.header(Map::Request, "upgrade", "websocket");
    let mut call = root.call(1);
    assert!(call.request_headers(MORE_FOLLOWS));
    pass(&host, 101);
    answer(&host, "101", "via_upstream");
    call.response_headers(MORE_FOLLOWS);
    assert_eq!(host.outcomes(), ["slow"]);
}

#[test]
fn a_reset_that_takes_the_answer_to_an_upload_along_says_nothing() {
    for (complete, expected) in [(false, "neutral"), (true, "failure")] {
        let found = upload(&format!("reset, complete {complete}"), |host, call| {
            if complete {
                call.request_body(END_OF_STREAM);
            }
            answer(host, "503", "upstream_reset_before_response_started{connection_termination}");
            flags(host, &["UC"]);
            call.response_headers(MORE_FOLLOWS);
        });
        assert_eq!(found, [expected], "{complete}");
    }
}

/// An authorisation service that answers over HTTP has its own headers copied to the client, the
/// mark of the router among them. So have caches and scripts.
#[test]
fn an_answer_of_another_filter_says_nothing_whatever_its_headers() {
    for details in [
        "ext_authz_denied",
        "response_from_cache_filter",
        "lua_response",
        "direct_response",
        "rbac_access_denied_matched_policy[none]",
        "not_via_upstream",
        "",
    ] {
        for status in ["200", "403", "503"] {
            let (host, root) = plugin(&format!("{details} {status}"), json!({}));
            let mut call = root.call(1);
            assert!(call.request_headers(END_OF_STREAM));
            answer(&host, status, details);
            host.header(Map::Response, "x-envoy-upstream-service-time", "3");
            host.header(Map::Response, "content-type", "application/grpc");
            host.header(Map::Response, "grpc-status", "14");
            call.response_headers(END_OF_STREAM);
            assert_eq!(host.outcomes(), ["neutral"], "{details} {status}");
        }
    }
}

#[test]
fn a_denied_probe_closes_nothing() {
    let (host, root) = plugin("denied probe", json!({}));
    trip(&host, &root);
    pass(&host, 10_000);
    let mut probe = root.call(1);
    assert!(probe.request_headers(END_OF_STREAM));
    answer(&host, "200", "ext_authz_denied");
    probe.response_headers(END_OF_STREAM);
    // The slot is free, and the breaker as it was.
    let mut next = root.call(1);
    assert!(next.request_headers(END_OF_STREAM));
    assert!(!root.call(1).request_headers(END_OF_STREAM));
}

#[test]
fn grpc_web_has_its_status_in_its_body() {
    let frames = |code: &str| {
        let trailers = format!("grpc-status: {code}\r\ngrpc-message: late\r\n");
        let mut body = b"\0\0\0\0\x01x\x80\0\0\0".to_vec();
        body.push(u8::try_from(trailers.len()).unwrap());
        body.extend(trailers.as_bytes());
        body
    };
    for (code, expected) in [("0", "success"), ("14", "failure"), ("5", "success")] {
        let body = frames(code);
        // Cut at every place.
        for cut in 0..=body.len() {
            let (one, two) = body.split_at(cut);
            let (host, root) = plugin(&format!("web {code} {cut}"), json!({}));
            let mut call = root.call(1);
            assert!(call.request_headers(END_OF_STREAM));
            answer(&host, "200", "via_upstream");
            host.header(Map::Response, "content-type", "application/grpc-web+proto");
            call.response_headers(MORE_FOLLOWS);
            for (piece, end) in [(one, MORE_FOLLOWS), (two, END_OF_STREAM)] {
                host.set(|state| state.body = piece.to_vec());
                call.response_body(piece.len(), end);
            }
            assert_eq!(host.outcomes(), [expected], "{code} cut at {cut}");
        }
    }
}

#[test]
fn a_status_that_is_not_seen_is_not_a_good_one() {
    for media in ["application/grpc-web", "application/grpc-web-text", "application/grpc"] {
        let (host, root) = plugin(&format!("unseen {media}"), json!({}));
        let mut call = root.call(1);
        assert!(call.request_headers(END_OF_STREAM));
        answer(&host, "200", "via_upstream");
        host.header(Map::Response, "content-type", media);
        call.response_headers(MORE_FOLLOWS);
        host.set(|state| state.failing.insert("response_body"));
        call.response_body(30, END_OF_STREAM);
        assert_eq!(host.outcomes(), ["neutral"], "{media}");
    }
}

#[test]
fn a_probe_whose_client_keeps_its_request_back_gives_its_slot_back() {
    let lease = json!({"trip": {"consecutive_failures": 1}, "open": {"base": "10s", "jitter": 0},
        "half_open": {"lease": "5s"}});
    let (host, root) = plugin("held back", json!({"breaker": lease}));
    trip(&host, &root);
    pass(&host, 10_000);
    let mut held = root.call(1);
    assert!(held.request_headers(MORE_FOLLOWS));
    pass(&host, 5_000);
    assert!(!root.call(1).request_headers(END_OF_STREAM), "within its lease");
    pass(&host, 1);
    let mut next = root.call(1);
    assert!(next.request_headers(END_OF_STREAM));
    // What it brings now is late.
    held.request_body(END_OF_STREAM);
    answer(&host, "500", "via_upstream");
    held.response_headers(END_OF_STREAM);
    answer(&host, "200", "via_upstream");
    next.response_headers(END_OF_STREAM);
    let transitions: Vec<_> = host.events("transition").iter().map(|e| e["to"].clone()).collect();
    assert_eq!(transitions, ["open", "half_open", "closed"]);
}

#[test]
fn a_limit_that_the_client_chose_is_its_own_patience() {
    for name in ["x-envoy-upstream-rq-timeout-ms", "x-envoy-upstream-rq-per-try-timeout-ms"] {
        for (millis, own, expected) in [(1, "", "neutral"), (101, "", "slow"), (1, "1s", "failure")]
        {
            let timeout = if own.is_empty() { json!({}) } else { json!({"request": own}) };
            let (host, root) =
                plugin(&format!("{name} {millis} {own}"), json!({"timeout": timeout}));
            host.header(Map::Request, name, "1");
            let mut call = root.call(1);
            assert!(call.request_headers(END_OF_STREAM));
            pass(&host, millis);
            answer(&host, "504", "response_timeout");
            flags(&host, &["UT"]);
            call.response_headers(END_OF_STREAM);
            assert_eq!(host.outcomes(), [expected], "{name} {millis} {own}");
        }
    }
}
