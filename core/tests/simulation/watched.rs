//! A board whose words are watched: who looked at which breaker, and what was written.

use crate::board::TestBoard;
use bimetal_core::Instant;
use bimetal_core::board::{Board, Words};
use bimetal_core::breaker::record::{Phase, Probing, Record};
use bimetal_core::policy::Trip;
use std::sync::{Arc, Mutex, MutexGuard};

/// The board of all workers.
#[derive(Debug, Default)]
pub(super) struct Watched {
    inner: TestBoard,
    seen: Mutex<Seen>,
}

/// What was seen of the board.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub now: Instant,
    /// Which document is in force.
    pub document: usize,
    pub breakers: Vec<Shared>,
    pub replicas: Vec<Replica>,
    /// Records that were written since they were taken.
    pub writes: Vec<Write>,
}

/// A breaker on the board.
#[derive(Debug)]
pub(super) struct Shared {
    key: Vec<u8>,
    pub document: usize,
    words: Arc<dyn Words>,
}

impl Shared {
    pub(super) fn word(&self) -> u64 {
        self.words.load(0)
    }
}

/// A worker's replica of it, as far as one can know from what it read.
#[derive(Debug)]
pub(super) struct Replica {
    pub worker: usize,
    pub breaker: usize,
    pub word: u64,
    /// When it learned of this word.
    pub since: Instant,
    pub looked: Instant,
}

/// One record that replaced another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Write {
    pub breaker: usize,
    pub old: u64,
    pub new: u64,
}

/// What a word says; the generation modulo 2^16.
pub(super) fn record(word: u64) -> Record {
    Record::unpack(word, &Record::NEW, &Trip::default())
}

/// The generation and the counts, where the word is of a half-open breaker.
pub(super) fn probing(word: u64) -> Option<(u32, Probing)> {
    let record = record(word);
    match record.phase {
        Phase::HalfOpen(probing) => Some((record.generation, probing)),
        _ => None,
    }
}

impl Watched {
    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }
}

impl Seen {
    fn look(&mut self, replica: usize, word: u64) {
        let now = self.now;
        let replica = &mut self.replicas[replica];
        replica.looked = now;
        if replica.word != word {
            (replica.word, replica.since) = (word, now);
        }
    }
}

/// One worker's way to the board.
#[derive(Debug)]
pub(super) struct Handle {
    pub worker: usize,
    pub board: Arc<Watched>,
}

impl Board for Handle {
    fn open(&self, key: &[u8], count: usize) -> Option<Arc<dyn Words>> {
        let words = self.board.inner.open(key, count)?;
        let mut seen = self.board.seen();
        let Seen { now, document, .. } = *seen;
        let known = seen.breakers.iter().position(|breaker| breaker.key == key);
        let breaker = known.unwrap_or_else(|| {
            let (key, words) = (key.to_vec(), words.clone());
            seen.breakers.push(Shared { key, document, words });
            seen.breakers.len() - 1
        });
        seen.breakers[breaker].document = document;
        // A replica that is made anew knows nothing.
        let worker = self.worker;
        let fresh = Replica { worker, breaker, word: 0, since: now, looked: now };
        let own = |old: &Replica| (old.worker, old.breaker) == (worker, breaker);
        let replica = seen.replicas.iter().position(own).unwrap_or(seen.replicas.len());
        match seen.replicas.get_mut(replica) {
            Some(old) => *old = fresh,
            None => seen.replicas.push(fresh),
        }
        let board = self.board.clone();
        Some(Arc::new(WatchedWords { replica, breaker, board, words }))
    }
}

#[derive(Debug)]
struct WatchedWords {
    replica: usize,
    breaker: usize,
    board: Arc<Watched>,
    words: Arc<dyn Words>,
}

impl Words for WatchedWords {
    fn load(&self, index: usize) -> u64 {
        let word = self.words.load(index);
        if index == 0 {
            self.board.seen().look(self.replica, word);
        }
        word
    }

    fn compare_exchange(&self, index: usize, old: u64, new: u64) -> Result<(), u64> {
        let done = self.words.compare_exchange(index, old, new);
        if index == 0 {
            let mut seen = self.board.seen();
            seen.look(self.replica, done.err().unwrap_or(new));
            if done.is_ok() {
                seen.writes.push(Write { breaker: self.breaker, old, new });
            }
        }
        done
    }
}
