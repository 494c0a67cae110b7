//! One scenario, three hosts, one log.
//!
//! A scenario says what happens and what must come of it. The runner plays it through the core
//! alone, the native proxy and a real Envoy with the filter, and compares what each did with the
//! log that stands in the scenario.
//!
//! A second part, [`shared`], asks hosts with several workers whether those decide as one.

pub mod batch;
pub mod core_host;
pub mod envoy;
pub mod limits;
pub mod log;
pub mod real;
pub mod report;
pub mod scenario;
pub mod shared;
