//! How a breaker comes back: after closing it admits a growing share of the calls.

use crate::time::{Duration, Instant};

/// A whole call, in millionths: whole numbers, so that every host rounds alike.
const CALL: u128 = 1_000_000;
/// The share that a ramp begins with: 5 %.
const FLOOR: u128 = CALL / 20;

/// A ramp under way.
///
/// Error diffusion (the one-dimensional form of Bresenham's line): the share of every offered call
/// is added up, and a call passes when a whole one has come together. No randomness, and in no
/// stretch of calls do more pass than the share allows.
#[derive(Clone, Debug)]
pub struct Ramp {
    began: Instant,
    owed: u128,
}

/// What a ramp says to one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The ramp is over: every call passes.
    Over,
    /// It passes.
    Admit,
    /// It does not.
    Reject {
        /// The share that passes now, in whole percent.
        percent: u8,
    },
}

impl Ramp {
    /// A ramp that begins now.
    pub const fn new(now: Instant) -> Self {
        Self { began: now, owed: 0 }
    }

    /// Decides one call of a ramp that lasts `length`: the share is max(5 %, t / length).
    pub fn admit(&mut self, now: Instant, length: Duration) -> Step {
        // A clock that came back from far ahead must not make it last until then.
        self.began = self.began.min(now);
        let passed = now.since(self.began);
        if passed >= length {
            return Step::Over;
        }
        let share = u128::from(passed.as_nanos()) * CALL / u128::from(length.as_nanos());
        let share = share.max(FLOOR);
        self.owed += share;
        if self.owed >= CALL {
            self.owed -= CALL;
            return Step::Admit;
        }
        Step::Reject { percent: (share * 100 / CALL) as u8 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_comes_back_from_far_ahead_does_not_lengthen_it() {
        let mut ramp = Ramp::new(Instant::FAR_FUTURE);
        let length = Duration::from_secs(1);
        let first = ramp.admit(Instant::from_millis(5_000), length);
        assert_eq!(first, Step::Reject { percent: 5 });
        assert_eq!(ramp.admit(Instant::from_millis(6_000), length), Step::Over);
    }

    #[test]
    fn begins_with_one_in_twenty() {
        let mut ramp = Ramp::new(Instant::ZERO);
        let steps = [(); 200].map(|()| ramp.admit(Instant::ZERO, Duration::from_secs(10)));
        let passed = steps.iter().filter(|step| **step == Step::Admit).count();
        assert_eq!(passed, 10);
        assert_eq!(steps[19], Step::Admit, "the twentieth call makes a whole one");
        assert_eq!(steps.first(), Some(&Step::Reject { percent: 5 }));
    }

    #[test]
    fn what_is_left_of_a_share_counts_for_the_next_call() {
        let (mut ramp, length) = (Ramp::new(Instant::ZERO), Duration::from_secs(10));
        let steps = [(); 1_000].map(|()| ramp.admit(Instant::from_millis(3_000), length));
        assert_eq!(steps.iter().filter(|step| **step == Step::Admit).count(), 300);
    }

    #[test]
    fn the_share_grows_with_time_and_ends() {
        let mut ramp = Ramp::new(Instant::ZERO);
        let half = Instant::from_millis(5_000);
        let steps = [(); 100].map(|()| ramp.admit(half, Duration::from_secs(10)));
        assert_eq!(steps.iter().filter(|step| **step == Step::Admit).count(), 50);
        assert_eq!(ramp.admit(Instant::from_millis(10_000), Duration::from_secs(10)), Step::Over);
    }
}
