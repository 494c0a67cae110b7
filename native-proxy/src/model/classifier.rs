//! The classifier: logistic regression over three species, trained when the program starts.

use super::iris::{Flower, Measures, Species};
use smartcore::linalg::basic::arrays::Array;
use smartcore::linalg::basic::matrix::DenseMatrix;
use smartcore::linear::logistic_regression::{LogisticRegression, LogisticRegressionParameters};

/// Weight of the penalty for large coefficients. Without one a species that a plane divides from
/// the others (setosa) has no best coefficients: they grow for ever.
const PENALTY: f64 = 1.0;

/// A trained classifier.
#[derive(Clone, Debug)]
pub(super) struct Classifier {
    /// For each species the weight of each measure, then the constant.
    species: [(Measures, f64); Species::ALL.len()],
}

/// How many flowers a classifier names rightly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accuracy {
    pub(super) right: usize,
    pub(super) of: usize,
}

impl Accuracy {
    /// The share of flowers that it named rightly, 0-1.
    pub(super) fn share(self) -> f64 {
        self.right as f64 / self.of.max(1) as f64
    }
}

impl Classifier {
    /// Learns from `flowers`. The same flowers give the same classifier.
    ///
    /// # Errors
    /// They do not show every species, or the fit fails.
    pub(super) fn learn(flowers: &[Flower]) -> Result<Self, String> {
        let rows: Vec<&[f64]> = flowers.iter().map(|one| one.measures.as_slice()).collect();
        let measures = DenseMatrix::from_2d_array(&rows).map_err(|why| why.to_string())?;
        let species: Vec<u32> = flowers.iter().map(|one| one.species as u32).collect();
        let parameters = LogisticRegressionParameters::default().with_alpha(PENALTY);
        let fitted = LogisticRegression::fit(&measures, &species, parameters)
            .map_err(|why| why.to_string())?;
        let wanted = Species::ALL.map(|one| one as u32);
        if fitted.classes().as_slice() != wanted {
            return Err(format!("the flowers are of {} species, not of 3", fitted.classes().len()));
        }
        let (weights, constants) = (fitted.coefficients(), fitted.intercept());
        let species = wanted.map(|one| one as usize).map(|row| {
            let weights = [0, 1, 2, 3].map(|column| *weights.get((row, column)));
            (weights, *constants.get((row, 0)))
        });
        Ok(Self { species })
    }

    /// The probability of each species, in the order of [`Species::ALL`]; their sum is 1.
    pub(super) fn probabilities(&self, flower: &Measures) -> [f64; Species::ALL.len()] {
        let scores = self.species.map(|(weights, constant)| {
            let products = weights.iter().zip(flower).map(|(weight, measure)| weight * measure);
            constant + products.sum::<f64>()
        });
        // Less the largest score: no power of e overflows.
        let largest = scores.into_iter().fold(f64::MIN, f64::max);
        let powers = scores.map(|score| (score - largest).exp());
        let sum: f64 = powers.iter().sum();
        powers.map(|power| power / sum)
    }

    /// How well it names these flowers.
    pub(super) fn judge(&self, flowers: &[Flower]) -> Accuracy {
        let is_right = |one: &&Flower| likeliest(&self.probabilities(&one.measures)) == one.species;
        Accuracy { right: flowers.iter().filter(is_right).count(), of: flowers.len() }
    }
}

/// The species with the largest probability; the first one of equals.
pub(super) fn likeliest(probabilities: &[f64; Species::ALL.len()]) -> Species {
    let [setosa, versicolor, virginica] = *probabilities;
    if setosa >= versicolor && setosa >= virginica {
        Species::Setosa
    } else if versicolor >= virginica {
        Species::Versicolor
    } else {
        Species::Virginica
    }
}

#[cfg(test)]
mod tests {
    use super::super::iris::flowers;
    use super::*;

    fn trained() -> Classifier {
        Classifier::learn(&flowers().unwrap().learnt).unwrap()
    }

    /// scikit-learn's logistic regression with the same penalty names 29 of the 30 rightly, too.
    #[test]
    fn flowers_that_it_never_saw_are_named_rightly() {
        let accuracy = trained().judge(&flowers().unwrap().held_out);
        assert!(accuracy.of == 30 && accuracy.right >= 29, "{accuracy:?}");
    }

    /// What scikit-learn 1.5.2's `LogisticRegression(C=1.0)` says after learning from the same 120.
    #[test]
    fn another_implementation_says_the_same() {
        for (measures, wanted) in [
            ([5.1, 3.5, 1.4, 0.2], [0.977_968, 0.022_032, 0.0]),
            ([5.7, 2.8, 4.1, 1.3], [0.024_959, 0.919_976, 0.055_065]),
            ([6.5, 3.0, 5.8, 2.2], [0.000_011, 0.025_724, 0.974_265]),
        ] {
            for (one, wanted) in trained().probabilities(&measures).iter().zip(wanted) {
                assert!((one - wanted).abs() < 1e-4, "{measures:?}: {one}, not {wanted}");
            }
        }
    }

    #[test]
    fn what_it_learns_is_what_decides() {
        let mut flowers = flowers().unwrap();
        for flower in &mut flowers.learnt {
            flower.species = match flower.species {
                Species::Setosa => Species::Virginica,
                Species::Versicolor => Species::Versicolor,
                Species::Virginica => Species::Setosa,
            };
        }
        let mistaught = Classifier::learn(&flowers.learnt).unwrap();
        let accuracy = mistaught.judge(&flowers.held_out);
        assert!(accuracy.right <= 10, "{accuracy:?}");
    }

    #[test]
    fn probabilities_are_probabilities_for_any_measures() {
        let classifier = trained();
        for measures in [[5.1, 3.5, 1.4, 0.2], [100.0; 4], [0.1; 4], [0.1, 100.0, 0.1, 100.0]] {
            let probabilities = classifier.probabilities(&measures);
            let sum: f64 = probabilities.iter().sum();
            assert!((sum - 1.0).abs() < 1e-12, "{probabilities:?}");
            assert!(probabilities.iter().all(|one| (0.0..=1.0).contains(one)));
        }
    }

    #[test]
    fn two_species_are_not_enough_to_learn_three() {
        let mut learnt = flowers().unwrap().learnt;
        learnt.retain(|one| one.species != Species::Virginica);
        assert!(Classifier::learn(&learnt).is_err());
        assert!(Classifier::learn(&[]).is_err());
    }

    #[test]
    fn the_likeliest_is_the_one_with_most() {
        assert_eq!(likeliest(&[0.1, 0.2, 0.7]), Species::Virginica);
        assert_eq!(likeliest(&[0.1, 0.8, 0.1]), Species::Versicolor);
        assert_eq!(likeliest(&[0.5, 0.5, 0.0]), Species::Setosa);
    }
}
