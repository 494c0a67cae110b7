//! Why a breaker turns a call away.

use super::{Cause, State};
use crate::time::Duration;
use core::fmt;

/// Why a breaker turns a call away. Its `Display` can be read aloud: printable ASCII without quotes,
/// safe in a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Denied {
    /// It is open.
    Open {
        /// For how long still, in whole milliseconds, rounded up; what is longer than 49 days counts as
        /// that. Half of what a [`Duration`] needs: a verdict has to be small.
        left_millis: u32,
        /// What opened it.
        cause: Cause,
    },
    /// Half-open, and as many probes as may be are under way.
    Probing {
        /// How many.
        outstanding: u32,
    },
    /// Closed not long ago: only a share is admitted.
    Ramping {
        /// The share in whole percent, rounded down.
        percent: u8,
    },
    /// An operator holds it open.
    Held,
}

impl Denied {
    /// Open for another `left`.
    #[inline]
    pub(super) fn open(left: Duration, cause: Cause) -> Self {
        let left_millis = u32::try_from(left.as_millis_ceil()).unwrap_or(u32::MAX);
        Self::Open { left_millis, cause }
    }

    /// After how long it is worth another try, where that is known.
    pub const fn left(&self) -> Option<Duration> {
        match self {
            Self::Open { left_millis, .. } => Some(Duration::from_millis(*left_millis as u64)),
            Self::Probing { .. } | Self::Ramping { .. } | Self::Held => None,
        }
    }

    /// State of the breaker.
    pub const fn state(&self) -> State {
        match self {
            Self::Open { .. } | Self::Held => State::Open,
            Self::Probing { .. } => State::HalfOpen,
            Self::Ramping { .. } => State::Closed,
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { left_millis, cause } => {
                let left = Duration::from_millis(u64::from(*left_millis));
                write!(f, "open for another {left} after {cause}")
            }
            Self::Probing { outstanding: 1 } => f.write_str("half-open, 1 probe under way"),
            Self::Probing { outstanding } => write!(f, "half-open, {outstanding} probes under way"),
            Self::Held => f.write_str("held open by an operator"),
            Self::Ramping { percent } => write!(f, "ramping, {percent}% of calls admitted"),
        }
    }
}
