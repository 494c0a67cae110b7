//! A time limit that follows how long an upstream takes, usable alone.
//!
//! The limit is a percentile of the latencies and a margin on top. The percentile is tracked by the
//! multiplicative rule of Yazidi and Hammer ("Multiplicative Update Methods for Incremental Quantile
//! Estimation", IEEE Transactions on Cybernetics, 2017): an observation above the estimate raises it by a
//! share of `percentile`, one below lowers it by a share of the rest, so that it comes to rest where as
//! many are above as there should be. It is one number and no sample is kept, it forgets by itself, and
//! the same observations give the same limit.
//!
//! The rule asks no more of an observation than on which side of the estimate it is. That is why calls that
//! ran into their limit can be counted for what they are: *at least* so long (they are right-censored). As
//! their limit is not below the estimate, they are above it. A limit that took them for so long as they
//! were let could only fall (erpc/erpc 1124), one that left them out would be made of those who came in
//! time. One that was ended before the estimate says nothing, and moves nothing.
//!
//! Until there are enough observations the limit is the longest, and the estimate the longest of them.

use crate::outcome::{Outcome, Report};
use crate::time::Duration;

/// How much of a step is taken with one observation. A tenth: an upstream that takes ten times as long all
/// at once is followed after some 20 calls that ran into the limit.
const STEP: f64 = 0.1;

/// So many observations are needed at least before the limit is less than the longest.
const FEWEST: u32 = 50;

/// How the limit follows latencies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AutoTimeoutPolicy {
    /// Which share of calls takes no longer than what is measured; 0.5–0.9999.
    pub percentile: f64,
    /// What is added, as a share of that.
    pub margin: f64,
    /// It is never shorter.
    pub min: Duration,
    /// It is never longer, and this until enough is known; not below `min`.
    pub max: Duration,
}

/// No number of it is none: the language lets none through.
impl Eq for AutoTimeoutPolicy {}

impl AutoTimeoutPolicy {
    /// So many observations are needed before anything is said: one beyond the percentile is among them.
    pub fn needed(&self) -> u32 {
        let rest = (1.0 - self.percentile).max(1e-4);
        // Rounded up but for what the division left of a whole number.
        FEWEST.max((1.0 / rest + 0.999) as u32)
    }
}

/// What is known of an upstream's latency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AutoTimeout {
    /// In nanoseconds.
    estimate: u64,
    /// How many observations there were, no more than are needed.
    seen: u32,
}

impl AutoTimeout {
    /// A call was answered after `latency`.
    pub fn answered(&mut self, policy: &AutoTimeoutPolicy, latency: Duration) {
        let latency = latency.as_nanos();
        if !self.warms_up(policy, latency) {
            self.step(policy, latency > self.estimate);
        }
    }

    /// A call had no answer after `waited`, when it was given up.
    pub fn unanswered(&mut self, policy: &AutoTimeoutPolicy, waited: Duration) {
        let waited = waited.as_nanos();
        if !self.warms_up(policy, waited) && waited >= self.estimate {
            self.step(policy, true);
        }
    }

    /// A call is over, as its host reports. Of one without a latency nothing is learned: a quick failure is
    /// no quick answer.
    pub fn settled(&mut self, policy: &AutoTimeoutPolicy, report: &Report) {
        match (report.outcome, report.latency) {
            (Outcome::Success | Outcome::Slow, Some(latency)) => self.answered(policy, latency),
            (Outcome::Failure, Some(waited)) => self.unanswered(policy, waited),
            _ => {}
        }
    }

    /// The limit now.
    pub fn limit(&self, policy: &AutoTimeoutPolicy) -> Duration {
        if !self.is_known(policy) {
            return policy.max;
        }
        let with_margin = self.estimate as f64 * (1.0 + policy.margin);
        Duration::from_nanos(with_margin as u64).clamp(policy.min, policy.max.max(policy.min))
    }

    /// Whether there were enough observations.
    pub fn is_known(&self, policy: &AutoTimeoutPolicy) -> bool {
        self.seen >= policy.needed()
    }

    /// Takes one of the first observations; false where there were enough.
    fn warms_up(&mut self, policy: &AutoTimeoutPolicy, latency: u64) -> bool {
        if self.is_known(policy) {
            return false;
        }
        self.seen += 1;
        self.estimate = self.estimate.max(latency);
        self.bound(policy);
        true
    }

    fn step(&mut self, policy: &AutoTimeoutPolicy, is_above: bool) {
        let factor = if is_above {
            1.0 + STEP * policy.percentile
        } else {
            1.0 - STEP * (1.0 - policy.percentile)
        };
        self.estimate = (self.estimate as f64 * factor) as u64;
        self.bound(policy);
    }

