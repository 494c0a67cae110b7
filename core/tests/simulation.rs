//! Thousands of seeded histories: several workers on one board, calls whose results come late or
//! never, clocks that jump, policies that change. After every step the rules must hold.
//!
//! `BIMETAL_SEEDS=100000 cargo test -p bimetal-core --test simulation` plays more of them,
//! `BIMETAL_SEED=17` one alone. A history that breaks a rule is made as short as it gets and
//! printed as the steps of a scenario.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may end by a panic"
)]

#[path = "simulation/mod.rs"]
mod simulation;

#[path = "support/board.rs"]
mod board;

use simulation::{Rule, Step, history, play};

/// Histories in the ordinary run.
const SEEDS: u64 = 10_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn the_rules_hold_in_every_history() {
    let seeds = match number("BIMETAL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("BIMETAL_SEEDS").unwrap_or(SEEDS),
    };
    let mut seen = simulation::Coverage::default();
    for seed in seeds.clone() {
        let steps = history(seed);
        match play(seed, &steps) {
            Ok(coverage) => seen.add(&coverage),
            Err(broken) => panic!("{}", told(seed, &steps, &broken)),
        }
    }
    println!("{} histories: {seen:?}", seeds.count());
    // A simulation that never gets anywhere proves nothing.
    if number("BIMETAL_SEED").is_none() {
        seen.is_complete();
    }
}

/// A broken history as a person wants to read it.
fn told(seed: u64, steps: &[Step], broken: &str) -> String {
    let left = shortest(steps, |steps| play(seed, steps).is_err());
    let last = play(seed, &left).expect_err("it broke a moment ago");
    let story = simulation::scenario(&left);
    format!("seed {seed}: {broken}\nshortest history ({last}):\n{story}")
}

/// Takes away steps while the rule stays broken (delta debugging, Zeller 1999, with chunks that
/// halve).
fn shortest(steps: &[Step], breaks: impl Fn(&[Step]) -> bool) -> Vec<Step> {
    let mut left = steps.to_vec();
    let mut size = left.len() / 2;
    while size > 0 {
        let mut start = 0;
        while start < left.len() {
            let end = (start + size).min(left.len());
            let shorter = [&left[..start], &left[end..]].concat();
            if breaks(&shorter) {
                left = shorter;
            } else {
                start = end;
            }
        }
        size /= 2;
    }
    left
}

/// The simulation must be able to find a broken rule: one that is wrong on purpose, that no breaker
/// opens, is found at once, and the history that is told needs no more than the calls of one trip.
#[test]
fn a_broken_rule_is_found_and_told_briefly() {
    let breaks =
        |seed, steps: &[Step]| simulation::play_with(seed, steps, Rule::NeverOpens).is_err();
    let found = (0..1_000).find(|seed| breaks(*seed, &history(*seed)));
    let seed = found.expect("some history trips");
    let left = shortest(&history(seed), |steps| breaks(seed, steps));
    assert!(breaks(seed, &left) && left.len() <= 10, "{left:?}");
}
