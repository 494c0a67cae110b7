//! The ways for a call to go. Each is one file in `study/arms`, which says how it is started.

mod counts;
mod file;
mod fill;
mod ground;
mod start;

pub(crate) use counts::unsettled;
pub use file::{Arm, Policy, all, merge, policy};
pub use ground::{AtWork, Ground, Here};
pub use start::{Place, Started, start, start_echo};

/// The end of the name of an arm that runs a second time, to see what one program differs from itself.
pub const AGAIN: &str = "@2";

/// The name without [`AGAIN`].
pub fn program_of(name: &str) -> &str {
    name.strip_suffix(AGAIN).unwrap_or(name)
}
