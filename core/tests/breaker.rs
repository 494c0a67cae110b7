//! The breaker's rules one by one, as users of the policy language know them.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may end by a panic"
)]

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate bimetal_browser_test;

mod support;

use bimetal_core::breaker::Denied;
use bimetal_core::event::{Cause, State};
use bimetal_core::outcome::Outcome::{Failure, Neutral, Slow, Success};
use bimetal_core::outcome::Report;
use bimetal_core::policy::{BreakerPolicy, Trip, WindowSize};
use bimetal_core::{Duration, Instant};
use support::{Bench, policy, rate};

fn open_bench(policy: BreakerPolicy) -> Bench {
    let mut bench = Bench::new(policy);
    bench.calls(3, Failure);
    assert_eq!(bench.state(), State::Open);
    bench.changes();
    bench
}

// ---- tripping ----

#[test]
fn consecutive_failures_trip_and_a_success_between_them_does_not() {
    let mut bench = Bench::new(policy());
    bench.calls(2, Failure).call(Success).calls(2, Failure);
    assert_eq!(bench.state(), State::Closed);
    bench.call(Failure);
    assert_eq!(bench.changes(), ["closed>open consecutive_failures@0"]);
}

#[test]
fn a_slow_answer_breaks_a_streak_of_failures_and_a_neutral_one_does_not() {
    let mut bench = Bench::new(policy());
    bench.calls(2, Failure).call(Slow).calls(2, Failure);
    assert_eq!(bench.state(), State::Closed);
    bench.call(Neutral).call(Failure);
    assert_eq!(bench.state(), State::Open);
}

fn rates(failure: Option<(f64, WindowSize, u32)>, slow: Option<(f64, WindowSize, u32)>) -> Bench {
    let make = |spec: Option<(f64, WindowSize, u32)>| spec.map(|(t, w, m)| rate(t, w, m));
    let trip =
        Trip { consecutive_failures: None, failure_rate: make(failure), slow_rate: make(slow) };
    Bench::new(BreakerPolicy { trip, ..policy() })
}

#[test]
fn a_failure_rate_needs_its_minimum_and_trips_at_the_threshold() {
    let mut bench = rates(Some((0.5, WindowSize::Calls(10), 4)), None);
    bench.calls(2, Failure).call(Success);
    assert_eq!(bench.state(), State::Closed, "3 calls are below the minimum");
    bench.call(Success);
    assert_eq!(bench.state(), State::Open, "the success that makes the minimum trips");
    let view = bench.breaker.view(bench.now);
    assert_eq!(view.cause, Some(Cause::FailureRate { calls: 4, failures: 2 }));
}

#[test]
fn a_time_window_forgets() {
    let window = WindowSize::Time(Duration::from_secs(10));
    let mut bench = rates(Some((0.5, window, 4)), None);
    bench.calls(3, Failure).at(10.0).call(Failure);
    assert_eq!(bench.state(), State::Closed, "three of four left the window");
    bench.at(11.0).calls(3, Failure);
    assert_eq!(bench.state(), State::Open);
}

#[test]
fn a_call_window_forgets() {
    let mut bench = rates(Some((0.5, WindowSize::Calls(4), 4)), None);
    bench.call(Failure).calls(3, Success).call(Failure).calls(3, Success);
    assert_eq!(bench.state(), State::Closed, "never 2 of the last 4");
    bench.call(Failure).call(Failure);
    assert_eq!(bench.state(), State::Open);
}

#[test]
fn slow_answers_trip_their_own_rate_and_are_no_failures() {
    let window = WindowSize::Calls(10);
    let mut bench = rates(Some((0.5, window, 2)), Some((0.5, window, 4)));
    bench.calls(3, Slow);
    assert_eq!(bench.state(), State::Closed);
    bench.call(Slow);
    assert_eq!(bench.changes(), ["closed>open slow_rate@0"]);
}

#[test]
fn the_condition_that_fired_is_named() {
    let trip = Trip {
        consecutive_failures: Some(5),
        failure_rate: Some(rate(0.5, WindowSize::Calls(10), 4)),
        slow_rate: None,
    };
    let mut bench = Bench::new(BreakerPolicy { trip, ..policy() });
    bench.calls(4, Failure);
    assert_eq!(bench.changes(), ["closed>open failure_rate@0"]);
}

#[test]
fn windows_are_empty_after_recovery() {
    let mut bench = rates(Some((0.5, WindowSize::Calls(10), 4)), None);
    bench.calls(4, Failure).at(10.0).call(Success);
    assert_eq!(bench.state(), State::Closed);
    bench.calls(3, Failure);
    assert_eq!(bench.state(), State::Closed, "neither old failures nor the probe count");
}

// ---- open ----

