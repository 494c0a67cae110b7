//! The circuit breaker: closed, open, half-open.
//!
//! ```text
//!            evidence reaches a trip condition
//!   CLOSED ───────────────────────────────────▶ OPEN ◀──────────────┐
//!     ▲                                           │ a call comes     │ a probe fails or is slow,
//!     │ required_successes probes succeed         │ after open time  │ or probes go unanswered
//!     └────────────────────────────────────── HALF_OPEN ────────────┘
//! ```
//!
//! Two verbs carry it: [`Breaker::admit`] asks, [`Breaker::settle`] tells what became of the call.
//! Every change of state raises the *generation*; a permit carries the one it was given in, and a
//! result of an older one touches nothing. So an answer that comes late cannot close a breaker that
//! has tripped since, nor trip one that has recovered.
//!
//! A probe is *leased*: without response headers within its lease it expires and frees its slot. So
//! a probe that is lost cannot keep the breaker half-open for ever (Resilience4j's half-open waits
//! without bound by default), and the bounded number of slots keeps half-open from being a stampede.
//!
//! What trips is in [`evidence`], how long it stays open in [`open_time`], who may probe in
//! [`probes`], and how it comes back in [`ramp`].

pub mod evidence;
pub mod open_time;
pub mod probes;
pub mod ramp;

use crate::decision::{Reason, Rejection, Rule};
use crate::event::{Cause, Counted, State, Transition};
use crate::outcome::{Outcome, Report};
use crate::policy::{BreakerPolicy, RetryAfter};
use crate::rng::Rng;
use crate::time::{Duration, Instant};
use alloc::sync::Arc;
use evidence::Evidence;
use open_time::OpenTime;
use probes::{Probe, Probes};
use ramp::Ramp;

/// One circuit breaker. One owner, no lock: a worker has its own.
#[derive(Clone, Debug)]
pub struct Breaker {
    policy: Arc<BreakerPolicy>,
    phase: Phase,
    generation: u32,
    evidence: Evidence,
    open_time: OpenTime,
    probes: Probes,
    rng: Rng,
    since: Instant,
    cause: Cause,
    journal: Journal,
}

#[derive(Clone, Debug)]
enum Phase {
    Closed,
    Ramping(Ramp),
    Open { until: Instant },
    HalfOpen { successes: u32 },
}

/// The right to make one call, to be given back to [`Breaker::settle`]. Plain data: dropping it
/// frees nothing by itself, a probe's slot then waits for its lease.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a permit must be settled"]
pub struct Permit {
    generation: u32,
    probe: Probe,
}

/// What a breaker looks like at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    /// The state. Open lasts until a call comes, also past its time.
    pub state: State,
    /// Since when.
    pub since: Instant,
    /// What changed it last; none while it never changed.
    pub cause: Option<Cause>,
    /// How often it changed, modulo 2^32.
    pub generation: u32,
    /// Level of the open time.
    pub level: u8,
    /// Calls in the windows: of `failure_rate`, else of `slow_rate`, else the streak of failures.
    pub calls: u32,
    /// Failures in the window of `failure_rate`, else the streak.
    pub failures: u32,
    /// Slow answers in the window of `slow_rate`.
    pub slow: u32,
    /// While open: when the next call will probe.
    pub next_probe: Option<Instant>,
}

impl Breaker {
    /// A closed breaker. `seed` fixes the jitter of its open times. The only place that allocates.
    pub fn new(policy: Arc<BreakerPolicy>, seed: u64) -> Self {
        Self {
            phase: Phase::Closed,
            generation: 0,
            evidence: Evidence::new(&policy.trip),
            open_time: OpenTime::default(),
            probes: Probes::new(policy.half_open.max_probes),
            rng: Rng::new(seed),
            since: Instant::ZERO,
            cause: Cause::ProbesSucceeded,
            journal: Journal::default(),
            policy,
        }
    }

    /// Whether a call may go upstream now. Each permit is to be settled exactly once.
    ///
    /// # Errors
    /// The rejection says for how long the breaker stays open, or why it admits no more.
    #[inline]
    pub fn admit(&mut self, now: Instant) -> Result<Permit, Rejection> {
        match self.phase {
            Phase::Closed => Ok(self.permit(Probe::NONE)),
            Phase::Open { until } if now < until => Err(self.still_open(until.since(now))),
            _ => self.admit_carefully(now),
        }
    }

