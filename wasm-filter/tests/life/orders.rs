//! Each way in which a request can go, and that it settles exactly once in all of them.

use crate::fake::Fake;
use crate::{END_OF_STREAM, MORE_FOLLOWS, answer, flags, pass, plugin, trip};
use bimetal_filter::call::Call;
use bimetal_filter::port::Map;
use bimetal_filter::root::Root;
use serde_json::json;

/// Plays one request and says what it counted as.
fn outcome(name: &str, play: impl FnOnce(&Fake, &mut Call<Fake>)) -> String {
    let (host, root) = plugin(name, json!({}));
    let outcome = play_once(&host, &root, play);
    // Nothing settles twice, whatever still comes.
    assert_eq!(host.outcomes().len(), 1, "{name}");
    outcome
}

fn play_once(host: &Fake, root: &Root<Fake>, play: impl FnOnce(&Fake, &mut Call<Fake>)) -> String {
    let mut call = root.call(1);
    assert!(call.request_headers(END_OF_STREAM));
    play(host, &mut call);
    call.log();
    drop(call);
    host.outcomes().pop().unwrap()
}

#[test]
fn answers_of_the_upstream() {
    let at_headers = |host: &Fake, call: &mut Call<Fake>| {
        call.response_headers(END_OF_STREAM);
        assert_eq!(host.outcomes().len(), 1);
    };
    for (status, expected) in [("200", "success"), ("404", "success"), ("503", "failure")] {
        let found = outcome(&format!("whole {status}"), |host, call| {
            answer(host, status, "via_upstream");
            at_headers(host, call);
        });
        assert_eq!(found, expected, "{status}");
    }
    let found = outcome("body", |host, call| {
        answer(host, "200", "via_upstream");
        call.response_headers(MORE_FOLLOWS);
        call.response_body(9, MORE_FOLLOWS);
        assert_eq!(host.outcomes().len(), 0);
        call.response_body(9, END_OF_STREAM);
        assert_eq!(host.outcomes().len(), 1);
    });
    assert_eq!(found, "success");
    let found = outcome("failure with a body", |host, call| {
        answer(host, "500", "via_upstream");
        call.response_headers(MORE_FOLLOWS);
        assert_eq!(host.outcomes().len(), 1, "a failure settles at once");
        call.response_body(9, END_OF_STREAM);
    });
    assert_eq!(found, "failure");
}

#[test]
fn slow_is_strictly_later() {
    for (millis, expected) in [(100, "success"), (101, "slow")] {
        let found = outcome(&format!("slow {millis}"), |host, call| {
            pass(host, millis);
            answer(host, "200", "via_upstream");
            call.response_headers(MORE_FOLLOWS);
            // The body may take its time.
            pass(host, 10_000);
            call.response_body(9, END_OF_STREAM);
        });
        assert_eq!(found, expected, "{millis}");
    }
    let found = outcome("delayed", |host, call| {
        pass(host, 900);
        answer(host, "200", "via_upstream");
        flags(host, &["DI"]);
        call.response_headers(END_OF_STREAM);
    });
    assert_eq!(found, "success");
}

#[test]
fn grpc_settles_at_its_status() {
    for (code, expected) in
        [("0", "success"), ("5", "success"), ("14", "failure"), ("x", "success")]
    {
        let alone = outcome(&format!("trailers alone {code}"), |host, call| {
            answer(host, "200", "via_upstream");
            host.header(Map::Response, "content-type", "application/grpc+proto");
            host.header(Map::Response, "grpc-status", code);
            call.response_headers(END_OF_STREAM);
        });
        let trailers = outcome(&format!("trailers {code}"), |host, call| {
            answer(host, "200", "via_upstream");
            host.header(Map::Response, "content-type", "application/grpc");
            call.response_headers(MORE_FOLLOWS);
            // As Envoy: in later phases the headers are gone.
            host.set(|state| state.headers.retain(|(map, _), _| *map != "response"));
            call.response_body(9, MORE_FOLLOWS);
            host.header(Map::Trailers, "grpc-status", code);
            assert_eq!(host.outcomes().len(), 0);
            call.response_trailers();
            assert_eq!(host.outcomes().len(), 1);
        });
        assert_eq!((code, &*alone, &*trailers), (code, expected, expected));
    }
    let found = outcome("not grpc", |host, call| {
        answer(host, "200", "via_upstream");
        host.header(Map::Response, "grpc-status", "14");
        call.response_headers(END_OF_STREAM);
    });
    assert_eq!(found, "success");
}

