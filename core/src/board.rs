//! The sharing contract: how the replicas of one breaker, one in each worker, decide as one.
//!
//! A board holds a few 64-bit words for each breaker. The first carries its state (see
//! [`breaker::record`](crate::breaker::record)), the others carry the buckets of time windows (see
//! [`window::shared`](crate::window::shared)). A replica reads the first word when it decides, and
//! replaces words by compare-and-swap when something changes: in healthy traffic nothing does.
//!
//! The host brings the board: process memory in the native proxy, Envoy's shared data in the
//! filter. Its only promise is that of a single atomic word: a [`Words::compare_exchange`] that
//! succeeded is seen by every [`Words::load`] that begins after it returned.

pub mod account;
mod atomic;
pub mod far;
mod held;

use crate::breaker::record::{Phase, Record};
use crate::policy::Trip;
use crate::time::Instant;
use account::Account;
use alloc::sync::Arc;
pub use atomic::AtomicWords;
use core::fmt::Debug;
pub(crate) use held::HeldWords;

/// Where replicas of breakers meet.
pub trait Board: Send + Sync + Debug {
    /// The words of the breaker that `key` names: `count` words, all zero where nobody wrote yet.
    /// The same key gives the same words to every worker. None where the board has no room: the
    /// breaker is then decided by this worker alone.
    fn open(&self, key: &[u8], count: usize) -> Option<Arc<dyn Words>>;

    /// The account of the limit that `key` names, on a board whose words are too dear to be changed by each
    /// call: its workers lease from it. None where limits are to [open](Board::open) words.
    fn account(&self, _key: &[u8]) -> Option<Arc<dyn Account>> {
        None
    }

    /// Tells `changed` of each breaker whose words another replica may have changed since this was
    /// asked last, by the number that it is [watched](Words::watch) under; so an idle worker looks at
    /// those alone. False where the board does not know: then any may have changed.
    fn take_changed(&self, _changed: &mut dyn FnMut(u64)) -> bool {
        false
    }

    /// A slot is free that calls of other workers may wait for: each worker is to give free slots to
    /// those who wait, [`Engine::serve_waiting`](crate::Engine::serve_waiting). A board that cannot wake
    /// its workers does nothing: they learn it with their next poll.
    fn ring(&self) {}
}

/// The words of one breaker.
///
/// A board whose reads are dear may answer [`Words::load`] from a copy that is at most 20 ms old:
/// then an admission may begin that long after another worker tripped, not later.
pub trait Words: Send + Sync + Debug {
    /// The word at `index`; zero for one beyond the count that was asked for.
    fn load(&self, index: usize) -> u64;

    /// The same for a result, at `now`. A board may answer from a copy that is no more than a
    /// millisecond old and no older than the last [`Words::load`], so than the call's admission: it
    /// is as if the call had ended a moment earlier. What a result changes is compared and swapped
    /// all the same.
    #[inline]
    fn load_for_result(&self, index: usize, _now: Instant) -> u64 {
        self.load(index)
    }

    /// [`Board::take_changed`] calls this breaker by `number` from now on.
    fn watch(&self, _number: u64) {}

    /// Replaces `old` by `new` at `index`.
    ///
    /// # Errors
    /// The word that stands there instead of `old`.
    fn compare_exchange(&self, index: usize, old: u64, new: u64) -> Result<(), u64>;
}

/// Makes of a word what `next` says, however often others change it meanwhile; gives the new word. None
/// where `next` gives none.
#[inline]
pub(crate) fn update(
    words: &dyn Words,
    index: usize,
    next: impl Fn(u64) -> Option<u64>,
) -> Option<u64> {
    let mut old = words.load(index);
    loop {
        let new = next(old)?;
        match words.compare_exchange(index, old, new) {
            Ok(()) => return Some(new),
            // Words that hold nothing: then nothing is shared, and nobody is in the way.
            Err(actual) if actual == old => return Some(new),
            Err(actual) => old = actual,
        }
    }
}

/// Whether a breaker whose words are these has nothing to lose: it is closed, without a failure since
/// the last success. A board that needs room may forget it, as a table of scopes forgets its idle
/// ones. An empty slice counts as a breaker that never changed. The words of other mechanisms mean
/// something else.
pub fn is_at_rest(words: &[u64]) -> bool {
    let word = words.first().copied().unwrap_or(0);
    let record = Record::unpack(word, &Record::NEW, &Trip::default());
    record.phase == Phase::Closed { streak: 0 }
}
