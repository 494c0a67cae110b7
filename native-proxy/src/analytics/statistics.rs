//! What one replica knows: the window, the totals, and the names it has heard.

use super::analysis::{Seen, Totals};
use super::ingest::OWN;
use super::sample::Sample;
use super::window::{Placed, Window};
use bimetal_core::anomaly::ZScore;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

/// Names that are remembered. A sample that comes again after so many others counts again.
const NAMES: usize = 65_536;

/// A sample that was taken in.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Judged {
    pub(super) sample: Sample,
    /// Whether |z| is above 2 in the window that it entered.
    pub(super) is_anomaly: bool,
}

/// The statistics of one replica. There is one owner.
#[derive(Debug)]
pub(super) struct Statistics {
    pub(super) window: Window,
    pub(super) totals: Totals,
    pub(super) seen: Seen,
    names: Names,
    /// What this process is called; no two are called alike.
    replica: String,
    next: u64,
}

impl Statistics {
    /// Statistics of a process of that name that has seen nothing.
    pub(super) fn new(replica: String) -> Self {
        Self {
            window: Window::default(),
            totals: Totals::default(),
            seen: Seen::default(),
            names: Names::default(),
            replica,
            next: 0,
        }
    }

    /// The process's name.
    pub(super) fn replica(&self) -> &str {
        &self.replica
    }

    /// Takes samples in and judges each once, in the order in which they come. Those whose names are
    /// known are counted as duplicates, and left out.
    pub(super) fn accept(&mut self, samples: Vec<Sample>) -> Vec<Judged> {
        self.seen.accepted += samples.len() as u64;
        samples.into_iter().filter_map(|sample| self.accept_one(sample)).collect()
    }

    fn accept_one(&mut self, mut sample: Sample) -> Option<Judged> {
        if sample.is_named {
            if !self.names.hear(&sample.id) {
                self.seen.duplicates += 1;
                return None;
            }
        } else {
            self.next += 1;
            // Of one width, so that of samples of one time the one that came last is the latest.
            sample.id = format!("{OWN}{}.{:016x}", self.replica, self.next).into();
        }
        let is_anomaly = match self.window.insert(sample.clone()) {
            Placed::Within(reading) => reading.is_beyond(ZScore::THRESHOLD),
            Placed::TooOld => {
                self.seen.too_old += 1;
                false
            }
            // Its name was forgotten, but not the sample.
            Placed::Known => {
                self.seen.duplicates += 1;
                return None;
            }
        };
        self.totals.samples += 1;
        self.totals.anomalies += u64::from(is_anomaly);
        Some(Judged { sample, is_anomaly })
    }
}

/// The latest names.
#[derive(Debug, Default)]
struct Names {
    known: HashSet<Arc<str>>,
    order: VecDeque<Arc<str>>,
}

impl Names {
    /// Whether the name is new.
    fn hear(&mut self, name: &Arc<str>) -> bool {
        if !self.known.insert(Arc::clone(name)) {
            return false;
        }
        self.order.push_back(Arc::clone(name));
        if self.order.len() > NAMES
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bimetal_core::anomaly::ZReading;

    fn sample(micros: u64, id: &str, rps: f64) -> Sample {
        Sample { micros, cpu: 1.0, rps, id: id.into(), is_named: !id.is_empty() }
    }

    #[test]
    fn a_peak_is_an_anomaly_once_and_a_name_counts_once() {
        let mut statistics = Statistics::new("r".into());
        for time in 0..60 {
            let judged = statistics.accept(vec![sample(time, "", 100.0 + (time % 2) as f64)]);
            assert_eq!(judged.len(), 1);
            assert!(!judged[0].is_anomaly, "{judged:?}");
        }
        let peak = || vec![sample(100, "peak", 500.0)];
        assert!(statistics.accept(peak())[0].is_anomaly);
        assert_eq!(statistics.accept(peak()), []);
        assert_eq!(statistics.totals, Totals { samples: 61, anomalies: 1 });
        assert_eq!(statistics.seen, Seen { accepted: 62, duplicates: 1, too_old: 0 });
    }

    #[test]
    fn equal_samples_without_a_name_are_several() {
        let mut statistics = Statistics::new("r".into());
        statistics.accept(vec![sample(1, "", 5.0), sample(1, "", 5.0)]);
        assert_eq!(statistics.totals.samples, 2);
        // Of one time the last to come is the latest, so none of them is too old.
        statistics.accept((0..200).map(|number| sample(1, "", f64::from(number))).collect());
        assert_eq!(statistics.window.reading().z, {
            let last: Vec<f64> = (150..200).map(f64::from).collect();
            ZReading::of(&last, 199.0).z
        });
        assert_eq!(statistics.seen.too_old, 0);
    }

    #[test]
    fn what_comes_too_late_is_counted_and_not_judged() {
        let mut statistics = Statistics::new("r".into());
        statistics.accept((100..150).map(|time| sample(time, "", 1.0)).collect());
        let late = statistics.accept(vec![sample(1, "", 1e9)]);
        assert!(late.len() == 1 && !late[0].is_anomaly);
        assert_eq!((statistics.totals.samples, statistics.seen.too_old), (51, 1));
    }

    #[test]
    fn so_many_names_are_remembered_and_no_more() {
        let mut names = Names::default();
        let name = |number: usize| Arc::<str>::from(number.to_string());
        assert!((0..=NAMES).all(|number| names.hear(&name(number))));
        assert!(names.hear(&name(0)) && !names.hear(&name(2)));
        assert_eq!((names.known.len(), names.order.len()), (NAMES, NAMES));
    }
}
