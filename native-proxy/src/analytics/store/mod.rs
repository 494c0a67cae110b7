//! Where samples are kept beside this process, and where replicas meet.

mod counters;
mod debts;
mod kept;
mod link;
mod shared;
#[cfg(test)]
mod tests;

pub(super) use link::{Link, address};
pub(super) use shared::{Exchange, Reply, Shared};
