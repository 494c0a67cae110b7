//! Documents that people write: read, checked against a table, turned into values.
//!
//! A document is a tree ([`Node`]) from any reader that speaks serde (JSON, YAML). One static
//! [table] describes its fields: names, kinds, ranges, defaults, and which host can do
//! them. The [checker](check) walks the tree once, with one routine for every kind, and reports
//! every problem by its path. The JSON Schema ([`schema`]) is made from the same table, so it
//! cannot say something else.
//!
//! The policy language ([`crate::policy`]) is described this way; a host describes its own file
//! with the same parts.

pub mod check;
pub mod hash;
mod nearest;
pub mod node;
pub mod problem;
#[cfg(feature = "std")]
pub mod schema;
pub mod table;
pub mod units;

pub use check::{Check, Unsupported};
pub use node::Node;
pub use problem::{Path, Problem, Problems};
pub use table::{Field, Form, Keyword, Kind, Need, Object, Rule, Support};
