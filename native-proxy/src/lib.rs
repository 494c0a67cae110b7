//! The native host, and the commands of `bimetal`.

mod account;
mod admin;
pub mod analytics;
mod attempt;
pub mod board;
mod call;
pub mod cli;
mod clock;
pub mod config;
pub mod echo;
pub mod framing;
mod history;
mod interactions;
pub mod layer;
pub mod log;
pub mod model;
pub mod proxy;
mod ready;
mod serve;
pub mod service;
mod stale;
mod telemetry;
mod timer;
pub mod top;
mod upstream;
mod worker;

pub use bimetal_core;
pub use layer::{Guard, GuardLayer};
