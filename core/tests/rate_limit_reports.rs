//! What users of comparable systems reported, replayed: each test names the report.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate bimetal_browser_test;

mod limits;

use bimetal_core::decision::Rule;
use bimetal_core::event::Decided;
use limits::{Request, Worker, document, field, from};

/// Calls offered evenly for so long, one client after another; how many each was admitted.
fn offer(worker: &mut Worker, millis: u64, per_second: u64, clients: &[&str]) -> Vec<u32> {
    let mut admitted = vec![0; clients.len()];
    for call in 0..millis * per_second / 1_000 {
        let who = call as usize % clients.len();
        admitted[who] += worker.at(call * 1_000 / per_second).offered(from(clients[who]), 1);
    }
    admitted
}

/// envoyproxy/envoy#24282 and #16407: 1000 a second were configured and 5000 offered; 600 to 700 came
/// through, because what flowed in between two calls was rounded away.
#[test]
fn a_limit_under_five_times_its_load_admits_what_it_says() {
    let mut worker = Worker::new(r#""rate_limits": [{"rate": "1000/s"}]"#);
    let admitted = offer(&mut worker, 10_000, 5_000, &["a"])[0];
    // The full bucket at the start, and ten seconds' worth.
    assert!((10_990..=11_000).contains(&admitted), "{admitted}");
}

/// envoyproxy/envoy#34893: a limit of 100 a second that was only counted showed 300 a second at 5000.
#[test]
fn a_limit_that_is_only_counted_counts_the_same() {
    let mut worker = Worker::new(r#""rate_limits": [{"rate": "100/s", "enforced": 0}]"#);
    assert_eq!(offer(&mut worker, 10_000, 5_000, &["a"])[0], 50_000);
    let (_, _, counts) = worker.engine.series().next().unwrap();
    let would = counts.shadow[Decided::Rejected(Rule::RateLimit).place()];
    let kept = 50_000 - would;
    assert!((1_099..=1_100).contains(&kept), "{kept}");
}

/// envoyproxy/envoy#22163: the second of two limits took its tokens from the bucket of the first.
#[test]
fn each_of_several_limits_has_a_bucket_of_its_own() {
    let mut worker = Worker::new(
        r#""rate_limits": [{"rate": "5/s", "key": ["client"]}, {"rate": "100/s", "key": ["client"]}]"#,
    );
    assert_eq!(worker.offered(from("a"), 5), 5);
    let mut alone = Worker::new(
        r#""rate_limits": [{"rate": "100/s", "key": ["client"]}, {"rate": "5/s", "key": ["policy"]}]"#,
    );
    assert_eq!(alone.offered(from("a"), 5), 5);
    assert_eq!(alone.at(1_000).offered(from("b"), 9), 5, "as many as the smaller one");
}

/// envoyproxy/envoy#45384 and haproxy/haproxy#1535: a 429 without a `retry-after`; of several the most
/// restrictive should be told, and never 0.
#[test]
fn who_is_turned_away_is_told_when_to_come_back() {
    let mut worker = Worker::new(
        r#""rate_limits": [{"rate": "100/s", "capacity": 1}, {"rate": "6/m", "capacity": 2}]"#,
    );
    assert_eq!(worker.at(0).offered(from("a"), 1), 1);
    assert_eq!(field(&worker.at(0).refusal(from("a")), "retry-after"), Some("1"));
    assert_eq!(worker.at(10).offered(from("a"), 1), 1);
    assert_eq!(field(&worker.at(10).refusal(from("a")), "retry-after"), Some("10"));
    // Who waits as long as it was told is admitted.
    assert_eq!(worker.at(10_010).offered(from("a"), 1), 1);
}

/// haproxy/haproxy#1277: calls that are denied count in the rate as well, so whoever goes on is never
/// let in again. Here a rejection takes nothing.
#[test]
fn who_does_not_stop_has_the_rate_all_the_same() {
    let mut worker = Worker::new(r#""rate_limits": [{"rate": "10/s", "key": ["client"]}]"#);
    let admitted = offer(&mut worker, 30_000, 2_000, &["stubborn"])[0];
    assert!((309..=310).contains(&admitted), "{admitted}");
}

/// haproxy/haproxy#1913: a minute after the last call of a client its rate over a minute was not 0.
#[test]
fn after_its_period_a_limit_is_as_new() {
    let mut worker = Worker::new(r#""rate_limits": [{"rate": "60/m", "key": ["client"]}]"#);
    offer(&mut worker, 90_000, 10, &["a"]);
    assert_eq!(worker.at(89_900 + 60_000).offered(from("a"), 100), 60);
}

/// haproxy/haproxy#1790: keys were told apart by a hash of 32 bits, and clients were blocked for what
/// others did. Keys are compared whole, and of several parts each by itself.
#[test]
fn keys_are_compared_whole() {
    let mut worker =
        Worker::new(r#""rate_limits": [{"rate": "1/h", "key": ["header:x-tenant", "client"]}]"#);
    let names: Vec<_> = (0..50_000).map(|number| format!("/article{number}")).collect();
    for tenant in &names {
        let request = Request { client: "10.0.0.1", tenant: Some(tenant) };
        assert_eq!(worker.offered(request, 1), 1, "{tenant}");
    }
    assert_eq!(worker.offered(Request { client: "10.0.0.1", tenant: Some(&names[7]) }, 1), 0);
}

/// boinkor-net/governor#171: an attacker with a network of version 6 has more addresses than the server
/// has memory. The table is bounded, and who is limited stays so.
#[test]
fn more_addresses_than_there_is_memory_free_nobody() {
    let mut worker =
        Worker::new(r#""rate_limits": [{"rate": "2/h", "key": ["client"], "max_keys": 1000}]"#);
    assert_eq!(worker.offered(from("2001:db8::bad"), 5), 2);
    let mut beyond = 0;
    for number in 0..20_000_u32 {
        let address = format!("2001:db8:1::{:x}:{:x}", number >> 16, number & 0xffff);
        let admitted = worker.offered(from(&address), 1);
        beyond += if number < 999 { 0 } else { admitted };
    }
    assert_eq!(worker.engine.totals().limit_keys, 1_000);
    assert_eq!(beyond, 2, "all that have no room share one limit");
    assert_eq!(worker.offered(from("2001:db8::bad"), 5), 0);
}

/// resilience4j/resilience4j#1356 and boinkor-net/governor#219: two periods' worth of calls, or more
/// than the quota, in the time of one. With a capacity of 1 nothing is saved up: at most one more than
/// the rate in any window, and never two at once.
#[test]
fn a_capacity_of_one_spaces_calls_evenly() {
    let mut worker = Worker::new(r#""rate_limits": [{"rate": "2/s", "capacity": 1}]"#);
    let mut times = Vec::new();
    for step in 0..2_000 {
        let now = step * 7;
        if worker.at(now).offered(from("a"), 3) > 0 {
            times.push(now);
        }
    }
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= 500), "{times:?}");
    assert!(times.windows(4).all(|four| four[3] - four[0] >= 1_000));
    assert!(times.len() >= 27, "{}", times.len());
}

/// boinkor-net/governor#39: with a limit that was exchanged on the fly each exchange let a full quota
/// through. One that means the same keeps its buckets, however often a file is read again.
#[test]
fn a_document_that_is_read_again_fills_nothing() {
    let fields = r#""rate_limits": [{"rate": "10/s", "key": ["client"]}]"#;
    let mut worker = Worker::new(fields);
    let mut admitted = 0;
    for reload in 0..100 {
        worker.policies = worker.engine.load(&document(fields));
        worker.engine.poll(worker.now);
        admitted += worker.at(reload).offered(from("a"), 100);
    }
    assert_eq!(admitted, 10);
}

/// adorsys/status-list-server#238 and kubernetes/ingress-nginx#9502: whoever could choose the key had a
/// fresh bucket for each call. By several keys at once the one that he cannot choose holds.
#[test]
fn a_key_that_the_client_chooses_is_no_way_around_one_that_it_does_not() {
    let mut worker = Worker::new(
        r#""rate_limits": [{"rate": "5/s", "key": ["header:x-tenant"]},
            {"rate": "10/s", "key": ["client"]}]"#,
    );
    let names: Vec<_> = (0..100).map(|number| format!("t{number}")).collect();
    let admitted: u32 = names
        .iter()
        .map(|tenant| worker.offered(Request { client: "10.0.0.1", tenant: Some(tenant) }, 1))
        .sum();
    assert_eq!(admitted, 10);
}
