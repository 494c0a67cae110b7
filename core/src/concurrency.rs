//! A limit of calls under way at once, in one scope.
//!
//! A call takes a slot when it is admitted and gives it back when it is settled. How many are taken is the
//! whole state; how many there may be belongs to whoever asks. So a changed limit holds at once, and
//! nothing begins anew for it. The limit may be one that [finds itself](adaptive), and calls that find no
//! slot may [wait](queue) for one.
//!
//! One worker counts for itself. Where the workers of a process share the limit the count is a word on the
//! [board], which a compare-and-swap changes: exact, however many ask at once. The same word counts the
//! calls that wait, so that whoever gives a slot back cannot miss one that began to wait meanwhile. Where a
//! change of the word is too dear a worker [leases](leased) slots.

pub mod adaptive;
pub mod leased;
pub mod queue;

use crate::board::account::Account;
use crate::board::{self, Words};
use crate::time::{Duration, Instant};
use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use leased::LeasedSlots;

/// The calls under way in one scope, as one worker sees them.
#[derive(Debug, Default)]
pub struct Concurrency {
    /// Where the workers share them.
    shared: Option<Shared>,
    /// Slots that calls of this worker have.
    taken: u32,
    /// Calls of this worker that wait for one.
    waiting: u32,
}

/// How slots are shared.
#[derive(Debug)]
enum Shared {
    /// By the word that counts all that are taken.
    Words(Arc<dyn Words>),
    /// Each worker leases some.
    Leased(Box<LeasedSlots>),
}

/// Why a call is turned away: as many are under way as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied {
    /// How many may be.
    pub max: u32,
    /// How long the call waited for one of them to end, in whole milliseconds.
    pub waited_ms: u32,
}

impl Denied {
    /// Of a call that has waited for so long.
    pub(crate) fn after(max: u32, waited: Duration) -> Self {
        Self { max, waited_ms: u32::try_from(waited.as_millis()).unwrap_or(u32::MAX) }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.max {
            1 => f.write_str("1 call under way, and no more may be")?,
            max => write!(f, "{max} calls under way, and no more may be")?,
        }
        match self.waited_ms {
            0 => Ok(()),
            waited => write!(f, "; waited {waited}ms"),
        }
    }
}

/// The shared word: slots that are taken, and calls that wait for one.
#[derive(Clone, Copy, Debug)]
struct Count {
    taken: u32,
    waiting: u32,
}

impl Count {
    const fn unpack(word: u64) -> Self {
        Self { taken: word as u32, waiting: (word >> 32) as u32 }
    }

    const fn pack(self) -> u64 {
        (self.waiting as u64) << 32 | self.taken as u64
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
        Self { shared: Some(Shared::Words(words)), taken: 0, waiting: 0 }
    }

    /// One worker's part of a limit whose slots are leased from `account`. A call has to be
    /// [prepared](Concurrency::prepare), a slot that came back [released](Concurrency::release), and the
    /// lease [renewed](Concurrency::renew) several times in [`LIFE`](leased::LIFE).
    pub fn leased(account: Arc<dyn Account>) -> Self {
        Self { shared: Some(Shared::Leased(Box::new(LeasedSlots::new(account)))), ..Self::new() }
    }

    /// A call is about to ask for one of `max` slots: leases some where none is left.
    #[inline]
    pub fn prepare(&mut self, now: Instant, max: u32) {
        if let Some(Shared::Leased(lease)) = &mut self.shared {
            lease.prepare(now, max, self.taken);
        }
    }

    /// A slot came back, and stays with this worker where it is not too much.
    #[inline]
    pub fn release(&mut self, now: Instant) {
        if let Some(Shared::Leased(lease)) = &mut self.shared {
            lease.release(now, self.taken);
        }
    }

    /// Gives back leased slots that were not used since this was called last, and tells that this worker
    /// still has the others. Whether it has any.
    pub fn renew(&mut self, now: Instant) -> bool {
        match &mut self.shared {
            Some(Shared::Leased(lease)) => lease.renew(now, self.taken),
            _ => false,
        }
    }

