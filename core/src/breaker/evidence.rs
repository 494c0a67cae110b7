//! What trips a closed breaker: a streak of failures, or a share of bad calls in a window.

use crate::event::Cause;
use crate::outcome::Outcome;
use crate::policy::{Rate, Trip};
use crate::time::Instant;
use crate::window::{Mark, Tally, Window};

/// Evidence since the breaker closed.
#[derive(Clone, Debug)]
pub struct Evidence {
    streak: u32,
    failures: Option<Window>,
    slow: Option<Window>,
}

/// Evidence at one moment, see [`View`](super::View).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) calls: u32,
    pub(super) failures: u32,
    pub(super) slow: u32,
}

impl Evidence {
    /// None yet, with the windows that `trip` asks for.
    pub fn new(trip: &Trip) -> Self {
        let window = |rate: &Option<Rate>| rate.as_ref().map(|rate| Window::new(rate.window));
        Self {
            streak: 0,
            failures: window(&trip.failure_rate),
            slow: window(&trip.slow_rate),
        }
    }

    /// Adds an outcome that is evidence; gives what trips now, if anything does. Conditions are
    /// asked after every outcome, a success as well: it can be the call that makes the minimum.
    #[inline]
    pub fn record(&mut self, trip: &Trip, now: Instant, outcome: Outcome) -> Option<Cause> {
        let failed = outcome == Outcome::Failure;
        self.streak = if failed {
            self.streak.saturating_add(1)
        } else {
            0
        };
        let mut cause = trip
            .consecutive_failures
            .filter(|most| failed && self.streak >= *most)
            .map(|_| Cause::ConsecutiveFailures { count: self.streak });
        if let (Some(rate), Some(window)) = (&trip.failure_rate, &mut self.failures) {
            let Tally { calls, bad } = window.record(now, mark(failed));
            if cause.is_none() && reaches(rate, calls, bad) {
                cause = Some(Cause::FailureRate {
                    calls,
                    failures: bad,
                });
            }
        }
        if let (Some(rate), Some(window)) = (&trip.slow_rate, &mut self.slow) {
            let Tally { calls, bad } = window.record(now, mark(outcome == Outcome::Slow));
            if cause.is_none() && reaches(rate, calls, bad) {
                cause = Some(Cause::SlowRate { calls, slow: bad });
            }
        }
        cause
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.streak = 0;
        self.failures.iter_mut().for_each(Window::clear);
        self.slow.iter_mut().for_each(Window::clear);
    }

    pub(super) fn view(&self, now: Instant) -> Seen {
        let tally = |window: &Option<Window>| window.as_ref().map(|window| window.tally(now));
        let (failures, slow) = (tally(&self.failures), tally(&self.slow));
        Seen {
            calls: failures.or(slow).map_or(self.streak, |tally| tally.calls),
            failures: failures.map_or(self.streak, |tally| tally.bad),
            slow: slow.map_or(0, |tally| tally.bad),
        }
    }
}

const fn mark(bad: bool) -> Mark {
    if bad { Mark::Bad } else { Mark::Good }
}

/// Whether `bad` of `calls` reach the rate's threshold, with its confidence.
///
/// The one-sided Wilson lower bound of a share p over n calls reaches the threshold t exactly when
/// p >= t and n·(p − t)² >= z²·t·(1 − t): the bound is where the score test stops rejecting t
/// (Wilson 1927; Agresti and Coull 1998). So no root has to be drawn.
fn reaches(rate: &Rate, calls: u32, bad: u32) -> bool {
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

    fn rate(threshold: f64, z: f64) -> Rate {
        let window = WindowSize::Calls(10);
        Rate {
            threshold,
            window,
            minimum_calls: 4,
            z_squared: z * z,
        }
    }

    #[test]
    fn a_share_trips_at_its_threshold_and_not_below_its_minimum() {
        assert!(reaches(&rate(0.5, 0.0), 4, 2));
        assert!(!reaches(&rate(0.5, 0.0), 5, 2));
        assert!(!reaches(&rate(0.5, 0.0), 3, 3));
        assert!(
            reaches(&rate(0.1, 0.0), 30, 3),
            "3 of 30 is 0.1 to the last bit"
        );
        assert!(
            reaches(&rate(1.0, 1.645), 4, 4),
            "a share of 1 cannot be exceeded"
        );
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
