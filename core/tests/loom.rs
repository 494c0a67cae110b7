//! Replicas on real atomics, every interleaving of their threads:
//! `RUSTFLAGS="--cfg loom" cargo test -p bimetal-core --test loom --release`.

#![cfg(loom)]
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

use bimetal_core::board::{AtomicWords, Words};
use bimetal_core::breaker::Breaker;
use bimetal_core::event::State;
use bimetal_core::outcome::{Outcome, Report};
use bimetal_core::{Duration, Instant};
use std::sync::Arc;
use support::policy;

fn replicas(threshold: u32, count: usize) -> Vec<Breaker> {
    let mut policy = policy();
    policy.trip.consecutive_failures = Some(threshold);
    let policy = Arc::new(policy);
    let words: Arc<dyn Words> = Arc::new(AtomicWords::new(Breaker::words_needed(&policy)));
    let replica = |seed| Breaker::shared(policy.clone(), seed as u64, words.clone());
    (0..count).map(replica).collect()
}

fn fail(breaker: &mut Breaker, now: Instant) {
    if let Ok(permit) = breaker.admit(now) {
        breaker.settle(now, permit, Report::from(Outcome::Failure));
    }
}

/// How many trips this replica made itself.
fn own_trips(breaker: &mut Breaker) -> usize {
    let changes = std::iter::from_fn(|| breaker.take_transition());
    changes.filter(|change| !change.adopted && change.to == State::Open).count()
}

#[test]
fn failures_of_two_threads_add_up_and_trip_once() {
    loom::model(|| {
        let mut replicas = replicas(2, 2);
        let mut other = replicas.pop().unwrap();
        let mut ours = replicas.pop().unwrap();
        let thread = loom::thread::spawn(move || {
            fail(&mut other, Instant::ZERO);
            other
        });
        fail(&mut ours, Instant::ZERO);
        let mut other = thread.join().unwrap();
        assert!(ours.admit(Instant::ZERO).is_err() && other.admit(Instant::ZERO).is_err());
        assert_eq!(own_trips(&mut ours) + own_trips(&mut other), 1);
    });
}

#[test]
fn one_probe_over_two_threads() {
    loom::model(|| {
        let mut replicas = replicas(1, 2);
        let mut other = replicas.pop().unwrap();
        let mut ours = replicas.pop().unwrap();
        fail(&mut ours, Instant::ZERO);
        let later = Instant::ZERO + Duration::from_secs(10);
        let thread = loom::thread::spawn(move || other.admit(later).is_ok());
        let admitted = [ours.admit(later).is_ok(), thread.join().unwrap()];
        assert_eq!(admitted.iter().filter(|admitted| **admitted).count(), 1);
    });
}

#[test]
fn a_success_and_two_failures_never_lose_the_order() {
    loom::model(|| {
        let mut replicas = replicas(2, 2);
        let mut other = replicas.pop().unwrap();
        let mut ours = replicas.pop().unwrap();
        fail(&mut ours, Instant::ZERO);
        let thread = loom::thread::spawn(move || {
            if let Ok(permit) = other.admit(Instant::ZERO) {
                other.settle(Instant::ZERO, permit, Report::from(Outcome::Success));
            }
            fail(&mut other, Instant::ZERO);
        });
        thread.join().unwrap();
        // One failure before the success and one after it: no streak of two.
        assert!(ours.admit(Instant::ZERO).is_ok());
    });
}
