//! What trips a closed breaker: a streak of failures, or a share of bad calls in a window.
//!
//! The streak is in the breaker's [record](super::record); the windows are here.

use super::Cause;
use crate::board::Words;
use crate::outcome::Outcome;
use crate::policy::{RateCondition, Trip, WindowSize};
use crate::time::Instant;
use crate::window::{BUCKETS, MeshWindow, Tally, Window};
use alloc::sync::Arc;

/// Windows since the breaker closed.
#[derive(Clone, Debug)]
pub struct Evidence {
    failures: Option<Window>,
    slow: Option<Window>,
}

/// Words that the time windows of a shared breaker need; call windows stay with their worker.
pub(super) fn words_needed(trip: &Trip) -> usize {
    let rates = [&trip.failure_rate, &trip.slow_rate].into_iter().flatten();
    rates.filter(|rate| matches!(rate.window, WindowSize::Time(_))).count() * BUCKETS
}

impl Evidence {
    /// None yet, with the windows that `trip` asks for, where it asks for any; on `words`, from the second
    /// word on, where the breaker is shared.
    pub fn new(trip: &Trip, words: Option<&Arc<dyn Words>>) -> Option<Self> {
        let mut first = 1;
        let mut window = |rate: &Option<RateCondition>| {
            let size = rate.as_ref()?.window;
            Some(match (size, words) {
                (WindowSize::Time(span), Some(words)) => {
                    first += BUCKETS;
                    Window::shared(span, words.clone(), first - BUCKETS)
                }
                _ => Window::new(size),
            })
        };
        let windows = Self { failures: window(&trip.failure_rate), slow: window(&trip.slow_rate) };
        (windows.failures.is_some() || windows.slow.is_some()).then_some(windows)
    }

    /// The same evidence where it goes to other processes as well. There is always a window of failures
    /// then, for their streak.
    pub(super) fn for_mesh(evidence: Option<Self>, trip: &Trip) -> Self {
        let size = |rate: &Option<RateCondition>| rate.as_ref().map(|rate| rate.window);
        let (failures, slow) = evidence.map_or((None, None), |all| (all.failures, all.slow));
        Self {
            failures: Some(Window::mesh(size(&trip.failure_rate), failures)),
            slow: slow.map(|slow| Window::mesh(size(&trip.slow_rate), Some(slow))),
        }
    }

    /// Adds an outcome that is evidence; gives the rate that trips now, if one does. Rates are
    /// asked after every outcome, a success as well: it can be the call that makes the minimum.
    #[inline]
    pub fn record(&mut self, trip: &Trip, now: Instant, outcome: Outcome) -> Option<Cause> {
        if self.absorbs(outcome) { None } else { self.record_in_windows(trip, now, outcome) }
    }

    /// Whether one more such outcome would change nothing.
    #[inline]
    pub fn absorbs(&self, outcome: Outcome) -> bool {
        let absorbs = |window: &Option<Window>, bad| match window {
            Some(window) => window.absorbs(bad),
            None => true,
        };
        absorbs(&self.failures, outcome == Outcome::Failure)
            && absorbs(&self.slow, outcome == Outcome::Slow)
    }

    // Apart, so that the breaker's own way stays short enough to be inlined.
    #[inline(never)]
    fn record_in_windows(&mut self, trip: &Trip, now: Instant, outcome: Outcome) -> Option<Cause> {
        let mut cause = None;
        if let Some(window) = &mut self.failures {
            let Tally { calls, bad } = window.record(now, outcome == Outcome::Failure);
            if let Some(rate) = &trip.failure_rate
                && reaches(rate, calls, bad)
            {
                cause = Some(Cause::FailureRate { calls, failures: bad });
            }
        }
        if let (Some(rate), Some(window)) = (&trip.slow_rate, &mut self.slow) {
            let Tally { calls, bad } = window.record(now, outcome == Outcome::Slow);
            if cause.is_none() && reaches(rate, calls, bad) {
                cause = Some(Cause::SlowRate { calls, slow: bad });
            }
        }
        cause
    }

