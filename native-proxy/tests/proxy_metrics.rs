//! What the page of metrics says after a few calls, to the last digit.

mod proxy_support;

use proxy_support::{Client, Running, Upstream, file, get, ok, policy, wait_for};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

/// How long the upstream takes: the bound of a bucket.
const WORK: Duration = Duration::from_millis(50);

const TOOK: &str = "bimetal_request_duration_seconds";

/// The rows of a policy that are not 0, without its durations.
fn rows(proxy: &Running) -> Vec<String> {
    let page = Client::connect(proxy.admin).ask(&get("/metrics")).text();
    let of_policy = page.lines().filter(|row| row.contains("{policy=\"p\""));
    let counted = of_policy.filter(|row| !row.starts_with(TOOK) && !row.ends_with(" 0"));
    counted.map(|row| row.replace(r#"policy="p",scope="policy","#, "")).collect()
}

#[test]
fn one_trip_is_on_the_page_as_it_was() {
    let upstream = Upstream::start(|mut peer| {
        while peer.request().is_some() {
            std::thread::sleep(WORK);
            peer.send("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let proxy = Running::start(upstream.address, &policy(""));
    let (begun, mut client) = (Instant::now(), proxy.client());
    for status in [500, 500, 500, 503] {
        assert_eq!(client.ask(&get("/")).status, status);
    }
    let took = begun.elapsed().as_secs_f64();
    assert_eq!(
        rows(&proxy),
        [
            r#"bimetal_requests_total{decision="admitted"} 3"#,
            r#"bimetal_requests_total{decision="breaker"} 1"#,
            r#"bimetal_outcomes_total{outcome="failure"} 3"#,
            r#"bimetal_breaker_replicas{state="open"} 1"#,
            r#"bimetal_breaker_transitions_total{from="closed",to="open",cause="consecutive_failures"} 1"#,
        ]
    );
    // The rejected call took no time that is told.
    let labels = [("policy", "p")];
    let metrics = proxy.metrics();
    assert_eq!(metrics.sum(&format!("{TOOK}_count"), &labels), 3.0);
    let sum = metrics.sum(&format!("{TOOK}_sum"), &labels);
    assert!((3.0 * WORK.as_secs_f64()..=took).contains(&sum), "{sum} s of {took} s");
    let up_to = |bound| metrics.sum(&format!("{TOOK}_bucket"), &[("policy", "p"), ("le", bound)]);
    assert_eq!(["0.00025", "0.025", "0.05"].map(up_to), [0.0; 3]);
    // None was shorter than its work, and all of them than a test may be.
    assert_eq!(["+Inf", if took <= 10.0 { "10" } else { "+Inf" }].map(up_to), [3.0; 2]);
}

#[test]
fn a_calls_duration_begins_before_it_waits_for_a_connection() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = Upstream::start(move |mut peer| {
        while peer.request().is_some() {
            wait.lock().unwrap().recv().unwrap();
            peer.send(&ok("fine"));
        }
    });
    let text = file(upstream.address, &policy(""))
        .replace("echo: {", "echo: {pool: {max_connections: 1}, ");
    let proxy = Running::with(&text);
    let (mut first, mut second) = (proxy.client(), proxy.client());
    first.peer.send(&get("/"));
    second.peer.send(&get("/"));
    wait_for("both", || (proxy.metric("bimetal_calls_outstanding")? == 2.0).then_some(()));
    // A part of the scenario: so long both of them are under way, one of them in the queue.
    std::thread::sleep(4 * WORK);
    (0..2).for_each(|_| go.send(()).unwrap());
    for client in [&mut first, &mut second] {
        assert_eq!(client.answer().unwrap().text(), "fine");
    }
    let sum = proxy.metrics().sum(&format!("{TOOK}_sum"), &[("policy", "p")]);
    assert!(sum >= 8.0 * WORK.as_secs_f64(), "{sum} s");
}
