//! What each way of protecting a call costs, measured side by side.
//!
//! `docs/study.md` is the method. An *arm* is one way for a call to go: straight to the server,
//! through a proxy, through Envoy with a filter. A *block* is one measurement of one arm with
//! processes of its own. A *round* measures every arm once, in an order drawn anew, so the blocks
//! of a round are pairs.

pub mod histogram;
pub mod record;
pub mod stats;
