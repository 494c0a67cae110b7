//! What blocks say together: ratios with intervals, and how far they can be trusted.
//!
//! The unit of observation is the pair: two arms within one round. A block's own calls say nothing
//! about how much two runs of one program differ, so they never enter an interval on their own.

pub mod compare;
pub mod coverage;
pub mod interval;
pub mod synthetic;

#[cfg(test)]
mod studies;

pub use compare::{Added, Comparison, Finding, added, compare, holm};
pub use interval::{Ends, LEVEL, Method};

/// The mean; NaN of none.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The sample's standard deviation (n − 1); NaN of fewer than two.
pub fn deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (values.len() as f64 - 1.0)).sqrt()
}

/// The value below which a share of `sorted` lies, between neighbours by their distance; NaN of none.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len().saturating_sub(1)) as f64;
    let (Some(below), Some(above)) =
        (sorted.get(place.floor() as usize), sorted.get(place.ceil() as usize))
    else {
        return f64::NAN;
    };
    below + (above - below) * place.fract()
}

/// The middle of `values`; NaN of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    quantile(&sorted, 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_small_sums_are_right() {
        assert_eq!(mean(&[1.0, 2.0, 6.0]), 3.0);
        assert_eq!(deviation(&[1.0, 3.0]), 2f64.sqrt());
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.75), 3.0);
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
        assert!(mean(&[]).is_nan() && median(&[]).is_nan() && deviation(&[1.0]).is_nan());
    }
}
