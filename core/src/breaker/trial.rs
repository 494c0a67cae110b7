//! A trial: probes that are judged together, by the rates of `trip`, as Resilience4j's half-open state
//! does. One bad probe of ten says little; a failure rate of the ten says as much as it does of calls.
//!
//! A trial admits `max_probes` probes in all. It decides once min(`minimum_calls`, `max_probes`) of
//! them ended: a rate that is reached re-opens, else the breaker closes. A probe whose lease runs out
//! failed. One that says nothing (a client that left) gives its place back.

use super::evidence::reaches;
use super::probes::Ended;
use super::record::{Phase, Trial};
use super::{Breaker, Cause, Permit};
use crate::outcome::{Outcome, Report};
use crate::policy::RateCondition;
use crate::time::{Duration, Instant};

impl Trial {
    /// With one probe more.
    pub(super) const fn admitting(self) -> Self {
        Self { admitted: self.admitted + 1, ..self }
    }

    /// Probes that ended with evidence.
    pub const fn ended(self) -> u32 {
        self.failures + self.slow + self.successes
    }

    /// Probes that are under way.
    pub const fn outstanding(self) -> u32 {
        self.admitted.saturating_sub(self.ended())
    }

    const fn with(self, outcome: Outcome) -> Self {
        match outcome {
            Outcome::Failure => Self { failures: self.failures + 1, ..self },
            Outcome::Slow => Self { slow: self.slow + 1, ..self },
            Outcome::Success => Self { successes: self.successes + 1, ..self },
            Outcome::Neutral => self.without(1),
        }
    }

    const fn without(self, probes: u32) -> Self {
        Self { admitted: self.admitted.saturating_sub(probes), ..self }
    }
}

impl Breaker {
    /// A result that belongs to a trial, or that is late. Returns whether it is late.
    pub(super) fn settle_trial(&mut self, now: Instant, permit: &Permit, report: Report) -> bool {
        // A lease that ran out was its probe's end.
        if permit.probe.is_waiting() && !self.cold().leases.remove(permit.probe) {
            return true;
        }
        !self.count_in_trial(now, permit.generation, report.outcome, report.retry_after)
    }

    /// A lease of a trial's probe ran out.
    pub(super) fn expire_in_trial(&mut self, ended: Ended) {
        let outcome = if ended.missed { Outcome::Failure } else { Outcome::Neutral };
        self.count_in_trial(ended.at, self.record.generation, outcome, None);
    }

    /// A worker that died cannot give its probes back, and one whose answer is long holds its place.
    /// When nothing moved for three leases, the places of all that have no lease here are free again.
    pub(super) fn free_lost_of_trial(&mut self, now: Instant) {
        let lease = self.policy.half_open.lease;
        let (held, still) = self
            .cold
            .as_ref()
            .map_or((0, Duration::ZERO), |cold| (cold.leases.count(), now.since(cold.moved)));
        while let Phase::Trial(trial) = self.record.phase {
            let lost = trial.outstanding().saturating_sub(held);
            if lost == 0
                || still <= lease + lease + lease
                || self.change(now, self.record.counting(Phase::Trial(trial.without(lost))))
            {
                return;
            }
        }
    }

    /// Counts what became of one probe, and decides once enough ended. False where the trial is over.
    fn count_in_trial(
        &mut self,
        now: Instant,
        generation: u32,
        outcome: Outcome,
        retry_after: Option<Duration>,
    ) -> bool {
        // Others may change the record until the change below holds; a new generation ends it.
        while let Phase::Trial(trial) = self.record.phase
            && generation == self.record.generation
        {
            let trial = trial.with(outcome);
            let is_changed = if outcome == Outcome::Neutral || trial.ended() < self.needed() {
                self.change(now, self.record.counting(Phase::Trial(trial)))
            } else if let Some(cause) = self.trial_fails(trial) {
                self.open(now, cause, retry_after)
            } else {
                let closed = Phase::Closed { streak: 0 };
                self.change(now, self.record.entering(closed, Cause::ProbesSucceeded))
            };
            if is_changed {
                return true;
            }
        }
        false
    }

    /// How many probes have to end: min(`minimum_calls`, `max_probes`).
    fn needed(&self) -> u32 {
        let trip = &self.policy.trip;
        let rates = [&trip.failure_rate, &trip.slow_rate];
        let minimum = rates.into_iter().flatten().map(|rate| rate.minimum_calls).max();
        minimum.unwrap_or(1).clamp(1, self.policy.half_open.max_probes)
    }

    /// Which rate the probes reached.
    fn trial_fails(&self, trial: Trial) -> Option<Cause> {
        let calls = trial.ended();
        let is_reached = |rate: &Option<RateCondition>, bad| {
            let of_probes = rate.as_ref().map(|rate| RateCondition { minimum_calls: 1, ..*rate });
            of_probes.is_some_and(|rate| reaches(&rate, calls, bad))
        };
        let Trial { failures, slow, .. } = trial;
        if is_reached(&self.policy.trip.failure_rate, failures) {
            return Some(Cause::FailureRate { calls, failures });
        }
        is_reached(&self.policy.trip.slow_rate, slow).then_some(Cause::SlowRate { calls, slow })
    }
}
