//! Whether one sample is unlike those before it, robustly.
//!
//! A mean and a deviation are drawn towards the very outliers that they shall tell. Here the window
//! of the last 50 samples, the judged one excluded, gives a line through the medians of its two
//! halves (so that a slope, such as the flank of a daily curve, is no surprise) and the median
//! distance from that line (MAD; Hampel, "The influence curve and its role in robust estimation",
//! 1974). Nearly half of a half may be outliers before the line follows them.

use super::within_range;

/// How many samples each half holds.
const HALF: usize = 25;
const WINDOW: usize = 2 * HALF;
/// Fewer samples than these judge nothing.
const LEAST: usize = 16;
/// A Gaussian's deviation in median distances.
const DEVIATION_IN_MADS: f64 = 1.4826;
/// Where half of the window is one value, the MAD is 0. The mean distance, this share of it, is the
/// least that stands for a deviation.
const MEAN_SHARE: f64 = 0.3;
/// Differences below this share of the value are rounding.
const ROUNDING: f64 = 1e-9;
/// So many samples on end beyond the threshold and on one side are a new level, learnt anew.
const NEW_LEVEL: usize = 5;

/// A robust judge of single samples: fixed size, no allocation.
#[derive(Clone, Debug)]
pub struct Outlier {
    window: [f64; WINDOW],
    next: usize,
    filled: usize,
    /// Samples on end beyond the threshold, all on one side.
    streak: usize,
    above: bool,
}

/// What the window lets expect of a sample, and how far from that it is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OutlierReading {
    /// What was expected.
    pub expected: f64,
    /// The robust deviation: that of a Gaussian with the same median distance.
    pub deviation: f64,
    /// How many of these lie between the sample and what was expected, with its sign.
    pub distance: f64,
}

impl Default for Outlier {
    fn default() -> Self {
        Self::new()
    }
}

impl Outlier {
    /// The distance beyond which a sample is an outlier: about one Gaussian sample in 10⁵, and 1 % of
    /// those of Student's t with 3 degrees of freedom.
    pub const THRESHOLD: f64 = 5.0;
    /// The largest distance that is told.
    pub const FARTHEST: f64 = 1e6;
    /// How many samples its window holds.
    pub const WINDOW: usize = WINDOW;

    /// A judge that has seen nothing.
    pub const fn new() -> Self {
        Self { window: [0.0; WINDOW], next: 0, filled: 0, streak: 0, above: false }
    }

    /// How many robust deviations `value` lies from what the window lets expect, with its sign, within
    /// ±10⁶; 0 while the window is short. Then takes it in. `None` for a value that is not finite.
    pub fn observe(&mut self, value: f64) -> Option<f64> {
        self.read(value).map(|reading| reading.distance)
    }

    /// The same with what was expected. While the window is short that is the value itself.
    pub fn read(&mut self, value: f64) -> Option<OutlierReading> {
        let value = within_range(value)?;
        let reading = if self.filled < LEAST {
            OutlierReading { expected: value, ..OutlierReading::default() }
        } else {
            self.reading(value)
        };
        self.count(reading.distance);
        if let Some(place) = self.window.get_mut(self.next) {
            *place = value;
        }
        self.next = (self.next + 1) % WINDOW;
        self.filled = WINDOW.min(self.filled + 1);
        if self.streak == NEW_LEVEL {
            // What came before the streak is another level's.
            self.filled = NEW_LEVEL;
            self.streak = 0;
        }
        Some(reading)
    }

    fn count(&mut self, distance: f64) {
        let above = distance > 0.0;
        if distance.abs() <= Self::THRESHOLD {
            self.streak = 0;
        } else if above == self.above {
            self.streak += 1;
        } else {
            (self.streak, self.above) = (1, above);
        }
    }

    fn reading(&self, value: f64) -> OutlierReading {
        let half = self.filled / 2;
        let (mut older, mut newer) = ([0.0; HALF], [0.0; HALF]);
        for (place, held) in older.iter_mut().zip(self.last(2 * half)).take(half) {
            *place = held;
        }
        for (place, held) in newer.iter_mut().zip(self.last(half)) {
            *place = held;
        }
        let before = median(&mut older, half);
        let now = median(&mut newer, half);
        let slope = (now - before) / half as f64;
        // The newer half's median stands for its middle; the judged sample comes after its end.
        let middle = (half as f64 + 1.0) / 2.0;
        let expected = |ago: usize| now + slope * (middle - ago as f64);
        let mut distances = [0.0; WINDOW];
        let mut sum = 0.0;
        let count = 2 * half;
        for (index, (place, held)) in distances.iter_mut().zip(self.last(count)).enumerate() {
            *place = (held - expected(count - index)).abs();
            sum += *place;
        }
        let mean = sum / count as f64;
        let deviation = (DEVIATION_IN_MADS * median(&mut distances, count)).max(MEAN_SHARE * mean);
        let expected = expected(0);
        let rounding = ROUNDING * (1.0e-9 + value.abs().max(now.abs()));
        let deviation = deviation.max(rounding);
        let distance = ((value - expected) / deviation).clamp(-Self::FARTHEST, Self::FARTHEST);
        OutlierReading { expected, deviation, distance }
    }

