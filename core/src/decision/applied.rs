//! What of a policy is applied: nothing where it only watches.

use crate::deadline::Deadline;
use crate::facts::Facts;
use crate::policy::{Mode, Policy};
use crate::time::{Duration, Instant};
use alloc::sync::Arc;

/// The time of a call's caller.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallersTime {
    /// What it had left when it asked.
    pub left: Duration,
    /// What an upstream may use of it; none where it is over.
    pub usable: Option<Duration>,
}

impl Policy {
    /// The fallback in place of our rejections, where the policy has one and acts.
    pub fn fallback_when_rejected(&self) -> Option<&crate::policy::Fallback> {
        self.fallback.as_ref().filter(|f| f.on.rejected && self.acts())
    }

    /// Which answers of before are kept and given, where the policy acts.
    pub fn stale_applied(&self) -> Option<crate::policy::StalePolicy> {
        self.fallback.as_ref().filter(|_| self.acts())?.stale
    }

    /// The fallback in place of failures, where the policy has one and acts.
    pub fn fallback_when_failed(&self) -> Option<&crate::policy::Fallback> {
        self.fallback.as_ref().filter(|f| f.on.failed && self.acts())
    }

    /// What a caller had left when it asked, and what an upstream may use of that: nothing, where its time
    /// is over after it `waited`. None where it does not say, or nobody asks.
    pub(crate) fn time_of(&self, facts: &dyn Facts, waited: Duration) -> Option<CallersTime> {
        let deadline = self.deadline.as_ref()?;
        let left = deadline.left_of(facts)?;
        Some(CallersTime { left, usable: deadline.check(left, waited).ok() })
    }

    /// What is made of the time that a caller has left, where the policy acts.
    pub fn deadline_applied(&self) -> Option<&crate::deadline::DeadlinePolicy> {
        self.deadline.as_ref().filter(|_| self.acts())
    }

    /// How fast answers are sent, where the policy acts.
    pub fn bandwidth_applied(&self) -> Option<crate::policy::BandwidthPolicy> {
        self.bandwidth.filter(|_| self.acts())
    }

    /// How long either side may stand still within a body, where the policy says it and acts.
    pub fn idle_applied(&self) -> Option<Duration> {
        self.timeout.idle.filter(|_| self.acts())
    }

    /// The time that the caller of a call which began at `begun` has; none where it does not say, or the
    /// policy does not act.
    pub fn deadline_of(&self, facts: &dyn Facts, begun: Instant) -> Option<Deadline> {
        let policy = *self.deadline_applied()?;
        Some(Deadline { policy, left: policy.left_of(facts)?, begun })
    }

    /// When failed tries are made again, where the policy acts.
    pub fn retry_applied(&self) -> Option<&Arc<crate::retry::RetryPolicy>> {
        self.retry.as_ref().filter(|_| self.acts())
    }

    /// The same, and also where the policy only watches: then it is counted and not done.
    pub fn retry_watched(&self) -> Option<&Arc<crate::retry::RetryPolicy>> {
        self.retry.as_ref().filter(|_| self.mode != Mode::Disabled)
    }

    pub(crate) fn acts(&self) -> bool {
        matches!(self.mode, Mode::Enforce | Mode::ForcedOpen)
    }
}