    /// Whether slots are leased and nobody looks after them yet; said once.
    pub(crate) fn is_to_be_listed(&mut self) -> bool {
        match &mut self.shared {
            Some(Shared::Leased(lease)) => lease.is_to_be_listed(),
            _ => false,
        }
    }

    /// Whether slots are leased.
    pub const fn is_leased(&self) -> bool {
        matches!(self.shared, Some(Shared::Leased(_)))
    }

    /// Whether what is counted here is of all workers. Where slots are leased each counts its own.
    pub const fn is_shared(&self) -> bool {
        matches!(self.shared, Some(Shared::Words(_)))
    }

    /// Slots that calls of this worker have.
    pub const fn taken(&self) -> u32 {
        self.taken
    }

    /// Slots that are taken, in all workers that count together.
    pub fn all_taken(&self) -> u32 {
        self.count().taken
    }

    /// Whether calls of other workers wait for a slot. Where slots are leased: for one that this worker has
    /// beyond its part.
    pub fn others_wait(&self) -> bool {
        match &self.shared {
            Some(Shared::Leased(lease)) => lease.is_too_much(),
            _ => self.count().waiting > self.waiting,
        }
    }

    fn count(&self) -> Count {
        match &self.shared {
            Some(Shared::Words(words)) => Count::unpack(words.load(0)),
            _ => Count { taken: self.taken, waiting: self.waiting },
        }
    }

    /// Changes the shared count by what `next` says, and nothing where it says none.
    fn update(&self, next: impl Fn(Count) -> Option<Count>) -> Option<Count> {
        match &self.shared {
            Some(Shared::Words(words)) => {
                let next = |word| next(Count::unpack(word)).map(Count::pack);
                board::update(&**words, 0, next).map(Count::unpack)
            }
            _ => next(self.count()),
        }
    }

    /// Takes a slot where fewer than `max` are taken.
    ///
    /// # Errors
    /// There is none free.
    pub fn take(&mut self, max: u32) -> Result<(), Denied> {
        self.take_one(max).map(drop)
    }

    /// The same; gives how many are taken now.
    ///
    /// # Errors
    /// There is none free.
    #[inline]
    pub fn take_one(&mut self, max: u32) -> Result<u32, Denied> {
        let here = self.at_most(max);
        let one_more =
            |Count { taken, waiting }| (taken < here).then(|| Count { taken: taken + 1, waiting });
        let count = self.update(one_more).ok_or(Denied { max, waited_ms: 0 })?;
        self.taken = self.taken.saturating_add(1);
        if let Some(Shared::Leased(lease)) = &mut self.shared {
            lease.took(self.taken);
        }
        Ok(count.taken)
    }

    /// How many slots can be taken here, where there are `max` in all.
    fn at_most(&self, max: u32) -> u32 {
        match &self.shared {
            Some(Shared::Leased(lease)) => lease.slots.min(max),
            _ => max,
        }
    }

    /// The same; where there is none free the call counts as one that waits.
    ///
    /// # Errors
    /// It waits.
    pub fn take_or_wait(&mut self, max: u32) -> Result<u32, Denied> {
        let here = self.at_most(max);
        loop {
            let denied = match self.take_one(max) {
                Ok(taken) => return Ok(taken),
                Err(denied) => denied,
            };
            let one_more = |Count { taken, waiting }| {
                (taken >= here).then(|| Count { taken, waiting: waiting.saturating_add(1) })
            };
            // None: one came free meanwhile.
            if self.update(one_more).is_some() {
                self.waiting = self.waiting.saturating_add(1);
                return Err(denied);
            }
        }
    }

    /// So many calls of this worker wait from now on.
    pub fn waits(&mut self, count: u32) {
        let (before, now) = (self.waiting, count);
        if before == now {
            return;
        }
        self.update(|Count { taken, waiting }| {
            let others = waiting.saturating_sub(before);
            Some(Count { taken, waiting: others.saturating_add(now) })
        });
        self.waiting = now;
    }

    /// Gives a slot back that was taken.
    pub fn give_back(&mut self) {
        self.leave(1, 0);
    }

