//! How a guard meets replicas in other processes: see [`board::far`](crate::board::far).

use super::{Guard, Rules};
use crate::board::far::{Delta, Member, Merged};
use crate::policy::Share;
use crate::time::Instant;

impl Rules {
    /// Whether guards share something with other processes.
    pub fn is_mesh(&self) -> bool {
        let share = self.breaker.as_ref().map(|breaker| breaker.share);
        matches!(share, Some(Share::Mesh { .. }))
    }
}

impl Guard {
    /// What other processes should know of it, see [`Breaker::take_delta`](crate::breaker::Breaker).
    pub fn take_delta(&mut self, now: Instant, member: Member, sequence: u64) -> Option<Delta> {
        self.breaker.as_mut()?.take_delta(now, member, sequence)
    }

    /// The last delta may not have reached the store: there will be another one.
    pub fn give_back_delta(&mut self) {
        if let Some(breaker) = &mut self.breaker {
            breaker.give_back_delta();
        }
    }

    /// Learns what all processes together know.
    pub fn merge(&mut self, now: Instant, merged: &Merged) {
        if let Some(breaker) = &mut self.breaker {
            breaker.merge(now, merged);
        }
    }
}