    /// Where the limit does not follow any more, the estimate need not go on: it would have a long way back.
    fn bound(&mut self, policy: &AutoTimeoutPolicy) {
        let least = (policy.min.as_nanos() as f64 / (1.0 + policy.margin)) as u64;
        let most = policy.max.as_nanos().max(1);
        self.estimate = self.estimate.clamp(least.min(most), most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    const POLICY: AutoTimeoutPolicy = AutoTimeoutPolicy {
        percentile: 0.99,
        margin: 0.5,
        min: Duration::from_millis(10),
        max: Duration::from_millis(10_000),
    };

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Latencies drawn evenly from `from` to `to` milliseconds: their percentile is known.
    fn serve(auto: &mut AutoTimeout, rng: &mut Rng, calls: u32, (from, to): (u64, u64)) -> u32 {
        let mut late = 0;
        for _ in 0..calls {
            let micros = from * 1000 + rng.next_u64() % ((to - from) * 1000);
            let latency = Duration::from_nanos(micros * 1000);
            let limit = auto.limit(&POLICY);
            if latency > limit {
                late += 1;
                auto.unanswered(&POLICY, limit);
            } else {
                auto.answered(&POLICY, latency);
            }
        }
        late
    }

    #[test]
    fn it_is_the_longest_until_enough_is_known() {
        let mut auto = AutoTimeout::default();
        assert_eq!(POLICY.needed(), 100);
        for _ in 1..100 {
            auto.answered(&POLICY, ms(100));
            assert_eq!(auto.limit(&POLICY), POLICY.max);
        }
        auto.answered(&POLICY, ms(100));
        assert_eq!(auto.limit(&POLICY), ms(150));
        let [half, most] =
            [0.5, 0.9999].map(|percentile| AutoTimeoutPolicy { percentile, ..POLICY });
        assert_eq!([half.needed(), most.needed()], [50, 10_000]);
    }

    #[test]
    fn it_comes_to_rest_near_the_percentile_and_the_margin() {
        let (mut auto, mut rng) = (AutoTimeout::default(), Rng::new(7));
        serve(&mut auto, &mut rng, 20_000, (50, 150));
        // The percentile of these is 149 ms.
        let mut sum = 0;
        for _ in 0..1000 {
            serve(&mut auto, &mut rng, 10, (50, 150));
            sum += auto.limit(&POLICY).as_millis();
        }
        let mean = sum as f64 / 1000.0;
        assert!((mean / (1.5 * 149.0) - 1.0).abs() < 0.1, "{mean}");
        assert!(serve(&mut auto, &mut rng, 10_000, (50, 150)) < 20, "the margin is for them");
    }

    /// erpc/erpc 1124: a limit below what an upstream takes by now could not rise any more, because calls
    /// that ran into it were taken for so long as they were let.
    #[test]
    fn calls_that_ran_into_it_raise_it() {
        let (mut auto, mut rng) = (AutoTimeout::default(), Rng::new(7));
        serve(&mut auto, &mut rng, 2000, (90, 110));
        let before = auto.limit(&POLICY);
        assert!(before < ms(200), "{before}");
        let late = serve(&mut auto, &mut rng, 200, (900, 1100));
        assert!(auto.limit(&POLICY) > ms(1100), "{}", auto.limit(&POLICY));
        assert!((10..40).contains(&late), "{late}");
    }

    #[test]
    fn it_falls_again_when_its_upstream_is_fast() {
        let (mut auto, mut rng) = (AutoTimeout::default(), Rng::new(7));
        serve(&mut auto, &mut rng, 1000, (900, 1100));
        serve(&mut auto, &mut rng, 5000, (90, 110));
        assert!(auto.limit(&POLICY) < ms(250), "{}", auto.limit(&POLICY));
    }

    #[test]
    fn what_says_nothing_moves_nothing() {
        let mut auto = AutoTimeout::default();
        for _ in 0..100 {
            auto.answered(&POLICY, ms(100));
        }
        let before = auto;
        // Given up by a limit of its own, long before the estimate.
        auto.unanswered(&POLICY, ms(99));
        for outcome in [Outcome::Failure, Outcome::Neutral, Outcome::Success] {
            auto.settled(&POLICY, &outcome.into());
        }
        assert_eq!(auto, before);
        let report = |outcome, latency| Report { latency: Some(latency), ..Report::from(outcome) };
        auto.settled(&POLICY, &report(Outcome::Failure, ms(150)));
        assert!(auto.estimate > before.estimate);
        let higher = auto.estimate;
        auto.settled(&POLICY, &report(Outcome::Slow, ms(1)));
        assert!(auto.estimate < higher);
    }

    #[test]
    fn it_stays_within_its_bounds_and_comes_back_from_them_at_once() {
        let mut auto = AutoTimeout::default();
        for _ in 0..10_000 {
            auto.answered(&POLICY, Duration::ZERO);
        }
        assert_eq!(auto.limit(&POLICY), POLICY.min);
        auto.unanswered(&POLICY, POLICY.min);
        assert!(auto.limit(&POLICY) > POLICY.min);
        for _ in 0..1000 {
            auto.unanswered(&POLICY, Duration::from_secs(1 << 40));
        }
        assert_eq!(auto.limit(&POLICY), POLICY.max);
        // One whose first calls all ran into the longest limit.
        let mut auto = AutoTimeout::default();
        (0..100).for_each(|_| auto.unanswered(&POLICY, POLICY.max));
        assert_eq!(auto.limit(&POLICY), POLICY.max);
    }
}
