//! Thousands of seeded histories: several workers on one board, calls that live through any order of
//! what a host can see of them, results that come late or never, workers that die, clocks that jump,
//! policies that change. After every step the rules must hold.
//!
//! `BIMETAL_SEEDS=100000 cargo test -p bimetal-core --test simulation` plays more of them,
//! `BIMETAL_SEED=17` one alone. A history that breaks a rule is made as short as it gets and
//! written as a scenario of the conformance room, whose runner plays it.

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

#[path = "simulation/mod.rs"]
mod simulation;

#[path = "support/board.rs"]
mod board;

use simulation::{Rule, Step, Told, history, play, shortest, tell};
use std::fs;
use std::path::Path;

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

/// A broken history as a person wants to read it; also as a file that the conformance runner plays.
fn told(seed: u64, steps: &[Step], broken: &str) -> String {
    let Told { text, left_out, steps: left } = tell(seed, steps, Rule::Real);
    let last = play(seed, &left).err().unwrap_or_default();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("simulation");
    let file = folder.join(format!("seed-{seed}.yaml"));
    let written = fs::create_dir_all(&folder).and_then(|()| fs::write(&file, &text));
    let place = match written {
        Ok(()) => format!(
            "cargo run -p bimetal-conformance -- {}  (left out: {left_out:?})",
            file.display()
        ),
        Err(error) => format!("{} cannot be written: {error}", file.display()),
    };
    format!("seed {seed}: {broken}\nshortest history ({last}): {left:?}\n{place}\n{text}")
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
