//! Several workers, one breaker: what they must agree on, in virtual time.

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

use bimetal_core::breaker::{Breaker, Permit};
use bimetal_core::event::State;
use bimetal_core::outcome::Outcome::{self, Failure, Neutral, Success};
use bimetal_core::outcome::Report;
use bimetal_core::policy::{BreakerPolicy, Trip, WindowSize};
use bimetal_core::rng::Rng;
use bimetal_core::{Duration, Instant};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use support::{policy, rate};

struct Workers {
    breakers: Vec<Breaker>,
    writes: Arc<AtomicU64>,
    now: Instant,
}

impl Workers {
    fn new(count: usize, policy: BreakerPolicy) -> Self {
        let policy = Arc::new(policy);
        let (words, writes) = board::words(Breaker::words_needed(&policy));
        let replica = |seed| Breaker::shared(policy.clone(), seed as u64, words.clone());
        Self { breakers: (0..count).map(replica).collect(), writes, now: Instant::ZERO }
    }

    fn at(&mut self, secs: u64) -> &mut Self {
        self.now = Instant::from_millis(secs * 1_000);
        self
    }

    fn permit(&mut self, worker: usize) -> Permit {
        self.breakers[worker].admit(self.now).expect("should admit")
    }

    fn rejects(&mut self, worker: usize) -> bool {
        self.breakers[worker].admit(self.now).is_err()
    }

    fn settles_late(&mut self, worker: usize, permit: Permit, outcome: Outcome) -> bool {
        self.breakers[worker].settle(self.now, permit, Report::from(outcome))
    }

    fn call(&mut self, worker: usize, outcome: Outcome) -> &mut Self {
        let permit = self.permit(worker);
        assert!(!self.settles_late(worker, permit, outcome));
        self
    }

    fn states(&self) -> Vec<State> {
        self.breakers.iter().map(Breaker::state).collect()
    }
}

#[test]
fn three_failures_on_three_workers_trip() {
    let mut workers = Workers::new(4, policy());
    workers.call(0, Failure).call(1, Failure).call(2, Failure);
    assert_eq!(workers.breakers[2].state(), State::Open);
    assert!((0..4).all(|worker| workers.rejects(worker)));
}

#[test]
fn a_success_of_any_worker_clears_the_streak() {
    let mut workers = Workers::new(4, policy());
    workers.call(0, Failure).call(1, Failure).call(3, Success).call(2, Failure).call(0, Failure);
    assert!(!workers.rejects(1));
    workers.call(1, Failure);
    assert!(workers.rejects(3));
}

/// A million calls with 5 % random failures over four workers, each settled some calls later, trip
/// exactly as often as one breaker that sees them all in the order in which they settle: no trip is
/// invented, none is lost. About 10^6 · 0.05³ · 0.95 = 119 are expected; the seed is fixed, so the
/// bounds cannot fail by chance (for a random seed, 170 would be five standard deviations away).
#[test]
fn no_trip_is_invented_and_none_is_lost() {
    let mut rng = Rng::new(42);
    let mut workers = Workers::new(4, policy());
    let mut merged = Breaker::new(Arc::new(policy()), 0);
    let (mut shared_trips, mut merged_trips) = (0, 0);
    let mut under_way: Vec<(usize, Permit, Permit)> = Vec::new();
    let mut now = 0;
    for _ in 0..1_000_000 {
        now += rng.next_u64() % 2_000_000;
        workers.now = Instant::from_nanos(now);
        let worker = (rng.next_u64() % 4) as usize;
        let ours = merged.admit(workers.now).expect("reset after each trip");
        under_way.push((worker, workers.permit(worker), ours));
        if under_way.len() < 8 {
            continue;
        }
        let (worker, permit, ours) = under_way.swap_remove((rng.next_u64() % 8) as usize);
        let outcome = if rng.next_share() < 0.05 { Failure } else { Success };
        workers.settles_late(worker, permit, outcome);
        merged.settle(workers.now, ours, Report::from(outcome));
        let open = workers.breakers[worker].state() == State::Open;
        shared_trips += u32::from(open);
        merged_trips += u32::from(merged.state() == State::Open);
        if open {
            // Reset: the open time passes and a probe succeeds. Calls under way are late.
            now += 10_000_000_000;
            workers.now = Instant::from_nanos(now);
            workers.call(worker, Success);
            let probe = merged.admit(workers.now).unwrap();
            merged.settle(workers.now, probe, Report::from(Success));
        }
    }
    assert_eq!(shared_trips, merged_trips);
    assert!((70..=170).contains(&shared_trips), "{shared_trips}");
}

