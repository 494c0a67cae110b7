//! Whole studies made up, judged as real ones are: how often a difference is seen that is not
//! there, and how often one that is.

use super::compare::Finding;
use super::synthetic::{Made, Shape, block};
use crate::record::{Block, Measure, ratio};
use crate::stats::LEVEL;
use fastrand::Rng;
use statrs::distribution::{Binomial, DiscreteCDF};

const PAIRS: u32 = 10;

fn study(base: &Made, arm: &Made, rng: &mut Rng) -> Vec<Block> {
    (0..PAIRS)
        .flat_map(|round| [block(base, "base", round, rng), block(arm, "arm", round, rng)])
        .collect()
}

/// So many of `studies` may see a difference that is not there: more happens by chance once in a
/// thousand.
fn bound(studies: u64) -> u64 {
    Binomial::new(1.0 - LEVEL, studies).unwrap().inverse_cdf(0.999)
}

#[test]
fn two_hundred_studies_of_one_program_see_no_more_differences_than_is_stated() {
    let studies = 200;
    for shape in [Shape::Normal, Shape::TwoPaces] {
        let mut rng = Rng::with_seed(11);
        let made = Made { shape, calls: 1_000, ..Made::default() };
        let mut seen = [0; Measure::ALL.len()];
        for _ in 0..studies {
            let blocks = study(&made, &made, &mut rng);
            for (count, measure) in seen.iter_mut().zip(Measure::ALL) {
                let finding =
                    ratio(&blocks, "made", "arm", "base", measure).map(|one| one.finding());
                // A thousand calls say nothing of p99.9.
                assert_eq!(finding.is_none(), measure == Measure::P999);
                *count += u64::from(matches!(finding, Some(Finding::More | Finding::Less)));
            }
        }
        assert!(seen.iter().all(|seen| *seen <= bound(studies)), "{shape:?}: {seen:?}");
        assert!(seen.iter().sum::<u64>() > 0, "an interval that is never wrong is too wide");
    }
}

#[test]
fn an_injected_twentieth_is_found_and_is_within_the_interval() {
    let studies = 100;
    let mut rng = Rng::with_seed(12);
    let made = Made { between: 0.02, calls: 1_000, ..Made::default() };
    let slower = Made { factor: 1.05, ..made };
    for measure in [Measure::P50, Measure::Cpu] {
        let (mut found, mut missed) = (0, 0);
        for _ in 0..studies {
            let blocks = study(&made, &slower, &mut rng);
            let seen = ratio(&blocks, "made", "arm", "base", measure).unwrap();
            assert_ne!(seen.finding(), Finding::Less);
            found += u64::from(seen.finding() == Finding::More);
            missed += u64::from(!seen.holds(1.05));
        }
        assert!(found >= 90, "{measure:?}: {found} of {studies}");
        assert!(missed <= bound(studies), "{measure:?}: {missed} of {studies}");
    }
}
