//! The native host, and the commands of `bimetal`.

pub mod cli;
pub mod echo;
