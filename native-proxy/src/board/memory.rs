//! The board of one process: what its workers share lies in its memory.

use bimetal_core::board::{AtomicWords, Board, Words};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::Notify;

/// Words by breaker. A lock is taken when a worker sees a scope for the first time; decisions go to
/// the words themselves, without one.
#[derive(Debug, Default)]
pub struct MemoryBoard {
    breakers: Mutex<Breakers>,
    /// One of each worker that can have calls wait.
    bells: Mutex<Vec<Arc<Notify>>>,
}

impl MemoryBoard {
    /// A worker's bell: it rings when a slot comes free that calls of any worker may wait for.
    pub(crate) fn bell(&self) -> Arc<Notify> {
        let bell = Arc::new(Notify::new());
        self.bells.lock().unwrap_or_else(PoisonError::into_inner).push(bell.clone());
        bell
    }
}

#[derive(Debug, Default)]
struct Breakers {
    // Weak: a breaker that no worker has any more leaves nothing behind but its key.
    words: HashMap<Box<[u8]>, Weak<AtomicWords>>,
    // How many keys there may be before dead ones are looked for.
    sweep_at: usize,
}

/// Fewer keys than this are not worth sweeping.
const FEW: usize = 1024;

impl Board for MemoryBoard {
    fn open(&self, key: &[u8], count: usize) -> Option<Arc<dyn Words>> {
        // A worker that panicked in here cannot have left half a change behind.
        let mut breakers = self.breakers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(words) = breakers.words.get(key).and_then(Weak::upgrade) {
            return Some(words);
        }
        if breakers.words.len() >= breakers.sweep_at.max(FEW) {
            breakers.words.retain(|_, words| words.strong_count() > 0);
            // Twice what lives: so sweeping costs each new key a constant share.
            breakers.sweep_at = breakers.words.len() * 2;
        }
        let words = Arc::new(AtomicWords::new(count));
        breakers.words.insert(key.into(), Arc::downgrade(&words));
        Some(words)
    }

    /// Whoever hears it first has the slot; so all do, the worker that rings among them.
    fn ring(&self) {
        let bells = self.bells.lock().unwrap_or_else(PoisonError::into_inner);
        bells.iter().for_each(|bell| bell.notify_one());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_key_gives_the_same_words_while_somebody_has_them() {
        let board = MemoryBoard::default();
        let one = board.open(b"echo", 2).unwrap();
        one.compare_exchange(1, 0, 7).unwrap();
        let other = board.open(b"echo", 2).unwrap();
        assert_eq!((other.load(1), board.open(b"else", 2).unwrap().load(1)), (7, 0));
        drop((one, other));
        assert_eq!(board.open(b"echo", 2).unwrap().load(1), 0);
    }

    #[tokio::test]
    async fn every_worker_hears_the_ring() {
        let board = MemoryBoard::default();
        let bells = [board.bell(), board.bell()];
        board.ring();
        for bell in bells {
            bell.notified().await;
        }
    }

    #[test]
    fn keys_of_dead_breakers_do_not_pile_up() {
        let board = MemoryBoard::default();
        let kept: Vec<_> = (0..100_u32).map(|key| board.open(&key.to_le_bytes(), 1)).collect();
        for key in 100..100_000_u32 {
            board.open(&key.to_le_bytes(), 1);
        }
        assert!(board.breakers.lock().unwrap().words.len() <= FEW);
        // Those that somebody has are the same words still.
        for (key, words) in (0..100_u32).zip(kept) {
            let (words, value) = (words.unwrap(), u64::from(key) + 1);
            words.compare_exchange(0, 0, value).unwrap();
            assert_eq!(board.open(&key.to_le_bytes(), 1).unwrap().load(0), value, "{key}");
        }
    }
}