#[test]
fn open_rejects_until_its_time_is_over_and_says_how_long() {
    let mut bench = open_bench(policy());
    bench.at(2.5);
    let rejection = bench.admit().unwrap_err();
    assert_eq!(rejection.left(), Some(Duration::from_millis(7_500)));
    assert_eq!(rejection.to_string(), "open for another 7.5s after 3 consecutive failures");
    bench.at(9.999_999_999);
    assert!(bench.admit().is_err());
    bench.at(10.0);
    assert!(bench.admit().is_ok());
}

#[test]
fn only_a_call_half_opens() {
    let mut bench = open_bench(policy());
    bench.at(60.0);
    bench.breaker.poll(bench.now);
    assert_eq!(bench.state(), State::Open);
    assert_eq!(bench.changes(), [""; 0]);
    let _permit = bench.permit();
    assert_eq!(bench.changes(), ["open>half_open open_elapsed@60"]);
}

#[test]
fn a_result_from_before_the_trip_touches_nothing() {
    let mut bench = Bench::new(policy());
    let late: Vec<_> = (0..4).map(|_| bench.permit()).collect();
    bench.calls(3, Failure);
    for (permit, outcome) in late.into_iter().zip([Success, Failure, Slow, Neutral]) {
        assert!(bench.settles_late(permit, outcome));
    }
    assert_eq!(bench.state(), State::Open);
    assert_eq!(bench.breaker.view(bench.now).generation, 1);
}

#[test]
fn a_result_from_before_the_trip_cannot_trip_a_recovered_breaker() {
    let mut bench = Bench::new(policy());
    let late: Vec<_> = (0..3).map(|_| bench.permit()).collect();
    bench.calls(3, Failure).at(10.0).call(Success);
    assert_eq!(bench.state(), State::Closed);
    for permit in late {
        assert!(bench.settles_late(permit, Failure));
    }
    assert_eq!(bench.state(), State::Closed);
}

#[test]
fn retry_after_lengthens_the_open_time_up_to_max() {
    for (respect, asked, left) in [(true, 60, 60), (true, 999, 300), (false, 60, 10)] {
        let mut bench = Bench::new(BreakerPolicy { respect_retry_after: respect, ..policy() });
        bench.calls(2, Failure);
        let permit = bench.permit();
        let retry_after = Some(Duration::from_secs(asked));
        bench.breaker.settle(bench.now, permit, Report { retry_after, ..Report::from(Failure) });
        let rejection = bench.admit().unwrap_err();
        assert_eq!(rejection.left(), Some(Duration::from_secs(left)));
    }
}

// ---- half-open ----

#[test]
fn one_probe_decides() {
    for (outcome, state, change) in [
        (Success, State::Closed, "half_open>closed probes_succeeded@10"),
        (Failure, State::Open, "half_open>open probe_failed@10"),
        (Slow, State::Open, "half_open>open probe_slow@10"),
    ] {
        let mut bench = open_bench(policy());
        bench.at(10.0).call(outcome);
        assert_eq!(bench.state(), state);
        assert_eq!(bench.changes()[1], change);
    }
}

#[test]
fn callers_beyond_the_probes_are_rejected() {
    let mut wide = policy();
    wide.half_open.max_probes = 2;
    let mut bench = open_bench(wide);
    bench.at(10.0);
    let _first = bench.permit();
    let second = bench.permit();
    let rejection = bench.admit().unwrap_err();
    assert_eq!(rejection, Denied::Probing { outstanding: 2 });
    assert!(!bench.settles_late(second, Neutral));
    assert!(bench.admit().is_ok(), "a neutral probe frees its slot");
}

#[test]
fn required_successes_are_counted_in_all() {
    let mut strict = policy();
    strict.half_open.required_successes = 3;
    let mut bench = open_bench(strict);
    bench.at(10.0).call(Success).call(Success);
    assert_eq!(bench.state(), State::HalfOpen);
    bench.call(Success);
    assert_eq!(bench.state(), State::Closed);
}

#[test]
fn a_probe_without_headers_expires_and_reopens_when_it_was_due() {
    let mut bench = open_bench(policy());
    bench.at(10.0);
    let lost = bench.permit();
    bench.changes();
    assert_eq!(bench.breaker.next_wakeup(), Some(Instant::from_nanos(15_000_000_001)));
    bench.at(15.0);
    assert!(bench.admit().is_err(), "a lease counts to its very end");
    bench.at(18.0);
    bench.breaker.poll(bench.now);
    assert_eq!(bench.changes(), ["half_open>open probes_expired@15"]);
    assert!(bench.settles_late(lost, Success));
    bench.at(24.9);
    assert!(bench.admit().is_err(), "open from 15 s, when the lease ran out");
    bench.at(25.0);
    assert!(bench.admit().is_ok());
}

#[test]
fn an_expired_probe_and_a_new_one_in_one_step() {
    let mut bench = open_bench(policy());
    bench.at(10.0);
    let _lost = bench.permit();
    bench.changes();
    bench.at(40.0);
    let _probe = bench.permit();
    let changes = ["half_open>open probes_expired@15", "open>half_open open_elapsed@40"];
    assert_eq!(bench.changes(), changes);
}

