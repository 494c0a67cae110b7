//! The oracle of `call.rs`: what every sequence of observations means, written by hand from the
//! specification (`semantics.md`: "Words", "Settlement", "Client aborts") and not from the code.
//!
//! Each row is a test. It says what the policy holds, then one line for each input: when it came
//! (milliseconds), what it was, and what the core must answer. After its last line a row must be
//! settled, and no further input may say anything. `call/row.rs` is the reader of rows.
//!
//! `call/properties.rs` drives the same inputs in any order, at any times.

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

#[macro_use]
#[path = "call/row.rs"]
mod row;

#[path = "call/aborts.rs"]
mod aborts;
#[path = "call/answers.rs"]
mod answers;
#[path = "call/early.rs"]
mod early;
#[path = "call/grpc.rs"]
mod grpc;
#[path = "call/grpc_web.rs"]
mod grpc_web;
#[path = "call/latency.rs"]
mod latency;
#[path = "call/properties.rs"]
mod properties;
#[path = "call/tries.rs"]
mod tries;
#[path = "call/uploads.rs"]
mod uploads;
