//! Corner cases of the breakers that profiles are named after, as their documentation tells them.
//! Resilience4j and gobreaker are asked themselves, in `conformance/tests/oracles`.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate bimetal_browser_test;

mod policy;
mod support;

use bimetal_core::event::State;
use bimetal_core::outcome::Outcome::{Failure, Success};
use bimetal_core::outcome::{Observation, Transport};
use bimetal_core::policy::Judge;
use bimetal_core::{Duration, Instant};
use policy::{of_policy, policy};
use serde_json::{Value, json};
use support::Bench;

fn profile(name: &str) -> Bench {
    let policy = policy(json!({"breaker": {"profile": name}}));
    Bench::new((**policy.breaker.as_ref().expect("a breaker")).clone())
}

fn open_for(bench: &mut Bench) -> Duration {
    let open_until = bench.breaker.view(bench.now).next_probe.expect("it is open");
    open_until.since(bench.now)
}

/// Netflix/Hystrix wiki, Configuration, `circuitBreaker.requestVolumeThreshold`: "if the value is 20, then
/// if only 19 requests are received in the rolling window [...] the circuit will not trip open even if all
/// 19 failed".
#[test]
fn hystrix_does_not_trip_below_its_volume() {
    let mut bench = profile("hystrix");
    bench.calls(19, Failure);
    assert_eq!(bench.state(), State::Closed);
    bench.call(Failure);
    assert_eq!(bench.state(), State::Open);
}

/// The same page, `circuitBreaker.errorThresholdPercentage`: "at or above which the circuit should trip".
#[test]
fn hystrix_trips_at_half() {
    let mut bench = profile("hystrix");
    bench.calls(11, Success).calls(10, Failure);
    assert_eq!(bench.state(), State::Closed);
    bench.call(Failure);
    assert_eq!(bench.state(), State::Open);
}

/// The same page, `metrics.rollingStats.timeInMilliseconds`: 10 s.
#[test]
fn hystrix_forgets_after_ten_seconds() {
    let mut bench = profile("hystrix");
    bench.calls(19, Failure).at(12.0).calls(2, Failure);
    assert_eq!(bench.state(), State::Closed);
}

/// The wiki, How it Works, Circuit Breaker: "the next single request is let through [...] If the request
/// fails, the circuit-breaker returns to the OPEN state for the duration of the sleep window. If the request
/// succeeds, the circuit-breaker transitions to CLOSED".
#[test]
fn hystrix_asks_one_request_after_each_sleep_window() {
    let mut bench = profile("hystrix");
    bench.calls(20, Failure);
    assert_eq!(open_for(&mut bench), Duration::from_secs(5));
    assert!(bench.at(4.9).admit().is_err());
    let single = bench.at(5.0).permit();
    assert!(bench.admit().is_err());
    assert!(!bench.settles_late(single, Failure));
    assert_eq!(open_for(&mut bench), Duration::from_secs(5), "no longer than before");
    bench.at(10.0).call(Success);
    assert_eq!(bench.state(), State::Closed);
}

/// Polly's documentation, Circuit breaker resilience strategy, Defaults: FailureRatio 0.1,
/// MinimumThroughput 100, SamplingDuration 30 s, BreakDuration 5 s.
#[test]
fn polly_trips_at_a_tenth_of_a_hundred_calls() {
    let mut bench = profile("polly");
    bench.calls(90, Success).calls(9, Failure);
    assert_eq!(bench.state(), State::Closed, "99 calls");
    bench.call(Failure);
    assert_eq!(bench.state(), State::Open);
    assert_eq!(open_for(&mut bench), Duration::from_secs(5));

    let mut below = profile("polly");
    below.calls(9, Failure).calls(191, Success);
    assert_eq!(below.state(), State::Closed);
}

