//! Slots of the limit of calls under way that this worker leases.

use super::Guard;
use crate::time::Instant;

impl Guard {
    /// Whether slots are leased and nobody looks after them yet; said once.
    #[inline]
    pub(crate) fn is_lease_to_be_listed(&mut self) -> bool {
        self.limit.as_mut().is_some_and(|limit| limit.is_lease_to_be_listed())
    }

    /// Gives back slots that were not used since this was called last, and renews the lease of the others.
    /// Whether there are any.
    pub(crate) fn renew_lease(&mut self, now: Instant) -> bool {
        self.limit.as_mut().is_some_and(|limit| limit.renew_lease(now))
    }
}
