//! How long a breaker stays open: longer from trip to trip, shorter again on evidence.
//!
//! The level falls with successes *and* time, not with time alone: an upstream that nobody asks
//! has not shown that it is well (what users miss in Envoy's ejection time).

use crate::policy::{BreakerPolicy, Growth, Open};
use crate::rng::Rng;
use crate::time::{Duration, Instant};

/// How long a breaker opens that trips at `level`. An upstream that names a longer time itself
/// gets it, up to `max`.
pub(super) fn draw(
    open: &Open,
    level: u8,
    rng: &mut Rng,
    retry_after: Option<Duration>,
) -> Duration {
    let planned = at_level(open, level);
    let jitter = planned.mul_f64(open.jitter * rng.next_share());
    let asked = retry_after.unwrap_or(Duration::ZERO).min(open.max);
    asked.max(planned + jitter)
}

/// What a closed breaker saw since its level last fell. A replica counts what it saw itself.
#[derive(Clone, Debug, Default)]
pub struct Recovery {
    successes: u32,
    since: Instant,
}

impl Recovery {
    /// Begins anew.
    pub fn restart(&mut self, now: Instant) {
        *self = Self { successes: 0, since: now };
    }

    /// A success while closed at `level`, which is over 0. True where the level falls by one: the
    /// breaker was closed for the level's open time and saw enough successes.
    pub fn success(&mut self, policy: &BreakerPolicy, level: u8, now: Instant) -> bool {
        self.successes = self.successes.saturating_add(1);
        let falls = self.successes >= enough(policy)
            && now.since(self.since) >= at_level(&policy.open, level);
        if falls {
            self.restart(now);
        }
        falls
    }
}

/// `min(base · multiplier^level, max)`, or `min(base · (1 + (multiplier − 1) · level), max)`.
fn at_level(open: &Open, level: u8) -> Duration {
    if open.growth == Growth::Linear {
        let factor = 1.0 + (open.multiplier - 1.0) * f64::from(level);
        return open.base.mul_f64(factor).min(open.max);
    }
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
    let minimum = rates.into_iter().flatten().map(|rate| rate.minimum_calls).max();
    let streak = trip.consecutive_failures.map(|count| count.saturating_mul(10));
    minimum.unwrap_or(0).max(streak.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(base: u64, multiplier: f64, max: u64, jitter: f64) -> Open {
        let (base, max) = (Duration::from_secs(base), Duration::from_secs(max));
        Open { base, multiplier, growth: Growth::Exponential, max, jitter }
    }

    #[test]
    fn grows_from_base_to_max() {
        let (mut rng, policy) = (Rng::new(0), open(30, 2.0, 300, 0.0));
        for (level, secs) in [30, 60, 120, 240, 300, 300].into_iter().enumerate() {
            let span = draw(&policy, level as u8, &mut rng, None);
            assert_eq!(span, Duration::from_secs(secs));
        }
    }

    /// Envoy's outlier detection: base time × number of ejections, up to its maximum.
    #[test]
    fn linear_growth_adds_the_base_up_to_max() {
        let policy = Open { growth: Growth::Linear, ..open(30, 2.0, 100, 0.0) };
        for (level, secs) in [30, 60, 90, 100, 100].into_iter().enumerate() {
            let span = draw(&policy, level as u8, &mut Rng::new(0), None);
            assert_eq!(span, Duration::from_secs(secs));
        }
    }

    #[test]
    fn jitter_only_lengthens_and_stays_in_its_share() {
        let (mut rng, policy) = (Rng::new(3), open(10, 1.0, 10, 0.1));
        let mut longest = Duration::ZERO;
        for _ in 0..1000 {
            let span = draw(&policy, 0, &mut rng, None);
            assert!(span >= Duration::from_secs(10) && span <= Duration::from_secs(11));
            longest = longest.max(span);
        }
        assert!(longest > Duration::from_millis(10_900), "the whole share is used");
    }

    #[test]
    fn retry_after_lengthens_up_to_max() {
        let (mut rng, policy) = (Rng::new(0), open(30, 2.0, 300, 0.0));
        for (asked, span) in [(5, 30), (100, 100), (900, 300)] {
            let asked = Some(Duration::from_secs(asked));
            assert_eq!(draw(&policy, 0, &mut rng, asked), Duration::from_secs(span));
        }
    }

    #[test]
    fn a_high_level_costs_no_overflow() {
        let policy = open(1, 1e300, 60, 0.0);
        assert_eq!(draw(&policy, u8::MAX, &mut Rng::new(0), None), Duration::from_secs(60));
    }
}
