//! Half-open breakers that no single probe decides: trials, and those that nobody judges.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate bimetal_browser_test;

#[path = "support/board.rs"]
mod board;
mod support;

use bimetal_core::breaker::{Breaker, Denied, Permit};
use bimetal_core::event::State;
use bimetal_core::outcome::Outcome::{self, Failure, Neutral, Slow, Success};
use bimetal_core::outcome::Report;
use bimetal_core::policy::{BreakerPolicy, HalfOpen, Judge, Trip, WindowSize};
use bimetal_core::{Duration, Instant};
use std::sync::Arc;
use support::{Bench, policy, rate};

/// Ten calls trip at half of them, failed or slow; 10 s open; a trial of ten probes.
fn trial() -> BreakerPolicy {
    let ten = || Some(rate(0.5, WindowSize::Calls(10), 10));
    BreakerPolicy {
        trip: Trip { consecutive_failures: None, failure_rate: ten(), slow_rate: ten() },
        half_open: HalfOpen { max_probes: 10, judge: Judge::Rate, ..policy().half_open },
        ..policy()
    }
}

/// Open since 0 s, its open time just over.
fn open(policy: BreakerPolicy) -> Bench {
    let mut bench = Bench::new(policy);
    bench.calls(5, Success).calls(5, Failure).at(10.0);
    assert_eq!(bench.state(), State::Open);
    bench.changes();
    bench
}

fn probes(bench: &mut Bench, count: usize) -> Vec<Permit> {
    (0..count).map(|_| bench.permit()).collect()
}

fn settle(bench: &mut Bench, probes: Vec<Permit>, outcomes: &[Outcome]) {
    assert_eq!(probes.len(), outcomes.len());
    for (permit, outcome) in probes.into_iter().zip(outcomes) {
        assert!(!bench.settles_late(permit, *outcome));
    }
}

#[test]
fn a_trial_decides_once_its_last_probe_ended() {
    for (bad, count, told) in [
        (Failure, 4, "half_open>closed probes_succeeded@10"),
        (Failure, 5, "half_open>open failure_rate@10"),
        (Slow, 4, "half_open>closed probes_succeeded@10"),
        (Slow, 5, "half_open>open slow_rate@10"),
    ] {
        let mut bench = open(trial());
        let all = probes(&mut bench, 10);
        let mut outcomes = [Success; 10];
        outcomes[..count].fill(bad);
        for (index, permit) in all.into_iter().enumerate() {
            assert_eq!(bench.state(), State::HalfOpen, "after {index}");
            assert!(!bench.settles_late(permit, outcomes[index]));
        }
        assert_eq!(bench.changes(), ["open>half_open open_elapsed@10", told]);
    }
}

#[test]
fn a_trial_says_what_it_counted() {
    let mut bench = open(trial());
    bench.changes();
    let all = probes(&mut bench, 10);
    settle(&mut bench, all, &[Failure; 10]);
    let told = bench.admit().unwrap_err().to_string();
    assert_eq!(told, "open for another 10s after 10 failures in 10 calls");
}

#[test]
fn a_trial_admits_its_probes_and_no_more() {
    let mut bench = open(trial());
    let mut all = probes(&mut bench, 10);
    assert_eq!(bench.admit().unwrap_err(), Denied::Probing { outstanding: 10 });
    // A probe that ended makes no room: it was one of the ten.
    let first = all.remove(0);
    assert!(!bench.settles_late(first, Success));
    assert_eq!(bench.admit().unwrap_err(), Denied::Probing { outstanding: 9 });
    // One that says nothing does.
    let second = all.remove(0);
    assert!(!bench.settles_late(second, Neutral));
    all.push(bench.permit());
    assert!(bench.admit().is_err());
    settle(&mut bench, all, &[Success; 9]);
    assert_eq!(bench.state(), State::Closed);
}

#[test]
fn fewer_are_enough_where_the_rate_asks_for_fewer() {
    let mut policy = trial();
    for rate in [&mut policy.trip.failure_rate, &mut policy.trip.slow_rate] {
        rate.as_mut().unwrap().minimum_calls = 4;
    }
    let mut bench = open(policy);
    let mut all = probes(&mut bench, 10);
    let rest = all.split_off(4);
    settle(&mut bench, all, &[Failure, Success, Success, Success]);
    assert_eq!(bench.state(), State::Closed);
    for permit in rest {
        assert!(bench.settles_late(permit, Failure), "the trial is over");
    }
    assert_eq!(bench.state(), State::Closed);
}

