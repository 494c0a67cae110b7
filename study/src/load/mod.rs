//! The light open-loop generator: calls leave when they are due, whether or not earlier ones were
//! answered.
//!
//! A closed loop waits for an answer before it asks again, so a slow arm is asked less and its waiting
//! is not seen (coordinated omission). Here a call's time runs from when it was *due*.

mod calls;
mod clock;
mod pace;
mod size;

pub use calls::Outcome;
pub use pace::{Options, run};
pub use size::{Load, body};

/// The line that the generator's process prints when its warm-up is over.
pub const BEGINS: &str = "begins";

/// The line that it prints when the last call has ended; what it saw follows as a line of JSON.
pub const ENDED: &str = "ended";
