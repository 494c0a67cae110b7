//! Corners of the breaker that its rules imply and that no other test would miss: each stands here
//! because a mutant of the code survived without it (see `docs/mutants.md`).

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

#[path = "support/board.rs"]
mod board;
mod support;

use bimetal_core::breaker::Breaker;
use bimetal_core::breaker::Denied;
use bimetal_core::event::State;
use bimetal_core::outcome::Outcome::{Failure, Neutral, Slow, Success};
use bimetal_core::policy::{BreakerPolicy, RateCondition, Trip, WindowSize};
use bimetal_core::{Duration, Instant};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use support::{Bench, policy, rate};

/// Replicas of one breaker, and the count of writes to what they share.
fn replicas<const N: usize>(policy: BreakerPolicy) -> ([Bench; N], Arc<AtomicU64>) {
    let policy = Arc::new(policy);
    let (words, writes) = board::words(Breaker::words_needed(&policy));
    let replica = |seed| Bench {
        breaker: Breaker::shared(policy.clone(), seed as u64, words.clone()),
        now: Instant::ZERO,
    };
    (std::array::from_fn(replica), writes)
}

fn opened(policy: BreakerPolicy) -> Bench {
    let mut bench = Bench::new(policy);
    bench.calls(3, Failure);
    bench
}

#[test]
fn a_call_that_finds_a_lost_probe_meets_an_open_breaker() {
    let mut bench = opened(policy());
    bench.at(10.0);
    let _lost = bench.permit();
    bench.at(16.0);
    let rejection = bench.admit().unwrap_err();
    // The lease ran out at 15 s, and 10 s of open time began then.
    assert_eq!(rejection.left(), Some(Duration::from_secs(9)));
    assert!(matches!(rejection, Denied::Open { .. }), "{rejection:?}");
}

#[test]
fn a_success_between_two_lost_probes_breaks_the_row() {
    let mut wide = policy();
    (wide.half_open.max_probes, wide.half_open.required_successes) = (2, 5);
    let mut bench = opened(wide);
    bench.at(10.0);
    let _lost = bench.permit();
    bench.at(16.0).call(Success);
    let _lost = bench.permit();
    bench.at(22.0);
    bench.breaker.poll(bench.now);
    assert_eq!(bench.state(), State::HalfOpen);
}

#[test]
fn a_trip_forgets_the_successes_that_a_level_saw() {
    let mut growing = policy();
    growing.open.multiplier = 2.0;
    let mut bench = opened(growing);
    // Level 1 saw 29 of the 30 successes that it needs, for long enough …
    bench.at(10.0).call(Success).at(100.0).calls(29, Success);
    bench.calls(3, Failure).at(120.0).call(Success);
    assert_eq!(bench.breaker.view(bench.now).level, 2);
    // … and level 2 begins anew: neither those nor that time count.
    bench.at(1_000.0).call(Success);
    assert_eq!(bench.breaker.view(bench.now).level, 2);
    bench.calls(29, Success);
    assert_eq!(bench.breaker.view(bench.now).level, 1);
}

#[test]
fn a_new_state_forgets_the_leases_of_the_one_before() {
    let mut wide = policy();
    (wide.half_open.max_probes, wide.open.base) = (2, Duration::from_secs(1));
    let mut bench = opened(wide);
    bench.at(10.0);
    let _lost = bench.permit();
    bench.at(11.0).call(Failure);
    assert_eq!((bench.state(), bench.breaker.next_wakeup()), (State::Open, None));
    bench.at(12.0);
    let _first = bench.permit();
    // At 15 s the lease of the lost probe would have run out.
    bench.at(16.0);
    let _second = bench.permit();
    assert!(bench.admit().is_err(), "both slots are taken");
}

#[test]
fn a_clock_that_jumped_back_makes_no_probe_lost() {
    let mut wide = policy();
    wide.half_open.max_probes = 2;
    let mut bench = opened(wide);
    bench.at(100.0);
    let _probe = bench.permit();
    let mut answered = bench.permit();
    bench.at(50.0);
    bench.breaker.answered(bench.now, &mut answered);
    // The breaker moved last at 50 s; the probe of 100 s is still in time.
    bench.at(101.0);
    let _third = bench.permit();
    assert!(bench.admit().is_err(), "both slots are taken");
}

// ---- windows ----

const SECONDS: WindowSize = WindowSize::Time(Duration::from_secs(10));
const CALLS: WindowSize = WindowSize::Calls(10);

fn windowed(failure: Option<WindowSize>, slow: Option<WindowSize>) -> BreakerPolicy {
    let far = |window: WindowSize| -> RateCondition { rate(1.0, window, 1_000) };
    let (failure_rate, slow_rate) = (failure.map(far), slow.map(far));
    let trip = Trip { consecutive_failures: Some(100), failure_rate, slow_rate };
    BreakerPolicy { trip, ..policy() }
}