#[test]
fn a_lease_that_runs_out_is_a_failure_and_a_slow_client_none() {
    let mut bench = open(trial());
    let lost = probes(&mut bench, 5);
    let slow_client = bench.permit();
    bench.breaker.upstream_clock(bench.now, &slow_client, false);
    let rest = probes(&mut bench, 4);
    settle(&mut bench, rest, &[Success; 4]);
    bench.at(15.1);
    bench.breaker.poll(bench.now);
    assert_eq!(bench.state(), State::HalfOpen, "nine ended");
    let last = bench.permit();
    assert!(bench.admit().is_err(), "one place became free");
    bench.changes();
    assert!(!bench.settles_late(last, Success));
    assert_eq!(bench.changes(), ["half_open>open failure_rate@15.1"]);
    for permit in lost.into_iter().chain([slow_client]) {
        assert!(bench.settles_late(permit, Success));
    }
}

#[test]
fn the_last_lease_that_runs_out_opens_when_it_was_due() {
    let mut bench = open(trial());
    let _lost = probes(&mut bench, 10);
    bench.changes();
    bench.at(18.0);
    bench.breaker.poll(bench.now);
    assert_eq!(bench.changes(), ["half_open>open failure_rate@15"]);
}

#[test]
fn an_answer_without_end_keeps_its_place_for_three_leases() {
    let mut bench = open(trial());
    let mut all = probes(&mut bench, 10);
    all.iter_mut().for_each(|permit| bench.breaker.answered(bench.now, permit));
    let rest = all.split_off(9);
    settle(&mut bench, all, &[Success; 9]);
    assert!(bench.at(25.0).admit().is_err());
    let probe = bench.at(25.1).permit();
    assert!(!bench.settles_late(probe, Success));
    assert_eq!(bench.state(), State::Closed);
    for permit in rest {
        assert!(bench.settles_late(permit, Failure));
    }
}

#[test]
fn workers_share_a_trial_and_free_what_a_dead_one_held() {
    let policy = Arc::new(trial());
    let (words, _) = board::words(Breaker::words_needed(&policy));
    let [mut one, mut other] =
        [1, 2].map(|seed| Breaker::shared(policy.clone(), seed, words.clone()));
    let settle = |breaker: &mut Breaker, now, permit, outcome| {
        assert!(!breaker.settle(now, permit, Report::from(outcome)));
    };
    for index in 0..10 {
        let permit = one.admit(Instant::ZERO).unwrap();
        let outcome = if index < 5 { Failure } else { Success };
        settle(&mut one, Instant::ZERO, permit, outcome);
    }
    let now = Instant::from_millis(10_000);
    let _dead: Vec<_> = (0..4).map(|_| one.admit(now).unwrap()).collect();
    let own: Vec<_> = (0..6).map(|_| other.admit(now).unwrap()).collect();
    assert!(one.admit(now).is_err() && other.admit(now).is_err());
    for permit in own {
        settle(&mut other, now, permit, Success);
    }
    assert!(other.admit(now + Duration::from_secs(15)).is_err());
    let later = now + Duration::from_secs(16);
    for _ in 0..4 {
        assert_eq!(other.state(), State::HalfOpen);
        let permit = other.admit(later).unwrap();
        settle(&mut other, later, permit, Failure);
    }
    assert_eq!(other.state(), State::Closed, "4 of 10 failed");
}

/// As Envoy's outlier detection lets a host return.
#[test]
fn where_nobody_judges_the_first_call_after_the_open_time_closes() {
    let mut open = policy();
    open.half_open.judge = Judge::Nobody;
    let mut bench = Bench::new(open);
    bench.calls(3, Failure).at(10.0);
    bench.changes();
    let calls = probes(&mut bench, 20);
    assert_eq!(bench.changes(), ["open>closed open_elapsed@10"]);
    assert!(calls.iter().all(|permit| !permit.is_probe()));
    settle(&mut bench, calls, &[Success; 20]);
    // It takes as many failures as before to open.
    bench.calls(2, Failure);
    assert_eq!(bench.state(), State::Closed);
    bench.call(Failure);
    assert_eq!(bench.state(), State::Open);
}
