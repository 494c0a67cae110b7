//! Durations in buckets.

use bimetal_core::Duration;
use bimetal_core::metric::DURATION_BOUNDS;

/// A count of durations by bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Histogram {
    /// Durations up to and including each of [`DURATION_BOUNDS`] and above the one before; then all longer.
    pub counts: [u64; DURATION_BOUNDS.len() + 1],
    /// Sum of all durations in nanoseconds.
    pub sum: u64,
}

impl Histogram {
    /// Counts one duration.
    pub(crate) fn record(&mut self, duration: Duration) {
        let place = DURATION_BOUNDS.iter().take_while(|(bound, _)| duration > *bound).count();
        self.counts[place] += 1;
        self.sum = self.sum.saturating_add(duration.as_nanos());
    }

    /// Adds what another worker counted.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine += theirs;
        }
        self.sum = self.sum.saturating_add(other.sum);
    }

    /// What was counted since `before`, which is of the same histogram.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let mut since = self.clone();
        for (mine, theirs) in since.counts.iter_mut().zip(before.counts) {
            *mine = mine.saturating_sub(theirs);
        }
        since.sum = since.sum.saturating_sub(before.sum);
        since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let mut histogram = Histogram::default();
        for nanos in [0, 250_000, 250_001, 10_000_000_000, 10_000_000_001] {
            histogram.record(Duration::from_nanos(nanos));
        }
        let last = DURATION_BOUNDS.len();
        assert_eq!([histogram.counts[0], histogram.counts[1]], [2, 1]);
        assert_eq!([histogram.counts[last - 1], histogram.counts[last]], [1, 1]);
    }
}
