//! Where evidence is counted: the last calls, or the last while.
//!
//! A window answers one question at any time: of how many calls, how many were bad? What is bad
//! (failed, or slow) its owner decides.

mod buckets;
mod ring;

pub use buckets::TimeBuckets;
pub use ring::CallRing;

use crate::policy::WindowSize;
use crate::time::Instant;

/// Calls in a window, and the bad ones among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Calls that are evidence.
    pub calls: u32,
    /// Bad ones among them.
    pub bad: u32,
}

/// One call's mark in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It was what it should be.
    Good,
    /// It was not.
    Bad,
}

/// A window of either kind.
#[derive(Clone, Debug)]
pub enum Window {
    /// The last N calls.
    Calls(CallRing),
    /// The last T, in ten buckets.
    Time(TimeBuckets),
}

impl Window {
    /// An empty window; the only place where it allocates.
    pub fn new(size: WindowSize) -> Self {
        match size {
            WindowSize::Calls(calls) => Self::Calls(CallRing::new(calls)),
            WindowSize::Time(span) => Self::Time(TimeBuckets::new(span)),
        }
    }

    /// Adds a call and gives the window's tally with it.
    pub fn record(&mut self, now: Instant, mark: Mark) -> Tally {
        match self {
            Self::Calls(ring) => ring.record(mark),
            Self::Time(buckets) => buckets.record(now, mark),
        }
    }

    /// The tally now.
    pub fn tally(&self, now: Instant) -> Tally {
        match self {
            Self::Calls(ring) => ring.tally(),
            Self::Time(buckets) => buckets.tally(now),
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        match self {
            Self::Calls(ring) => ring.clear(),
            Self::Time(buckets) => buckets.clear(),
        }
    }
}
