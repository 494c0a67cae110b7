//! Intervals of a mean of few values, by six methods.
//!
//! One of them is used ([`Method::USED`]); `coverage` holds it against the others. The values are
//! logarithms of ratios, one for each pair.

use super::{deviation, mean, quantile};
use fastrand::Rng;
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

/// How often an interval holds the truth, as it is stated everywhere.
pub const LEVEL: f64 = 0.95;

/// Draws of a bootstrap.
const DRAWS: usize = 2_000;

/// From so many values on, subsets are drawn and not counted out.
const COUNTED_OUT: usize = 12;

/// Both ends of an interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ends {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Ends {
    /// Whether `value` lies within.
    pub fn hold(self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }

    /// From one end to the other.
    pub fn width(self) -> f64 {
        self.high - self.low
    }
}

/// How an interval is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The middle of the bootstrap's means (Efron 1979).
    Percentile,
    /// The same, corrected for bias and skew (Efron 1987).
    Bca,
    /// The bootstrap of Student's statistic (Efron 1981; Hall 1988).
    Studentised,
    /// Student's t.
    Student,
    /// The middle of the means of all subsets (Hartigan 1969): exact for any symmetric
    /// distribution, as the difference of two blocks of one program is.
    Subsets,
    /// The studentised bootstrap, widened to Student's t where that reaches further. The first is
    /// short where processes have two paces, the second where one arm alone is disturbed.
    Widest,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Percentile,
        Self::Bca,
        Self::Studentised,
        Self::Student,
        Self::Subsets,
        Self::Widest,
    ];

    /// The one that the study uses.
    pub const USED: Self = Self::Widest;

    /// Its name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Percentile => "percentile bootstrap",
            Self::Bca => "BCa bootstrap",
            Self::Studentised => "studentised bootstrap",
            Self::Student => "Student's t",
            Self::Subsets => "means of subsets",
            Self::Widest => "studentised with t",
        }
    }

    /// The interval of the mean of `values` at `level`; none of fewer than two values, or of values
    /// that are not finite.
    pub fn interval(self, values: &[f64], level: f64, rng: &mut Rng) -> Option<Ends> {
        if values.len() < 2 || values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        let tail = (1.0 - level) / 2.0;
        match self {
            Self::Percentile => Some(middle(bootstrap(values, rng), tail, 1.0 - tail)),
            Self::Bca => bca(values, tail, rng),
            Self::Studentised => studentised(values, tail, rng),
            Self::Student => student(values, tail),
            Self::Subsets => Some(subsets(values, tail, rng)),
            Self::Widest => {
                let (one, other) = (studentised(values, tail, rng)?, student(values, tail)?);
                Some(Ends { low: one.low.min(other.low), high: one.high.max(other.high) })
            }
        }
    }
}

/// What lies between two shares of `values`.
fn middle(mut values: Vec<f64>, low: f64, high: f64) -> Ends {
    values.sort_by(f64::total_cmp);
    Ends { low: quantile(&values, low), high: quantile(&values, high) }
}

fn draw(values: &[f64], rng: &mut Rng) -> Vec<f64> {
    values.iter().map(|first| *rng.choice(values).unwrap_or(first)).collect()
}

/// Means of draws with replacement.
fn bootstrap(values: &[f64], rng: &mut Rng) -> Vec<f64> {
    (0..DRAWS).map(|_| mean(&draw(values, rng))).collect()
}

fn bca(values: &[f64], tail: f64, rng: &mut Rng) -> Option<Ends> {
    let normal = Normal::standard();
    let means = bootstrap(values, rng);
    let own = mean(values);
    let below = means.iter().filter(|mean| **mean < own).count();
    let equal = means.iter().filter(|mean| **mean == own).count();
    let share = (below as f64 + equal as f64 / 2.0) / means.len() as f64;
    let bias = normal.inverse_cdf(share.clamp(1e-4, 1.0 - 1e-4));
    let count = values.len() as f64;
    let without: Vec<f64> = values.iter().map(|one| (own * count - one) / (count - 1.0)).collect();
    let centre = mean(&without);
    let cubes: f64 = without.iter().map(|one| (centre - one).powi(3)).sum();
    let squares: f64 = without.iter().map(|one| (centre - one).powi(2)).sum();
    let skew = if squares > 0.0 { cubes / (6.0 * squares.powf(1.5)) } else { 0.0 };
    let corrected = |tail: f64| {
        let shifted = bias + normal.inverse_cdf(tail);
        normal.cdf(bias + shifted / (1.0 - skew * shifted))
    };
    Some(middle(means, corrected(tail), corrected(1.0 - tail)))
}