    #[cold]
    fn admit_carefully(&mut self, now: Instant) -> Result<Permit, Rejection> {
        self.poll(now);
        match &mut self.phase {
            Phase::Closed => Ok(self.permit(Probe::NONE)),
            Phase::Ramping(ramp) => match ramp.admit(now, self.policy.ramp) {
                ramp::Step::Over => {
                    self.phase = Phase::Closed;
                    Ok(self.permit(Probe::NONE))
                }
                ramp::Step::Admit => Ok(self.permit(Probe::NONE)),
                ramp::Step::Reject { percent } => Err(Rejection {
                    rule: Rule::Breaker,
                    retry_after: None,
                    reason: Reason::Ramping { percent },
                    state: State::Closed,
                }),
            },
            Phase::Open { until } if now < *until => {
                let left = until.since(now);
                Err(self.still_open(left))
            }
            Phase::Open { .. } => {
                let next = Phase::HalfOpen { successes: 0 };
                self.enter(now, next, Cause::OpenElapsed, Duration::ZERO);
                self.probe(now)
            }
            Phase::HalfOpen { .. } => self.probe(now),
        }
    }

    /// Good response headers arrived: a probe's slot is free again, so that a long download holds
    /// nobody up. Its success still counts only when it is settled. Not for headers that already
    /// are a failure: settle those.
    pub fn answered(&mut self, now: Instant, permit: &mut Permit) {
        if permit.probe.is_waiting() {
            self.poll(now);
            if permit.generation == self.generation && self.probes.answer(permit.probe) {
                permit.probe = Probe::ANSWERED;
            }
        }
    }

    /// Tells what became of a call.
    ///
    /// Returns [`Counted::Late`] where the result belongs to an older generation, or to a probe
    /// whose lease ran out: it touched nothing.
    #[inline]
    pub fn settle(&mut self, now: Instant, permit: Permit, report: Report) -> Counted {
        match self.phase {
            Phase::Closed if permit.generation == self.generation => {
                self.count(now, report);
                Counted::Current
            }
            _ => self.settle_carefully(now, permit, report),
        }
    }

    #[cold]
    fn settle_carefully(&mut self, now: Instant, permit: Permit, report: Report) -> Counted {
        self.poll(now);
        if permit.generation != self.generation {
            return Counted::Late;
        }
        match self.phase {
            Phase::Closed | Phase::Ramping(_) => {
                self.count(now, report);
                Counted::Current
            }
            Phase::HalfOpen { successes } => self.settle_probe(now, permit, report, successes),
            Phase::Open { .. } => Counted::Late,
        }
    }

    /// Carries out what time made due: leases that ran out. Every verb does so by itself; a host
    /// calls it on its tick, so that a re-opened breaker shows without traffic.
    pub fn poll(&mut self, now: Instant) {
        if !matches!(self.phase, Phase::HalfOpen { .. }) {
            return;
        }
        while let Some(due) = self.probes.expire(now) {
            if self.probes.missed_in_a_row() >= self.policy.half_open.max_probes {
                self.open(due, Cause::ProbesExpired, None);
                return;
            }
        }
    }

    /// When [`Breaker::poll`] will next have something to do.
    pub fn next_wakeup(&self) -> Option<Instant> {
        match self.phase {
            Phase::HalfOpen { .. } => self.probes.next_expiry(),
            _ => None,
        }
    }

    /// The oldest change of state that was not taken yet. A verb makes two at most; a caller that
    /// does not take them loses older ones.
    #[inline]
    pub fn take_transition(&mut self) -> Option<Transition> {
        self.journal.take()
    }

    /// The state.
    #[inline]
    pub fn state(&self) -> State {
        match self.phase {
            Phase::Closed | Phase::Ramping(_) => State::Closed,
            Phase::Open { .. } => State::Open,
            Phase::HalfOpen { .. } => State::HalfOpen,
        }
    }

