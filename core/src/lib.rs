//! Resilience decisions without I/O.
//!
//! Bimetal's core decides whether a call may go upstream, and learns from what became of it. It
//! has no clock, no randomness, no I/O, no threads, no globals and no logging: `now` and a seed are
//! arguments, and what happened comes out as data. The same code decides inside Envoy (compiled to
//! WebAssembly), in the native proxy, in tests with a virtual clock and in the simulator.
//!
//! # Where to begin
//! - [`Engine`]: a whole policy document at work. What the hosts use.
//! - [`breaker::Breaker`]: one circuit breaker alone, for a program that wants nothing else.
//! - [`policy::Document`]: the language users write policies in. It is the feature `policy`, which is on
//!   by default; without it nothing here depends on serde.
//! - [`anomaly::Detector`]: anomalies in a stream of samples.
//!
//! # What this crate does not do
//! It performs nothing: no call, no timeout, no log line. It keeps no time: a state changes only
//! inside a verb. It shares nothing: one worker owns one engine.

#![no_std]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;
#[cfg(all(test, target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate bimetal_browser_test;

pub mod anomaly;
pub mod auto_timeout;
pub mod board;
pub mod breaker;
pub mod call;
pub mod concurrency;
pub mod connections;
pub mod deadline;
pub mod decision;
#[cfg(feature = "policy")]
pub mod doc;
pub mod ejection;
pub mod engine;
pub mod event;
pub mod facts;
pub mod fallback;
pub mod guard;
pub mod hash;
mod host;
mod index;
pub mod limiter;
pub mod metric;
pub mod outcome;
pub mod path;
pub mod policy;
pub mod registry;
pub mod retry;
pub mod rng;
mod second_chance;
pub mod series;
mod slabs;
pub mod time;
pub mod window;

pub use decision::{
    Admission, Pass, PassReason, Plan, Rejected, Rejection, Reply, Settled, Ticket, Verdict, Wait,
    Waiting,
};
pub use engine::Engine;
pub use facts::{Direction, Facts};
pub use time::{Duration, Instant};
