//! The policy document: what users write, checked and compiled.
//!
//! [`Document::parse`] reads JSON; [`Document::compile`] takes a tree from any other reader. The
//! language itself stands in one table ([`table`]), which the checker, the defaults, the hashes
//! and the JSON Schema are made from.

mod board;
mod breaker;
#[cfg(feature = "policy")]
mod compile;
mod fallback;
#[cfg(feature = "policy")]
mod forms;
mod limit;
mod matching;
#[cfg(feature = "policy")]
mod profile;
#[cfg(feature = "policy")]
mod read_limits;
#[cfg(feature = "policy")]
mod read_retry;
#[cfg(feature = "policy")]
mod rules;
#[cfg(feature = "policy")]
pub mod table;
mod types;

pub use board::BoardPolicy;
pub use breaker::{BreakerPolicy, Growth, HalfOpen, Judge, Open, RateCondition, Trip, WindowSize};
pub use fallback::{Fallback, FallbackOn, FallbackUpstream, StalePolicy};
pub use limit::{LimitOverride, LimitPolicy, Network};
pub use matching::{DirectionMatch, HeaderMatch, HostPattern, Match, PathMatch, Subject};
pub use types::*;

#[cfg(feature = "policy")]
pub use crate::doc::{Problem, Problems};

/// JSON Schema (2020-12) of the policy document.
#[cfg(feature = "std")]
pub fn schema() -> serde_json::Value {
    crate::doc::schema::schema(&table::DOCUMENT, "Bimetal policy document")
}
