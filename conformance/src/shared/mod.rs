//! Hosts with several workers: do they decide as one?
//!
//! A client cannot choose a worker; the kernel does, for each connection. So a [`Stage`] opens
//! connections until it has some to every worker, and finds out which leads where by the numbers
//! that each worker's engine gives its calls (see `workers.rs`). Then a test says which worker a
//! call goes to.
//!
//! Order is judged by what happened before what: a call that was sent after the line about a trip
//! had been read begins after the trip was written. Times are reported.

mod fleet;
mod line;
mod load;
mod log;
mod stage;
mod workers;

pub use fleet::{EnvoyFleet, Fleet, NativeFleet, UncountedEnvoyFleet};
pub use line::{Answer, Order, Seen};
pub use load::{Load, LoadReport};
pub use log::Event;
pub use stage::{Held, LOAD, OPEN_FOR, Place, STEPS, Share, Stage};

/// How many workers a host has here.
pub const WORKERS: usize = 4;
