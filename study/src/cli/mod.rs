//! What the program's commands do.

pub mod coverage;
