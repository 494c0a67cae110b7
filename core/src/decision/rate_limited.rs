//! What a rejection by a rate limit says.

use crate::limiter::RateLimitPolicy;
use crate::policy::{LimitPolicy, Policy};
use crate::time::Duration;
use alloc::format;
use alloc::string::String;
use core::fmt;

/// A rate limit that is exceeded. Small: every verdict has room for one.
///
/// Its `Display` names the limit by its path in the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimited {
    /// In whole milliseconds, rounded up.
    left: u32,
    limit: u16,
    choice: u16,
}

impl RateLimited {
    /// The limit at that place of the policy's `rate_limits`. `choice` says what the key may: 0 is the
    /// limit's own, others are its overrides from 1 on. There is room for another call in `left`.
    pub fn new(limit: usize, choice: u16, left: Duration) -> Self {
        Self {
            left: u32::try_from(left.as_millis_ceil()).unwrap_or(u32::MAX),
            limit: u16::try_from(limit).unwrap_or(u16::MAX),
            choice,
        }
    }

    /// After how long there is room for another call, if nobody else takes it.
    pub const fn left(&self) -> Duration {
        Duration::from_millis(self.left as u64)
    }

    /// Its place in the policy's `rate_limits`.
    pub const fn limit(&self) -> u16 {
        self.limit
    }

    fn of<'p>(&self, policy: &'p Policy) -> Option<&'p LimitPolicy> {
        policy.rate_limits.get(usize::from(self.limit))
    }

    /// The status that the policy gives it.
    pub(super) fn status(&self, policy: &Policy) -> Option<u16> {
        self.of(policy).map(|limit| limit.status)
    }

    /// What the key may.
    fn allowed(&self, policy: &Policy) -> Option<RateLimitPolicy> {
        let limit = self.of(policy)?;
        Some(match usize::from(self.choice).checked_sub(1) {
            None => limit.limit,
            Some(place) => limit.overrides.get(place)?.limit,
        })
    }

    /// The fields `ratelimit-policy` and `ratelimit` (draft-ietf-httpapi-ratelimit-headers-10, 3 and 4):
    /// so many calls in a window of so many seconds; none is left, and how long until one is.
    pub(super) fn fields(&self, policy: &Policy) -> Option<[(&'static str, String); 2]> {
        let rate = self.allowed(policy)?.rate;
        // The window is whole seconds there: what a shorter one holds is told for the second it ends in.
        let window = rate.period.as_secs_ceil().max(1);
        let nanos = u128::from(rate.period.as_nanos().max(1));
        let quota = u128::from(rate.tokens) * u128::from(window) * 1_000_000_000 / nanos;
        let name = format!("\"{}.{}\"", policy.name, self.limit);
        Some([
            ("ratelimit-policy", format!("{name};q={quota};w={window}")),
            ("ratelimit", format!("{name};r=0;t={}", self.left().as_secs_ceil().max(1))),
        ])
    }
}

impl fmt::Display for RateLimited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rate_limits[{}] exceeded, room for another call in {}", self.limit, self.left())
    }
}
