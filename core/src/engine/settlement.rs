//! What becomes of calls that were admitted.

use super::Engine;
use crate::decision::{Settled, Ticket};
use crate::guard::GuardPermit;
use crate::outcome::{Outcome, Report};
use crate::time::Instant;

impl Engine {
    /// Good response headers arrived for `ticket`: a probe's slot is free again. Not for headers
    /// that already are a failure: settle those.
    pub fn answered(&mut self, now: Instant, ticket: &mut Ticket) {
        let slot = self.slots.get_mut(ticket.place).filter(|slot| !slot.is_orphan);
        let Some(slot) = slot else {
            return;
        };
        slot.guard.answered(now, &mut ticket.permit);
        if slot.guard.is_stirred(slot.due) {
            self.stirred(ticket.place);
        }
    }

    /// The upstream's clock of the call runs or stands from now on: see [`crate::call`].
    pub fn upstream_clock(&mut self, now: Instant, ticket: &Ticket, runs: bool) {
        let slot = self.slots.get_mut(ticket.place).filter(|slot| !slot.is_orphan);
        let Some(slot) = slot else {
            return;
        };
        slot.guard.upstream_clock(now, &ticket.permit, runs);
        if slot.guard.is_stirred(slot.due) {
            self.stirred(ticket.place);
        }
    }

    /// An admitted call was given up upstream, because its caller's time was over. It is settled all the
    /// same.
    pub fn wasted(&mut self, ticket: &Ticket) {
        if let Some(slot) = self.slots.get(ticket.place) {
            self.recorder.wasted(slot.row);
        }
    }

    /// Tells what became of an admitted call. The ticket is used up: a call settles once. A result
    /// for a policy that is gone is counted as late.
    pub fn settle(&mut self, now: Instant, ticket: Ticket, report: Report) -> Settled {
        let Ticket { place, call, permit } = ticket;
        let outcome = report.outcome;
        let Some(slot) = self.slots.get_mut(place) else {
            // A ticket of another engine.
            return Settled { outcome, late: true };
        };
        if slot.is_orphan {
            return self.settle_orphan(now, place, call, permit, outcome);
        }
        slot.is_recent = true;
        if report.latency.is_some() {
            self.time_limits.settled(place, &report);
            self.anomalies.settled(slot.row, &report);
        }
        let is_told = permit.is_told();
        let has_slot = permit.has_slot();
        let late = slot.guard.settle(now, permit, report);
        let (row, is_stirred) = (slot.row, slot.guard.is_stirred(slot.due));
        let wakes = has_slot && slot.guard.wakes();
        let settled = Settled { outcome, late };
        self.recorder.settled(now, row, (call, is_told), settled);
        if is_stirred {
            self.stirred(place);
        }
        if wakes {
            self.wake(place);
        }
        settled
    }

    #[cold]
    fn settle_orphan(
        &mut self,
        now: Instant,
        place: u32,
        call: u32,
        permit: GuardPermit,
        outcome: Outcome,
    ) -> Settled {
        let settled = Settled { outcome, late: true };
        if let Some(slot) = self.slots.get_mut(place) {
            let is_told = permit.is_told();
            slot.guard.settle_late(permit);
            self.recorder.settled(now, slot.row, (call, is_told), settled);
            if slot.guard.outstanding() == 0 {
                self.slots.remove(place);
            }
        }
        settled
    }
}
