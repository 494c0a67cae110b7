//! Probes: what is told of them and what becomes of them. The half-open part of the breaker.

use super::Cause;
use super::probes::{Ended, Probe};
use super::record::{Phase, Probing};
use super::{Breaker, Permit};
use crate::outcome::{Outcome, Report};
use crate::time::Instant;

impl Breaker {
    /// Good response headers arrived: a probe's slot is free again, so that a long download holds
    /// nobody up. Its success still counts only when it is settled. Not for headers that already
    /// are a failure: settle those.
    pub fn answered(&mut self, now: Instant, permit: &mut Permit) {
        if !permit.probe.is_waiting() {
            return;
        }
        self.look(now);
        self.expire_leases(now);
        if permit.generation != self.record.generation || !self.cold().leases.remove(permit.probe) {
            return;
        }
        permit.probe = Probe::ANSWERED;
        // In a trial it keeps its place until it ends.
        while let Phase::HalfOpen(probing) = self.record.phase {
            let outstanding = probing.outstanding.saturating_sub(1);
            let freed = Probing { outstanding, missed: 0, ..probing };
            if self.change(now, self.record.counting(Phase::HalfOpen(freed))) {
                return;
            }
        }
    }

    /// The upstream's clock of a call runs or stands from now on (see [`crate::call`]): a probe's
    /// lease is measured by it. It runs from the admission on; for a call that is no probe it does
    /// not matter.
    pub fn upstream_clock(&mut self, now: Instant, permit: &Permit, runs: bool) {
        if !permit.probe.is_waiting() {
            return;
        }
        self.look(now);
        self.expire_leases(now);
        if permit.generation == self.record.generation {
            self.cold().leases.upstream_clock(now, permit.probe, runs);
        }
    }

    /// A result that does not find the breaker closed in its own generation: of a probe, or late.
    /// Returns whether it is late.
    #[cold]
    pub(super) fn settle_probe(&mut self, now: Instant, permit: Permit, report: Report) -> bool {
        self.expire_leases(now);
        if matches!(self.record.phase, Phase::Trial(_))
            && permit.generation == self.record.generation
        {
            return self.settle_trial(now, &permit, report);
        }
        let waiting = permit.probe.is_waiting();
        if permit.generation != self.record.generation
            || waiting && !self.cold().leases.remove(permit.probe)
        {
            return true;
        }
        // Others may change the record until the change below holds; a new generation ends it.
        while permit.generation == self.record.generation {
            let Phase::HalfOpen(mut probing) = self.record.phase else {
                return true;
            };
            probing.outstanding = probing.outstanding.saturating_sub(u32::from(waiting));
            let done = match report.outcome {
                Outcome::Failure => self.open(now, Cause::ProbeFailed, report.retry_after),
                Outcome::Slow => self.open(now, Cause::ProbeSlow, report.retry_after),
                Outcome::Neutral if !waiting => true,
                Outcome::Neutral => {
                    self.change(now, self.record.counting(Phase::HalfOpen(probing)))
                }
                Outcome::Success => self.probe_succeeded(now, probing),
            };
            if done {
                return false;
            }
        }
        true
    }

    fn probe_succeeded(&mut self, now: Instant, probing: Probing) -> bool {
        let successes = probing.successes + 1;
        let next = if successes >= self.policy.half_open.required_successes {
            self.record.entering(Phase::Closed { streak: 0 }, Cause::ProbesSucceeded)
        } else {
            self.record.counting(Phase::HalfOpen(Probing { successes, missed: 0, ..probing }))
        };
        self.change(now, next)
    }

    /// A probe that got no headers in time frees its slot; enough of them in a row re-open. One that
    /// waited for its own client frees it too, and says nothing.
    pub(super) fn expire_leases(&mut self, now: Instant) {
        while let Some(ended) = self.cold.as_mut().and_then(|cold| cold.leases.expire(now)) {
            let Ended { at, missed } = ended;
            if matches!(self.record.phase, Phase::Trial(_)) {
                self.expire_in_trial(ended);
            } else if missed {
                self.missed(now, at);
            } else {
                self.give_back(now, 1);
            }
        }
        if matches!(self.record.phase, Phase::Trial(_)) {
            return self.free_lost_of_trial(now);
        }
        // A worker that died cannot give its probes back. A probe holds its slot for two leases at
        // most: one for its client, one for the upstream. So when nothing moved for three, no probe
        // of another can still be out. Who kept it nobody knows, so it says nothing.
        if let (Phase::HalfOpen(probing), Some(cold)) = (self.record.phase, &self.cold) {
            let lost = probing.outstanding.saturating_sub(cold.leases.count());
            let lease = self.policy.half_open.lease;
            if lost > 0 && now.since(cold.moved) > lease + lease + lease {
                self.give_back(now, lost);
            }
        }
    }

    fn missed(&mut self, now: Instant, due: Instant) {
        while let Phase::HalfOpen(mut probing) = self.record.phase {
            probing.outstanding = probing.outstanding.saturating_sub(1);
            probing.missed += 1;
            let done = if probing.missed >= self.policy.half_open.max_probes {
                self.open(due, Cause::ProbesExpired, None)
            } else {
                self.change(now, self.record.counting(Phase::HalfOpen(probing)))
            };
            if done {
                return;
            }
        }
    }

    fn give_back(&mut self, now: Instant, count: u32) {
        while let Phase::HalfOpen(mut probing) = self.record.phase {
            probing.outstanding = probing.outstanding.saturating_sub(count);
            if self.change(now, self.record.counting(Phase::HalfOpen(probing))) {
                return;
            }
        }
    }
}