#[test]
fn healthy_traffic_writes_nothing() {
    let mut workers = Workers::new(4, policy());
    for call in 0..10_000 {
        workers.now += Duration::from_millis(1);
        workers.call(call % 4, if call % 97 == 0 { Neutral } else { Success });
    }
    assert_eq!(workers.writes.load(SeqCst), 0);
}

#[test]
fn a_window_writes_once_per_exchange_and_not_once_per_call() {
    let mut workers = Workers::new(1, windowed(WindowSize::Time(Duration::from_secs(10)), 20));
    for _ in 0..10_000 {
        workers.now += Duration::from_millis(1);
        workers.call(0, Success);
    }
    let writes = workers.writes.load(SeqCst);
    assert!((90..=110).contains(&writes), "{writes} writes in 10 s of 1,000 calls/s");
}

fn windowed(window: WindowSize, minimum: u32) -> BreakerPolicy {
    let failure_rate = Some(rate(0.5, window, minimum));
    let trip = Trip { consecutive_failures: None, failure_rate, slow_rate: None };
    BreakerPolicy { trip, ..policy() }
}

/// After an exchange every worker's window is the merged one: it equals that of one breaker that
/// saw all calls.
#[test]
fn time_windows_merge_within_one_exchange() {
    let policy = windowed(WindowSize::Time(Duration::from_secs(10)), 1_000_000);
    let mut workers = Workers::new(4, policy.clone());
    let mut merged = Breaker::new(Arc::new(policy), 0);
    let mut rng = Rng::new(9);
    for step in 0..20_000_u64 {
        workers.now += Duration::from_nanos(rng.next_u64() % 8_000_000);
        let outcome = if rng.next_share() < 0.3 { Failure } else { Success };
        workers.call((rng.next_u64() % 4) as usize, outcome);
        let permit = merged.admit(workers.now).unwrap();
        merged.settle(workers.now, permit, Report::from(outcome));
        if step % 100 == 0 {
            let now = workers.now;
            // Twice: first all publish, then all have read what all published.
            for _ in 0..2 {
                workers.breakers.iter_mut().for_each(|breaker| breaker.poll(now));
            }
            let expected = merged.view(now);
            for breaker in &workers.breakers {
                let seen = breaker.view(now);
                assert_eq!((seen.calls, seen.failures), (expected.calls, expected.failures));
            }
        }
    }
}

#[test]
fn a_rate_over_all_workers_trips_for_all() {
    let mut workers = Workers::new(4, windowed(WindowSize::Time(Duration::from_secs(10)), 20));
    for round in 0..10 {
        workers.now += Duration::from_millis(101);
        for worker in 0..4 {
            if workers.breakers[worker].admit(workers.now).is_ok() {
                let permit = workers.permit(worker);
                workers.settles_late(
                    worker,
                    permit,
                    if round % 2 == 0 { Failure } else { Success },
                );
            }
        }
    }
    assert!((0..4).all(|worker| workers.rejects(worker)), "no worker alone saw 20 calls");
}

#[test]
fn call_windows_stay_with_their_worker() {
    let mut workers = Workers::new(2, windowed(WindowSize::Calls(10), 4));
    workers.call(0, Failure).call(0, Failure).call(1, Failure).call(1, Failure);
    assert!(!workers.rejects(0) && !workers.rejects(1));
}

#[test]
fn no_admission_begins_after_open_was_written() {
    let mut rng = Rng::new(5);
    let mut workers = Workers::new(4, policy());
    for round in 0..1_000 {
        workers.at(round * 100);
        let tripping = (rng.next_u64() % 4) as usize;
        for _ in 0..3 {
            workers.call(tripping, Failure);
        }
        assert!((0..4).all(|worker| workers.rejects(worker)));
        workers.at(round * 100 + 10).call((rng.next_u64() % 4) as usize, Success);
        assert!((0..4).all(|worker| !workers.rejects(worker)));
    }
}

#[test]
fn an_idle_worker_learns_on_its_tick() {
    let mut workers = Workers::new(2, policy());
    workers.call(0, Failure).call(0, Failure).call(0, Failure);
    assert_eq!(workers.states(), [State::Open, State::Closed]);
    let now = workers.now;
    workers.breakers[1].poll(now);
    assert_eq!(workers.states(), [State::Open, State::Open]);
    let own = workers.breakers[0].take_transition().unwrap();
    let adopted = workers.breakers[1].take_transition().unwrap();
    assert!(!own.adopted && adopted.adopted);
    assert_eq!((own.generation, own.cause), (adopted.generation, adopted.cause));
}

