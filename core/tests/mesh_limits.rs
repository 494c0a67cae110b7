//! Rate limits of a whole mesh in virtual time: members with clocks of their own, a store and a network that do all
//! that such do.
//!
//! `BIMETAL_SEEDS=100000 cargo test -p bimetal-core --test mesh_limits` plays more histories,
//! `BIMETAL_SEED=17` one alone.

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

#[path = "mesh_limits/engines.rs"]
mod engines;
#[path = "mesh_limits/exact.rs"]
mod exact;
#[path = "mesh_limits/histories.rs"]
mod histories;
#[path = "mesh_limits/world.rs"]
mod world;
