//! Where a breaker's record is kept: in the breaker itself, or on a board that workers share.

use super::record::Record;
use crate::board::Words;
use crate::policy::Trip;
use crate::time::Instant;
use alloc::sync::Arc;

/// Keeps the record of a breaker in step with the board: it holds the breaker's words there, and the
/// record's word as this replica saw it last. By default there is no board: the breaker alone has the
/// record.
#[derive(Clone, Debug, Default)]
pub struct RecordStore {
    shared: Option<Shared>,
}

#[derive(Clone, Debug)]
struct Shared {
    words: Arc<dyn Words>,
    seen: u64,
}

impl RecordStore {
    /// A store on a board. The first read shows what others did before.
    pub fn on_board(words: Arc<dyn Words>) -> Self {
        Self { shared: Some(Shared { words, seen: 0 }) }
    }

    /// The word that another replica wrote since the last look, if one did.
    #[inline]
    pub fn unseen(&self) -> Option<u64> {
        let shared = self.shared.as_ref()?;
        let word = shared.words.load(0);
        (word != shared.seen).then_some(word)
    }

    /// The same for a result: see [`Words::load_for_result`].
    #[inline]
    pub fn unseen_by_result(&self, now: Instant) -> Option<u64> {
        let shared = self.shared.as_ref()?;
        let word = shared.words.load_for_result(0, now);
        (word != shared.seen).then_some(word)
    }

    /// What an unseen word says; it is seen then.
    pub fn see(&mut self, word: u64, known: &Record, trip: &Trip) -> Record {
        if let Some(shared) = &mut self.shared {
            shared.seen = word;
        }
        Record::unpack(word, known, trip)
    }

    /// Replaces the record that was seen last by `next`.
    ///
    /// # Errors
    /// What another replica wrote in between; `next` was decided on old grounds.
    #[inline]
    pub fn replace(&mut self, next: &Record, known: &Record, trip: &Trip) -> Result<(), Record> {
        let Some(shared) = &mut self.shared else {
            return Ok(());
        };
        let word = next.pack();
        match shared.words.compare_exchange(0, shared.seen, word) {
            Ok(()) => {
                shared.seen = word;
                Ok(())
            }
            Err(actual) => {
                shared.seen = actual;
                Err(Record::unpack(actual, known, trip))
            }
        }
    }

    /// The words, for windows that share their buckets.
    pub fn words(&self) -> Option<&Arc<dyn Words>> {
        self.shared.as_ref().map(|shared| &shared.words)
    }
}
