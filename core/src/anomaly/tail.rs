//! How rare a size is, by the tail of the sizes before it.
//!
//! Many series have heavy tails: what is a catastrophe for one is every afternoon for another. So a
//! size is judged by the tail that the series itself has shown: a high quantile, followed by
//! stochastic approximation (Robbins and Monro, 1951), and beyond it the mean excess of the
//! logarithm (Hill, "A simple general approach to inference about the tail of a distribution", 1975).

use super::Setting;

/// Sizes below this share of the usual one are the same to the tail.
const SMALLEST: f64 = 1e-3;
/// Sizes above this multiple of the usual one are the same to the tail.
const LARGEST: f64 = 1e9;
/// The mean excess before any is known: sizes beyond the quantile are a third larger.
const FIRST_EXCESS: f64 = 0.3;
/// The spread of logarithms before any is known, and the least that is taken for one.
const FIRST_SPREAD: f64 = 0.5;
const LEAST_SPREAD: f64 = 0.02;
/// How fast the quantile follows, in spreads over the number of sizes seen, and at most in one step.
const GAIN: f64 = 8.0;
const LARGEST_STEP: f64 = 1.0;

/// The tail of one sign's sizes.
#[derive(Clone, Debug)]
pub(super) struct Tail {
    quantile: f64,
    excess: f64,
    spread: f64,
    seen: f64,
}

impl Tail {
    pub(super) const fn new() -> Self {
        Self { quantile: 0.0, excess: FIRST_EXCESS, spread: FIRST_SPREAD, seen: 0.0 }
    }

    /// How surprising `size` (0 or more) is: −ln of the share of sizes as large; 0 where it is not in
    /// the tail. Then learns it.
    pub(super) fn surprise(&mut self, size: f64, least_excess: f64, setting: &Setting) -> f64 {
        let size = libm::log(size.clamp(0.0, LARGEST) + SMALLEST);
        if self.seen == 0.0 {
            self.quantile = size;
        }
        let beyond = size - self.quantile;
        let share = setting.tail;
        let surprise = if beyond > 0.0 {
            -libm::log(share) + beyond / self.excess.max(least_excess)
        } else {
            0.0
        };
        self.seen = (self.seen + 1.0).min(setting.memory);
        self.spread += (beyond.abs() - self.spread) / self.seen;
        let step = (GAIN / self.seen).min(LARGEST_STEP) * self.spread.max(LEAST_SPREAD);
        if beyond > 0.0 {
            self.quantile += step * (1.0 - share);
            let excess = (size - self.quantile).max(0.0);
            self.excess += (excess - self.excess) / (setting.prior + self.seen * share);
        } else {
            self.quantile -= step * share;
        }
        surprise
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::rng::Rng;
    use std::vec::Vec;

    /// A tail that has seen `sizes`.
    fn of(sizes: impl Iterator<Item = f64>) -> Tail {
        let mut tail = Tail::new();
        for size in sizes {
            tail.surprise(size, 0.1, &Setting::PRODUCT);
        }
        tail
    }

    fn uniform(count: usize) -> impl Iterator<Item = f64> {
        let mut rng = Rng::new(1);
        (0..count).map(move |_| rng.next_share())
    }

    #[test]
    fn the_quantile_leaves_the_tail_s_share_above_it() {
        let mut tail = of(uniform(5_000));
        let surprises: Vec<f64> =
            uniform(20_000).map(|size| tail.surprise(size, 0.1, &Setting::PRODUCT)).collect();
        let share = surprises.iter().filter(|one| **one > 0.0).count() as f64 / 20_000.0;
        let wanted = Setting::PRODUCT.tail;
        assert!((0.7 * wanted..1.4 * wanted).contains(&share), "{share}");
    }

    #[test]
    fn a_surprise_is_minus_the_logarithm_of_the_share() {
        // Pareto's tail with exponent 2: a tenth of the sizes is above √10, a millionth above 1000.
        let mut rng = Rng::new(2);
        let mut tail = of((0..50_000).map(|_| 1.0 / libm::sqrt(1.0 - rng.next_share())));
        let surprise = tail.surprise(1_000.0, 0.1, &Setting::PRODUCT);
        assert!((11.0..17.0).contains(&surprise), "{surprise} should be 13.8");
    }

    #[test]
    fn a_heavier_tail_is_surprised_less() {
        let surprise = |power: f64| {
            let mut tail = of(uniform(5_000).map(|share| libm::pow(1.0 - share, -power)));
            tail.surprise(100.0, 0.1, &Setting::PRODUCT)
        };
        assert!(surprise(1.0) < surprise(0.5) && surprise(0.5) < surprise(0.2));
    }

    #[test]
    fn a_light_tail_is_not_believed_to_end() {
        // All sizes so far are the same: the least excess stands for what was not seen yet.
        let once = |least: f64| of((0..5_000).map(|_| 1.0)).surprise(1.5, least, &Setting::PRODUCT);
        assert!(once(0.4) < once(0.2));
        assert!(once(0.2) < 10.0);
    }
}
