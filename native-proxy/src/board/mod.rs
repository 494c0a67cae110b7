//! Where the workers' breakers meet.

mod memory;

pub use memory::MemoryBoard;
