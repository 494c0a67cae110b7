//! Scopes whose slots are leased: they are looked after with every poll.

use super::Engine;
use crate::time::Instant;
use alloc::vec::Vec;

/// Where workers lease slots of limits of calls under way.
#[derive(Debug, Default)]
pub(super) struct Leases {
    places: Vec<u32>,
}

impl Engine {
    /// To be called after a scope's limit of calls under way was asked.
    pub(super) fn note_lease(&mut self, place: u32) {
        if self.slots.get_mut(place).is_some_and(|slot| slot.guard.is_lease_to_be_listed()) {
            self.leases.places.push(place);
        }
    }

    /// Gives back slots that were not used, and tells that this worker still has the others.
    pub(super) fn renew_leases(&mut self, now: Instant) {
        let mut places = core::mem::take(&mut self.leases.places);
        places.retain(|place| {
            self.slots.get_mut(*place).is_some_and(|slot| slot.guard.renew_lease(now))
        });
        self.leases.places = places;
    }
}
