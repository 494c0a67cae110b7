//! How long a breaker stays open: longer from trip to trip, shorter again on evidence.
//!
//! The level falls with successes *and* time, not with time alone: an upstream that nobody asks
//! has not shown that it is well (what users miss in Envoy's ejection time).

use crate::policy::{BreakerPolicy, Open};
use crate::rng::Rng;
use crate::time::{Duration, Instant};

/// The level, and what was seen since it last fell.
#[derive(Clone, Debug, Default)]
pub struct OpenTime {
    level: u8,
    successes: u32,
    since: Instant,
}

impl OpenTime {
    /// The level: how many trips count.
    pub const fn level(&self) -> u8 {
        self.level
    }

    /// A trip: how long the breaker opens, and the level rises. An upstream that names a longer
    /// time itself gets it, up to `max`.
    pub fn trip(&mut self, open: &Open, rng: &mut Rng, retry_after: Option<Duration>) -> Duration {
        let planned = at_level(open, self.level);
        let jitter = planned.mul_f64(open.jitter * rng.next_share());
        self.level = self.level.saturating_add(1);
        let asked = retry_after.unwrap_or(Duration::ZERO).min(open.max);
        asked.max(planned + jitter)
    }

    /// The breaker closed at `now`.
    pub fn closed(&mut self, now: Instant) {
        self.since = now;
        self.successes = 0;
    }

    /// A success while closed: the level falls by one once the breaker was closed for the level's
    /// open time and saw enough successes, and begins to count anew.
    #[inline]
    pub fn success(&mut self, policy: &BreakerPolicy, now: Instant) {
        if self.level != 0 {
            self.recover(policy, now);
        }
    }

    #[cold]
    fn recover(&mut self, policy: &BreakerPolicy, now: Instant) {
        self.successes = self.successes.saturating_add(1);
        let closed_for = now.since(self.since);
        if self.successes >= enough(policy) && closed_for >= at_level(&policy.open, self.level) {
            self.level -= 1;
            self.closed(now);
        }
    }
}

/// `min(base · multiplier^level, max)`.
fn at_level(open: &Open, level: u8) -> Duration {
    let mut factor = 1.0;
    for _ in 0..level {
        factor *= open.multiplier;
        if open.base.mul_f64(factor) >= open.max {
            return open.max;
        }
    }
    open.base.mul_f64(factor).min(open.max)
}

/// Successes that a level needs to fall: max(`minimum_calls`, 10 × `consecutive_failures`).
fn enough(policy: &BreakerPolicy) -> u32 {
    let trip = &policy.trip;
    let rates = [&trip.failure_rate, &trip.slow_rate];
    let minimum = rates
        .into_iter()
        .flatten()
        .map(|rate| rate.minimum_calls)
        .max();
    let streak = trip
        .consecutive_failures
        .map(|count| count.saturating_mul(10));
    minimum.unwrap_or(0).max(streak.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(base: u64, multiplier: f64, max: u64, jitter: f64) -> Open {
        let (base, max) = (Duration::from_secs(base), Duration::from_secs(max));
        Open {
            base,
            multiplier,
            max,
            jitter,
        }
    }

    #[test]
    fn grows_from_base_to_max() {
        let (mut time, mut rng) = (OpenTime::default(), Rng::new(0));
        let policy = open(30, 2.0, 300, 0.0);
        let spans = [30, 60, 120, 240, 300, 300].map(Duration::from_secs);
        assert_eq!([(); 6].map(|()| time.trip(&policy, &mut rng, None)), spans);
        assert_eq!(time.level(), 6);
    }

    #[test]
    fn jitter_only_lengthens_and_stays_in_its_share() {
        let mut rng = Rng::new(3);
        let policy = open(10, 1.0, 10, 0.1);
        let mut longest = Duration::ZERO;
        for _ in 0..1000 {
            let span = OpenTime::default().trip(&policy, &mut rng, None);
            assert!(span >= Duration::from_secs(10) && span <= Duration::from_secs(11));
            longest = longest.max(span);
        }
        assert!(
            longest > Duration::from_millis(10_900),
            "the whole share is used"
        );
    }

    #[test]
    fn retry_after_lengthens_up_to_max() {
        let mut rng = Rng::new(0);
        for (asked, span) in [(5, 30), (100, 100), (900, 300)] {
            let asked = Some(Duration::from_secs(asked));
            let got = OpenTime::default().trip(&open(30, 2.0, 300, 0.0), &mut rng, asked);
            assert_eq!(got, Duration::from_secs(span));
        }
    }

    #[test]
    fn a_high_level_costs_no_overflow() {
        let mut time = OpenTime {
            level: u8::MAX,
            ..OpenTime::default()
        };
        let policy = open(1, 1e300, 60, 0.0);
        assert_eq!(
            time.trip(&policy, &mut Rng::new(0), None),
            Duration::from_secs(60)
        );
        assert_eq!(time.level(), u8::MAX);
    }
}
