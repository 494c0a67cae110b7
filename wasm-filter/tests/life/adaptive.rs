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