#[test]
fn endless_answers_settle_at_headers() {
    let upgrade = outcome("upgrade", |host, call| {
        answer(host, "101", "via_upstream");
        call.response_headers(MORE_FOLLOWS);
        assert_eq!(host.outcomes().len(), 1);
        flags(host, &["UC"]);
    });
    assert_eq!(upgrade, "success");
    let events = outcome("events", |host, call| {
        answer(host, "200", "via_upstream");
        let kind = "text/event-stream; charset=utf-8";
        host.header(Map::Response, "content-type", kind);
        call.response_headers(MORE_FOLLOWS);
        assert_eq!(host.outcomes().len(), 1);
        call.response_body(9, MORE_FOLLOWS);
        flags(host, &["DC"]);
    });
    assert_eq!(events, "success");
}

#[test]
fn answers_of_envoy() {
    for (flag, status, expected) in [
        ("UF", "503", "failure"),
        ("UH", "503", "failure"),
        ("DF", "503", "failure"),
        ("UC", "503", "failure"),
        ("UR", "503", "failure"),
        ("LR", "503", "failure"),
        ("UPE", "502", "failure"),
        ("UT", "504", "failure"),
        ("UMSDR", "504", "failure"),
        ("UO", "503", "neutral"),
        ("SI", "504", "failure"),
        ("SI", "408", "neutral"),
        ("FI", "500", "neutral"),
        ("NR", "404", "neutral"),
        ("RL", "429", "neutral"),
        ("URX", "503", "neutral"),
    ] {
        let found = outcome(&format!("local {flag} {status}"), |host, call| {
            answer(host, status, "some_details");
            flags(host, &[flag]);
            call.response_headers(MORE_FOLLOWS);
            assert_eq!(host.outcomes().len(), 1);
        });
        assert_eq!((flag, status, &*found), (flag, status, expected));
    }
    let found = outcome("another filter", |host, call| {
        answer(host, "503", "ext_authz_denied");
        call.response_headers(END_OF_STREAM);
    });
    assert_eq!(found, "neutral");
    let found = outcome("no details", |host, call| {
        host.header(Map::Response, ":status", "500");
        call.response_headers(END_OF_STREAM);
    });
    assert_eq!(found, "neutral");
}

#[test]
fn what_breaks_off_settles_in_the_log() {
    for (flag, expected) in [
        ("UC", "failure"),
        ("UT", "failure"),
        ("DC", "neutral"),
        ("DR", "neutral"),
        ("SI", "neutral"),
        ("NR", "neutral"),
    ] {
        let before = outcome(&format!("before {flag}"), |host, _| flags(host, &[flag]));
        let within = outcome(&format!("within {flag}"), |host, call| {
            answer(host, "200", "via_upstream");
            call.response_headers(MORE_FOLLOWS);
            call.response_body(9, MORE_FOLLOWS);
            flags(host, &[flag]);
        });
        assert_eq!((flag, &*before, &*within), (flag, expected, expected));
    }
    // No word of an end is no success.
    let found = outcome("no end", |host, call| {
        answer(host, "200", "via_upstream");
        call.response_headers(MORE_FOLLOWS);
    });
    assert_eq!(found, "neutral");
}