fn studentised(values: &[f64], tail: f64, rng: &mut Rng) -> Option<Ends> {
    let (own, count) = (mean(values), values.len() as f64);
    let error = deviation(values) / count.sqrt();
    let statistics: Vec<f64> = (0..DRAWS)
        .filter_map(|_| {
            let drawn = draw(values, rng);
            let error = deviation(&drawn) / count.sqrt();
            // A draw of one value alone has no spread to divide by.
            (error > 0.0).then(|| (mean(&drawn) - own) / error)
        })
        .collect();
    if statistics.is_empty() {
        return Some(Ends { low: own, high: own });
    }
    let ends = middle(statistics, tail, 1.0 - tail);
    Some(Ends { low: own - ends.high * error, high: own - ends.low * error })
}

fn student(values: &[f64], tail: f64) -> Option<Ends> {
    let count = values.len() as f64;
    let reach = StudentsT::new(0.0, 1.0, count - 1.0).ok()?.inverse_cdf(1.0 - tail)
        * deviation(values)
        / count.sqrt();
    Some(Ends { low: mean(values) - reach, high: mean(values) + reach })
}

fn subsets(values: &[f64], tail: f64, rng: &mut Rng) -> Ends {
    let mean_of = |mask: u64| {
        let chosen = values.iter().enumerate().filter(|(place, _)| mask >> (place % 64) & 1 == 1);
        let (sum, count) =
            chosen.fold((0.0, 0.0), |(sum, count), (_, one)| (sum + one, count + 1.0));
        sum / count
    };
    let mut means: Vec<f64> = if values.len() <= COUNTED_OUT {
        (1..1u64 << values.len()).map(mean_of).collect()
    } else {
        let all = u64::MAX >> (64 - values.len().min(64));
        (0..DRAWS).map(|_| rng.u64(..) & all).filter(|mask| *mask != 0).map(mean_of).collect()
    };
    means.sort_by(f64::total_cmp);
    // The true mean falls into each of the gaps between them alike, so whole gaps are cut off.
    let cut = ((means.len() + 1) as f64 * tail).floor() as usize;
    let end = |place: usize| means.get(place).copied();
    Ends {
        low: cut.checked_sub(1).and_then(end).unwrap_or(f64::NEG_INFINITY),
        high: if cut == 0 { None } else { end(means.len() - cut) }.unwrap_or(f64::INFINITY),
    }
}

/// The probability of a mean at least this far from zero, were zero the truth, by Student's t; one
/// where there are fewer than two values.
pub fn p_value(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let (mean, deviation) = (mean(values), deviation(values));
    if mean == 0.0 {
        return 1.0;
    }
    match StudentsT::new(0.0, 1.0, count - 1.0) {
        Ok(student) if deviation > 0.0 => 2.0 * student.sf((mean / deviation).abs() * count.sqrt()),
        Ok(_) => 0.0,
        Err(_) => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Differences of two sleeping aids for ten patients (Student 1908). R's `t.test` of them says
    /// t = 4.0621, p = 0.002833, interval 0.7001142 to 2.4598858.
    const SLEEP: [f64; 10] = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4];

    #[test]
    fn students_own_figures_come_out() {
        let ends = Method::Student.interval(&SLEEP, LEVEL, &mut Rng::with_seed(1)).unwrap();
        assert!((ends.low - 0.7001142).abs() < 1e-6, "{ends:?}");
        assert!((ends.high - 2.4598858).abs() < 1e-6, "{ends:?}");
        assert!((p_value(&SLEEP) - 0.002833).abs() < 1e-6, "{}", p_value(&SLEEP));
    }

    #[test]
    fn every_method_gives_an_interval_around_the_mean_and_the_same_one_again() {
        for method in Method::ALL {
            let interval = || method.interval(&SLEEP, LEVEL, &mut Rng::with_seed(1)).unwrap();
            let ends = interval();
            assert!(ends.low < 1.58 && 1.58 < ends.high, "{method:?}: {ends:?}");
            assert!(ends.width() > 0.9 && ends.width() < 3.5, "{method:?}: {ends:?}");
            assert_eq!(ends, interval());
        }
    }

    #[test]
    fn the_means_of_subsets_can_be_counted_by_hand() {
        // The subsets of {1, 2, 6} have the means 1, 2, 6, 1.5, 3.5, 4 and 3: seven, so eight gaps.
        let ends = subsets(&[1.0, 2.0, 6.0], 0.125, &mut Rng::with_seed(1));
        assert_eq!(ends, Ends { low: 1.0, high: 6.0 });
        let ends = subsets(&[1.0, 2.0, 6.0], 0.25, &mut Rng::with_seed(1));
        assert_eq!(ends, Ends { low: 1.5, high: 4.0 });
    }

    #[test]
    fn too_little_gives_no_interval() {
        for method in Method::ALL {
            let mut rng = Rng::with_seed(1);
            assert_eq!(method.interval(&[1.0], LEVEL, &mut rng), None);
            assert_eq!(method.interval(&[1.0, f64::NAN], LEVEL, &mut rng), None);
        }
        assert_eq!(p_value(&[1.0]), 1.0);
        assert_eq!(p_value(&[0.0, 0.0]), 1.0);
        assert_eq!(p_value(&[1.0, 1.0]), 0.0);
    }
}
