//! Replicas in several processes on one store far away, in virtual time: the contract of
//! [`bimetal_core::board::far`], played by a store and a network that do all that such do.
//!
//! `BIMETAL_SEEDS=100000 cargo test -p bimetal-core --test far_store` plays more histories,
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

#[path = "support/board.rs"]
mod board;

#[path = "far_store/evidence.rs"]
mod evidence;
#[path = "far_store/faults.rs"]
mod faults;
#[path = "far_store/fleet.rs"]
mod fleet;
#[path = "far_store/generations.rs"]
mod generations;
#[path = "far_store/histories.rs"]
mod histories;
#[path = "far_store/promises.rs"]
mod promises;
#[path = "far_store/reports.rs"]
mod reports;
#[path = "far_store/rules.rs"]
mod rules;
#[path = "far_store/store.rs"]
mod store;