#[test]
fn a_client_that_leaves() {
    for (millis, named, expected) in [
        (100, &["DC"][..], "neutral"),
        (101, &["DC"], "slow"),
        (999, &["DR"], "slow"),
        (1000, &["DC"], "failure"),
        (1000, &["DC", "DI"], "neutral"),
    ] {
        let found = outcome(&format!("leaves {millis} {named:?}"), |host, _| {
            pass(host, millis);
            flags(host, named);
        });
        assert_eq!((millis, named, &*found), (millis, named, expected));
    }
    // Answered in time: that it left within a long body is not the upstream's.
    let found = outcome("leaves the body", |host, call| {
        answer(host, "200", "via_upstream");
        call.response_headers(MORE_FOLLOWS);
        pass(host, 500);
        flags(host, &["DC"]);
    });
    assert_eq!(found, "neutral");
}

#[test]
fn a_dropped_call_is_neutral() {
    let (host, root) = plugin("dropped", json!({}));
    let mut call = root.call(1);
    assert!(call.request_headers(END_OF_STREAM));
    drop(call);
    assert_eq!(host.outcomes(), ["neutral"]);
    // One that was never decided says nothing.
    drop(root.call(1));
    assert_eq!(host.outcomes().len(), 1);
}

#[test]
fn an_own_rejection_is_ignored() {
    let (host, root) = plugin("own", json!({}));
    trip(&host, &root);
    let mut call = root.call(1);
    assert!(!call.request_headers(END_OF_STREAM));
    let reply = host.set(|state| state.reply.clone()).unwrap();
    assert_eq!((reply.status, &*reply.details), (503, "bimetal_echo_breaker"));
    answer(&host, "503", "bimetal_echo_breaker");
    call.response_headers(END_OF_STREAM);
    call.log();
    drop(call);
    assert_eq!(host.outcomes(), ["failure"]);
}

#[test]
fn an_injected_fault_counts_when_asked() {
    let (host, root) = plugin("injected", json!({"count_injected": true}));
    let found = play_once(&host, &root, |host, call| {
        answer(host, "500", "fault_filter_abort");
        flags(host, &["FI"]);
        call.response_headers(END_OF_STREAM);
    });
    assert_eq!(found, "failure");
}

#[test]
fn retry_after_of_a_failure_lengthens_the_open_time() {
    for (value, seconds) in [("60", 60), ("5", 10), ("soon", 10), ("-1", 10)] {
        let (host, root) = plugin(&format!("retry-after {value}"), json!({}));
        host.header(Map::Response, "retry-after", value);
        trip(&host, &root);
        let open = host.events("transition")[0]["open_for_ns"].clone();
        assert_eq!((value, open), (value, json!(seconds * 1_000_000_000_u64)));
    }
}

#[test]
fn good_headers_free_a_probe() {
    let (host, root) = plugin("probe", json!({}));
    trip(&host, &root);
    pass(&host, 10_000);
    let mut probe = root.call(1);
    assert!(probe.request_headers(END_OF_STREAM));
    assert!(!root.call(1).request_headers(END_OF_STREAM));
    answer(&host, "200", "via_upstream");
    probe.response_headers(MORE_FOLLOWS);
    assert!(root.call(1).request_headers(END_OF_STREAM));
}

#[test]
fn modes_that_do_not_act() {
    let (host, root) = plugin("disabled", json!({"mode": "disabled", "debug_headers": true}));
    let mut call = root.call(1);
    assert!(call.request_headers(END_OF_STREAM));
    answer(&host, "500", "via_upstream");
    call.response_headers(END_OF_STREAM);
    call.log();
    assert!(host.events("decision").is_empty());
    let header =
        |name: &str| host.set(|state| state.headers.get(&("response", name.to_owned())).cloned());
    assert_eq!(header("x-bimetal-policy").as_deref(), Some(&b"echo"[..]));
    assert_eq!(header("x-bimetal-state"), None);

    let (host, root) = plugin("shadow", json!({"mode": "shadow"}));
    trip(&host, &root);
    let mut call = root.call(1);
    assert!(call.request_headers(END_OF_STREAM), "nothing is applied in shadow mode");
    call.response_headers(END_OF_STREAM);
    assert_eq!(host.outcomes().len(), 1, "and what would have been rejected is no evidence");
    let timeout = ("request", "x-envoy-upstream-rq-per-try-timeout-ms".to_owned());
    assert!(!host.set(|state| state.headers.contains_key(&timeout)));
}
