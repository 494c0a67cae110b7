//! Words in the memory of one process: what workers that are threads share.
//!
//! Lock-free: a read is one load, a change one compare-and-swap. `Acquire` and `Release` are
//! enough, because a word says all there is to know: no other memory is published through it.

use super::Words;
use alloc::boxed::Box;
#[cfg(not(loom))]
use core::sync::atomic::{AtomicU64, Ordering};
#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, Ordering};

/// The words of one breaker as atomics.
#[derive(Debug)]
pub struct AtomicWords(Box<[AtomicU64]>);

impl AtomicWords {
    /// `count` words, all zero.
    pub fn new(count: usize) -> Self {
        Self((0..count).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Words for AtomicWords {
    #[inline]
    fn load(&self, index: usize) -> u64 {
        self.0.get(index).map_or(0, |word| word.load(Ordering::Acquire))
    }

    #[inline]
    fn compare_exchange(&self, index: usize, old: u64, new: u64) -> Result<(), u64> {
        let Some(word) = self.0.get(index) else {
            return Err(0);
        };
        word.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire).map(|_| ())
    }
}
