//! Which members of a group get no calls for a while, because they fail where others do not: passive
//! outlier ejection, with the meanings of Envoy and Istio.
//!
//! A member whose calls fail so many times in a row is ejected, for longer each time. Never more than a share
//! of the group is, and never everyone; where too few are left, whoever chooses takes no notice of ejections.
//! Nothing in here knows what a member is: each has a [`Streak`] of failures and a [`Record`].
//!
//! ```
//! use bimetal_core::ejection::{Record, Settings, Streak};
//! use bimetal_core::outcome::Outcome;
//! use bimetal_core::{Duration, Instant};
//!
//! let settings = Settings::default();
//! let mut group = [Record::default(); 3];
//! let streak = Streak::new();
//! let now = Instant::from_millis(1_000);
//! for outcome in [Outcome::Failure, Outcome::Failure, Outcome::Failure] {
//!     if streak.is_due(outcome, settings.consecutive_failures) {
//!         let ejection = settings.eject(now, &mut group, 1).unwrap();
//!         assert_eq!(ejection.length, settings.base_ejection);
//!     }
//! }
//! assert!(group[1].is_out(now));
//! assert!(!group[1].is_out(now + settings.base_ejection));
//! ```

use crate::board::{self, AtomicWords, Words};
use crate::outcome::Outcome;
use crate::time::{Duration, Instant};
use alloc::sync::Arc;
use core::fmt;

/// When a member is ejected, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// So many failures without a success between them, at least 1.
    pub consecutive_failures: u32,
    /// For each of these that a member was in since its last ejection, its number of ejections falls by one.
    pub interval: Duration,
    /// How long the first ejection lasts; the second lasts twice, the third three times as long.
    pub base_ejection: Duration,
    /// The longest that one lasts; never less than `base_ejection`.
    pub longest_ejection: Duration,
    /// At most this share of the group is out at once, 0–1.
    pub max_ejection: f64,
    /// In a smaller group nobody is ejected.
    pub minimum_hosts: usize,
    /// Where a smaller share of the group is in, ejections do not count.
    pub min_healthy: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            consecutive_failures: 3,
            interval: Duration::from_secs(10),
            base_ejection: Duration::from_secs(30),
            longest_ejection: Duration::from_secs(300),
            max_ejection: 0.5,
            minimum_hosts: 2,
            min_healthy: 0.5,
        }
    }
}

/// Failures in a row of one member, counted by all workers of a process in one word of a
/// [board](crate::board). While nothing fails it is only read.
#[derive(Clone, Debug)]
pub struct Streak(Arc<dyn Words>);

impl Streak {
    /// How many words it needs.
    pub const WORDS: usize = 1;

    /// One of which copies are shared.
    pub fn new() -> Self {
        Self(Arc::new(AtomicWords::new(Self::WORDS)))
    }

    /// One replica of the streak in `words`.
    pub const fn shared(words: Arc<dyn Words>) -> Self {
        Self(words)
    }

    /// Failures since the last success.
    #[inline]
    pub fn failures(&self) -> u64 {
        self.0.load(0)
    }

    /// Takes an outcome. Whether an ejection is due by it: then the count begins anew, and of workers that
    /// tell of failures at once one alone is told so.
    #[inline]
    pub fn is_due(&self, outcome: Outcome, consecutive_failures: u32) -> bool {
        match outcome {
            Outcome::Failure => {
                let most = u64::from(consecutive_failures);
                let next = |failures| if failures + 1 >= most { 0 } else { failures + 1 };
                board::update(&*self.0, 0, |failures| Some(next(failures))) == Some(0)
            }
            Outcome::Success | Outcome::Slow => {
                self.clear();
                false
            }
            Outcome::Neutral => false,
        }
    }

    /// Forgets the failures.
    #[inline]
    pub fn clear(&self) {
        if self.failures() > 0 {
            board::update(&*self.0, 0, |_| Some(0));
        }
    }
}

impl Default for Streak {
    fn default() -> Self {
        Self::new()
    }
}

/// What is known of one member's ejections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    until: Instant,
    /// How many ejections weigh on it.
    level: u32,
    ejections: u64,
}

impl Record {
    /// Whether it is ejected at `now`.
    pub const fn is_out(&self, now: Instant) -> bool {
        self.until.as_nanos() > now.as_nanos()
    }

    /// When its last ejection ends, or ended; [`Instant::ZERO`] where there was none.
    pub const fn until(&self) -> Instant {
        self.until
    }

    /// How often it was ejected.
    pub const fn ejections(&self) -> u64 {
        self.ejections
    }

    /// It gets calls at once; what weighs on it goes on to do so.
    pub fn end(&mut self, now: Instant) {
        self.until = self.until.min(now);
    }
}

/// A member was ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// When it ends.
    pub until: Instant,
    /// How long it lasts.
    pub length: Duration,
}

/// Why a member stays in, although its failures are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It is out already: a call from before its ejection failed.
    IsOut,
    /// The group is smaller than `minimum_hosts`, or there is no such member.
    TooFew,
    /// As many are out as may be.
    MostAreOut,
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IsOut => "it is ejected already",
            Self::TooFew => "there are too few endpoints",
            Self::MostAreOut => "as many are ejected as may be",
        })
    }
}

impl Settings {
    /// How many of `count` may be out at once: the share, rounded down, and never everyone.
    pub fn most(&self, count: usize) -> usize {
        if count < self.minimum_hosts {
            return 0;
        }
        // What is meant as a whole number may lie a little below it: 0.29 of 100.
        let share = self.max_ejection * count as f64 + 1e-9;
        // A float to integer cast saturates at both ends.
        (share as usize).min(count.saturating_sub(1))
    }

    /// Ejects `member` of `group`.
    ///
    /// # Errors
    /// It stays in, for the reason given.
    pub fn eject(
        &self,
        now: Instant,
        group: &mut [Record],
        member: usize,
    ) -> Result<Ejection, Kept> {
        let most = self.most(group.len());
        let out = group.iter().filter(|record| record.is_out(now)).count();
        let too_small = group.len() < self.minimum_hosts;
        let record = group.get_mut(member).filter(|_| !too_small).ok_or(Kept::TooFew)?;
        if record.is_out(now) {
            return Err(Kept::IsOut);
        }
        if out >= most {
            return Err(Kept::MostAreOut);
        }
        let good = now.since(record.until).as_nanos() / self.interval.as_nanos().max(1);
        let level = record.level.saturating_sub(u32::try_from(good).unwrap_or(u32::MAX));
        record.level = level.saturating_add(1);
        record.ejections = record.ejections.saturating_add(1);
        let longest = self.longest_ejection.max(self.base_ejection);
        let length = self.base_ejection.as_nanos().saturating_mul(u64::from(record.level));
        let length = Duration::from_nanos(length).min(longest);
        record.until = now + length;
        Ok(Ejection { until: record.until, length })
    }

    /// Whether ejections do not count, because only `are_in` of `count` members are in.
    pub fn panics(&self, are_in: usize, count: usize) -> bool {
        are_in == 0 || (are_in as f64) < self.min_healthy * count as f64 - 1e-9
    }
}

/// The share of its usual calls that a member gets which came back so long ago: it grows from a tenth to all of
/// them over `slow_start`.
pub fn returning_share(since: Duration, slow_start: Duration) -> f64 {
    if since >= slow_start {
        return 1.0;
    }
    // Less would look like nothing, for longer than the time it takes.
    (since.as_nanos() as f64 / slow_start.as_nanos() as f64).max(0.1)
}
