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

/// What the generator's process is told, so that it does as `options` say.
pub fn arguments(options: &Options) -> Vec<String> {
    let seconds = |time: std::time::Duration| time.as_secs_f64().to_string();
    let told = [
        ("--address", options.address.to_string()),
        ("--load", options.load.to_string()),
        ("--seconds", seconds(options.measured)),
        ("--warm-up", seconds(options.warm_up)),
        ("--connections", options.connections.to_string()),
    ];
    let words = told.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
    std::iter::once("load".to_owned()).chain(words).collect()
}
