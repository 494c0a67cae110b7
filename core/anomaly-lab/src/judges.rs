//! The core's judges behind one verb, so that they can be held side by side.

use bimetal_core::Instant;
use bimetal_core::anomaly::{Detector, Outlier, ZScore};

/// One of the core's judges, each with its fixed threshold.
#[derive(Clone, Debug)]
pub enum Judge {
    /// The z-score of the load-analytics service.
    ZScore(ZScore),
    /// The robust judge of single samples.
    Outlier(Box<Outlier>),
    /// The detector of incidents.
    Detector(Box<Detector>),
}

impl Judge {
    /// A fresh one of each.
    pub fn all() -> [Self; 3] {
        [
            Self::ZScore(ZScore::default()),
            Self::Outlier(Box::default()),
            Self::Detector(Box::default()),
        ]
    }

    /// What it is called in a table.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ZScore(_) => "z-score",
            Self::Outlier(_) => "outlier",
            Self::Detector(_) => "detector",
        }
    }

    /// What it occupies, with what it owns elsewhere.
    pub const fn bytes(&self) -> usize {
        match self {
            Self::ZScore(_) => size_of::<ZScore>() + ZScore::WINDOW * size_of::<f64>(),
            Self::Outlier(_) => size_of::<Outlier>(),
            Self::Detector(_) => Detector::BYTES,
        }
    }

    /// How far out the sample is, larger further, and whether it is flagged; `None` where it is missing.
    pub fn observe(&mut self, now: Instant, value: f64) -> Option<(f64, bool)> {
        match self {
            Self::ZScore(window) => {
                let reading = window.observe(value)?;
                Some((reading.z.abs(), reading.is_beyond(ZScore::THRESHOLD)))
            }
            Self::Outlier(outlier) => {
                let distance = outlier.observe(value)?.abs();
                Some((distance, distance > Outlier::THRESHOLD))
            }
            Self::Detector(detector) => {
                let reading = detector.observe(now, value)?;
                Some((reading.score, reading.is_alarm))
            }
        }
    }

    /// What it says of each sample of a series.
    pub fn run(mut self, times: &[Instant], values: &[f64]) -> Vec<Option<(f64, bool)>> {
        times.iter().zip(values).map(|(now, value)| self.observe(*now, *value)).collect()
    }
}
