//! A limit of calls under way at once, in one scope.
//!
//! A call takes a slot when it is admitted and gives it back when it is settled. How many are taken is the
//! whole state; how many there may be belongs to whoever asks. So a changed limit holds at once, and
//! nothing begins anew for it.
//!
//! One worker counts for itself. Where the workers of a process share the limit the count is a word on the
//! [board], which a compare-and-swap changes: exact, however many ask at once.

pub mod adaptive;

use crate::board::{self, Words};
use alloc::sync::Arc;
use core::fmt;

/// The calls under way in one scope, as one worker sees them.
#[derive(Debug, Default)]
pub struct Concurrency {
    /// Slots of all workers, where they share them.
    shared: Option<Arc<dyn Words>>,
    /// Slots that calls of this worker have.
    taken: u32,
}

/// Why a call is turned away: as many are under way as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied {
    /// How many may be.
    pub max: u32,
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.max {
            1 => f.write_str("1 call under way, and no more may be"),
            max => write!(f, "{max} calls under way, and no more may be"),
        }
    }
}

impl Concurrency {
    /// How many words a shared count needs.
    pub const WORDS: usize = 1;

    /// A count that one worker has for itself.
    pub fn new() -> Self {
        Self::default()
    }

    /// One replica of the count in `words`.
    pub const fn shared(words: Arc<dyn Words>) -> Self {
        Self { shared: Some(words), taken: 0 }
    }

    /// Whether other workers count in it too.
    pub const fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// Slots that calls of this worker have.
    pub const fn taken(&self) -> u32 {
        self.taken
    }

    /// Takes a slot where fewer than `max` are taken; gives how many are taken now.
    ///
    /// # Errors
    /// There is none free.
    pub fn take(&mut self, max: u32) -> Result<u32, Denied> {
        let all = match &self.shared {
            None if self.taken >= max => return Err(Denied { max }),
            None => u64::from(self.taken) + 1,
            Some(words) => {
                let free = |taken: u64| (taken < u64::from(max)).then_some(taken + 1);
                board::update(&**words, 0, free).ok_or(Denied { max })?
            }
        };
        self.taken = self.taken.saturating_add(1);
        Ok(u32::try_from(all).unwrap_or(u32::MAX))
    }

    /// Gives a slot back that was taken.
    pub fn give_back(&mut self) {
        self.give_back_many(1);
    }

    fn give_back_many(&mut self, count: u32) {
        self.taken = self.taken.saturating_sub(count);
        if let Some(words) = &self.shared {
            board::update(&**words, 0, |taken| Some(taken.saturating_sub(u64::from(count))));
        }
    }
}

/// A worker that ends leaves no slots behind.
impl Drop for Concurrency {
    fn drop(&mut self) {
        if self.taken > 0 {
            self.give_back_many(self.taken);
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::board::AtomicWords;
    use std::string::ToString;

    #[test]
    fn one_more_than_there_may_be_is_denied() {
        let mut calls = Concurrency::new();
        assert_eq!(
            (calls.take(2), calls.take(2), calls.take(2)),
            (Ok(1), Ok(2), Err(Denied { max: 2 }))
        );
        calls.give_back();
        assert_eq!((calls.take(2), calls.taken()), (Ok(2), 2));
        // A lower limit holds at once, a higher one too.
        assert_eq!((calls.take(1), calls.take(3)), (Err(Denied { max: 1 }), Ok(3)));
    }

    #[test]
    fn a_denial_can_be_read_aloud() {
        let text = |max| Denied { max }.to_string();
        assert_eq!(text(1), "1 call under way, and no more may be");
        assert_eq!(text(100), "100 calls under way, and no more may be");
    }

    #[test]
    fn replicas_share_the_slots_and_leave_none_behind() {
        let words: Arc<dyn Words> = Arc::new(AtomicWords::new(Concurrency::WORDS));
        let mut one = Concurrency::shared(words.clone());
        let mut other = Concurrency::shared(words.clone());
        assert_eq!((one.take(2), other.take(2)), (Ok(1), Ok(2)));
        assert!(one.take(2).is_err() && other.take(2).is_err());
        drop(other);
        assert_eq!((words.load(0), one.take(2)), (1, Ok(2)));
    }

    // WASI has no threads.
    #[cfg(not(target_family = "wasm"))]
    #[test]
    fn threads_never_have_more_slots_than_there_are() {
        const MAX: u32 = 3;
        let words: Arc<dyn Words> = Arc::new(AtomicWords::new(Concurrency::WORDS));
        let (held, most) = (AtomicWords::new(1), AtomicWords::new(1));
        std::thread::scope(|scope| {
            let work = || {
                let mut calls = Concurrency::shared(words.clone());
                for _ in 0..2_000 {
                    if calls.take(MAX).is_ok() {
                        board::update(&held, 0, |held| Some(held + 1));
                        let now = held.load(0);
                        board::update(&most, 0, |most| Some(most.max(now)));
                        board::update(&held, 0, |held| Some(held - 1));
                        calls.give_back();
                    }
                }
            };
            let threads: std::vec::Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
        assert!((1..=u64::from(MAX)).contains(&most.load(0)), "{}", most.load(0));
        assert_eq!(words.load(0), 0);
    }

    #[test]
    fn words_that_hold_nothing_stop_nobody() {
        let mut calls = Concurrency::shared(Arc::new(AtomicWords::new(0)));
        assert_eq!((calls.take(1), calls.take(1)), (Ok(1), Ok(1)));
    }
}
