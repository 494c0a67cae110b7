//! The last N calls, one bit each: 100 calls fit in 16 bytes, and a call costs one word.

use super::Tally;
use alloc::boxed::Box;
use alloc::vec;

/// A ring of the last N calls, good or bad.
#[derive(Clone, Debug)]
pub struct CallRing {
    bits: Box<[u64]>,
    size: u32,
    next: u32,
    tally: Tally,
}

impl CallRing {
    /// An empty ring of the last `size` calls (at least 1).
    pub fn new(size: u32) -> Self {
        let size = size.max(1);
        let words = size.div_ceil(64) as usize;
        Self { bits: vec![0; words].into_boxed_slice(), size, next: 0, tally: Tally::default() }
    }

    /// Whether one more call, bad or good, changes nothing: a good one in a full ring of good
    /// ones. That is what healthy traffic does all day, so it should cost a comparison.
    #[inline]
    pub fn absorbs(&self, bad: bool) -> bool {
        !bad && self.tally == Tally { calls: self.size, bad: 0 }
    }

    /// Adds a call; in a full ring the oldest leaves.
    #[inline]
    pub fn record(&mut self, bad: bool) -> Tally {
        let bit = 1_u64 << (self.next % 64);
        if let Some(word) = self.bits.get_mut((self.next / 64) as usize) {
            if self.tally.calls == self.size {
                self.tally.bad -= u32::from(*word & bit != 0);
            } else {
                self.tally.calls += 1;
            }
            if bad {
                *word |= bit;
                self.tally.bad += 1;
            } else {
                *word &= !bit;
            }
        }
        self.next = if self.next + 1 == self.size { 0 } else { self.next + 1 };
        self.tally
    }

    /// The tally now.
    pub const fn tally(&self) -> Tally {
        self.tally
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        // The bits may stay: while the ring is not full, nothing reads what it overwrites.
        self.next = 0;
        self.tally = Tally::default();
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;
    use std::vec::Vec;

    const BAD: bool = true;
    const GOOD: bool = false;

    #[test]
    fn a_full_ring_of_good_calls_absorbs_good_ones_alone() {
        let mut ring = CallRing::new(2);
        ring.record(GOOD);
        assert!(!ring.absorbs(GOOD), "not full: the call raises the tally");
        ring.record(GOOD);
        assert!(ring.absorbs(GOOD) && !ring.absorbs(BAD));
        ring.record(BAD);
        assert!(!ring.absorbs(GOOD), "the bad one has to age");
        ring.clear();
        assert!(!ring.absorbs(GOOD), "what it forgot it does not count");
    }

    proptest! {
        #[test]
        fn equals_a_queue(size in 1_u32..20, marks: Vec<bool>, cut in 0_usize..50) {
            let mut ring = CallRing::new(size);
            let mut model = VecDeque::new();
            for (index, bad) in marks.into_iter().enumerate() {
                if index == cut {
                    ring.clear();
                    model.clear();
                }
                // What it would absorb may be left out: the queue below has it all the same.
                let tally = if ring.absorbs(bad) { ring.tally() } else { ring.record(bad) };
                model.push_back(bad);
                if model.len() > size as usize {
                    model.pop_front();
                }
                prop_assert_eq!(tally.calls as usize, model.len());
                prop_assert_eq!(tally.bad as usize, model.iter().filter(|bad| **bad).count());
            }
        }
    }
}