/// A window that is full of good calls needs no write for one more; a bad one must not be taken for
/// such a call.
#[test]
fn bad_calls_are_seen_in_a_window_full_of_good_ones() {
    let half = |window| Some(rate(0.5, window, 4));
    let window = half(WindowSize::Calls(4));
    for (failure_rate, slow_rate, bad) in [
        (window.clone(), None, Failure),
        (None, window.clone(), Slow),
        (window.clone(), window.clone(), Failure),
        (window.clone(), window, Slow),
    ] {
        let trip = Trip { consecutive_failures: None, failure_rate, slow_rate };
        let mut bench = Bench::new(BreakerPolicy { trip, ..policy() });
        bench.calls(10, Success).call(bad);
        assert_eq!(bench.state(), State::Closed);
        bench.call(bad);
        assert_eq!(bench.state(), State::Open, "two of the last four are bad");
    }
}

#[test]
fn time_windows_begin_anew_with_a_new_state() {
    let minute = rate(0.5, WindowSize::Time(Duration::from_secs(60)), 4);
    for (failure_rate, slow_rate, bad) in
        [(Some(minute.clone()), None, Failure), (None, Some(minute), Slow)]
    {
        let trip = Trip { consecutive_failures: None, failure_rate, slow_rate };
        let policy = BreakerPolicy { trip, ..policy() };
        let alone = Bench::new(policy.clone());
        let ([replica], _) = replicas(policy);
        for mut bench in [alone, replica] {
            // In its first minute, and after ten weeks: numbers of buckets and generations are
            // told apart in few bits.
            for start in [0.0, 6_000_000.0] {
                bench.at(start + 1.0).calls(3, bad).at(start + 1.2);
                // Three are shown to other workers before the fourth trips.
                bench.breaker.poll(bench.now);
                bench.call(bad);
                assert_eq!(bench.state(), State::Open);
                bench.at(start + 12.0).call(Success).calls(3, bad);
                assert_eq!(bench.state(), State::Closed, "only three calls since it closed");
                bench.call(bad);
                assert_eq!(bench.state(), State::Open);
                bench.at(start + 100.0).call(Success);
            }
        }
    }
}

/// More changes of state than a bucket has bits for.
#[test]
fn shared_windows_count_after_thousands_of_changes() {
    let minute = rate(0.5, WindowSize::Time(Duration::from_secs(60)), 4);
    let trip = Trip { consecutive_failures: None, failure_rate: Some(minute), slow_rate: None };
    let ([mut bench], _) = replicas(BreakerPolicy { trip, ..policy() });
    for round in 0..1_500 {
        let start = f64::from(round) * 100.0;
        // Far enough apart that each call is shown and read back before the next.
        for call in 0..4 {
            assert_eq!(bench.state(), State::Closed, "round {round}, call {call}");
            bench.at(start + 0.2 * f64::from(call)).call(Failure);
        }
        assert_eq!(bench.state(), State::Open, "round {round}");
        bench.at(start + 50.0).call(Success);
    }
}

#[test]
fn a_view_shows_what_is_in_the_windows() {
    for (failure, slow, seen, later) in [
        (None, None, (3, 3, 0), (3, 3, 0)),
        (Some(CALLS), None, (6, 3, 0), (6, 3, 0)),
        (Some(SECONDS), None, (6, 3, 0), (0, 0, 0)),
        (None, Some(CALLS), (6, 3, 1), (6, 3, 1)),
        (None, Some(SECONDS), (6, 3, 1), (0, 3, 0)),
        (Some(CALLS), Some(SECONDS), (6, 3, 1), (6, 3, 0)),
    ] {
        let alone = Bench::new(windowed(failure, slow));
        let ([replica], _) = replicas(windowed(failure, slow));
        for mut bench in [alone, replica] {
            bench.at(1.0).calls(2, Success).call(Slow).calls(3, Failure);
            let view = bench.breaker.view(bench.now);
            assert_eq!((view.calls, view.failures, view.slow), seen, "{failure:?} {slow:?}");
            bench.at(100.0);
            let view = bench.breaker.view(bench.now);
            assert_eq!((view.calls, view.failures, view.slow), later, "{failure:?} {slow:?}");
        }
    }
}

#[test]
fn a_view_loses_what_leaves_the_window_and_nothing_else() {
    let policy = windowed(Some(SECONDS), None);
    let alone = Bench::new(policy.clone());
    let ([replica], _) = replicas(policy);
    for mut bench in [alone, replica] {
        bench.at(0.5).call(Failure).at(9.5).call(Failure);
        for (secs, calls) in
            [(9.5, 2), (9.999_999_999, 2), (10.0, 1), (18.999_999_999, 1), (19.0, 0), (1e6, 0)]
        {
            bench.at(secs);
            assert_eq!(bench.breaker.view(bench.now).calls, calls, "{secs} s");
        }
    }
}

#[test]
fn an_idle_worker_writes_nothing_into_the_windows() {
    let ([mut bench], writes) = replicas(windowed(Some(SECONDS), Some(SECONDS)));
    for tick in 0..100 {
        bench.at(f64::from(tick));
        bench.breaker.poll(bench.now);
    }
    assert_eq!(writes.load(SeqCst), 0);
}

