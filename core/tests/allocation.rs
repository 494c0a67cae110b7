//! When a breaker allocates, and a call that every mechanism decides; and that neither does otherwise:
//! shown by counting.

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

use bimetal_core::breaker::Breaker;
use bimetal_core::outcome::{Outcome, Report};
use bimetal_core::policy::{
    BreakerPolicy, Growth, HalfOpen, Judge, Open, RateCondition, Share, Trip, WindowSize,
};
use bimetal_core::policy::{Document, Host};
use bimetal_core::{Admission, Duration, Engine, Facts, Instant, Verdict};
use std::borrow::Cow;
use std::sync::Arc;

fn policy() -> BreakerPolicy {
    let rate = |window| RateCondition { threshold: 0.5, window, minimum_calls: 10, z_squared: 2.7 };
    BreakerPolicy {
        trip: Trip {
            consecutive_failures: Some(3),
            failure_rate: Some(rate(WindowSize::Time(Duration::from_secs(10)))),
            slow_rate: Some(rate(WindowSize::Calls(100))),
        },
        open: Open {
            base: Duration::from_secs(1),
            multiplier: 2.0,
            growth: Growth::Exponential,
            max: Duration::from_secs(60),
            jitter: 0.1,
        },
        half_open: HalfOpen {
            max_probes: 3,
            required_successes: 2,
            judge: Judge::Each,
            lease: Duration::from_secs(10),
        },
        ramp: Duration::from_secs(5),
        respect_retry_after: true,
        share: Share::None,
    }
}

#[test]
fn a_breaker_allocates_when_it_is_built_and_when_it_first_trips() {
    let mut breaker = Breaker::new(Arc::new(policy()), 1);
    let healthy = allocation_counter::measure(|| {
        for step in 0..1_000 {
            let now = Instant::from_millis(step);
            let permit = breaker.admit(now).unwrap();
            breaker.settle(now, permit, Report::from(Outcome::Success));
        }
    });
    assert_eq!(healthy.count_total, 0);
    // What it needs from then on: its first trip, and as many probes as it ever has at once.
    let trip: Vec<_> = (0..3).map(|_| breaker.admit(Instant::ZERO).unwrap()).collect();
    for permit in trip {
        breaker.settle(Instant::ZERO, permit, Report::from(Outcome::Failure));
    }
    assert_eq!(breaker.state() as usize, 2, "open");
    let later = Instant::from_millis(60_000);
    let probes: Vec<_> = (0..3).map(|_| breaker.admit(later).unwrap()).collect();
    for probe in probes {
        breaker.settle(later, probe, Report::from(Outcome::Success));
    }
    while breaker.take_transition().is_some() {}
    let mut seen = [false; 3];
    let outcomes = [Outcome::Failure, Outcome::Success, Outcome::Slow, Outcome::Neutral];
    let count = allocation_counter::measure(|| {
        for step in 0..100_000_u64 {
            let now = Instant::from_millis(60_000 + step * 37);
            if let Ok(mut permit) = breaker.admit(now) {
                breaker.answered(now, &mut permit);
                let outcome = outcomes[(step / 50 % 4) as usize];
                breaker.settle(now, permit, Report::from(outcome));
            }
            while breaker.take_transition().is_some() {}
            seen[breaker.state() as usize] = true;
        }
    });
    assert_eq!(seen, [true; 3], "the run must visit every state to prove anything");
    assert_eq!(count.count_total, 0);
}

/// A tenant whose caller has a second left.
struct Request;

impl Facts for Request {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let value: &[u8] = if name == "x-request-deadline-ms" { b"1000" } else { b"one" };
        Some(Cow::Borrowed(value))
    }
}

const EVERYTHING: &str = r#"{"policies": [{"name": "a",
    "deadline": {"accept": ["x-request-deadline-ms"]},
    "rate_limits": [{"rate": "100/s", "capacity": 10, "key": ["header:x-tenant"]}],
    "breaker": {"trip": {"consecutive_failures": 3, "failure_rate":
        {"threshold": 0.5, "window": {"time": "10s"}, "minimum_calls": 20}}},
    "concurrency": {"max": 2},
    "retry": {"tries": 3, "on": ["503"], "budget": {"share": 0.2}}}]}"#;

#[test]
fn a_call_that_every_mechanism_decides_allocates_nothing() {
    let document = Document::parse(EVERYTHING.as_bytes(), Host::Native).unwrap();
    let mut engine = Engine::with_board(1, Arc::new(board::TestBoard::default()));
    let policies = engine.load(&document);
    let mut seen = [0_u32; 2];
    let mut play = |from: u64, outcome: Outcome| {
        for millis in from..from + 1_000 {
            let now = Instant::from_millis(millis);
            match engine.admit(now, &policies, &Request) {
                Verdict::Admit(Admission { ticket, .. }) => {
                    seen[0] += 1;
                    engine.settle(now, ticket, Report::from(outcome));
                }
                Verdict::Reject(_) => seen[1] += 1,
                other => panic!("{other:?}"),
            }
            while engine.take_event().is_some() {}
        }
    };
    // The first calls make the scope and the key; a change of state allocates its event.
    play(0, Outcome::Success);
    play(1_000, Outcome::Failure);
    play(50_000, Outcome::Success);
    let later = allocation_counter::measure(|| {
        play(100_000, Outcome::Success);
        play(200_000, Outcome::Success);
    });
    assert!(seen[0] > 200 && seen[1] > 200, "the run must be admitted and turned away: {seen:?}");
    assert_eq!(later.count_total, 0);
}
