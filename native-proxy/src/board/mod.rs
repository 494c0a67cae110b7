//! Where breakers meet: those of the workers in memory, those of several processes by way of a store.

mod exchange;
mod link;
mod memory;
mod service;
mod store;

pub(crate) use exchange::{ExchangeCounts, Exchanger, replica};
pub(crate) use link::{Link, address};
pub use memory::MemoryBoard;
pub use service::{BoardArgs, BoardError, run};
pub(crate) use store::Merged;
