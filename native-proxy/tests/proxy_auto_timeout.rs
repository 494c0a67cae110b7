//! A time limit that follows its upstream, over real sockets.

mod proxy_support;

use proxy_support::{Client, Running, Upstream, get, ok};

#[test]
fn it_is_measured_and_ends_a_call_that_takes_longer() {
    let upstream = Upstream::start(|mut peer| {
        while let Some((head, _)) = peer.request() {
            if head.starts_with("get /hang") {
                return peer.closed();
            }
            peer.send(&ok("fine"));
        }
    });
    let rest = "policies: [{name: p, scope: policy, \
        timeout: {request: {auto: {min: 300ms, max: 1h, percentile: 0.9}}}}]";
    let proxy = Running::start(upstream.address, rest);
    let now = |proxy: &Running| {
        let page = Client::connect(proxy.admin).ask(&get("/policies")).text();
        let page: serde_json::Value = serde_json::from_str(&page).unwrap();
        let row = &page["policies"][0]["timeouts"][0];
        (row["request_ms"].as_u64(), row["measured"].as_bool())
    };
    assert_eq!(now(&proxy), (None, None), "nobody asked yet");
    let mut client = proxy.client();
    for _ in 0..50 {
        assert_eq!(client.ask(&get("/")).status, 200);
        assert_eq!(now(&proxy).0.unwrap() == 3_600_000, !now(&proxy).1.unwrap());
    }
    // Its upstream answers within a second here, if not within a millisecond.
    let (limit, measured) = now(&proxy);
    assert!(measured.unwrap() && limit.unwrap() < 3_600_000, "{limit:?}");
    let seconds = proxy.metrics().sum("bimetal_request_timeout_seconds", &[("policy", "p")]);
    assert!((seconds * 1000.0 - limit.unwrap() as f64).abs() < 1.0, "{seconds}");
    assert_eq!(client.ask(&get("/hang")).status, 504, "in an hour otherwise");
    assert!(now(&proxy).0 >= limit, "what ran into it makes it no shorter");
}