#[test]
fn a_result_after_its_lease_cannot_use_another_probes_slot() {
    let mut wide = policy();
    wide.half_open.max_probes = 2;
    let mut bench = open_bench(wide);
    bench.at(10.0);
    let lost = bench.permit();
    bench.at(16.0);
    let probe = bench.permit();
    assert_eq!(bench.state(), State::HalfOpen, "one of two expiries does not re-open");
    assert!(bench.settles_late(lost, Failure));
    assert!(!bench.settles_late(probe, Success));
    assert_eq!(bench.state(), State::Closed);
}

#[test]
fn an_answer_between_two_expiries_breaks_the_row() {
    let mut wide = policy();
    (wide.half_open.max_probes, wide.half_open.required_successes) = (2, 5);
    let mut bench = open_bench(wide);
    bench.at(10.0);
    let _lost = bench.permit();
    bench.at(12.0);
    let mut answered = bench.permit();
    bench.at(16.0);
    bench.breaker.answered(bench.now, &mut answered);
    let _lost = bench.permit();
    bench.at(22.0);
    bench.breaker.poll(bench.now);
    assert_eq!(bench.state(), State::HalfOpen);
}

#[test]
fn good_headers_free_the_slot_and_the_end_decides() {
    let mut bench = open_bench(policy());
    bench.at(10.0);
    let mut download = bench.permit();
    assert!(bench.admit().is_err());
    bench.breaker.answered(bench.now, &mut download);
    bench.at(14.0);
    let _second = bench.permit();
    bench.at(16.0);
    bench.breaker.poll(bench.now);
    assert_eq!(bench.state(), State::HalfOpen, "an answered probe has no lease");
    assert!(!bench.settles_late(download, Success));
    assert_eq!(bench.state(), State::Closed);
}

// ---- open time and its level ----

#[test]
fn the_level_rises_with_trips_and_falls_on_evidence_only() {
    let mut growing = policy();
    growing.open.multiplier = 2.0;
    let mut bench = open_bench(growing);
    assert_eq!(bench.breaker.view(bench.now).level, 1);
    bench.at(10.0).call(Success);
    // Closed since 10 s; the level's open time is 20 s, and 30 successes are needed.
    bench.at(11.0).calls(30, Success);
    assert_eq!(bench.breaker.view(bench.now).level, 1, "successes without time");
    bench.at(30.0).call(Success);
    assert_eq!(bench.breaker.view(bench.now).level, 0);
    bench.calls(3, Failure);
    assert_eq!(bench.admit().unwrap_err().left(), Some(Duration::from_secs(10)));
}

#[test]
fn time_without_successes_keeps_the_level() {
    let mut growing = policy();
    growing.open.multiplier = 2.0;
    let mut bench = open_bench(growing);
    bench.at(10.0).call(Success).at(1_000.0).calls(29, Success);
    assert_eq!(bench.breaker.view(bench.now).level, 1);
    bench.calls(3, Failure);
    assert_eq!(bench.admit().unwrap_err().left(), Some(Duration::from_secs(20)));
}

// ---- ramp ----

#[test]
fn a_ramp_admits_a_share_and_any_trip_opens() {
    let mut bench = open_bench(BreakerPolicy { ramp: Duration::from_secs(10), ..policy() });
    bench.at(10.0).call(Success);
    assert_eq!(bench.state(), State::Closed);
    bench.at(15.0);
    let first = bench.admit().unwrap_err();
    assert_eq!((first, first.left()), (Denied::Ramping { percent: 50 }, None));
    let passed = (0..99).filter(|_| {
        let permit = bench.admit();
        permit.is_ok_and(|permit| !bench.settles_late(permit, Success))
    });
    assert_eq!(passed.count(), 50);
    for _ in 0..3 {
        let permit = loop {
            if let Ok(permit) = bench.admit() {
                break permit;
            }
        };
        bench.settles_late(permit, Failure);
    }
    assert_eq!(bench.state(), State::Open);
}

#[test]
fn after_the_ramp_every_call_passes() {
    let mut bench = open_bench(BreakerPolicy { ramp: Duration::from_secs(10), ..policy() });
    bench.at(10.0).call(Success).at(20.0).calls(100, Success);
    assert_eq!(bench.state(), State::Closed);
}

// ---- bounds ----

#[test]
fn a_clock_that_jumps_back_or_to_its_end_breaks_nothing() {
    let mut bench = open_bench(policy());
    bench.now = Instant::FAR_FUTURE;
    bench.call(Failure);
    bench.now = Instant::ZERO;
    assert!(bench.admit().is_err());
    bench.now = Instant::FAR_FUTURE;
    assert!(bench.admit().is_ok(), "open until the end of time, which is now");
}

#[test]
fn a_breaker_stays_small() {
    let size = size_of::<bimetal_core::breaker::Breaker>();
    assert!(size <= 640, "{size} bytes");
    println!("a breaker is {size} bytes and its windows");
}