#[test]
fn a_shared_breaker_needs_a_word_and_ten_for_each_time_window() {
    for (failure, slow, words) in [
        (None, None, 1),
        (Some(CALLS), Some(CALLS), 1),
        (Some(SECONDS), None, 11),
        (Some(CALLS), Some(SECONDS), 11),
        (Some(SECONDS), Some(SECONDS), 21),
    ] {
        assert_eq!(Breaker::words_needed(&windowed(failure, slow)), words);
    }
}

// ---- sharing ----

#[test]
fn successes_on_a_level_are_not_written() {
    let ([mut bench], writes) = replicas(policy());
    bench.calls(3, Failure).at(10.0).call(Success);
    let before = writes.load(SeqCst);
    bench.calls(10, Success);
    assert_eq!(writes.load(SeqCst), before);
}

#[test]
fn the_end_of_an_answered_probe_that_says_nothing_is_not_written() {
    let ([mut bench], writes) = replicas(policy());
    bench.calls(3, Failure).at(10.0);
    let mut probe = bench.permit();
    bench.breaker.answered(bench.now, &mut probe);
    let before = writes.load(SeqCst);
    assert!(!bench.settles_late(probe, Neutral));
    assert_eq!(writes.load(SeqCst), before);
}

#[test]
fn a_half_open_breaker_without_probes_under_way_writes_nothing() {
    let ([mut bench], writes) = replicas(policy());
    bench.calls(3, Failure).at(10.0);
    let mut download = bench.permit();
    bench.breaker.answered(bench.now, &mut download);
    let before = writes.load(SeqCst);
    bench.at(60.0);
    bench.breaker.poll(bench.now);
    assert_eq!((bench.state(), writes.load(SeqCst)), (State::HalfOpen, before));
}

#[test]
fn a_probe_of_another_worker_is_given_up_neutrally_after_three_leases() {
    for (at, admits) in [(16.0, false), (20.1, false), (25.0, false), (25.000_000_001, true)] {
        let ([mut probing, mut other], _) = replicas(policy());
        probing.calls(3, Failure).at(10.0);
        let _probe = probing.permit();
        other.at(10.0);
        other.breaker.poll(other.now);
        other.at(at);
        other.breaker.poll(other.now);
        let why = format!("{at} s; the probe began at 10 s, its lease is 5 s");
        assert_eq!(other.state(), State::HalfOpen, "{why}");
        assert_eq!(other.breaker.admit(other.now).is_ok(), admits, "{why}");
    }
}

#[test]
fn a_client_that_does_not_complete_its_request_neither_holds_nor_re_opens_half_open() {
    let ([mut probing, mut other], _) = replicas(policy());
    probing.calls(3, Failure).at(10.0);
    let probe = probing.permit();
    probing.breaker.upstream_clock(probing.now, &probe, false);
    for bench in [&mut probing, &mut other] {
        bench.at(15.0);
        bench.breaker.poll(bench.now);
        assert!(bench.breaker.admit(bench.now).is_err(), "the lease is not over");
    }
    probing.at(15.1);
    probing.breaker.poll(probing.now);
    assert_eq!(probing.state(), State::HalfOpen);
    // The slot is free for another worker too, and what the client does now comes too late.
    other.at(15.1);
    let next = other.permit();
    assert!(probing.settles_late(probe, Failure));
    assert!(!other.settles_late(next, Success));
    assert_eq!(other.state(), State::Closed);
}

#[test]
fn a_probes_lease_is_measured_by_the_upstreams_clock() {
    let mut bench = Bench::new(policy());
    bench.calls(3, Failure).at(10.0);
    let probe = bench.permit();
    bench.breaker.upstream_clock(bench.now, &probe, false);
    bench.at(14.0);
    bench.breaker.upstream_clock(bench.now, &probe, true);
    bench.at(19.0);
    bench.breaker.poll(bench.now);
    assert_eq!(bench.state(), State::HalfOpen, "the upstream has had five seconds, no more");
    bench.at(19.1);
    bench.breaker.poll(bench.now);
    assert_eq!(bench.state(), State::Open);
}

/// What was counted at the end of time would be in a window for ever; the next poll finds that the clock came
/// back. So it does where the window is shared.
#[test]
fn a_window_of_a_clock_that_came_back_begins_anew() {
    let window = WindowSize::Time(Duration::from_secs(10));
    let failure_rate = Some(rate(1.0, window, 100));
    let trip = Trip { consecutive_failures: None, failure_rate, slow_rate: None };
    let policy = BreakerPolicy { trip, ..policy() };
    let ([shared], _) = replicas(policy.clone());
    for mut bench in [Bench::new(policy), shared] {
        bench.now = Instant::FAR_FUTURE;
        bench.calls(5, Failure);
        bench.at(100.0);
        bench.breaker.poll(bench.now);
        bench.call(Success).at(105.0).call(Success);
        assert_eq!(bench.breaker.view(bench.now).calls, 2);
        let later = bench.at(112.0).now;
        assert_eq!(bench.breaker.view(later).calls, 1);
    }
}