/// The same page, the diagram of states: half-open goes to closed by one success, to open by one failure.
#[test]
fn polly_lets_one_probe_decide() {
    for (outcome, state) in [(Success, State::Closed), (Failure, State::Open)] {
        let mut bench = profile("polly");
        bench.calls(100, Failure);
        let probe = bench.at(5.0).permit();
        assert!(bench.admit().is_err());
        assert!(!bench.settles_late(probe, outcome));
        assert_eq!(bench.state(), state);
    }
}

/// Polly's `SamplingDuration`: failures 30 s ago and older say nothing.
#[test]
fn polly_forgets_after_its_sampling_duration() {
    let mut bench = profile("polly");
    bench.calls(99, Failure).at(34.0).calls(99, Success);
    assert_eq!(bench.state(), State::Closed);
}

/// Istio's reference, OutlierDetection, `consecutive5xxErrors`: "defaults to 5", and connect timeouts,
/// connection errors and failures count for opaque services; Envoy's `split_external_local_origin_errors`
/// is off by default, so they count as 5xx.
#[test]
fn istio_ejects_after_five_errors_in_a_row() {
    let mut bench = profile("istio-outlier");
    bench.calls(4, Failure).call(Success).calls(4, Failure);
    assert_eq!(bench.state(), State::Closed);
    bench.call(Failure);
    assert_eq!(bench.state(), State::Open);

    let rules = &policy(json!({"breaker": {"profile": "istio-outlier"}})).failure;
    let answer = |status| {
        rules.classify(&Observation::Answer { status, grpc: None, latency: Duration::ZERO })
    };
    assert_eq!([499, 500, 599].map(answer), [Success, Failure, Failure]);
    let broken = |how| rules.classify(&Observation::Broken(how));
    assert_eq!(broken(Transport::Connect), Failure);
    assert_eq!(broken(Transport::Timeout), Failure);
}

/// The same page, `baseEjectionTime`: "A host will remain ejected for a period equal to the product of
/// minimum ejection duration and the number of times the host has been ejected"; Envoy's `max_ejection_time`
/// is 300 s.
#[test]
fn istio_ejects_longer_each_time() {
    let mut bench = profile("istio-outlier");
    let mut now = 0;
    for times in 1..=12 {
        bench.calls(5, Failure);
        let ejected = Duration::from_secs((30 * times).min(300));
        assert_eq!(open_for(&mut bench), ejected, "ejection {times}");
        now += ejected.as_nanos();
        bench.now = Instant::from_nanos(now);
    }
}

/// Envoy's documentation, Outlier detection, Ejection algorithm: "a host is automatically brought back into
/// service after the ejection time has been satisfied". No request tries it first.
#[test]
fn istio_brings_a_host_back_without_a_probe() {
    let mut bench = profile("istio-outlier");
    bench.calls(5, Failure).at(30.0);
    let calls: Vec<_> = (0..50).map(|_| bench.permit()).collect();
    assert_eq!(bench.state(), State::Closed);
    for permit in calls {
        assert!(!bench.settles_late(permit, Success));
    }
}

/// What is given beside a profile meets what the profile says.
#[test]
fn a_trial_needs_a_rate_and_has_a_hundred_probes_at_most() {
    let refused = |breaker: Value| of_policy(json!({"breaker": breaker}));
    let streak = json!({"consecutive_failures": 3});
    assert_eq!(
        refused(json!({"profile": "resilience4j", "trip": streak})),
        ["policies[0].breaker.half_open.judge: \"rate\" judges by a rate, and `trip` has neither \
          failure_rate nor slow_rate"]
    );
    assert_eq!(
        refused(json!({"profile": "resilience4j", "half_open": {"max_probes": 101}})),
        [
            "policies[0].breaker.half_open.max_probes: 101 is more than 100, the most that are judged \
          together"
        ]
    );
    let each = json!({"profile": "resilience4j", "trip": streak, "half_open": {"judge": "each"}});
    let each = policy(json!({"breaker": each})).breaker.clone().unwrap();
    assert_eq!(each.half_open.judge, Judge::Each);
}
