//! How the product's setting was chosen, and what the choice is worth on series that it has not seen.
//!
//! A climb by random steps over the constants. What it climbs is smoothed, because a narrow peak on 35
//! series is luck: the benchmark's score at the alarm threshold and at four thresholds around it, for the
//! setting and for two more close to it. F1 on two made series has a share in it, so that what the
//! benchmark happens to lack is not forgotten.

use crate::judges::Judge;
use crate::made::{self, Made};
use crate::nab::{Profile, Scorer};
use crate::report;
use crate::series::Series;
use bimetal_core::anomaly::{Detector, Setting, Sign};
use fastrand::Rng;

/// A setting by hand, which no series was looked at for: where a cross-validation begins.
pub const PLAIN: Setting = Setting {
    slow: 2000.0,
    fast: 10.0,
    hour: 12.0,
    long: 100.0,
    memory: 5000.0,
    tail: 0.05,
    least_excess: 0.2,
    prior: 50.0,
    season: 10.0,
    weights: [1.0; Sign::ALL.len()],
    others: 0.1,
    own: 0.5,
    own_excess: 0.2,
    calm: 100.0,
    louder: 1.1,
    weariness: 0.3,
    recovery: 4000.0,
    alarm: 8.0,
};

/// Seeds of made series that no table is made from.
const MADE_SEEDS: [u64; 2] = [101, 102];
/// What F1 on the made series, in percent, counts beside the benchmark's score.
const MADE_SHARE: f64 = 0.2;

fn detector(setting: Setting) -> Judge {
    Judge::Detector(Box::new(Detector::with(setting)))
}

/// The detector's score of each row.
fn scores(series: &Series, setting: Setting) -> Vec<f64> {
    let said = detector(setting).run(&series.times, &series.values);
    said.into_iter().map(|one| one.map_or(0.0, |(score, _)| score)).collect()
}

/// The score at the fixed threshold, and at the best one.
#[derive(Clone, Copy, Debug)]
pub struct Result {
    /// At the threshold of the flag.
    pub fixed: f64,
    /// At the threshold that is best for these series.
    pub best: f64,
}

/// What `setting` scores on `all`, standard profile.
pub fn result(all: &[&Series], setting: Setting) -> Result {
    let scorer = Scorer::new(all, Profile::STANDARD);
    let scores = scores_of_all(all, setting);
    Result { fixed: scorer.at(&scores, 0.5), best: scorer.best(&scores).score }
}

fn scores_of_all(all: &[&Series], setting: Setting) -> Vec<Vec<f64>> {
    all.iter().map(|series| scores(series, setting)).collect()
}

/// How a constant may move.
#[derive(Clone, Copy)]
enum Move {
    /// By a factor, within these.
    Factor(f64, f64),
    /// By a difference, within 0 and 2.
    Weight,
}

fn constants(setting: &mut Setting) -> Vec<(&mut f64, Move)> {
    use Move::{Factor, Weight};
    let mut all = vec![
        (&mut setting.slow, Factor(500.0, 10_000.0)),
        (&mut setting.fast, Factor(2.0, 60.0)),
        (&mut setting.hour, Factor(4.0, 60.0)),
        (&mut setting.long, Factor(20.0, 400.0)),
        (&mut setting.memory, Factor(1_000.0, 20_000.0)),
        (&mut setting.tail, Factor(0.005, 0.2)),
        (&mut setting.least_excess, Factor(0.03, 0.6)),
        (&mut setting.prior, Factor(5.0, 500.0)),
        (&mut setting.season, Factor(2.0, 60.0)),
        (&mut setting.others, Factor(0.02, 0.5)),
        (&mut setting.own, Factor(0.05, 1.0)),
        (&mut setting.own_excess, Factor(0.03, 0.6)),
        (&mut setting.calm, Factor(20.0, 1_000.0)),
        (&mut setting.louder, Factor(1.0, 2.0)),
        (&mut setting.weariness, Factor(0.05, 1.5)),
        (&mut setting.recovery, Factor(500.0, 20_000.0)),
    ];
    all.extend(setting.weights.iter_mut().map(|weight| (weight, Weight)));
    all
}

/// `setting` with each constant moved with probability `share`, by up to `size`.
fn moved(setting: Setting, share: f64, size: f64, rng: &mut Rng) -> Setting {
    let mut next = setting;
    for (constant, how) in constants(&mut next) {
        let step = size * (rng.f64() - 0.5);
        if rng.f64() < share {
            *constant = match how {
                Move::Factor(least, most) => (*constant * (1.4 * step).exp()).clamp(least, most),
                Move::Weight => (*constant + 0.7 * step).clamp(0.0, 2.0),
            };
        }
    }
    next
}

