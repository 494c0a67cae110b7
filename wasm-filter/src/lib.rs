//! Bimetal's core as a filter for Envoy and Istio, compiled to WebAssembly.
//!
//! - [`call`]: one request, told to the core as it goes on; [`answer`]: what Envoy knows of an answer.
//! - [`root`]: configuration and tick; [`instance`]: what judges the requests of one configuration;
//!   [`registry`]: what outlives it.
//! - [`flags`]: what Envoy's response flags mean, in one table.
//! - [`board`]: where the breakers of several workers meet. [`memory`]: how many there can be.
//! - [`facts`], [`reply`], [`metrics`]: the request as the core asks about it, a rejection as the
//!   client sees it, counts as Envoy metrics.
//! - [`watch`]: the requests that the tick comes back to; [`parked`]: those that wait for a slot.
//! - [`headers`]: how headers cross the border.
//! - [`port`]: what is needed of the host, as a trait; `host`: Envoy behind it, the only file that
//!   knows proxy-wasm, compiled for Wasm alone.
//!
//! Nothing in here panics on purpose: a panic would end the worker's VM and every plugin in it.
//! What fails at run time lets the request pass and is counted in `bimetal_decision_errors_total`.

pub mod answer;
pub mod board;
pub mod call;
pub mod facts;
pub mod flags;
pub mod headers;
#[cfg(target_arch = "wasm32")]
mod host;
pub mod instance;
pub mod memory;
pub mod metrics;
pub mod parked;
pub mod port;
pub mod registry;
pub mod reply;
pub mod root;
mod stream;
pub mod watch;
