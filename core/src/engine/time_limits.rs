//! Time limits that follow their upstreams. They lie beside the scopes, as budgets of retries do.

use crate::auto_timeout::{AutoTimeout, AutoTimeoutPolicy};
use crate::outcome::Report;
use crate::time::Duration;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// The limits of all scopes, by the scopes' places.
#[derive(Debug, Default)]
pub(super) struct TimeLimits {
    of: Vec<Option<Box<Held>>>,
}

/// What is known of a scope's upstream.
#[derive(Debug)]
struct Held {
    known: AutoTimeout,
    /// That which asked last.
    policy: AutoTimeoutPolicy,
}

impl TimeLimits {
    /// How long a call that is admitted by `policy` may take.
    pub(super) fn limit(&mut self, place: u32, policy: &AutoTimeoutPolicy) -> Duration {
        let place = place as usize;
        if place >= self.of.len() {
            self.of.resize_with(place + 1, || None);
        }
        let Some(held) = self.of.get_mut(place) else {
            return policy.max;
        };
        let new = || Box::new(Held { known: AutoTimeout::default(), policy: *policy });
        let held = held.get_or_insert_with(new);
        // What was seen stays where the policy changes.
        held.policy = *policy;
        held.known.limit(policy)
    }

    /// A call is over.
    pub(super) fn settled(&mut self, place: u32, report: &Report) {
        if let Some(Some(held)) = self.of.get_mut(place as usize) {
            held.known.settled(&held.policy, report);
        }
    }

    /// The limit now, and whether enough was seen for it; none where no policy with one asked.
    pub(super) fn now(&self, place: u32) -> Option<(Duration, bool)> {
        let held = self.of.get(place as usize)?.as_deref()?;
        Some((held.known.limit(&held.policy), held.known.is_known(&held.policy)))
    }

    /// Another scope has this place.
    pub(super) fn forget(&mut self, place: u32) {
        if let Some(held) = self.of.get_mut(place as usize) {
            *held = None;
        }
    }
}