#[test]
fn the_probe_quota_holds_over_all_workers() {
    let mut wide = policy();
    (wide.half_open.max_probes, wide.half_open.required_successes) = (3, 3);
    let mut workers = Workers::new(4, wide);
    (0..3).for_each(|worker| {
        workers.call(worker, Failure);
    });
    workers.at(10);
    let mut probes: Vec<(usize, Permit)> = Vec::new();
    for _ in 0..10 {
        for worker in 0..4 {
            let admitted = workers.breakers[worker].admit(workers.now);
            probes.extend(admitted.ok().map(|permit| (worker, permit)));
        }
    }
    assert_eq!(probes.len(), 3);
    for (worker, permit) in probes {
        assert!(!workers.settles_late(worker, permit, Success));
    }
    assert!((0..4).all(|worker| !workers.rejects(worker)), "successes of all workers close");
}

#[test]
fn a_probe_that_fails_on_one_worker_reopens_for_all() {
    let mut wide = policy();
    wide.half_open.max_probes = 2;
    let mut workers = Workers::new(2, wide);
    (0..3).for_each(|_| {
        workers.call(0, Failure);
    });
    workers.at(10);
    let (one, two) = (workers.permit(0), workers.permit(1));
    workers.settles_late(0, one, Failure);
    assert!(workers.settles_late(1, two, Success));
    assert!(workers.rejects(1));
}

#[test]
fn a_worker_that_died_with_a_probe_does_not_hold_up_the_others() {
    let mut workers = Workers::new(2, policy());
    (0..3).for_each(|_| {
        workers.call(0, Failure);
    });
    let lost = {
        workers.at(10);
        workers.permit(0)
    };
    workers.breakers.remove(0);
    drop(lost);
    workers.at(20);
    assert!(workers.rejects(0), "its lease may still run");
    workers.at(41);
    let now = workers.now;
    workers.breakers[0].poll(now);
    assert_eq!(workers.states(), [State::HalfOpen], "nobody knows who kept it");
    workers.call(0, Success);
    assert_eq!(workers.states(), [State::Closed]);
}

/// A slot that is given back and taken again is one that moves, though the same counts stand there
/// afterwards: a worker that only ticks must not take it for one that a dead worker kept.
#[test]
fn a_slot_that_changes_hands_is_not_lost() {
    let mut workers = Workers::new(2, policy());
    (0..3).for_each(|_| {
        workers.call(0, Failure);
    });
    let mut probe = workers.at(10).permit(0);
    for secs in (12..=32).step_by(2) {
        let now = workers.at(secs).now;
        workers.breakers[1].poll(now);
        if secs % 4 == 0 {
            assert!(!workers.settles_late(0, probe, Neutral));
            probe = workers.permit(0);
        }
    }
    assert!(workers.rejects(1), "the only slot is taken");
    assert!(!workers.settles_late(0, probe, Success));
    assert_eq!(workers.states()[0], State::Closed);
}

#[test]
fn levels_rise_over_all_workers() {
    let mut growing = policy();
    growing.open.multiplier = 2.0;
    let mut workers = Workers::new(2, growing);
    (0..3).for_each(|_| {
        workers.call(0, Failure);
    });
    workers.at(10).call(1, Failure);
    let rejection = workers.breakers[0].admit(workers.now).unwrap_err();
    assert_eq!(rejection.left(), Some(Duration::from_secs(20)));
}

/// A clock that was set shows other workers an end far ahead.
#[test]
fn what_is_adopted_is_open_no_longer_than_the_policy_can_open() {
    let mut shared = policy();
    shared.trip = Trip { consecutive_failures: Some(1), ..Trip::default() };
    (shared.open.base, shared.open.max) = (Duration::from_secs(5), Duration::from_secs(5));
    let mut workers = Workers::new(2, shared);
    let permit = workers.at(1_000_000).permit(0);
    assert!(!workers.settles_late(0, permit, Failure));
    assert!(workers.at(10).rejects(1));
    assert!(workers.at(14).rejects(1));
    // Open for five seconds since it was seen, not until the other's clock says so.
    let probe = workers.at(15).permit(1);
    assert!(!workers.settles_late(1, probe, Success));
    assert_eq!(workers.breakers[1].state(), State::Closed);
}
