//! The streaming z-score: how many deviations a sample lies from the mean of the last ones.
//!
//! The rule of the load-analytics service: a rolling window of 50, the judged sample included, the
//! sample's deviation (n − 1), a deviation of 0 gives 0, and |z| > 2 is an anomaly. With the sample
//! in its own window |z| cannot exceed (n − 1)/√n, which is 6.93 for 50.

use alloc::boxed::Box;
use alloc::vec;

/// A rolling z-score. It allocates when it is built, and never again.
#[derive(Clone, Debug)]
pub struct ZScore {
    window: Box<[f64]>,
    next: usize,
    filled: usize,
}

/// What the window says, the last sample included.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ZReading {
    /// The window's mean.
    pub mean: f64,
    /// The window's deviation (n − 1); 0 for fewer than two samples.
    pub deviation: f64,
    /// How many deviations the last sample lies from the mean; 0 where the deviation is 0.
    pub z: f64,
}

impl ZReading {
    /// What `window` says of `judged`, which is one of its samples. All are finite.
    pub fn of(window: &[f64], judged: f64) -> Self {
        // Summed anew each time: running sums lose their digits when large samples leave the window.
        // Sums are of shares of the largest sample, so that none overflows.
        let largest = window.iter().fold(0.0_f64, |most, sample| most.max(sample.abs()));
        if largest == 0.0 {
            return Self::default();
        }
        let count = window.len() as f64;
        let mean = window.iter().map(|sample| sample / largest).sum::<f64>() / count;
        let squares = window.iter().map(|sample| {
            let off = sample / largest - mean;
            off * off
        });
        let variance = if window.len() > 1 { squares.sum::<f64>() / (count - 1.0) } else { 0.0 };
        let deviation = libm::sqrt(variance);
        // Equal samples may differ from their mean by its rounding.
        let is_flat = deviation <= 4.0 * f64::EPSILON;
        Self {
            mean: mean * largest,
            deviation: if is_flat { 0.0 } else { (deviation * largest).min(f64::MAX) },
            z: if is_flat { 0.0 } else { (judged / largest - mean) / deviation },
        }
    }

    /// Whether |z| is above `threshold`.
    pub fn is_beyond(&self, threshold: f64) -> bool {
        self.z.abs() > threshold
    }
}

impl Default for ZScore {
    fn default() -> Self {
        Self::new(Self::WINDOW)
    }
}

impl ZScore {
    /// The window of the load-analytics service.
    pub const WINDOW: usize = 50;
    /// Its threshold for |z|.
    pub const THRESHOLD: f64 = 2.0;

    /// An empty window of the last `window` samples (at least 1).
    pub fn new(window: usize) -> Self {
        Self { window: vec![0.0; window.max(1)].into_boxed_slice(), next: 0, filled: 0 }
    }

    /// Takes a sample in and judges it. A sample that is not finite is left out: `None`.
    pub fn observe(&mut self, value: f64) -> Option<ZReading> {
        if !value.is_finite() {
            return None;
        }
        if let Some(place) = self.window.get_mut(self.next) {
            *place = value;
        }
        self.next = if self.next + 1 == self.window.len() { 0 } else { self.next + 1 };
        self.filled = self.window.len().min(self.filled + 1);
        // Until the window is full its samples lie at its beginning.
        Some(ZReading::of(self.window.get(..self.filled).unwrap_or_default(), value))
    }

    /// How many samples the window holds.
    pub const fn len(&self) -> usize {
        self.filled
    }

    /// Whether no sample has been taken in.
    pub const fn is_empty(&self) -> bool {
        self.filled == 0
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    #[test]
    fn judges_by_hand_computed_figures() {
        // 1, 2, 3, 4, 10: mean 4, squares 9+4+1+0+36 = 50, n − 1 = 4, deviation √12.5.
        let mut score = ZScore::new(5);
        let last = [1.0, 2.0, 3.0, 4.0, 10.0].map(|value| score.observe(value).unwrap())[4];
        assert!((last.mean - 4.0).abs() < 1e-12);
        assert!((last.deviation - 12.5_f64.sqrt()).abs() < 1e-12);
        assert!((last.z - 6.0 / 12.5_f64.sqrt()).abs() < 1e-12);
        // The 1 leaves: 2, 3, 4, 10, 1 has the same figures, and 1 lies below.
        let next = score.observe(1.0).unwrap();
        assert!((next.z + 3.0 / 12.5_f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn no_deviation_gives_zero() {
        let mut score = ZScore::default();
        for _ in 0..60 {
            assert_eq!(score.observe(0.1).unwrap().z, 0.0);
        }
        assert_eq!(ZScore::new(3).observe(7.0), Some(ZReading { mean: 7.0, ..Default::default() }));
    }

    #[test]
    fn the_threshold_itself_is_no_anomaly() {
        let at = |z| ZReading { z, ..ZReading::default() }.is_beyond(ZScore::THRESHOLD);
        assert!(!at(2.0) && !at(-2.0) && at(2.000_001) && at(-2.000_001));
    }

    proptest! {
        #[test]
        fn equals_the_textbook(
            values in prop::collection::vec(-1e6_f64..1e6, 2..200),
            window in 2_usize..60,
        ) {
            let mut score = ZScore::new(window);
            for (index, value) in values.iter().enumerate() {
                let reading = score.observe(*value).unwrap();
                let from = (index + 1).saturating_sub(window);
                let held: Vec<f64> = values[from..=index].to_vec();
                let mean = held.iter().sum::<f64>() / held.len() as f64;
                let squares: f64 = held.iter().map(|x| (x - mean) * (x - mean)).sum();
                if held.len() > 1 {
                    let deviation = (squares / (held.len() - 1) as f64).sqrt();
                    prop_assert!((reading.z - (value - mean) / deviation).abs() < 1e-6);
                    prop_assert!(reading.z.abs() <= 6.94_f64.max(window as f64));
                }
            }
        }

        #[test]
        fn any_number_gives_a_number(values: Vec<f64>, window in 0_usize..10) {
            let mut score = ZScore::new(window);
            for value in values {
                match score.observe(value) {
                    Some(reading) => prop_assert!(
                        reading.z.is_finite() && reading.mean.is_finite()
                            && reading.deviation.is_finite()
                    ),
                    None => prop_assert!(!value.is_finite()),
                }
            }
        }
    }
}
