//! Made observations with a known truth, to hold the statistics against.

use crate::histogram::Times;
use crate::record::{Block, Quantiles, Seen};
use fastrand::Rng;
use std::collections::BTreeMap;
use std::time::Duration;

/// How the logarithm of a pair's ratio is spread around its mean. Each has mean 0 and a deviation
/// of 1, so that intervals can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Gauss.
    Normal,
    /// As likely everywhere within its ends.
    Uniform,
    /// One process in ten has another pace: two peaks.
    TwoPaces,
    /// Now and then a block beside which something else ran: five times the spread.
    Outliers,
    /// Laplace: heavier tails than Gauss.
    Heavy,
    /// A long tail to one side (an exponential distribution), as disturbance of one arm alone
    /// would leave it.
    Skewed,
}

impl Shape {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Normal, Self::Uniform, Self::TwoPaces, Self::Outliers, Self::Heavy, Self::Skewed];

    /// Its name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Uniform => "uniform",
            Self::TwoPaces => "two paces",
            Self::Outliers => "outliers",
            Self::Heavy => "heavy tails",
            Self::Skewed => "skewed",
        }
    }

    /// Whether a value and its opposite are alike likely.
    pub const fn is_symmetric(self) -> bool {
        !matches!(self, Self::Skewed)
    }

    /// One value.
    pub fn draw(self, rng: &mut Rng) -> f64 {
        match self {
            Self::Normal => gauss(rng),
            Self::Uniform => (rng.f64() - 0.5) * 12f64.sqrt(),
            // Of two blocks each is of the other pace by a tenth: −s, 0 and s by 9, 82 and 9 %. The
            // rest of the spread is within a pace; its square and 0.18 s² are 1 together.
            Self::TwoPaces => {
                let pace = |rng: &mut Rng| if rng.f64() < 0.1 { 2.2 } else { 0.0 };
                pace(rng) - pace(rng) + gauss(rng) * (1.0f64 - 0.18 * 2.2 * 2.2).sqrt()
            }
            Self::Outliers => {
                let scale = if rng.f64() < 0.1 { 5.0 } else { 1.0 };
                gauss(rng) * scale / 3.4f64.sqrt()
            }
            Self::Heavy => (exponential(rng) - exponential(rng)) / 2f64.sqrt(),
            Self::Skewed => exponential(rng) - 1.0,
        }
    }
}

/// A standard normal value (Box and Muller 1958).
pub fn gauss(rng: &mut Rng) -> f64 {
    (2.0 * exponential(rng)).sqrt() * (std::f64::consts::TAU * rng.f64()).cos()
}

fn exponential(rng: &mut Rng) -> f64 {
    -(1.0 - rng.f64()).ln()
}

/// A made arm.
#[derive(Clone, Copy, Debug)]
pub struct Made {
    /// What its times are multiplied by.
    pub factor: f64,
    /// How the pace of its processes is spread.
    pub shape: Shape,
    /// The deviation of the logarithm of a process's pace.
    pub between: f64,
    /// Calls of a block.
    pub calls: u32,
}

impl Default for Made {
    /// Processes that differ by about 3 % among themselves.
    fn default() -> Self {
        Self { factor: 1.0, shape: Shape::Normal, between: 0.03, calls: 2_000 }
    }
}

/// A block as the made arm would have given it, under the load `made`: calls of about 0.3 ms with
/// a long tail, each process with a pace of its own.
pub fn block(made: &Made, arm: &str, round: u32, rng: &mut Rng) -> Block {
    let pace = made.factor * (made.between * made.shape.draw(rng)).exp();
    // The bounds are constants that are good.
    let histogram = Times::new().map(|mut times| {
        for _ in 0..made.calls {
            times.add(Duration::from_secs_f64(300e-6 * pace * (0.4 * gauss(rng)).exp()));
        }
        times
    });
    let latency = histogram.as_ref().map(Quantiles::of).unwrap_or_default();
    Block {
        arm: arm.to_owned(),
        load: "made".to_owned(),
        round,
        place: 0,
        began_s: 0.0,
        seen: Seen {
            seconds: 1.0,
            due: u64::from(made.calls),
            good: u64::from(made.calls),
            bad: BTreeMap::new(),
            late: 0,
            longest_queue: 0,
            lag: Quantiles::default(),
            latency,
            histogram: histogram.and_then(|times| times.to_text()).unwrap_or_default(),
            generator_cpu_us_per_call: 0.0,
        },
        cpu_us_per_call: Some(50.0 * pace * (0.005 * gauss(rng)).exp()),
        apart_us_per_call: None,
        rss_kib: None,
        spans: std::collections::BTreeMap::new(),
        others: 0.0,
        invalid: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{deviation, mean};

    #[test]
    fn every_shape_has_mean_zero_and_deviation_one() {
        for shape in Shape::ALL {
            let mut rng = Rng::with_seed(3);
            let values: Vec<f64> = (0..200_000).map(|_| shape.draw(&mut rng)).collect();
            assert!(mean(&values).abs() < 0.01, "{shape:?}: {}", mean(&values));
            assert!((deviation(&values) - 1.0).abs() < 0.02, "{shape:?}: {}", deviation(&values));
        }
    }
}
