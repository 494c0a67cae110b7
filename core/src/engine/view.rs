//! What an engine looks like from outside, for `/breakers` and for people.

use super::{Engine, State};
use crate::breaker::View;
use crate::decision::BreakerPlace;
use crate::guard::LimitView;
use crate::registry::label;
use crate::series::SHARED_LABEL;
use crate::time::{Duration, Instant};
use alloc::string::String;

/// One breaker at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot<'a> {
    /// The policy's name.
    pub policy: &'a str,
    /// The scope's label in metrics.
    pub label: String,
    /// The scope's key as it is kept: a client may have chosen it, so escape it before it is shown.
    pub key: &'a [u8],
    /// The breaker.
    pub view: View,
}

/// A limit of calls under way at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitSnapshot<'a> {
    /// The policy's name.
    pub policy: &'a str,
    /// The scope's label in metrics. Scopes may have one together.
    pub label: &'a str,
    /// Whether the workers of the process have it together.
    pub is_shared: bool,
    /// The limit.
    pub view: LimitView,
}

/// A time limit that follows its upstream, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeLimitSnapshot<'a> {
    /// The policy's name.
    pub policy: &'a str,
    /// The scope's label in metrics. Scopes may have one together.
    pub label: &'a str,
    /// How long the next call may take.
    pub limit: Duration,
    /// Whether enough calls were seen for it; else it is the policy's longest.
    pub is_measured: bool,
}

impl Engine {
    /// Every time limit that follows its upstream and was asked, policy by policy; as many as scopes.
    pub fn time_limits(&self) -> impl Iterator<Item = TimeLimitSnapshot<'_>> {
        self.states.iter().flatten().flat_map(move |State { registry, .. }| {
            registry.places().iter().filter_map(move |place| {
                let (limit, is_measured) = self.time_limits.now(*place)?;
                let (policy, label) = self.recorder.labels(self.slots.get(*place)?.row)?;
                Some(TimeLimitSnapshot { policy, label, limit, is_measured })
            })
        })
    }

    /// Every limit of calls under way that was asked, policy by policy; as many as scopes.
    pub fn limits(&self) -> impl Iterator<Item = LimitSnapshot<'_>> {
        self.states.iter().flatten().flat_map(move |State { registry, .. }| {
            registry.places().iter().filter_map(move |place| {
                let slot = self.slots.get(*place)?;
                let (view, is_shared) = slot.guard.limit()?;
                let (policy, label) = self.recorder.labels(slot.row)?;
                Some(LimitSnapshot { policy, label, is_shared, view })
            })
        })
    }

    /// How many calls of this worker wait for tokens of rate limits, by policy and label: of each where one
    /// ever did.
    pub fn queues(&self) -> impl Iterator<Item = (&str, &str, u64)> {
        self.limits.queues().filter_map(|(row, waiting)| {
            let (policy, label) = self.recorder.labels(row)?;
            Some((policy, label, waiting))
        })
    }

    /// The breaker that decided on a call; none where its policy has none, or is gone.
    pub fn breaker(&self, now: Instant, at: BreakerPlace) -> Option<View> {
        let slot = self.slots.get(at.0).filter(|slot| !slot.is_orphan)?;
        Some(slot.guard.breaker()?.view(now))
    }

    /// Every breaker, policy by policy. There can be as many as all `scopes.max` together.
    pub fn breakers(&self, now: Instant) -> impl Iterator<Item = Snapshot<'_>> {
        self.states.iter().flatten().flat_map(move |State { registry, .. }| {
            registry.places().iter().filter_map(move |place| {
                let slot = self.slots.get(*place)?;
                let (key, view) = (slot.key.bytes(), slot.guard.breaker()?.view(now));
                let label = if registry.is_overflow(*place) {
                    SHARED_LABEL.into()
                } else {
                    label(&registry.scope, key)
                };
                Some(Snapshot { policy: &registry.name, label, key, view })
            })
        })
    }
}