    /// The last `count` samples, oldest first.
    fn last(&self, count: usize) -> impl Iterator<Item = f64> + '_ {
        let from = self.next + WINDOW - count;
        (from..from + count).filter_map(|at| self.window.get(at % WINDOW).copied())
    }
}

/// The upper median of the first `count` values, which it reorders.
fn median(values: &mut [f64], count: usize) -> f64 {
    match values.get_mut(..count) {
        Some(held) if !held.is_empty() => *held.select_nth_unstable_by(count / 2, f64::total_cmp).1,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::rng::Rng;
    use proptest::prelude::*;

    /// Sum of uniform numbers, close to a Gaussian of deviation 1.
    fn noise(rng: &mut Rng) -> f64 {
        (0..12).map(|_| rng.next_share()).sum::<f64>() - 6.0
    }

    fn outliers(values: impl Iterator<Item = f64>) -> usize {
        let mut judge = Outlier::new();
        values.filter(|value| judge.observe(*value).unwrap().abs() > Outlier::THRESHOLD).count()
    }

    #[test]
    fn peaks_do_not_hide_each_other() {
        let mut rng = Rng::new(1);
        // Every tenth sample is a peak: the z-score's deviation would grow to three, and |z| with it
        // shrink to three.
        let peaks = outliers(
            (0..1_000).map(|index| noise(&mut rng) + if index % 10 == 9 { 10.0 } else { 0.0 }),
        );
        assert!((96..=99).contains(&peaks), "{peaks}");
    }

    #[test]
    fn a_steep_flank_neither_surprises_nor_hides() {
        let mut rng = Rng::new(2);
        let flank = |index: u32, noise: f64| f64::from(index) + noise;
        assert!(outliers((0..5_000).map(|index| flank(index, noise(&mut rng)))) <= 1);
        let with_peaks =
            |index: u32| flank(index, noise(&mut rng)) + if index % 20 == 19 { 25.0 } else { 0.0 };
        let peaks = outliers((0..1_000).map(with_peaks));
        assert!((45..=50).contains(&peaks), "{peaks} of 50");
    }

    #[test]
    fn a_new_level_is_told_at_once_and_then_learnt() {
        let mut rng = Rng::new(3);
        let told =
            outliers((0..400).map(|index| noise(&mut rng) + if index >= 200 { 50.0 } else { 0.0 }));
        assert_eq!(told, NEW_LEVEL);
    }

    #[test]
    fn one_other_value_among_equal_ones_is_far_out() {
        let mut judge = Outlier::new();
        for _ in 0..60 {
            assert_eq!(judge.observe(3.0), Some(0.0));
        }
        assert_eq!(judge.observe(3.1), Some(Outlier::FARTHEST));
        assert_eq!(judge.observe(3.0), Some(0.0));
    }

    #[test]
    fn equal_values_never_differ_from_themselves_by_rounding() {
        let mut judge = Outlier::new();
        for index in 0..200 {
            let value = 1e9 / 3.0 + if index % 2 == 0 { 1e-7 } else { 0.0 };
            assert!(judge.observe(value).unwrap().abs() < Outlier::THRESHOLD);
        }
    }

    proptest! {
        #[test]
        fn any_number_gives_a_number(values in prop::collection::vec(any::<f64>(), 0..300)) {
            let mut judge = Outlier::new();
            for value in values {
                match judge.observe(value) {
                    Some(distance) => prop_assert!(distance.abs() <= Outlier::FARTHEST),
                    None => prop_assert!(!value.is_finite()),
                }
            }
        }

        #[test]
        fn knows_neither_unit_nor_origin(
            values in prop::collection::vec(-100.0_f64..100.0, 20..120),
            unit in 0.01_f64..100.0,
            origin in -1e3_f64..1e3,
        ) {
            let (mut one, mut other) = (Outlier::new(), Outlier::new());
            for value in values {
                let (a, b) = (one.observe(value).unwrap(), other.observe(unit * value + origin).unwrap());
                prop_assert!((a - b).abs() <= 1e-3 * (1.0 + a.abs()), "{a} {b}");
            }
        }
    }
}
