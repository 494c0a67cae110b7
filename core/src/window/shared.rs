//! A time window that workers share: ten buckets on a board.
//!
//! A worker counts for itself and adds its counts to the shared bucket once per [`INTERVAL`], when
//! it goes on to the next bucket, or on its tick; then it reads what all have counted. So a call
//! costs no write to shared memory, and every worker's window is the merged one but for what the
//! others counted within the last interval.
//!
//! | bits of a bucket | what |
//! |---|---|
//! | 0–17 | calls |
//! | 18–35 | bad ones among them |
//! | 36–51 | number of the bucket since the clock's origin, modulo 2^16 |
//! | 52–63 | the breaker's generation, modulo 2^12 |
//!
//! Number and generation say whether a bucket is of this window at all: nobody has to clear it.

use super::Tally;
use super::buckets::{BUCKETS, is_far_ahead};
use crate::board::{self, Words};
use crate::time::{Duration, Instant};
use alloc::sync::Arc;

/// How long a worker keeps its counts to itself, at most.
pub const INTERVAL: Duration = Duration::from_millis(100);

/// The most that one bucket counts: beyond it the share of the first 262,143 calls stands.
const MOST: u32 = (1 << 18) - 1;

/// One worker's view of a shared time window.
#[derive(Clone, Debug)]
pub struct SharedBuckets {
    words: Arc<dyn Words>,
    first: usize,
    width: u64,
    generation: u32,
    /// Number of the present bucket, and where it ends.
    number: u64,
    ends: Instant,
    /// Counted here in the present bucket and not shown to others yet.
    pending: Tally,
    /// What all have shown, at the last exchange.
    shown: Tally,
    exchanged: Instant,
}

impl SharedBuckets {
    /// A window over `span` on the words from `first` on.
    pub fn new(span: Duration, words: Arc<dyn Words>, first: usize) -> Self {
        Self {
            words,
            first,
            width: (span.as_nanos() / BUCKETS as u64).max(1),
            generation: 0,
            number: 0,
            ends: Instant::ZERO,
            pending: Tally::default(),
            shown: Tally::default(),
            exchanged: Instant::ZERO,
        }
    }

    /// Adds a call and gives the merged tally with it.
    pub fn record(&mut self, now: Instant, bad: bool) -> Tally {
        if now >= self.ends {
            self.exchange(now);
        }
        self.pending.calls += 1;
        self.pending.bad += u32::from(bad);
        // A clock that came back from ahead looks like one that is far on: without an exchange what is
        // counted from then on would be shown to nobody.
        if now.as_nanos().wrapping_sub(self.exchanged.as_nanos()) >= INTERVAL.as_nanos() {
            self.exchange(now);
        }
        self.sum()
    }

    /// The merged tally, as of the last exchange.
    pub fn tally(&self, now: Instant) -> Tally {
        if now < self.ends {
            return self.sum();
        }
        let newest = now.as_nanos() / self.width;
        let all = self.read(newest);
        // What was counted here and not shown yet may still be in the window.
        if newest.saturating_sub(self.number) < BUCKETS as u64 {
            all.plus(self.pending)
        } else {
            all
        }
    }

    /// Shows others what was counted here, and reads what all have counted.
    pub fn exchange(&mut self, now: Instant) {
        if self.pending.calls > 0 {
            self.publish();
        }
        // A clock that ran backwards stays in the newest bucket; not one that came back from far ahead.
        let present = now.as_nanos() / self.width;
        if is_far_ahead(self.number, present) {
            self.number = present;
        }
        self.number = self.number.max(present);
        self.ends = Instant::from_nanos(self.number.saturating_add(1).saturating_mul(self.width));
        self.shown = self.read(self.number);
        self.exchanged = now;
    }

    /// When others should see what was counted here; none where they did.
    pub fn shows_at(&self) -> Option<Instant> {
        (self.pending.calls > 0).then(|| self.exchanged + INTERVAL)
    }

    /// Forgets everything: `generation` begins.
    pub fn clear(&mut self, generation: u32) {
        self.generation = generation;
        self.pending = Tally::default();
        self.shown = Tally::default();
    }

    fn sum(&self) -> Tally {
        self.shown.plus(self.pending)
    }

    fn publish(&mut self) {
        let pending = core::mem::take(&mut self.pending);
        let (index, tag) = (self.index(self.number), self.tag(self.number));
        board::update(&*self.words, index, |old| {
            let counted = if old >> 36 == tag { unpack(old) } else { Tally::default() };
            Some(tag << 36 | pack(add(counted, pending)?))
        });
    }

    fn read(&self, newest: u64) -> Tally {
        let oldest = newest.saturating_sub(BUCKETS as u64 - 1);
        (oldest..=newest).fold(Tally::default(), |sum, number| {
            let word = self.words.load(self.index(number));
            let ours = word >> 36 == self.tag(number);
            let bucket = if ours { unpack(word) } else { Tally::default() };
            Tally { calls: sum.calls + bucket.calls, bad: sum.bad + bucket.bad }
        })
    }

    fn index(&self, number: u64) -> usize {
        self.first + (number % BUCKETS as u64) as usize
    }

    fn tag(&self, number: u64) -> u64 {
        u64::from(self.generation & 0xfff) << 16 | number & 0xffff
    }
}

fn add(one: Tally, other: Tally) -> Option<Tally> {
    let calls = one.calls.checked_add(other.calls).filter(|calls| *calls <= MOST)?;
    Some(Tally { calls, bad: one.bad + other.bad })
}

fn pack(tally: Tally) -> u64 {
    u64::from(tally.calls) | u64::from(tally.bad) << 18
}

const fn unpack(word: u64) -> Tally {
    Tally { calls: word as u32 & MOST, bad: (word >> 18) as u32 & MOST }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::AtomicWords;

    #[test]
    fn what_is_counted_after_a_clock_came_back_is_shown() {
        for ahead in [Duration::from_secs(3_600), Duration::MAX] {
            let words: Arc<dyn Words> = Arc::new(AtomicWords::new(BUCKETS));
            let new = || SharedBuckets::new(Duration::from_secs(10), words.clone(), 0);
            let (mut one, other) = (new(), new());
            one.record(Instant::ZERO + ahead, true);
            // The first call afterwards finds it.
            for millis in [5_000, 5_050, 5_150] {
                one.record(Instant::from_millis(millis), true);
            }
            assert_eq!(other.tally(Instant::from_millis(5_150)).calls, 2, "{ahead} ahead");
        }
    }

    #[test]
    fn a_clock_at_its_end_does_not_overflow() {
        let words: Arc<dyn Words> = Arc::new(AtomicWords::new(BUCKETS));
        let mut window = SharedBuckets::new(Duration::from_nanos(1), words, 0);
        let tally = window.record(Instant::FAR_FUTURE, true);
        assert_eq!(tally, Tally { calls: 1, bad: 1 });
        assert_eq!(window.tally(Instant::FAR_FUTURE), tally);
    }
}
