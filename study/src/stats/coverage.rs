//! How often intervals hold the truth: the choice of the method.

use super::interval::Method;
use super::synthetic::Shape;
use fastrand::Rng;

/// What one method did on many samples of one shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coverage {
    /// The share of intervals that held the truth.
    pub held: f64,
    /// Their mean width, in deviations of a value.
    pub width: f64,
}

/// Makes `samples` samples of `pairs` values each, and an interval at `level` of each.
pub fn coverage(
    method: Method,
    shape: Shape,
    pairs: usize,
    level: f64,
    samples: usize,
    rng: &mut Rng,
) -> Coverage {
    let (mut held, mut width) = (0, 0.0);
    for _ in 0..samples {
        let values: Vec<f64> = (0..pairs).map(|_| shape.draw(rng)).collect();
        if let Some(ends) = method.interval(&values, level, rng) {
            held += usize::from(ends.hold(0.0));
            width += ends.width();
        }
    }
    Coverage { held: held as f64 / samples as f64, width: width / samples as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::LEVEL;

    /// How far a share of that many samples may fall below `LEVEL` by chance (three deviations).
    fn slack(samples: usize) -> f64 {
        3.0 * (LEVEL * (1.0 - LEVEL) / samples as f64).sqrt()
    }

    #[test]
    fn the_method_in_use_covers_ten_pairs_of_every_shape() {
        for shape in Shape::ALL {
            let mut rng = Rng::with_seed(5);
            let held = coverage(Method::USED, shape, 10, LEVEL, 1_000, &mut rng).held;
            assert!(held >= LEVEL - slack(1_000), "{shape:?}: {held}");
        }
    }

    #[test]
    fn the_percentile_bootstrap_would_not() {
        let mut rng = Rng::with_seed(5);
        let held = coverage(Method::Percentile, Shape::Normal, 10, LEVEL, 1_000, &mut rng).held;
        assert!(held < LEVEL - slack(1_000), "{held}");
    }
}
