//! A limit that finds itself follows what Envoy tells of the upstream's time.

use super::*;

/// One call at a time, each answered after five milliseconds; `tells` is whether the router says so.
fn served(host: &Fake, root: &Root<Fake>, calls: u32, tells: bool) {
    for _ in 0..calls {
        let mut call = root.call(1);
        assert!(call.request_headers(END_OF_STREAM));
        pass(host, 5);
        if tells {
            host.header(Map::Response, "x-envoy-upstream-service-time", "5");
        }
        answer(host, "200", "via_upstream");
        call.response_headers(END_OF_STREAM);
        call.log();
    }
}

#[test]
fn it_rises_while_the_upstream_is_quick_whoever_measures_it() {
    for tells in [true, false] {
        let policy = json!({
            "timeout": {},
            "breaker": {"trip": {"consecutive_failures": 1}},
            "concurrency": {"adaptive": {"min": 1, "max": 50}},
        });
        let (host, root) = plugin(&format!("adaptive-{tells}"), policy);
        let mut first = root.call(1);
        assert!(first.request_headers(END_OF_STREAM));
        // One is its least, and no queue waits for it here.
        assert!(!root.call(1).request_headers(END_OF_STREAM));
        drop(first);
        served(&host, &root, 300, tells);
        let mut both = [root.call(1), root.call(1)];
        assert!(both.iter_mut().all(|call| call.request_headers(END_OF_STREAM)), "{tells}");
    }
}

#[test]
fn the_routers_time_limit_follows_what_it_measured() {
    for tells in [true, false] {
        let policy = json!({"timeout": {"request": {"auto": {"min": "1ms", "max": "3s"}}}});
        let (host, root) = plugin(&format!("auto-{tells}"), policy);
        let limit = || {
            assert!(root.call(1).request_headers(END_OF_STREAM));
            let name = ("request", "x-envoy-upstream-rq-per-try-timeout-ms".to_owned());
            host.set(|state| String::from_utf8(state.headers[&name].clone()).unwrap())
        };
        served(&host, &root, 99, tells);
        assert_eq!(limit(), "3000", "not enough was seen");
        served(&host, &root, 1, tells);
        assert_eq!(limit(), "8", "five milliseconds and half of them, rounded up");
    }
}
