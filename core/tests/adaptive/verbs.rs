//! The verbs of the limit, one by one.

use bimetal_core::board::{AtomicWords, Words};
use bimetal_core::concurrency::adaptive::{Adaptive, AdaptivePolicy, Algorithm};
use bimetal_core::{Duration, Instant};
use std::sync::Arc;

const POLICY: AdaptivePolicy = AdaptivePolicy { min: 10, max: 100, algorithm: Algorithm::Gradient };

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Windows of a tenth of a second with a hundred answers each, the limit reached in all of them.
fn windows(limit: &mut Adaptive, from: u64, count: u64, latency: u64) -> u64 {
    for window in from..from + count {
        limit.limit(at(window * 100), &POLICY);
        for _ in 0..100 {
            limit.denied();
            limit.took(1, POLICY.max);
            limit.answered(ms(latency));
        }
    }
    from + count
}

#[test]
fn it_begins_at_its_least_and_rises_while_answers_are_fast() {
    let mut limit = Adaptive::new();
    assert_eq!((limit.limit(at(0), &POLICY), limit.floor()), (10, Duration::ZERO));
    let next = windows(&mut limit, 1, 2, 10);
    assert_eq!(limit.floor(), ms(10));
    // By three tenths and half of its root: 14.58, 20.86.
    assert_eq!(limit.current(&POLICY), 14);
    assert_eq!(limit.limit(at(next * 100), &POLICY), 20);
    windows(&mut limit, next, 20, 10);
    assert_eq!(limit.current(&POLICY), 100, "and never beyond its most");
}

#[test]
fn what_is_not_reached_does_not_rise() {
    let mut limit = Adaptive::new();
    for window in 1..50 {
        limit.limit(at(window * 100), &POLICY);
        (0..20).for_each(|_| limit.answered(ms(10)));
        limit.took(7, 10);
    }
    assert_eq!(limit.current(&POLICY), 10);
}

#[test]
fn it_falls_while_answers_are_slow_and_never_below_its_least() {
    let mut limit = Adaptive::new();
    let next = windows(&mut limit, 1, 10, 10);
    let high = limit.current(&POLICY);
    let next = windows(&mut limit, next, 3, 40);
    assert!(limit.current(&POLICY) < high, "{high}");
    // The floor is never measured anew: probes find answers that were given up.
    for window in next..next + 100 {
        limit.limit(at(window * 100), &POLICY);
        for _ in 0..20 {
            limit.denied();
            limit.took(1, POLICY.max);
            limit.lost(ms(5_000));
        }
    }
    assert_eq!(limit.current(&POLICY), 10);
}

/// Netflix/concurrency-limits#137: every call runs out of the same time, so latencies do not rise any
/// more; the limit rose to its most.
#[test]
fn calls_that_all_run_out_of_time_are_no_floor() {
    for healthy in [0, 10] {
        let mut limit = Adaptive::new();
        let next = windows(&mut limit, 1, healthy, 10);
        let floor = limit.floor();
        for window in next..next + 600 {
            limit.limit(at(window * 100), &POLICY);
            for _ in 0..20 {
                limit.denied();
                limit.took(1, POLICY.max);
                limit.lost(ms(5_000));
            }
        }
        assert_eq!((limit.current(&POLICY), limit.floor()), (10, floor));
    }
}

/// envoyproxy/envoy#38338: an upstream that stays slower is not measured against what it once was.
#[test]
fn an_upstream_that_stays_slower_is_measured_anew() {
    let mut limit = Adaptive::new();
    let next = windows(&mut limit, 1, 10, 10);
    windows(&mut limit, next, 60, 40);
    assert_eq!(limit.floor(), ms(40));
    assert!(limit.current(&POLICY) >= 50, "{}", limit.current(&POLICY));
}

/// envoyproxy/envoy#11579: a probe must not average those who came before it.
#[test]
fn a_probe_waits_until_those_are_gone_who_came_before() {
    let mut limit = Adaptive::new();
    let next = windows(&mut limit, 1, 40, 10);
    let next = windows(&mut limit, next, 1, 20);
    // The floor is old and latencies are not near it: half the limit, as long as nobody comes through.
    for window in next..next + 50 {
        assert_eq!(limit.limit(at(window * 100), &POLICY), 38);
        for _ in 0..100 {
            limit.denied();
            limit.answered(ms(90));
        }
    }
    assert_eq!(limit.floor(), ms(10));
    // Somebody does: those behind it are the measure.
    let begun = (next + 50) * 100;
    limit.took(1, 38);
    for step in 0..60 {
        limit.limit(at(begun + step * 10), &POLICY);
        (0..4).for_each(|_| limit.answered(ms(20)));
    }
    assert_eq!(limit.floor(), ms(20));
}

#[test]
fn a_changed_policy_holds_at_once() {
    let mut limit = Adaptive::new();
    let next = windows(&mut limit, 1, 20, 10);
    let lower = AdaptivePolicy { max: 30, ..POLICY };
    let higher = AdaptivePolicy { min: 200, max: 300, ..POLICY };
    assert_eq!(limit.limit(at(next * 100), &lower), 30);
    assert_eq!(limit.limit(at(next * 100), &higher), 200);
}

#[test]
fn a_clock_that_comes_back_does_not_stop_it() {
    let mut limit = Adaptive::new();
    windows(&mut limit, 10_000, 5, 10);
    windows(&mut limit, 1, 20, 10);
    assert_eq!(limit.current(&POLICY), 100);
}

#[test]
fn replicas_learn_together() {
    let words: Arc<dyn Words> = Arc::new(AtomicWords::new(Adaptive::WORDS));
    let mut both = [Adaptive::shared(words.clone()), Adaptive::shared(words)];
    for window in 1..60 {
        let mine = &mut both[window as usize % 2];
        windows(mine, window, 1, 10);
    }
    let limits = both.each_ref().map(|one| (one.current(&POLICY), one.floor()));
    assert_eq!(limits, [(100, ms(10)); 2]);
}

// WASI has no threads.
#[cfg(not(target_family = "wasm"))]
#[test]
fn threads_keep_it_within_its_bounds() {
    let words: Arc<dyn Words> = Arc::new(AtomicWords::new(Adaptive::WORDS));
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let mut mine = Adaptive::shared(words.clone());
            scope.spawn(move || {
                for step in 0..20_000_u64 {
                    let limit = mine.limit(Instant::from_nanos(step * 300_000), &POLICY);
                    assert!((10..=100).contains(&limit), "{limit}");
                    mine.took(limit, limit);
                    mine.answered(ms(1 + thread + step % 7));
                }
            });
        }
    });
    let floor = Adaptive::shared(words).floor();
    assert!(ms(1) <= floor && floor <= ms(11), "{floor}");
}

#[test]
fn nothing_is_allocated() {
    let mut limit = Adaptive::new();
    let count = allocation_counter::measure(|| {
        windows(&mut limit, 1, 100, 10);
        windows(&mut limit, 101, 100, 50);
    });
    assert_eq!(count.count_total, 0);
}
