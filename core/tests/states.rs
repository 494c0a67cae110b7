//! The picture of a breaker's states in the documents has every change that a breaker makes, each with
//! its causes, and no other.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate bimetal_browser_test;

mod support;

use bimetal_core::Duration;
use bimetal_core::outcome::Outcome::{Failure, Neutral, Slow, Success};
use bimetal_core::policy::{BreakerPolicy, HalfOpen, Judge, Trip, WindowSize};
use std::collections::BTreeSet;
use support::{Bench, policy, rate};

const PAGE: &str = include_str!("../../docs/architecture.md");

/// Steps of a history; each is a call, a wait, or the end of a call.
const STEPS: usize = 4_000;

/// From, to, cause.
type Change = (String, String, String);

/// Numbers from a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    /// One below `sides`.
    fn below(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) >> 33).unwrap() % sides
    }
}

/// The arrows of the picture.
fn drawn() -> BTreeSet<Change> {
    let picture = PAGE.split("stateDiagram-v2\n").nth(1).unwrap().split("```").next().unwrap();
    let arrows = picture.lines().filter_map(|line| {
        let (states, causes) = line.split_once(": ")?;
        let (from, to) = states.trim().split_once(" --> ")?;
        Some(
            causes.split(", ").map(move |cause| (from.to_owned(), to.to_owned(), cause.to_owned())),
        )
    });
    arrows.flatten().collect()
}

/// What a breaker of this policy does in a long history.
fn done(policy: BreakerPolicy, seed: u64, seen: &mut BTreeSet<Change>) {
    let mut bench = Bench::new(policy);
    let mut dice = Dice(seed);
    let (mut now, mut permits) = (0.0, Vec::new());
    // Long stretches of one kind of outcome: else rates stay in the middle.
    let mut usual = Success;
    for _ in 0..STEPS {
        if dice.below(16) == 0 {
            usual = [Success, Success, Failure, Slow][dice.below(4)];
        }
        match dice.below(8) {
            0..3 => permits.extend(bench.admit()),
            3..6 if !permits.is_empty() => {
                let permit = permits.swap_remove(dice.below(permits.len()));
                let outcome = if dice.below(32) == 0 { Neutral } else { usual };
                bench.settles_late(permit, outcome);
            }
            // One that never ends.
            6 if dice.below(8) == 0 => drop(permits.pop()),
            _ => now += [0.1, 1.0, 4.0, 11.0][dice.below(4)],
        }
        bench.at(now);
        bench.breaker.poll(bench.now);
        for change in bench.changes() {
            let (states, cause) = change.split_once(' ').unwrap();
            let (from, to) = states.split_once('>').unwrap();
            let cause = cause.split('@').next().unwrap();
            seen.insert((from.to_owned(), to.to_owned(), cause.to_owned()));
        }
    }
}

#[test]
fn the_picture_of_states_has_what_a_breaker_does() {
    let rates = || {
        let six = || Some(rate(0.5, WindowSize::Calls(6), 6));
        Trip { consecutive_failures: None, failure_rate: six(), slow_rate: six() }
    };
    let half_open = |judge, max_probes| HalfOpen { judge, max_probes, ..policy().half_open };
    let mut seen = BTreeSet::new();
    for seed in 0..16 {
        for half_open in
            [half_open(Judge::Each, 1), half_open(Judge::Rate, 6), half_open(Judge::Nobody, 1)]
        {
            for trip in [policy().trip, rates()] {
                let ramp = Duration::from_secs(seed % 2 * 5);
                done(BreakerPolicy { trip, half_open, ramp, ..policy() }, seed, &mut seen);
            }
        }
    }
    assert_eq!(drawn(), seen);
}
