//! The latest samples by their own time, and what they say.

use super::sample::Sample;
use bimetal_core::anomaly::{ZReading, ZScore};

/// Samples of the window.
pub(super) const WINDOW: usize = ZScore::WINDOW;

/// The latest samples by their own time, the oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Window(Vec<Sample>);

/// What became of a sample that was put in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Placed {
    /// It is in the window, which says this of it.
    Within(ZReading),
    /// It is older than all of a full window. Nobody judges it.
    TooOld,
    /// It is there already.
    Known,
}

impl Window {
    /// Puts a sample in its place. The oldest one leaves a full window.
    pub(super) fn insert(&mut self, sample: Sample) -> Placed {
        let rps = sample.rps;
        // Most samples are the latest.
        let place = match self.0.last() {
            Some(last) if last.place() >= sample.place() => {
                match self.0.binary_search_by(|held| held.place().cmp(&sample.place())) {
                    Ok(_) => return Placed::Known,
                    Err(place) => place,
                }
            }
            _ => self.0.len(),
        };
        if self.0.len() < WINDOW {
            self.0.insert(place, sample);
        } else if let Some(before) = place.checked_sub(1) {
            self.0.remove(0);
            self.0.insert(before, sample);
        } else {
            return Placed::TooOld;
        }
        Placed::Within(self.judge(rps))
    }

    /// Takes samples out again.
    pub(super) fn forget(&mut self, mut is_gone: impl FnMut(&Sample) -> bool) {
        self.0.retain(|sample| !is_gone(sample));
    }

    /// The samples, the oldest first.
    pub(super) fn samples(&self) -> &[Sample] {
        &self.0
    }

    /// What the window says of its latest sample.
    pub(super) fn reading(&self) -> ZReading {
        self.0.last().map(|latest| self.judge(latest.rps)).unwrap_or_default()
    }

    /// Mean processor load; 0 for an empty window.
    pub(super) fn mean_cpu(&self) -> f64 {
        self.0.iter().map(|sample| sample.cpu).sum::<f64>() / self.0.len().max(1) as f64
    }

    fn judge(&self, rps: f64) -> ZReading {
        let mut values = [0.0; WINDOW];
        for (value, sample) in values.iter_mut().zip(&self.0) {
            *value = sample.rps;
        }
        ZReading::of(values.get(..self.0.len()).unwrap_or_default(), rps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample(micros: u64, id: &str, rps: f64) -> Sample {
        Sample { micros, cpu: rps / 2.0, rps, id: id.into(), is_named: true }
    }

    #[test]
    fn a_sample_is_judged_by_the_window_that_it_enters() {
        let mut window = Window::default();
        // The same figures as by hand in the core: mean 4, deviation √12.5.
        let mut last = Placed::Known;
        for (time, rps) in [(3, 3.0), (1, 1.0), (5, 10.0), (4, 4.0), (2, 2.0)] {
            last = window.insert(sample(time, "a", rps));
        }
        let Placed::Within(reading) = last else { panic!("{last:?}") };
        assert!(
            (reading.mean - 4.0).abs() < 1e-12 && (reading.z + 2.0 / 12.5_f64.sqrt()).abs() < 1e-12
        );
        // The service tells of the latest by time, whatever came last.
        assert!((window.reading().z - 6.0 / 12.5_f64.sqrt()).abs() < 1e-12);
        assert!((window.mean_cpu() - 2.0).abs() < 1e-12);
        assert_eq!(window.insert(sample(5, "a", 99.0)), Placed::Known);
        assert_eq!(Window::default().reading(), ZReading::default());
    }

    #[test]
    fn what_is_older_than_a_full_window_stays_out() {
        let mut window = Window::default();
        for time in 1..=WINDOW as u64 {
            window.insert(sample(time, "b", 1.0));
        }
        assert_eq!(window.insert(sample(0, "b", 9.0)), Placed::TooOld);
        assert_eq!(window.insert(sample(1, "a", 9.0)), Placed::TooOld);
        assert!(matches!(window.insert(sample(1, "c", 9.0)), Placed::Within(_)));
        assert_eq!(window.samples().len(), WINDOW);
        assert_eq!(window.samples()[0].place(), (1, "c"));
    }

    proptest! {
        #[test]
        fn the_order_of_arrival_does_not_matter(
            times in prop::collection::vec(0_u64..90, 1..150),
            seed: u64,
        ) {
            let mut samples: Vec<Sample> = times
                .iter()
                .enumerate()
                .map(|(number, time)| sample(*time, &format!("{}", number % 9), number as f64))
                .collect();
            samples.sort_by(|one, other| one.place().cmp(&other.place()));
            samples.dedup_by(|one, other| one.place() == other.place());
            let latest = samples[samples.len().saturating_sub(WINDOW)..].to_vec();
            let mut window = Window::default();
            let mut turn = seed;
            while !samples.is_empty() {
                turn = turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let one = samples.swap_remove((turn >> 33) as usize % samples.len());
                window.insert(one);
            }
            prop_assert_eq!(window.samples(), latest);
        }
    }
}
