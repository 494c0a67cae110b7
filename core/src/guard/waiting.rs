//! Calls that wait for a slot of the limit of calls under way.

use super::{Guard, Patience};
use crate::time::Instant;

impl Guard {
    /// A call that has waited is turned away.
    pub(crate) fn forget_waiting(&mut self, now: Instant, call: Patience) {
        if let (Some(number), Some(_)) = (call.number, call.waited) {
            self.forget(now, number);
        }
    }

    /// A call that waits has ended, or one that a slot is kept for.
    pub(crate) fn forget(&mut self, now: Instant, number: u32) {
        if let Some(limit) = &mut self.limit {
            limit.forget(now, number);
        }
    }

    /// Gives free slots to calls that wait. Whether some still do.
    pub(crate) fn serve(&mut self, now: Instant) -> bool {
        let Some(limit) = &mut self.limit else {
            return false;
        };
        limit.serve(now);
        !limit.queue().is_empty()
    }

    /// The number of a call that waited and is to ask again; each is told once.
    pub(crate) fn take_woken(&mut self) -> Option<u32> {
        self.limit.as_mut()?.take_woken()
    }

    /// Whether there is somebody to wake, here or in other workers.
    #[inline]
    pub(crate) fn wakes(&self) -> bool {
        self.limit.as_ref().is_some_and(|limit| limit.wakes())
    }

    /// Whether other workers are to be told that a slot is free; told once.
    pub(crate) fn take_ring(&mut self) -> bool {
        self.limit.as_mut().is_some_and(|limit| limit.take_ring())
    }
}