/// The hill that is climbed.
struct Hill<'a> {
    all: &'a [&'a Series],
    scorer: Scorer,
    made: Vec<Made>,
}

impl<'a> Hill<'a> {
    fn new(all: &'a [&'a Series]) -> Self {
        let made = MADE_SEEDS.iter().map(|seed| made::mixed(report::MIXED_DAYS, *seed)).collect();
        Self { all, scorer: Scorer::new(all, Profile::STANDARD), made }
    }

    /// The height of `setting`; anything below `floor` may be less exact.
    fn height(&self, setting: Setting, floor: f64) -> f64 {
        let first = self.around(setting);
        if first < floor - 3.0 {
            return first;
        }
        // The same moves each time, so that two settings meet the same luck.
        let mut rng = Rng::with_seed(12_345);
        let close = |_| self.around(moved(setting, 1.0, 0.12, &mut rng));
        (first + (0..2).map(close).sum::<f64>()) / 3.0
    }

    /// The mean score over thresholds around the alarm's.
    fn around(&self, setting: Setting) -> f64 {
        let scores = scores_of_all(self.all, setting);
        let points = [(1.0, 3.0), (0.93, 1.0), (1.07, 1.0), (0.86, 0.5), (1.14, 0.5)];
        // The surprise at `factor` times the alarm's, as a score.
        let sum = points
            .map(|(factor, weight)| weight * self.scorer.at(&scores, factor / (factor + 1.0)));
        let labelled =
            sum.iter().sum::<f64>() / points.map(|(_, weight)| weight).iter().sum::<f64>();
        labelled + MADE_SHARE * 100.0 * report::by_kinds(&detector(setting), &self.made).1.f1()
    }
}

/// Climbs from `start` by `steps` random steps on `all`; gives the height too.
pub fn climb(all: &[&Series], start: Setting, steps: usize, seed: u64) -> (Setting, f64) {
    let hill = Hill::new(all);
    let mut rng = Rng::with_seed(seed);
    let mut best = (start, hill.height(start, f64::NEG_INFINITY));
    for step in 0..steps {
        let size = 1.0 - 0.7 * step as f64 / steps as f64;
        let next = moved(best.0, 0.25, size, &mut rng);
        let height = hill.height(next, best.1);
        if height > best.1 {
            best = (next, height);
        }
    }
    best
}

/// What a climb on some series is worth on others.
#[derive(Clone, Copy, Debug)]
pub struct Validated {
    /// The mean over the folds, on the series that their settings were chosen by.
    pub chosen_by: Result,
    /// All series together, each scored by the setting of the fold that held it back: the benchmark's
    /// score of a detector that has seen none of them.
    pub held_back: Result,
}

/// Splits the series into folds, each a share of every category (they are sorted by category). For
/// each fold a setting is climbed to on all the others. Then all series are scored together, each with
/// the setting that has not seen it.
///
/// # Panics
/// When a climb does: a fold that is left out would be scored by a setting that has seen it.
pub fn cross_validate(
    all: &[Series],
    start: Setting,
    folds: usize,
    steps: usize,
    seed: u64,
) -> Validated {
    let fold_of = |index: usize| (index + seed as usize * (1 + index / folds)) % folds;
    let climbed = |fold: usize| {
        let numbered = || all.iter().enumerate();
        let others: Vec<_> =
            numbered().filter(|(index, _)| fold_of(*index) != fold).map(|(_, one)| one).collect();
        let (setting, _) = climb(&others, start, steps, seed * 100 + fold as u64);
        (setting, result(&others, setting))
    };
    let settings: Vec<(Setting, Result)> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..folds).map(|fold| scope.spawn(move || climbed(fold))).collect();
        let settings = running.into_iter().map(|thread| thread.join().expect("a fold's climb"));
        settings.collect()
    });
    let mean = |score: fn(&Result) -> f64| {
        settings.iter().map(|(_, result)| score(result)).sum::<f64>() / folds as f64
    };
    let scores: Vec<Vec<f64>> = all
        .iter()
        .enumerate()
        .map(|(index, series)| scores(series, settings[fold_of(index)].0))
        .collect();
    let scorer = Scorer::new(&all.iter().collect::<Vec<_>>(), Profile::STANDARD);
    Validated {
        chosen_by: Result { fixed: mean(|one| one.fixed), best: mean(|one| one.best) },
        held_back: Result { fixed: scorer.at(&scores, 0.5), best: scorer.best(&scores).score },
    }
}
