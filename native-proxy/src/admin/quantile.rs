//! Quantiles of durations that were counted in buckets.

use crate::worker::Histogram;
use bimetal_core::metric::DURATION_BOUNDS;

/// The duration in milliseconds that a `share` of all did not take longer than: within its bucket as if they lay
/// evenly, as Prometheus' `histogram_quantile` does. None without any; the last bound where it lies beyond.
pub(super) fn of(histogram: &Histogram, share: f64) -> Option<f64> {
    let all: u64 = histogram.counts.iter().sum();
    if all == 0 {
        return None;
    }
    let wanted = share * all as f64;
    let (mut below, mut from) = (0.0, 0.0);
    for ((bound, _), count) in DURATION_BOUNDS.iter().zip(histogram.counts) {
        let to = bound.as_secs_f64() * 1e3;
        let count = count as f64;
        if count > 0.0 && below + count >= wanted {
            return Some(rounded(from + (to - from) * (wanted - below) / count));
        }
        (below, from) = (below + count, to);
    }
    Some(rounded(from))
}

/// To three digits: more would seem to be known.
fn rounded(millis: f64) -> f64 {
    if millis <= 0.0 {
        return 0.0;
    }
    let digits = 10_f64.powf(2.0 - millis.log10().floor());
    (millis * digits).round() / digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use bimetal_core::Duration;

    fn histogram(millis: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        millis.iter().for_each(|one| histogram.record(Duration::from_millis(*one)));
        histogram
    }

    #[test]
    fn it_lies_in_the_bucket_that_holds_it() {
        assert_eq!(of(&Histogram::default(), 0.5), None);
        // Bounds of 2.5 and 5 ms are next to each other.
        let all = histogram(&[3, 3, 3, 3]);
        assert_eq!([of(&all, 0.5), of(&all, 1.0)], [Some(3.75), Some(5.0)]);
        let far = histogram(&[3, 3, 3, 1_000_000]);
        assert_eq!(of(&far, 0.99), Some(10_000.0));
        assert_eq!(of(&histogram(&[0]), 0.5), Some(0.125));
    }

    #[test]
    fn three_digits_are_told() {
        assert_eq!([1234.5, 0.123_456, 9.999, 0.0].map(rounded), [1230.0, 0.123, 10.0, 0.0]);
    }
}
