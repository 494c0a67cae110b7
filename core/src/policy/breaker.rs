//! What a breaker decides by.

use super::types::Share;
use crate::time::Duration;

/// Everything a breaker decides by.
#[derive(Clone, Debug, PartialEq)]
pub struct BreakerPolicy {
    /// When it trips; any condition alone is enough.
    pub trip: Trip,
    /// How long it stays open.
    pub open: Open,
    /// How it tries again.
    pub half_open: HalfOpen,
    /// How it comes back.
    pub ramp: Duration,
    /// Whether a failure's `retry-after` lengthens the open time, up to `open.max`.
    pub respect_retry_after: bool,
    /// With whom it shares its state.
    pub share: Share,
}

/// Trip conditions. At least one is set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trip {
    /// This many failures without a success between them, at least 1.
    pub consecutive_failures: Option<u32>,
    /// Share of failures in a window.
    pub failure_rate: Option<RateCondition>,
    /// Share of slow answers in a window.
    pub slow_rate: Option<RateCondition>,
}

/// Trips a breaker at a share of calls in a window.
#[derive(Clone, Debug, PartialEq)]
pub struct RateCondition {
    /// Trips at or above this share, over 0 and up to 1.
    pub threshold: f64,
    /// Where calls are counted.
    pub window: WindowSize,
    /// Below this many calls the share says nothing, at least 1.
    pub minimum_calls: u32,
    /// Square of the one-sided normal quantile of `confidence`, zero without one: the rate trips
    /// when the Wilson lower bound reaches the threshold.
    pub z_squared: f64,
}

/// A window: the last calls or the last while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowSize {
    /// The last N calls, 1–1,000,000.
    Calls(u32),
    /// The last T, at least 10 ms.
    Time(Duration),
}

/// `open`: the base grown to its level, at most `max`, and up to `jitter` of it more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Open {
    /// Open time of the first trip.
    pub base: Duration,
    /// How much longer each level is, at least 1.
    pub multiplier: f64,
    /// Of what it is so much longer.
    pub growth: Growth,
    /// Longest open time, before jitter.
    pub max: Duration,
    /// Share added at random, 0–1.
    pub jitter: f64,
}

/// How open times grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Growth {
    /// Each level by the level before it: `base · multiplier^level`.
    #[default]
    Exponential,
    /// Each level by the base: `base · (1 + (multiplier − 1) · level)`.
    Linear,
}

impl Growth {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Exponential, Self::Linear];

    /// The name in the policy language.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exponential => "exponential",
            Self::Linear => "linear",
        }
    }
}

impl Open {
    /// The longest open time that can be drawn, with what the board rounds up.
    pub fn longest(&self) -> Duration {
        self.max + self.max.mul_f64(self.jitter) + Duration::from_millis(1)
    }
}

/// `half_open`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HalfOpen {
    /// Most probes outstanding, 1–1,000; the probes of one trial, 1–100.
    pub max_probes: u32,
    /// Successes that close, at least 1. A trial does not ask for it.
    pub required_successes: u32,
    /// What decides.
    pub judge: Judge,
    /// How long a probe may wait for response headers.
    pub lease: Duration,
}

/// What decides about a breaker whose open time is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Judge {
    /// Each probe: one that fails or is slow re-opens, enough successes close.
    #[default]
    Each,
    /// The probes together: once enough of them ended, the rates of `trip` decide.
    Rate,
    /// Nobody: it closes, and its conditions judge anew.
    Nobody,
}

impl Judge {
    /// Every judge.
    pub const ALL: [Self; 3] = [Self::Each, Self::Rate, Self::Nobody];

    /// The name in the policy language.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Each => "each",
            Self::Rate => "rate",
            Self::Nobody => "nobody",
        }
    }
}