    /// What it looks like now.
    pub fn view(&self, now: Instant) -> View {
        let seen = self.evidence.view(now);
        View {
            state: self.state(),
            since: self.since,
            cause: (self.generation != 0).then_some(self.cause),
            generation: self.generation,
            level: self.open_time.level(),
            calls: seen.calls,
            failures: seen.failures,
            slow: seen.slow,
            next_probe: match self.phase {
                Phase::Open { until } => Some(until),
                _ => None,
            },
        }
    }

    fn permit(&self, probe: Probe) -> Permit {
        Permit {
            generation: self.generation,
            probe,
        }
    }

    #[inline]
    fn still_open(&self, left: Duration) -> Rejection {
        Rejection {
            rule: Rule::Breaker,
            retry_after: Some(left),
            reason: Reason::Open {
                left,
                cause: self.cause,
            },
            state: State::Open,
        }
    }

    fn probe(&mut self, now: Instant) -> Result<Permit, Rejection> {
        match self.probes.lease(now, self.policy.half_open.lease) {
            Some(probe) => Ok(self.permit(probe)),
            None => Err(Rejection {
                rule: Rule::Breaker,
                retry_after: None,
                reason: Reason::Probing {
                    outstanding: self.probes.outstanding(),
                },
                state: State::HalfOpen,
            }),
        }
    }

    #[inline]
    fn count(&mut self, now: Instant, report: Report) {
        if report.outcome == Outcome::Neutral {
            return;
        }
        if let Some(cause) = self.evidence.record(&self.policy.trip, now, report.outcome) {
            self.open(now, cause, report.retry_after);
        } else if report.outcome == Outcome::Success {
            self.open_time.success(&self.policy, now);
        }
    }

    fn settle_probe(
        &mut self,
        now: Instant,
        permit: Permit,
        report: Report,
        successes: u32,
    ) -> Counted {
        if !self.probes.finish(permit.probe) {
            return Counted::Late;
        }
        match report.outcome {
            Outcome::Neutral => {}
            Outcome::Failure => self.open(now, Cause::ProbeFailed, report.retry_after),
            Outcome::Slow => self.open(now, Cause::ProbeSlow, report.retry_after),
            Outcome::Success => {
                let successes = successes + 1;
                self.phase = Phase::HalfOpen { successes };
                if successes >= self.policy.half_open.required_successes {
                    self.close(now);
                }
            }
        }
        Counted::Current
    }

    #[cold]
    fn open(&mut self, at: Instant, cause: Cause, retry_after: Option<Duration>) {
        let retry_after = match self.policy.retry_after {
            RetryAfter::Respect => retry_after,
            RetryAfter::Ignore => None,
        };
        let span = self
            .open_time
            .trip(&self.policy.open, &mut self.rng, retry_after);
        self.enter(at, Phase::Open { until: at + span }, cause, span);
    }

    fn close(&mut self, now: Instant) {
        self.open_time.closed(now);
        let next = match self.policy.ramp.is_zero() {
            true => Phase::Closed,
            false => Phase::Ramping(Ramp::new(now)),
        };
        self.enter(now, next, Cause::ProbesSucceeded, Duration::ZERO);
    }

    /// The one place where the state changes: what was counted before it is void.
    fn enter(&mut self, at: Instant, next: Phase, cause: Cause, open_for: Duration) {
        let from = self.state();
        self.phase = next;
        self.generation = self.generation.wrapping_add(1);
        self.since = at;
        self.cause = cause;
        self.evidence.clear();
        self.probes.clear();
        self.journal.add(Transition {
            at,
            from,
            to: self.state(),
            cause,
            generation: self.generation,
            level: self.open_time.level(),
            open_for,
        });
    }
}

/// The last two changes of state that nobody took yet.
#[derive(Clone, Debug, Default)]
struct Journal([Option<Transition>; 2]);

impl Journal {
    fn add(&mut self, change: Transition) {
        let [first, second] = &mut self.0;
        match (&first, &second) {
            (None, _) => *first = Some(change),
            (Some(_), None) => *second = Some(change),
            (Some(_), Some(_)) => self.0 = [second.take(), Some(change)],
        }
    }

    #[inline]
    fn take(&mut self) -> Option<Transition> {
        let [first, second] = &mut self.0;
        first.as_ref()?;
        core::mem::replace(first, second.take())
    }
}