    /// Shows others what was recorded here, and learns what they recorded.
    pub fn exchange(&mut self, now: Instant) {
        let windows = [&mut self.failures, &mut self.slow];
        windows.into_iter().flatten().for_each(|window| window.exchange(now));
    }

    /// When other workers should see what was recorded here; none where they did, or never do.
    pub fn shows_at(&self) -> Option<Instant> {
        let windows = [&self.failures, &self.slow];
        windows.into_iter().flatten().filter_map(Window::shows_at).min()
    }

    /// Forgets everything: `generation` begins.
    pub fn clear(&mut self, generation: u32) {
        let windows = [&mut self.failures, &mut self.slow];
        windows.into_iter().flatten().for_each(|window| window.clear(generation));
    }

    /// The windows of failures and of slow answers whose counts go to other processes.
    pub(super) fn mesh_windows(&mut self) -> (Option<&mut MeshWindow>, Option<&mut MeshWindow>) {
        (
            self.failures.as_mut().and_then(Window::as_mesh),
            self.slow.as_mut().and_then(Window::as_mesh),
        )
    }

    /// What is in the windows of failures and of slow answers, where there are such.
    pub(super) fn tallies(&self, now: Instant) -> (Option<Tally>, Option<Tally>) {
        let tally = |window: &Option<Window>| {
            window.as_ref().filter(|window| window.decides()).map(|window| window.tally(now))
        };
        (tally(&self.failures), tally(&self.slow))
    }
}

/// Whether a streak of failures trips.
#[inline]
pub(super) fn streak_trips(trip: &Trip, streak: u32) -> Option<Cause> {
    let most = trip.consecutive_failures?;
    (streak >= most).then_some(Cause::ConsecutiveFailures { count: streak })
}

/// Whether `bad` of `calls` reach the rate's threshold, with its confidence.
///
/// The one-sided Wilson lower bound of a share p over n calls reaches the threshold t exactly when
/// p >= t and n·(p − t)² >= z²·t·(1 − t): the bound is where the score test stops rejecting t
/// (Wilson 1927; Agresti and Coull 1998). So no root has to be drawn.
pub(super) fn reaches(rate: &RateCondition, calls: u32, bad: u32) -> bool {
    if bad == 0 || calls < rate.minimum_calls {
        return false;
    }
    // A quotient, not a product: the nearest double to 3/30 is the one that `0.1` is read as.
    let (calls, threshold) = (f64::from(calls), rate.threshold);
    let share = f64::from(bad) / calls;
    let over = share - threshold;
    over >= 0.0 && calls * over * over >= rate.z_squared * threshold * (1.0 - threshold)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::WindowSize;

    fn rate(threshold: f64, z: f64) -> RateCondition {
        let window = WindowSize::Calls(10);
        RateCondition { threshold, window, minimum_calls: 4, z_squared: z * z }
    }

    #[test]
    fn a_share_trips_at_its_threshold_and_not_below_its_minimum() {
        assert!(reaches(&rate(0.5, 0.0), 4, 2));
        assert!(!reaches(&rate(0.5, 0.0), 5, 2));
        assert!(!reaches(&rate(0.5, 0.0), 3, 3));
        assert!(reaches(&rate(0.1, 0.0), 30, 3), "3 of 30 is 0.1 to the last bit");
        assert!(reaches(&rate(1.0, 1.645), 4, 4), "a share of 1 cannot be exceeded");
    }

    /// Against the textbook form of the bound, root and all.
    #[test]
    fn confidence_is_the_wilson_lower_bound() {
        let z = 1.644_853_627;
        for calls in [4_u32, 10, 37, 100, 1000] {
            for bad in 0..=calls {
                let (n, p) = (f64::from(calls), f64::from(bad) / f64::from(calls));
                let spread = libm::sqrt(p * (1.0 - p) / n + z * z / (4.0 * n * n));
                let bound = (p + z * z / (2.0 * n) - z * spread) / (1.0 + z * z / n);
                for threshold in [0.1, 0.25, 0.5, 0.9] {
                    if (bound - threshold).abs() > 1e-9 {
                        let trips = reaches(&rate(threshold, z), calls, bad);
                        assert_eq!(trips, bound > threshold, "{bad} of {calls} at {threshold}");
                    }
                }
            }
        }
    }
}
