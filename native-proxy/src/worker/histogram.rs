//! Durations in buckets.

use bimetal_core::Duration;

/// Upper bounds of the buckets in nanoseconds, each with its text in seconds. The last bucket, for
/// all else, has none.
pub(crate) const BOUNDS: [(u64, &str); 15] = [
    (250_000, "0.00025"),
    (500_000, "0.0005"),
    (1_000_000, "0.001"),
    (2_500_000, "0.0025"),
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (25_000_000, "0.025"),
    (50_000_000, "0.05"),
    (100_000_000, "0.1"),
    (250_000_000, "0.25"),
    (500_000_000, "0.5"),
    (1_000_000_000, "1"),
    (2_500_000_000, "2.5"),
    (5_000_000_000, "5"),
    (10_000_000_000, "10"),
];

/// A count of durations by bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Histogram {
    /// Durations up to and including each of [`BOUNDS`] and above the one before; then all longer.
    pub counts: [u64; BOUNDS.len() + 1],
    /// Sum of all durations in nanoseconds.
    pub sum: u64,
}

impl Histogram {
    /// Counts one duration.
    pub(crate) fn record(&mut self, duration: Duration) {
        let nanos = duration.as_nanos();
        let place = BOUNDS.iter().take_while(|(bound, _)| nanos > *bound).count();
        self.counts[place] += 1;
        self.sum = self.sum.saturating_add(nanos);
    }

    /// Adds what another worker counted.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine += theirs;
        }
        self.sum = self.sum.saturating_add(other.sum);
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
        let last = BOUNDS.len();
        assert_eq!([histogram.counts[0], histogram.counts[1]], [2, 1]);
        assert_eq!([histogram.counts[last - 1], histogram.counts[last]], [1, 1]);
    }
}