    fn leave(&mut self, slots: u32, waiting: u32) {
        self.update(|count| {
            Some(Count {
                taken: count.taken.saturating_sub(slots),
                waiting: count.waiting.saturating_sub(waiting),
            })
        });
        self.taken = self.taken.saturating_sub(slots);
        self.waiting = self.waiting.saturating_sub(waiting);
    }
}

/// A worker that ends leaves no slots behind.
impl Drop for Concurrency {
    fn drop(&mut self) {
        if let Some(Shared::Leased(lease)) = &mut self.shared {
            lease.leave();
        } else if self.taken > 0 || self.waiting > 0 {
            self.leave(self.taken, self.waiting);
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
            (Ok(()), Ok(()), Err(Denied { max: 2, waited_ms: 0 }))
        );
        calls.give_back();
        assert_eq!((calls.take(2), calls.taken()), (Ok(()), 2));
        // A lower limit holds at once, a higher one too.
        assert_eq!((calls.take(1), calls.take(3)), (Err(Denied { max: 1, waited_ms: 0 }), Ok(())));
    }

    #[test]
    fn a_denial_can_be_read_aloud() {
        let text = |max| Denied { max, waited_ms: 0 }.to_string();
        assert_eq!(text(1), "1 call under way, and no more may be");
        assert_eq!(text(100), "100 calls under way, and no more may be");
        let waited = Denied::after(5, Duration::from_nanos(70_900_000)).to_string();
        assert_eq!(waited, "5 calls under way, and no more may be; waited 70ms");
    }

    #[test]
    fn replicas_share_the_slots_and_leave_none_behind() {
        let words: Arc<dyn Words> = Arc::new(AtomicWords::new(Concurrency::WORDS));
        let mut one = Concurrency::shared(words.clone());
        let mut other = Concurrency::shared(words.clone());
        assert_eq!((one.take(2), other.take(2)), (Ok(()), Ok(())));
        assert!(one.take(2).is_err() && other.take(2).is_err());
        drop(other);
        assert_eq!((words.load(0), one.take(2)), (1, Ok(())));
    }

    #[test]
    fn replicas_know_of_each_others_waiting_calls() {
        let words: Arc<dyn Words> = Arc::new(AtomicWords::new(Concurrency::WORDS));
        let mut one = Concurrency::shared(words.clone());
        let mut other = Concurrency::shared(words.clone());
        assert_eq!((one.take_or_wait(1), other.take_or_wait(1).is_err()), (Ok(1), true));
        assert_eq!((one.others_wait(), other.others_wait()), (true, false));
        assert_eq!((one.all_taken(), other.all_taken(), other.taken()), (1, 1, 0));
        one.waits(3);
        other.waits(0);
        assert_eq!((one.others_wait(), other.others_wait()), (false, true));
        drop(one);
        assert_eq!((words.load(0), other.others_wait(), other.take_or_wait(1)), (0, false, Ok(1)));
    }

    /// Words of which a slot comes free right behind the first look at them.
    #[derive(Debug)]
    struct Freed(AtomicWords, AtomicWords);

    impl Words for Freed {
        fn load(&self, index: usize) -> u64 {
            if board::update(&self.1, 0, |looks| Some(looks + 1)) == Some(2) {
                board::update(&self.0, 0, |count| Some(count - 1));
            }
            self.0.load(index)
        }

        fn compare_exchange(&self, index: usize, old: u64, new: u64) -> Result<(), u64> {
            self.0.compare_exchange(index, old, new)
        }
    }

    /// Whoever gave it back saw nobody wait, and wakes nobody.
    #[test]
    fn a_slot_that_comes_free_meanwhile_is_not_missed() {
        let words = Freed(AtomicWords::new(1), AtomicWords::new(1));
        board::update(&words.0, 0, |_| Some(1));
        let mut calls = Concurrency::shared(Arc::new(words));
        assert_eq!((calls.take_or_wait(1), calls.others_wait()), (Ok(1), false));
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
        assert_eq!((calls.take(1), calls.take(1)), (Ok(()), Ok(())));
    }
}
