//! How long to wait before a try.
//!
//! Waits grow from try to try, and are drawn by lot: callers that failed together must not come back
//! together (Brooker: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015, which also gives
//! the two kinds of jitter their names).

use crate::rng::Rng;
use crate::time::Duration;

/// Exponential waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Backoff {
    /// The bound of the first wait; it doubles from try to try.
    pub base: Duration,
    /// The bound of all waits.
    pub max: Duration,
    /// What is drawn by lot.
    pub jitter: Jitter,
}

/// What of a wait is drawn by lot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Jitter {
    /// Nothing: the wait is its bound.
    None,
    /// All of it: between nothing and its bound.
    Full,
    /// Between `base` and three times the wait before, or three times `base` where there was none.
    Decorrelated,
}

impl Jitter {
    /// Every one, in the order of the documentation.
    pub const ALL: [Self; 3] = [Self::None, Self::Full, Self::Decorrelated];

    /// The name in a policy.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Full => "full",
            Self::Decorrelated => "decorrelated",
        }
    }
}

impl Backoff {
    /// The wait behind try `number`, from 1; `before` is the wait before that try, zero for the
    /// first.
    pub fn wait(&self, number: u32, before: Duration, rng: &mut Rng) -> Duration {
        let doublings = number.saturating_sub(1).min(63);
        let bound = self.base.as_nanos().saturating_mul(1 << doublings);
        let bound = Duration::from_nanos(bound).min(self.max);
        match self.jitter {
            Jitter::None => bound,
            Jitter::Full => bound.mul_f64(rng.next_share()),
            Jitter::Decorrelated => {
                let from = self.base.min(self.max);
                let to = Duration::from_nanos(before.max(from).as_nanos().saturating_mul(3));
                (from + (to - from).mul_f64(rng.next_share())).min(self.max)
            }
        }
    }
}
