//! Documents that people write: read, checked against a table, turned into values.
//!
//! A document is a tree ([`Node`]) from any reader that speaks serde (JSON, YAML). One static
//! [table] describes its fields: names, kinds, ranges, defaults, and which host can do
//! them. The [checker](check) walks the tree once, with one routine for every kind, and reports
//! every problem by its path. The JSON Schema (`schema`, with the feature `std`) is made from the same
//! table, and who turns the tree into values asks for each by the [`Key`] that the table lists, so none of
//! them can say something else.
//!
//! Nothing here knows of policies: the policy language is described this way, and a host describes
//! its own file with the same parts.

pub mod check;
mod from_node;
pub mod hash;
pub mod key;
mod nearest;
pub mod node;
pub mod problem;
#[cfg(feature = "std")]
pub mod schema;
pub mod table;
pub mod units;

pub use crate::host::Host;
pub use check::{Check, Unsupported};
pub use key::{Entries, FromNode, Key, Part, Size, TypedKind, Unread};
pub use node::Node;
pub use problem::{Path, Problem, Problems};
pub use table::{Field, Form, Keyword, Kind, Need, Object, Rule, Support};
