//! A change of a scope's words: written to its bucket, appended to the log, told to all.

use super::bucket::{Bucket, Record};
use super::store::{ONLY_IF_ABSENT, SharedData};
use super::worker::{Knowledge, Worker};
use bimetal_core::board;
use std::sync::atomic::Ordering;

/// How often a write is tried while others write. A worker serves nobody else meanwhile; each of
/// the others' writes is one that came through, so real workers never need so many.
const TRIES: u32 = 64;

impl<D: SharedData> Worker<D> {
    /// Replaces `old` by `new` in a scope's words, where the board still says what `old` was decided
    /// on. What the board cannot take stays in this worker's copy alone: a breaker must not be the
    /// outage.
    ///
    /// # Errors
    /// The word that stands there instead of `old`.
    pub(super) fn replace(
        &self,
        knows: &mut Knowledge,
        owner: u64,
        index: usize,
        old: u64,
        new: u64,
    ) -> Result<(), u64> {
        let Some((key, policy)) = knows.copies.place(owner) else {
            return alone(knows, owner, index, old, new);
        };
        for _ in 0..TRIES {
            let Some(found) = self.ok(self.data.get(&key)) else {
                return alone(knows, owner, index, old, new);
            };
            let (value, token) = found.unwrap_or((Vec::new(), ONLY_IF_ABSENT));
            let Some(mut bucket) = Bucket::parse(&value) else {
                return self.unshared(knows, owner, index, old, new);
            };
            knows.copies.learn(owner, bucket.find(owner));
            let mut words = knows.copies.words(owner);
            let Some(word) = words.get_mut(index) else {
                return Err(0);
            };
            if *word != old {
                return Err(*word);
            }
            *word = new;
            let was_there = bucket.find(owner).is_some();
            if words.iter().any(|word| *word != 0) {
                let record = Record { owner, policy, words: words.clone() };
                if bucket.put(record, |other| board::is_at_rest(&other.words)).is_err() {
                    return self.unshared(knows, owner, index, old, new);
                }
            } else if was_there {
                bucket.remove(owner);
            } else {
                // Nobody else knew of it.
                return alone(knows, owner, index, old, new);
            }
            match self.ok(self.data.set(&key, &bucket.encode(), token)) {
                Some(true) => {
                    knows.copies.keep(owner, &words, false);
                    self.tell(knows, owner);
                    return Ok(());
                }
                Some(false) => {}
                None => return alone(knows, owner, index, old, new),
            }
        }
        // Somebody writes faster than this worker can, or the host's tokens are no use.
        self.count_error();
        alone(knows, owner, index, old, new)
    }

    /// The change without a place on the board; it counts once, when the scope parts from the others.
    fn unshared(
        &self,
        knows: &mut Knowledge,
        owner: u64,
        index: usize,
        old: u64,
        new: u64,
    ) -> Result<(), u64> {
        let before = knows.copies.is_alone(owner);
        alone(knows, owner, index, old, new)?;
        if !before && knows.copies.is_alone(owner) {
            self.unshared.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Logs a change, then tells of it: in this order, so that who was told finds it in the log.
    pub(super) fn tell(&self, knows: &mut Knowledge, owner: u64) {
        let start = self.append(owner);
        let changes = knows.untold.saturating_add(1);
        if self.ok(self.data.tell(changes)).is_none() {
            knows.untold = changes;
            return;
        }
        knows.untold = 0;
        // Where nobody else changed anything since this worker looked, it need not look again. Were
        // others to tell of a change now, the count would be another one.
        if start.is_some() && start == knows.position {
            knows.position = start.map(|start| start.wrapping_add(1));
            if self.counts {
                knows.mark = knows.mark.map(|mark| mark.wrapping_add(u64::from(changes)));
            }
        }
    }

    /// Appends to the log; gives its head before.
    fn append(&self, owner: u64) -> Option<u64> {
        for _ in 0..TRIES {
            let (mut log, token) = self.read_log()?;
            let start = log.head;
            log.append(owner);
            if self.ok(self.data.set(&self.log_key, &log.encode(), token))? {
                return Some(start);
            }
        }
        self.count_error();
        None
    }
}

/// The change in this worker's copy alone.
fn alone(knows: &mut Knowledge, owner: u64, index: usize, old: u64, new: u64) -> Result<(), u64> {
    let mut words = knows.copies.words(owner);
    match words.get_mut(index) {
        Some(word) if *word == old => {
            *word = new;
            knows.copies.keep(owner, &words, true);
            Ok(())
        }
        Some(word) => Err(*word),
        None => Err(0),
    }
}
