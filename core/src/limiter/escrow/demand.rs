//! How many calls come, from counts of short stretches.

use super::WHOLE;
use crate::limiter::Rate;
use crate::time::{Duration, Instant};

/// A shorter stretch says too little: it is counted with the next one.
const LEAST: Duration = Duration::from_millis(50);
/// How much of a measured stretch goes into what was known: so that shares of a steady demand stand still.
const SMOOTHING: f64 = 1.0 / 8.0;
/// A count that is further from what was expected than this many standard deviations of a Poisson process, squared,
/// is another demand: it counts at once.
const SURPRISE: f64 = 16.0;

/// Calls in a nanosecond, as they were lately.
#[derive(Clone, Debug, Default)]
pub(super) struct Demand {
    /// Since when the count runs; none before the first call.
    since: Option<Instant>,
    count: u32,
    rate: f64,
    /// Whether anything was measured.
    is_measured: bool,
}

impl Demand {
    /// A call came.
    pub(super) fn count(&mut self, now: Instant) {
        self.since.get_or_insert(now);
        self.count = self.count.saturating_add(1);
    }

    /// A call that was counted did not come.
    pub(super) fn take_back(&mut self) {
        self.count = self.count.saturating_sub(1);
    }

    /// Ends a stretch, where it is long enough.
    pub(super) fn measure(&mut self, now: Instant) {
        let span = now.since(*self.since.get_or_insert(now));
        if span < LEAST {
            return;
        }
        let span = span.as_nanos() as f64;
        let (count, expected) = (f64::from(self.count), self.rate * span);
        let off = count - expected;
        let is_other = !self.is_measured || off * off > SURPRISE * expected.max(1.0);
        let weight = if is_other { 1.0 } else { SMOOTHING };
        self.rate += (count / span - self.rate) * weight;
        (self.since, self.count, self.is_measured) = (Some(now), 0, true);
    }

    /// As a share of `rate`.
    pub(super) fn share_of(&self, rate: Rate) -> u64 {
        let whole = f64::from(rate.tokens.max(1)) / rate.period.as_nanos().max(1) as f64;
        // Ends at what a word holds, and so that the demands of many can be added up.
        let share = (self.rate / whole * f64::from(WHOLE)) as u64;
        share.min(u64::from(u32::MAX) << 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { tokens: 100, period: Duration::from_secs(1) };

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    /// `calls` in each tenth of a second from `from` to `to`.
    fn steady(demand: &mut Demand, from: u64, to: u64, calls: u32) {
        for tick in (from..to).step_by(100) {
            (0..calls).for_each(|_| demand.count(at(tick)));
            demand.measure(at(tick + 100));
        }
    }

    fn share(demand: &Demand) -> f64 {
        demand.share_of(RATE) as f64 / f64::from(WHOLE)
    }

    #[test]
    fn what_comes_is_told_as_a_share_of_the_rate() {
        let mut demand = Demand::default();
        assert_eq!(share(&demand), 0.0);
        steady(&mut demand, 0, 1_000, 30);
        assert!((share(&demand) - 3.0).abs() < 1e-6, "{}", share(&demand));
    }

    #[test]
    fn another_demand_is_seen_at_once_and_chance_is_smoothed() {
        let mut demand = Demand::default();
        steady(&mut demand, 0, 1_000, 30);
        steady(&mut demand, 1_000, 1_100, 36);
        assert!((share(&demand) - 3.075).abs() < 1e-6, "{}", share(&demand));
        steady(&mut demand, 1_100, 1_200, 90);
        assert!((share(&demand) - 9.0).abs() < 1e-6, "{}", share(&demand));
        steady(&mut demand, 1_200, 1_300, 0);
        assert_eq!(share(&demand), 0.0);
    }

    #[test]
    fn a_short_stretch_says_nothing_by_itself() {
        let mut demand = Demand::default();
        demand.count(at(0));
        demand.measure(at(1));
        assert_eq!(share(&demand), 0.0);
        demand.measure(at(100));
        assert!((share(&demand) - 0.1).abs() < 1e-6);
    }

    #[test]
    fn seldom_calls_have_their_mean() {
        let mut demand = Demand::default();
        for round in 0..200 {
            steady(&mut demand, round * 1_000, round * 1_000 + 100, 1);
            steady(&mut demand, round * 1_000 + 100, round * 1_000 + 1_000, 0);
        }
        assert!((0.001..0.02).contains(&share(&demand)), "{}", share(&demand));
    }
}
