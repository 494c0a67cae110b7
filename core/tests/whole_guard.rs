//! Seeded histories of every mechanism of one policy together: connections, rate limits, breaker, slots
//! with a queue, retries with a budget, deadlines; on several workers. After every step the rules of `rules.rs` hold.
//!
//! `BIMETAL_SEEDS=20000 cargo test -p bimetal-core --test whole_guard` plays more histories,
//! `BIMETAL_SEED=17` one alone.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate bimetal_browser_test;

#[path = "support/board.rs"]
mod board;
#[path = "whole_guard/document.rs"]
mod document;
#[path = "whole_guard/model.rs"]
mod model;
#[path = "whole_guard/rules.rs"]
mod rules;
#[path = "whole_guard/seen.rs"]
mod seen;
#[path = "whole_guard/tries.rs"]
mod tries;
#[path = "whole_guard/world.rs"]
mod world;

use bimetal_core::rng::Rng;
use seen::Seen;
use world::World;

/// Histories in the ordinary run.
const HISTORIES: u64 = 600;
const STEPS: u64 = 400;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn the_rules_hold_in_every_history() {
    let seeds = match number("BIMETAL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("BIMETAL_SEEDS").unwrap_or(HISTORIES),
    };
    let mut all = Seen::default();
    for seed in seeds.clone() {
        let mut rng = Rng::new(seed);
        let mut world = World::new(&mut rng);
        let rules = (0..STEPS).try_for_each(|step| {
            world.step(&mut rng).map_err(|broken| format!("step {step}: {broken}"))
        });
        if let Err(broken) = rules.and_then(|()| world.end()) {
            panic!("seed {seed}, {}: {broken}", world.told());
        }
        all.add(&world.seen);
    }
    // A simulation that never gets anywhere proves nothing.
    if number("BIMETAL_SEED").is_none() {
        let rare = all.counts().into_iter().find(|(_, count)| *count < HISTORIES / 4);
        assert_eq!(rare, None, "{all:?}");
    }
}
