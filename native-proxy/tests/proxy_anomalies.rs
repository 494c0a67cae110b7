//! What a policy watches of its calls, over real sockets.

mod proxy_support;

use proxy_support::program::{Program, command, write};
use proxy_support::{Client, TEST_DEADLINE, Upstream, file, get, ok};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Says it is watched, and every tenth of a second.
const POLICY: &str = "policies: [{name: p, scope: policy, \
    anomaly: {signals: [errors, latency], window: 10, interval: 100ms}}]";

const COUNTED: &str = "bimetal_anomalies_total";

#[test]
fn errors_unlike_those_before_are_counted_and_told_and_nothing_else_happens() {
    let upstream = Upstream::start(|mut peer| {
        while let Some((head, _)) = peer.request() {
            match head.starts_with("get /bad") {
                true => peer.send("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"),
                false => peer.send(&ok("fine")),
            }
        }
    });
    let path = write("anomalies.yaml", &file(upstream.address, POLICY));
    let program = Program::spawn_json(command(&path).args(["--log-format", "json"]));
    let mut client = Client::connect(program.listen);
    let counted = |signal| {
        let metrics = proxy_support::metrics::Metrics::of(program.admin);
        metrics.find(COUNTED, &[("policy", "p"), ("scope", "policy"), ("signal", signal)])
    };
    assert_eq!(client.ask(&get("/good")).status, 200);
    assert_eq!([counted("errors"), counted("rate")], [Some(0.0), None], "rate is not asked for");
    let begun = Instant::now();
    // On a machine that stands still intervals may have no call, and the window fills later.
    while counted("errors") == Some(0.0) {
        assert!(begun.elapsed() < TEST_DEADLINE, "no anomaly");
        let (good, bad) = (Duration::from_millis(1_500), Duration::from_millis(150));
        for (target, status, time) in [("/good", 200, good), ("/bad", 500, bad)] {
            let phase = Instant::now();
            while phase.elapsed() < time {
                assert_eq!(client.ask(&get(target)).status, status, "it decides nothing");
                std::thread::yield_now();
            }
        }
    }
    let told: Value = loop {
        let line = program.log.recv_timeout(TEST_DEADLINE).expect("a line of it");
        let line: Value = serde_json::from_str(&line).unwrap();
        if line["signal"] == "errors" {
            break line;
        }
    };
    let number = |field: &str| told[field].as_f64().unwrap();
    assert_eq!((&told["level"], &told["policy"]), (&"info".into(), &"p".into()));
    assert!(number("score") > 2.0 && number("value") > number("mean"), "{told}");
    let deviations = (number("value") - number("mean")) / number("deviation");
    assert!((deviations - number("score")).abs() < 1e-6, "{told}");
    let text = told["message"].as_str().unwrap();
    assert!(text.starts_with("anomaly in p, scope policy: errors is "), "{text}");
}
