//! Durations in buckets.

use bimetal_core::Duration;
use bimetal_core::metric::DURATION_BOUNDS;
use std::time::SystemTime;

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
        self.counts[bucket(duration)] += 1;
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

/// The bucket of a duration.
fn bucket(duration: Duration) -> usize {
    DURATION_BOUNDS.iter().take_while(|(bound, _)| duration > *bound).count()
}

/// A request that stands for its bucket: whoever sees a slow one can look at its trace (OpenMetrics 1.0,
/// "Exemplars").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exemplar {
    /// Its trace.
    pub trace: [u8; 16],
    /// How long it took.
    pub took: Duration,
    /// When it ended.
    pub at: SystemTime,
}

/// The last recorded request of each bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Exemplars(pub [Option<Exemplar>; DURATION_BOUNDS.len() + 1]);

impl Exemplars {
    /// Takes one in the place of that before.
    pub(crate) fn record(&mut self, exemplar: Exemplar) {
        self.0[bucket(exemplar.took)] = Some(exemplar);
    }

    /// The later ones of this and what another worker has.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            if theirs.map(|one| one.at) > mine.map(|one| one.at) {
                *mine = theirs;
            }
        }
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

    #[test]
    fn of_a_buckets_exemplars_the_last_one_stays() {
        let at = |seconds| SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        let one = |trace, millis, seconds| Exemplar {
            trace: [trace; 16],
            took: Duration::from_millis(millis),
            at: at(seconds),
        };
        let (mut mine, mut theirs) = (Exemplars::default(), Exemplars::default());
        [one(1, 3, 1), one(2, 4, 2), one(3, 20_000, 9)].into_iter().for_each(|e| mine.record(e));
        [one(4, 5, 3), one(5, 20_000, 8)].into_iter().for_each(|e| theirs.record(e));
        mine.merge(&theirs);
        let kept: Vec<_> = mine.0.iter().flatten().map(|kept| kept.trace[0]).collect();
        assert_eq!(kept, [4, 3]);
        assert_eq!(mine.0[4].map(|kept| kept.trace[0]), Some(4));
    }
}
