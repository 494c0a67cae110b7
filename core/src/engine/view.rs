//! What an engine looks like from outside, for `/breakers` and for people.

use super::{Engine, State};
use crate::breaker::View;
use crate::decision::BreakerPlace;
use crate::registry::label;
use crate::series::SHARED_LABEL;
use crate::time::Instant;
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

impl Engine {
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
