//! What the program's commands do.

pub mod arms;
pub mod cluster;
pub mod coverage;
pub mod load;
pub mod report;
pub mod run;
pub mod ship;
pub mod stages;
