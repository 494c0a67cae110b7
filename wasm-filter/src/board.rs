//! The board of one Envoy: what its workers share lies in proxy-wasm's shared data.
//!
//! Shared data is a table of byte strings behind one lock. Reading it copies and allocates, so a
//! worker keeps a copy and first asks a counter that grows with every write to the board, one cheap
//! host call: while it stands still the copy is exact, and healthy traffic neither reads nor writes.
//!
//! An admission asks the counter every time. A result may make do with what was known at its
//! admission, if that was no more than a millisecond ago: what came before the call is seen, and
//! what came beside it might as well have come after.
//!
//! Envoy never frees a key, and clients can choose scopes. So a policy has a bounded number of
//! places, a scope's key chooses one of them, and a place says whose it is. A scope that finds its
//! place taken waits: once the breaker there is closed and without a failure it has nothing to lose
//! and gives way. Until then the newcomer decides for this worker alone.

use crate::port::HostError;
use bimetal_core::Instant;
use bimetal_core::board::{Board, Words};
use std::fmt::Debug;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Places of one policy. At most so many keys are ever made for it.
const PLACES: u64 = 4096;

/// A compare-and-swap token that is never given out: with it, a write makes a missing key and
/// leaves an existing one alone.
pub const ONLY_IF_ABSENT: u32 = u32::MAX;

/// How old a copy may get, in nanoseconds, where nothing says that it is old.
const STALE: u64 = 20_000_000;

/// How old a copy may be for a result, in nanoseconds; see [`Words::load_for_result`].
const RECENT: u64 = 1_000_000;

/// How often a write is tried while others write. A worker serves nobody else meanwhile; each of
/// the others' writes is one that came through, so real workers never need so many.
const TRIES: u32 = 64;

/// proxy-wasm's shared data, and a counter that all workers see.
pub trait SharedData: Send + Sync + Debug + 'static {
    /// A value and its compare-and-swap token.
    ///
    /// # Errors
    /// When the host refuses.
    fn get(&self, key: &str) -> Result<Option<(Vec<u8>, u32)>, HostError>;

    /// Replaces the value whose token is `token`. False where somebody else wrote since the token was
    /// read.
    ///
    /// # Errors
    /// When the host refuses.
    fn set(&self, key: &str, value: &[u8], token: u32) -> Result<bool, HostError>;

    /// How often any worker has written to the board.
    ///
    /// # Errors
    /// When the host refuses.
    fn writes(&self) -> Result<u64, HostError>;

    /// Tells all workers that something was written.
    ///
    /// # Errors
    /// When the host refuses.
    fn wrote(&self) -> Result<(), HostError>;

    /// Nanoseconds on a clock that never goes back.
    ///
    /// # Errors
    /// When the host refuses.
    fn nanos(&self) -> Result<u64, HostError>;
}

/// The board of one Envoy, as one worker sees it.
#[derive(Debug)]
pub struct SharedBoard<D> {
    data: Arc<D>,
    plugin: u64,
    errors: Arc<AtomicU64>,
    /// Whether the host counts writes; else a copy goes by its age.
    change_counter_works: bool,
}

impl<D: SharedData> SharedBoard<D> {
    /// The board of the plugin of this name on `data`: Istio puts all plugins into one table. Host
    /// calls that fail are counted in `errors`.
    pub fn new(data: D, plugin: &[u8], errors: Arc<AtomicU64>) -> Self {
        // A counter that does not move now never will.
        let counts = data.wrote().and_then(|()| data.writes());
        let change_counter_works = matches!(counts, Ok(1..));
        Self { data: Arc::new(data), plugin: hash(plugin), errors, change_counter_works }
    }
}

/// Alike in all workers, unlike the hash of a map.
fn hash(bytes: &[u8]) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(bytes)
}

impl<D: SharedData> Board for SharedBoard<D> {
    fn open(&self, key: &[u8], count: usize) -> Option<Arc<dyn Words>> {
        let owner = hash(key);
        // The core's keys begin with the hash of the policy.
        let (policy, _) = key.split_at(key.len().min(8));
        let policy = policy.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        let plugin = self.plugin;
        let place = format!("bimetal/{plugin:016x}/{policy:016x}/{}", owner % PLACES);
        let words = SharedWords {
            data: self.data.clone(),
            errors: self.errors.clone(),
            place,
            owner,
            change_counter_works: self.change_counter_works,
            seen: Mutex::new(Seen { mark: None, by: None, words: vec![0; count] }),
        };
        words.seed();
        Some(Arc::new(words))
    }
}

/// The words of one breaker, with this worker's copy of them.
#[derive(Debug)]
struct SharedWords<D> {
    data: Arc<D>,
    errors: Arc<AtomicU64>,
    place: String,
    owner: u64,
    change_counter_works: bool,
    // Never waited for: a worker is one thread.
    seen: Mutex<Seen>,
}

