//! The last T in ten buckets (Hystrix' rolling window): memory and cost do not depend on the load.
//!
//! Buckets lie on multiples of T/10 of the host's clock, so the windows of several workers have
//! the same borders and can be merged bucket by bucket. The window so spans between 0.9 T and T.

use super::Tally;
use crate::time::{Duration, Instant};

/// How many buckets a window has: its resolution is a tenth of its length.
pub(crate) const BUCKETS: usize = 10;

/// Whether `newest` is a bucket that a clock made which was far ahead and came back: at the `present` one
/// nothing in the window would ever get old.
pub(super) const fn is_far_ahead(newest: u64, present: u64) -> bool {
    newest > present.saturating_add(BUCKETS as u64)
}

/// Counts of the last T.
#[derive(Clone, Debug)]
pub struct TimeBuckets {
    buckets: [Tally; BUCKETS],
    sum: Tally,
    /// Number of the newest bucket since the clock's origin.
    newest: u64,
    /// Where the newest bucket ends: before it, nothing has to be moved or divided.
    ends: Instant,
    width: u64,
}

impl TimeBuckets {
    /// An empty window over `span`, which should be at least 10 ns.
    pub fn new(span: Duration) -> Self {
        Self {
            buckets: [Tally::default(); BUCKETS],
            sum: Tally::default(),
            newest: 0,
            ends: Instant::ZERO,
            width: (span.as_nanos() / BUCKETS as u64).max(1),
        }
    }

    /// Adds a call. A clock that ran backwards adds to the newest bucket.
    pub fn record(&mut self, now: Instant, bad: bool) -> Tally {
        self.advance(now);
        let bad = u32::from(bad);
        if let Some(bucket) = self.buckets.get_mut((self.newest % BUCKETS as u64) as usize) {
            // Saturating together: 4 billion calls in a tenth of a window is not a real load, but
            // it must not make the sum and its parts disagree.
            if self.sum.calls < u32::MAX {
                bucket.calls += 1;
                bucket.bad += bad;
                self.sum.calls += 1;
                self.sum.bad += bad;
            }
        }
        self.sum
    }

    /// The tally now: what left the window since the last call is not in it.
    pub fn tally(&self, now: Instant) -> Tally {
        if now < self.ends {
            return self.sum;
        }
        let gone = (now.as_nanos() / self.width).saturating_sub(self.newest);
        let mut tally = self.sum;
        for step in 1..=gone.min(BUCKETS as u64) {
            let index = ((self.newest + step) % BUCKETS as u64) as usize;
            if let Some(bucket) = self.buckets.get(index) {
                tally.calls -= bucket.calls;
                tally.bad -= bucket.bad;
            }
        }
        tally
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.buckets = [Tally::default(); BUCKETS];
        self.sum = Tally::default();
    }

    /// Begins anew where the clock came back from far ahead.
    pub fn come_back(&mut self, now: Instant) {
        if is_far_ahead(self.newest, now.as_nanos() / self.width) {
            *self = Self::new(Duration::from_nanos(self.width.saturating_mul(BUCKETS as u64)));
        }
    }

    /// How long a bucket is, how long ago the newest one began, and the counts, the newest first.
    pub(super) fn buckets(&mut self, now: Instant) -> (Duration, Duration, [Tally; BUCKETS]) {
        self.advance(now);
        let began = Instant::from_nanos(self.newest.saturating_mul(self.width));
        let counts = core::array::from_fn(|ago| {
            let number = self.newest.checked_sub(ago as u64)?;
            self.buckets.get((number % BUCKETS as u64) as usize).copied()
        });
        let counts = counts.map(Option::unwrap_or_default);
        (Duration::from_nanos(self.width), now.since(began), counts)
    }

    fn advance(&mut self, now: Instant) {
        if now < self.ends {
            return;
        }
        let current = now.as_nanos() / self.width;
        let gone = current.saturating_sub(self.newest);
        for step in 1..=gone.min(BUCKETS as u64) {
            let index = ((self.newest + step) % BUCKETS as u64) as usize;
            if let Some(bucket) = self.buckets.get_mut(index) {
                self.sum.calls -= bucket.calls;
                self.sum.bad -= bucket.bad;
                *bucket = Tally::default();
            }
        }
        self.newest = current;
        self.ends = Instant::from_nanos(current.saturating_add(1).saturating_mul(self.width));
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    const BAD: bool = true;
    const GOOD: bool = false;

    proptest! {
        #[test]
        fn equals_a_list_of_calls(steps in prop::collection::vec((0_u64..400, any::<bool>()), 0..200)) {
            let (span, width) = (1_000, 100);
            let mut window = TimeBuckets::new(Duration::from_nanos(span));
            let mut calls: Vec<(u64, bool)> = Vec::new();
            let mut now = 0;
            for (gap, bad) in steps {
                now += gap;
                let oldest = (now / width).saturating_sub(BUCKETS as u64 - 1);
                let expect = |calls: &[(u64, bool)]| {
                    let inside = calls.iter().filter(|(at, _)| at / width >= oldest);
                    Tally {
                        calls: inside.clone().count() as u32,
                        bad: inside.filter(|(_, bad)| *bad).count() as u32,
                    }
                };
                prop_assert_eq!(window.tally(Instant::from_nanos(now)), expect(&calls));
                calls.push((now, bad));
                prop_assert_eq!(window.record(Instant::from_nanos(now), bad), expect(&calls));
            }
        }
    }

    #[test]
    fn a_clock_that_runs_backwards_loses_nothing() {
        let mut window = TimeBuckets::new(Duration::from_secs(1));
        window.record(Instant::from_millis(5_000), BAD);
        let tally = window.record(Instant::from_millis(1_000), GOOD);
        assert_eq!(tally, Tally { calls: 2, bad: 1 });
    }

    #[test]
    fn a_clock_that_came_back_from_far_ahead_begins_anew() {
        let mut window = TimeBuckets::new(Duration::from_secs(1));
        window.record(Instant::FAR_FUTURE, BAD);
        window.come_back(Instant::FAR_FUTURE);
        assert_eq!(window.tally(Instant::FAR_FUTURE), Tally { calls: 1, bad: 1 });
        window.come_back(Instant::from_millis(1_000));
        window.record(Instant::from_millis(1_000), GOOD);
        assert_eq!(window.tally(Instant::from_millis(1_000)), Tally { calls: 1, bad: 0 });
        assert_eq!(window.tally(Instant::from_millis(3_000)), Tally::default());
    }

    #[test]
    fn counts_stop_at_their_end_together() {
        let mut window = TimeBuckets::new(Duration::from_secs(1));
        window.record(Instant::ZERO, BAD);
        window.sum.calls = u32::MAX;
        let full = Tally { calls: u32::MAX, bad: 1 };
        assert_eq!(window.record(Instant::ZERO, BAD), full);
    }

    #[test]
    fn a_clock_at_its_end_does_not_overflow() {
        for span in [Duration::from_nanos(1), Duration::from_secs(1)] {
            let mut window = TimeBuckets::new(span);
            window.record(Instant::FAR_FUTURE, BAD);
            assert_eq!(window.tally(Instant::FAR_FUTURE), Tally { calls: 1, bad: 1 });
        }
    }
}
