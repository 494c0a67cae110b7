//! The breaker's states, and what leads from one to another.

use crate::time::{Duration, Instant};
use core::fmt;

/// A breaker's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Calls pass (a growing share of them during a ramp).
    Closed,
    /// A few probes pass.
    HalfOpen,
    /// Nothing passes.
    Open,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Closed, Self::HalfOpen, Self::Open];

    /// The name in metrics, events and headers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

/// Why a breaker changed its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// `count` failures without a success between them.
    ConsecutiveFailures {
        /// How many.
        count: u32,
    },
    /// Too large a share of failures.
    FailureRate {
        /// Calls in the window.
        calls: u32,
        /// Failures among them.
        failures: u32,
    },
    /// Too large a share of slow answers.
    SlowRate {
        /// Calls in the window.
        calls: u32,
        /// Slow ones among them.
        slow: u32,
    },
    /// The open time was over and a call came.
    OpenElapsed,
    /// A probe failed.
    ProbeFailed,
    /// A probe was answered too late.
    ProbeSlow,
    /// As many probes in a row as may be outstanding got no answer within their lease.
    ProbesExpired,
    /// Enough probes succeeded.
    ProbesSucceeded,
    /// An operator forced it open.
    Forced,
    /// An operator reset or disabled it.
    Reset,
}

impl Cause {
    /// The name in metrics and events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ConsecutiveFailures { .. } => "consecutive_failures",
            Self::FailureRate { .. } => "failure_rate",
            Self::SlowRate { .. } => "slow_rate",
            Self::OpenElapsed => "open_elapsed",
            Self::ProbeFailed => "probe_failed",
            Self::ProbeSlow => "probe_slow",
            Self::ProbesExpired => "probes_expired",
            Self::ProbesSucceeded => "probes_succeeded",
            Self::Forced => "forced",
            Self::Reset => "reset",
        }
    }
}

/// For people: `3 consecutive failures`.
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ConsecutiveFailures { count: 1 } => f.write_str("a failure"),
            Self::ConsecutiveFailures { count } => write!(f, "{count} consecutive failures"),
            // What another replica counted is not known here.
            Self::FailureRate { calls: 0, .. } => f.write_str("too many failures"),
            Self::SlowRate { calls: 0, .. } => f.write_str("too many slow answers"),
            Self::FailureRate { calls, failures } => {
                write!(f, "{failures} failures in {calls} calls")
            }
            Self::SlowRate { calls, slow } => write!(f, "{slow} slow answers in {calls} calls"),
            Self::OpenElapsed => f.write_str("the open time was over"),
            Self::ProbeFailed => f.write_str("a failed probe"),
            Self::ProbeSlow => f.write_str("a slow probe"),
            Self::ProbesExpired => f.write_str("unanswered probes"),
            Self::ProbesSucceeded => f.write_str("successful probes"),
            Self::Forced | Self::Reset => f.write_str("an operator's order"),
        }
    }
}

/// One change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// When it was due: for a change that time caused, earlier than it was noticed.
    pub at: Instant,
    /// The state before.
    pub from: State,
    /// The state after.
    pub to: State,
    /// Why.
    pub cause: Cause,
    /// The generation that begins with it.
    pub generation: u32,
    /// The level of the open time after it.
    pub level: u8,
    /// How long it will be open; zero for other states.
    pub open_for: Duration,
    /// Whether another replica made it, and this one followed.
    pub adopted: bool,
}
