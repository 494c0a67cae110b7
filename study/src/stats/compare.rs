//! Two arms, round by round: a ratio with its interval, and what many comparisons at once mean.

use super::interval::{LEVEL, Method, p_value};
use super::mean;
use fastrand::Rng;
use serde::{Deserialize, Serialize};

/// Pairs that a claim needs.
pub const ENOUGH: usize = 10;

/// One arm over another, over all rounds in which both could be used.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The geometric mean of the pairs' ratios.
    pub ratio: f64,
    /// The interval's lower end; none where there are fewer than two pairs.
    pub low: Option<f64>,
    /// Its upper end.
    pub high: Option<f64>,
    /// Pairs.
    pub pairs: usize,
    /// The probability of a ratio at least this far from 1, if the arms were alike.
    pub p: f64,
}

/// What a comparison says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// Fewer pairs than [`ENOUGH`]: nothing is claimed.
    TooFewPairs,
    /// The interval holds 1.
    NoDifferenceSeen,
    /// The interval lies above 1.
    More,
    /// The interval lies below 1.
    Less,
}

impl Comparison {
    /// What it says.
    pub fn finding(&self) -> Finding {
        match (self.low, self.high) {
            _ if self.pairs < ENOUGH => Finding::TooFewPairs,
            (Some(low), _) if low > 1.0 => Finding::More,
            (_, Some(high)) if high < 1.0 => Finding::Less,
            (Some(_), Some(_)) => Finding::NoDifferenceSeen,
            _ => Finding::TooFewPairs,
        }
    }

    /// Whether the interval holds `ratio`.
    pub fn holds(&self, ratio: f64) -> bool {
        self.low.is_some_and(|low| low <= ratio) && self.high.is_some_and(|high| ratio <= high)
    }
}

/// Compares pairs of (arm, base). A pair with a value that is not above zero is left out; none
/// where none is left.
///
/// Ratios are judged by their logarithms: a doubling and a halving then are equally far from 1, and
/// the interval of A over B is that of B over A upside down.
pub fn compare(pairs: &[(f64, f64)]) -> Option<Comparison> {
    let logs: Vec<f64> =
        pairs.iter().map(|(arm, base)| (arm / base).ln()).filter(|log| log.is_finite()).collect();
    if logs.is_empty() {
        return None;
    }
    // A fixed seed: the same blocks always give the same interval.
    let ends = Method::USED.interval(&logs, LEVEL, &mut Rng::with_seed(1));
    Some(Comparison {
        ratio: mean(&logs).exp(),
        low: ends.map(|ends| ends.low.exp()),
        high: ends.map(|ends| ends.high.exp()),
        pairs: logs.len(),
        p: p_value(&logs),
    })
}

/// By how much one arm is above another, in the values' own unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Added {
    /// The mean of the pairs' differences.
    pub mean: f64,
    /// The interval's lower end; none where there are fewer than two pairs.
    pub low: Option<f64>,
    /// Its upper end.
    pub high: Option<f64>,
}

/// The difference of pairs of (arm, base); none where there is none.
pub fn added(pairs: &[(f64, f64)]) -> Option<Added> {
    let differences: Vec<f64> = pairs.iter().map(|(arm, base)| arm - base).collect();
    if differences.is_empty() {
        return None;
    }
    let ends = Method::USED.interval(&differences, LEVEL, &mut Rng::with_seed(1));
    Some(Added {
        mean: mean(&differences),
        low: ends.map(|ends| ends.low),
        high: ends.map(|ends| ends.high),
    })
}

/// Which of many p-values stand when the chance of even one false difference among them shall stay
/// below 1 − [`LEVEL`] (Holm 1979).
pub fn holm(p_values: &[f64]) -> Vec<bool> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|one, other| p_values[*one].total_cmp(&p_values[*other]));
    let mut stands = vec![false; p_values.len()];
    for (rank, place) in order.into_iter().enumerate() {
        if p_values[place] > (1.0 - LEVEL) / (p_values.len() - rank) as f64 {
            break;
        }
        stands[place] = true;
    }
    stands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turning_a_comparison_round_turns_its_interval_upside_down() {
        let pairs = [(2.0, 1.0), (3.0, 2.0), (5.0, 2.0), (2.2, 1.0)];
        let turned = pairs.map(|(arm, base)| (base, arm));
        let (one, other) = (compare(&pairs).unwrap(), compare(&turned).unwrap());
        assert!((one.ratio * other.ratio - 1.0).abs() < 1e-12);
        assert!((one.low.unwrap() * other.high.unwrap() - 1.0).abs() < 1e-12);
        assert!((one.p - other.p).abs() < 1e-12);
    }

    #[test]
    fn nothing_is_claimed_from_fewer_than_ten_pairs() {
        let pair = |round: usize| (2.0 + round as f64 / 100.0, 1.0);
        let nine: Vec<_> = (0..9).map(pair).collect();
        let ten: Vec<_> = (0..10).map(pair).collect();
        assert_eq!(compare(&nine).unwrap().finding(), Finding::TooFewPairs);
        assert_eq!(compare(&ten).unwrap().finding(), Finding::More);
        let turned: Vec<_> = ten.iter().map(|(arm, base)| (*base, *arm)).collect();
        assert_eq!(compare(&turned).unwrap().finding(), Finding::Less);
        let alike: Vec<_> =
            (0..10).map(|round| if round % 2 == 0 { (1.0, 1.1) } else { (1.1, 1.0) }).collect();
        assert_eq!(compare(&alike).unwrap().finding(), Finding::NoDifferenceSeen);
        assert_eq!(compare(&[]), None);
        assert_eq!(compare(&[(0.0, 1.0)]), None);
    }

    #[test]
    fn what_is_added_is_the_mean_of_the_differences() {
        let found = added(&[(3.0, 1.0), (5.0, 2.0), (5.0, 1.0)]).unwrap();
        assert_eq!(found.mean, 3.0);
        assert!(found.low.unwrap() < 2.5 && found.high.unwrap() > 3.5, "{found:?}");
        assert_eq!(added(&[]), None);
        assert_eq!(added(&[(3.0, 1.0)]).unwrap(), Added { mean: 2.0, low: None, high: None });
    }

    #[test]
    fn holm_lets_a_value_stand_only_with_all_smaller_ones() {
        // The limits are 0.05/4, 0.05/3, 0.05/2 and 0.05.
        assert_eq!(holm(&[0.01, 0.04, 0.03, 0.005]), [true, false, false, true]);
        assert_eq!(holm(&[0.02, 0.04]), [true, true]);
        assert_eq!(holm(&[0.03, 0.04]), [false, false]);
        assert!(holm(&[]).is_empty());
    }
}
