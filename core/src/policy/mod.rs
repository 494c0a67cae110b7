//! The policy document: what users write, checked and compiled.
//!
//! [`Document::parse`] reads JSON; [`Document::compile`] takes a tree from any other reader. The
//! language itself stands in one table ([`table`]), which the checker, the defaults, the hashes
//! and the JSON Schema are made from.

mod compile;
mod forms;
mod matching;
mod profile;
mod rules;
pub mod table;
mod types;

pub use matching::Subject;
pub use types::*;

pub use crate::doc::{Problem, Problems};

/// JSON Schema (2020-12) of the policy document.
#[cfg(feature = "std")]
pub fn schema() -> serde_json::Value {
    crate::doc::schema::schema(&table::DOCUMENT, "Bimetal policy document")
}
