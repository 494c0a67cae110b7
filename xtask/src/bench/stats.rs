//! What many short measurements say together: medians, and how sure a difference is.

use fastrand::Rng;

/// Resamples of a bootstrap.
const RESAMPLES: usize = 2_000;

/// A value with the interval it lies in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The middle.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Estimate {
    /// Median, smallest and largest of `values`; all NaN where there are none.
    pub fn spread(values: &[f64]) -> Self {
        let sorted = sorted(values);
        Self {
            value: median(values),
            low: sorted.first().copied().unwrap_or(f64::NAN),
            high: sorted.last().copied().unwrap_or(f64::NAN),
        }
    }

    /// Median of `values` and its 95 % interval by the percentile bootstrap (Efron 1979): the
    /// middle 95 % of the medians of samples drawn from `values` with replacement.
    pub fn bootstrap(values: &[f64], rng: &mut Rng) -> Self {
        if values.is_empty() {
            return Self::spread(values);
        }
        let mut medians: Vec<f64> = (0..RESAMPLES)
            .map(|_| {
                let draw: Vec<f64> =
                    (0..values.len()).map(|_| values[rng.usize(..values.len())]).collect();
                median(&draw)
            })
            .collect();
        medians.sort_by(f64::total_cmp);
        let at = |share: f64| medians[((RESAMPLES - 1) as f64 * share).round() as usize];
        Self { value: median(values), low: at(0.025), high: at(0.975) }
    }

    /// Whether `value` lies within the interval.
    pub fn holds(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }
}

/// The middle of `values`, the mean of both middles where their number is even; NaN of none.
pub fn median(values: &[f64]) -> f64 {
    let sorted = sorted(values);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => f64::NAN,
        (count, half) if count % 2 == 1 => sorted[half],
        (_, half) => (sorted[half - 1] + sorted[half]) / 2.0,
    }
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
        let spread = Estimate::spread(&[3.0, 1.0, 2.0]);
        assert_eq!((spread.low, spread.value, spread.high), (1.0, 2.0, 3.0));
    }

    #[test]
    fn the_same_seed_gives_the_same_interval() {
        let values = [1.0, 5.0, 2.0, 8.0, 3.0, 4.0];
        let once = Estimate::bootstrap(&values, &mut Rng::with_seed(7));
        assert_eq!(once, Estimate::bootstrap(&values, &mut Rng::with_seed(7)));
        assert!(once.low >= 1.0 && once.high <= 8.0 && once.low < once.high);
    }

    /// Of many samples whose true median is 0, about 95 % of the intervals must hold it. Twenty
    /// values a sample, as the A/B runs have; the percentile bootstrap is a little short there.
    #[test]
    fn intervals_hold_the_truth_as_often_as_they_say() {
        let mut rng = Rng::with_seed(1);
        let runs = 100;
        let held = (0..runs)
            .filter(|_| {
                let values: Vec<f64> =
                    (0..20).map(|_| (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0).collect();
                Estimate::bootstrap(&values, &mut rng).holds(0.0)
            })
            .count();
        let share = held as f64 / f64::from(runs);
        assert!((0.88..=0.995).contains(&share), "{share}");
    }
}
