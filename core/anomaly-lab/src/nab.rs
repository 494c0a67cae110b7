//! The score of the Numenta Anomaly Benchmark, version 1.1 (Lavin and Ahmad, "Evaluating Real-time
//! Anomaly Detection Algorithms", ICMLA 2015), by its published rules.
//!
//! The first detection within a window earns by how early it is, a missed window costs, and each
//! detection outside costs, less just after a window. One threshold holds for all series: the one
//! that is best for the detector over all of them. 0 is a detector that says nothing, 100 a perfect
//! one.

use crate::series::Series;

/// What a missed window and a false alarm cost; a found window earns up to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Profile {
    /// The profile's name.
    pub name: &'static str,
    false_alarm: f64,
    miss: f64,
}

impl Profile {
    /// The benchmark's `standard`.
    pub const STANDARD: Self = Self { name: "standard", false_alarm: 0.11, miss: 1.0 };
    /// The benchmark's `reward_low_FP_rate`.
    pub const FEW_FALSE_ALARMS: Self =
        Self { name: "reward_low_FP_rate", false_alarm: 0.22, miss: 1.0 };
    /// The benchmark's `reward_low_FN_rate`.
    pub const FEW_MISSES: Self = Self { name: "reward_low_FN_rate", false_alarm: 0.11, miss: 2.0 };
}

/// The best threshold, and the score that it has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Best {
    /// Scores of at least this are detections.
    pub threshold: f64,
    /// From 0 (says nothing) to 100 (perfect); below 0 it is worse than silence.
    pub score: f64,
}

/// What a detection at one row is worth.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Worth {
    /// The window it lies in.
    window: Option<usize>,
    points: f64,
}

/// The benchmark's scaled sigmoid: 1 far before 0, −1 far after.
fn sigmoid(x: f64) -> f64 {
    if x > 3.0 { -1.0 } else { 2.0 / (1.0 + libm::exp(5.0 * x)) - 1.0 }
}

/// What a detection is worth at each row; `None` within the probation.
fn worths(series: &Series, profile: Profile) -> Vec<Option<Worth>> {
    let mut rows = Vec::with_capacity(series.values.len());
    let mut passed = 0;
    for row in 0..series.values.len() {
        while series.windows.get(passed).is_some_and(|window| *window.end() < row) {
            passed += 1;
        }
        let within = series.windows.get(passed).filter(|window| window.contains(&row));
        let points = if let Some(window) = within {
            let width = (window.end() - window.start() + 1) as f64;
            sigmoid(-((window.end() - row + 1) as f64) / width) / sigmoid(-1.0)
        } else if let Some(before) = passed.checked_sub(1).and_then(|at| series.windows.get(at)) {
            let width = (before.end() - before.start()) as f64;
            profile.false_alarm * sigmoid((row - before.end()) as f64 / width)
        } else {
            -profile.false_alarm
        };
        let worth = Worth { window: within.map(|_| passed), points };
        rows.push((row >= series.probation()).then_some(worth));
    }
    rows
}

/// The labelled series, and what a detection is worth at each of their rows.
#[derive(Debug)]
pub struct Scorer {
    profile: Profile,
    worths: Vec<Vec<Option<Worth>>>,
    windows: Vec<usize>,
}

impl Scorer {
    /// A scorer for detectors on these series.
    pub fn new(all: &[&Series], profile: Profile) -> Self {
        Self {
            profile,
            worths: all.iter().map(|series| worths(series, profile)).collect(),
            windows: all.iter().map(|series| series.windows.len()).collect(),
        }
    }

    /// The benchmark's score of a detector that said `scores` of the rows of each series: by the
    /// threshold that is best over all of them.
    pub fn best(&self, scores: &[Vec<f64>]) -> Best {
        let mut rows = Vec::new();
        for (index, (worths, scores)) in self.worths.iter().zip(scores).enumerate() {
            for (worth, score) in worths.iter().zip(scores) {
                rows.extend(worth.map(|worth| (*score, index, worth)));
            }
        }
        rows.sort_by(|one, other| other.0.total_cmp(&one.0));
        let mut tally = Tally::new(self);
        // Above every score: silence.
        let mut best = Best { threshold: f64::INFINITY, score: tally.score() };
        for (at, (score, series, worth)) in rows.iter().enumerate() {
            tally.detect(*series, *worth);
            let is_last_of_its_score = rows.get(at + 1).is_none_or(|next| next.0 != *score);
            if is_last_of_its_score && tally.score() > best.score {
                best = Best { threshold: *score, score: tally.score() };
            }
        }
        best
    }

    /// The score at a threshold that was chosen elsewhere.
    pub fn at(&self, scores: &[Vec<f64>], threshold: f64) -> f64 {
        let mut tally = Tally::new(self);
        for (index, (worths, scores)) in self.worths.iter().zip(scores).enumerate() {
            for (worth, score) in worths.iter().zip(scores) {
                if let (Some(worth), true) = (worth, *score >= threshold) {
                    tally.detect(index, *worth);
                }
            }
        }
        tally.score()
    }
}

/// The points of the detections so far: one more at a time, while the threshold falls.
struct Tally {
    found: Vec<Vec<f64>>,
    windows: f64,
    miss: f64,
    points: f64,
}

impl Tally {
    fn new(scorer: &Scorer) -> Self {
        let miss = scorer.profile.miss;
        let found = scorer.windows.iter().map(|windows| vec![-miss; *windows]).collect();
        let windows = scorer.windows.iter().sum::<usize>() as f64;
        Self { found, windows, miss, points: -miss * windows }
    }

    fn detect(&mut self, series: usize, worth: Worth) {
        match worth.window {
            Some(window) => {
                let best = &mut self.found[series][window];
                self.points += (worth.points - *best).max(0.0);
                *best = best.max(worth.points);
            }
            None => self.points += worth.points,
        }
    }

    fn score(&self) -> f64 {
        let silence = -self.miss * self.windows;
        100.0 * (self.points - silence) / (self.windows - silence)
    }
}
