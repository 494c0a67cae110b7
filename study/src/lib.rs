//! What each way of protecting a call costs, measured side by side.
//!
//! `docs/study.md` is the method. An *arm* is one way for a call to go: straight to the server,
//! through a proxy, through Envoy with a filter. A *block* is one measurement of one arm with
//! processes of its own. A *round* measures every arm once, in an order drawn anew, so the blocks
//! of a round are pairs.

pub mod arms;
pub mod cluster;
pub mod faults;
pub mod histogram;
pub mod load;
pub mod machine;
pub mod plan;
pub mod ports;
pub mod process;
pub mod record;
pub mod report;
pub mod run;
pub mod ship;
pub mod spans;
pub mod stages;
pub mod stats;
pub mod store;
pub mod tools;