/// A copy, and when it was made: by the counter of writes, or by the clock.
#[derive(Debug)]
struct Seen {
    mark: Option<u64>,
    // When it was exact last, as far as a caller said what time it was.
    by: Option<Instant>,
    words: Vec<u64>,
}

impl<D: SharedData> SharedWords<D> {
    /// Makes the place where it is missing. The token keeps two workers that do so at once from
    /// undoing what one of them writes next.
    fn seed(&self) {
        let words = self.locked().words.clone();
        let value = encoded(self.owner, &words);
        self.ok(self.data.set(&self.place, &value, ONLY_IF_ABSENT));
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ok<T>(&self, result: Result<T, HostError>) -> Option<T> {
        result.map_err(|_| self.errors.fetch_add(1, Ordering::Relaxed)).ok()
    }

    /// Brings the copy up to date, where the place is ours.
    fn refresh(&self, seen: &mut Seen) {
        let mark =
            self.ok(if self.change_counter_works { self.data.writes() } else { self.data.nanos() });
        let fresh = |now: u64, then: u64| {
            if self.change_counter_works { now == then } else { now.saturating_sub(then) < STALE }
        };
        if mark.zip(seen.mark).is_some_and(|(now, then)| fresh(now, then)) {
            return;
        }
        // The counter was read first: a write in between is seen twice, never missed.
        if let Some(Some((value, _))) = self.ok(self.data.get(&self.place)) {
            if owner_of(&value) == Some(self.owner) {
                decode(&value, &mut seen.words);
            }
            seen.mark = mark;
        }
    }

    /// Writes the copy to the place, if the place still holds what the copy was made from.
    fn exchange(&self, seen: &mut Seen, index: usize, old: u64, new: u64) -> Result<(), u64> {
        for _ in 0..TRIES {
            let Some(Some((value, token))) = self.ok(self.data.get(&self.place)) else {
                return locally(seen, index, old, new);
            };
            let mut words = vec![0; seen.words.len()];
            if owner_of(&value) == Some(self.owner) {
                decode(&value, &mut words);
                seen.words.copy_from_slice(&words);
            } else if is_idle(&value) {
                words.copy_from_slice(&seen.words);
            } else {
                return locally(seen, index, old, new);
            }
            let Some(word) = words.get_mut(index) else {
                return Err(0);
            };
            if *word != old {
                return Err(*word);
            }
            *word = new;
            match self.ok(self.data.set(&self.place, &encoded(self.owner, &words), token)) {
                Some(true) => {
                    seen.words = words;
                    self.ok(self.data.wrote());
                    return Ok(());
                }
                Some(false) => {}
                None => return locally(seen, index, old, new),
            }
        }
        // Somebody writes faster than this worker can, or the host's tokens are no use.
        self.errors.fetch_add(1, Ordering::Relaxed);
        locally(seen, index, old, new)
    }
}

impl<D: SharedData> Words for SharedWords<D> {
    fn load(&self, index: usize) -> u64 {
        let mut seen = self.locked();
        self.refresh(&mut seen);
        seen.words.get(index).copied().unwrap_or(0)
    }

    fn load_for_result(&self, index: usize, now: Instant) -> u64 {
        let mut seen = self.locked();
        if seen.by.is_none_or(|by| now.since(by).as_nanos() >= RECENT) {
            self.refresh(&mut seen);
            seen.by = Some(now);
        }
        seen.words.get(index).copied().unwrap_or(0)
    }

    fn compare_exchange(&self, index: usize, old: u64, new: u64) -> Result<(), u64> {
        self.exchange(&mut self.locked(), index, old, new)
    }
}

/// The change in this worker's copy alone: a breaker must not be the outage.
fn locally(seen: &mut Seen, index: usize, old: u64, new: u64) -> Result<(), u64> {
    match seen.words.get_mut(index) {
        Some(word) if *word == old => {
            *word = new;
            Ok(())
        }
        Some(word) => Err(*word),
        None => Err(0),
    }
}

/// A place: its owner, then its words, little-endian.
fn encoded(owner: u64, words: &[u64]) -> Vec<u8> {
    let numbers = std::iter::once(&owner).chain(words);
    numbers.flat_map(|number| number.to_le_bytes()).collect()
}

fn numbers(value: &[u8]) -> impl Iterator<Item = u64> {
    let (chunks, _) = value.as_chunks::<8>();
    chunks.iter().map(|chunk| u64::from_le_bytes(*chunk))
}

fn owner_of(value: &[u8]) -> Option<u64> {
    numbers(value).next()
}

/// Words that are missing in `value` stay as they are.
fn decode(value: &[u8], words: &mut [u64]) {
    let pairs = words.iter_mut().zip(numbers(value).skip(1));
    pairs.for_each(|(word, number)| *word = number);
}

/// Whether the breaker of this place is closed without a failure: its state bits and its streak
/// are zero (see the core's `breaker::record`).
fn is_idle(value: &[u8]) -> bool {
    numbers(value).nth(1).is_none_or(|record| record & 3 == 0 && record >> 27 == 0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may end by a panic")]
mod tests;
