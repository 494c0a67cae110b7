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
//! A probe is *leased*: without response headers within its lease it expires and frees its slot. So a
//! probe that is lost cannot keep the breaker half-open for ever (Resilience4j's half-open waits
//! without bound by default), and the bounded number of slots keeps half-open from being a stampede.
//! The lease is measured by the upstream's clock (see [`crate::call`]): a client that does not complete
//! its request can neither hold the breaker half-open nor re-open it.
//!
//! What decides while half-open is the policy's `judge`: each probe alone, as in the picture; the probes
//! together, in a [`trial`]; or nobody, and the first call after the open time closes.
//!
//! The state is one value, a [`record`]. A worker may have a breaker for itself, or a replica of one
//! that it shares with others: then the record lies on a [board](crate::board), every verb looks
//! there first, and a change is a compare-and-swap. A change that lost the race was decided on old
//! grounds, so it is decided again. The rules are the same either way.
//!
//! How the record changes is in `change`, by an operator in `order`, what trips in [`evidence`], how long it stays
//! open in [`open_time`], what becomes of probes in `half_open`, their leases in [`probes`], how it comes back in
//! [`ramp`], and how replicas in other processes decide as one in [`mesh`].

mod change;
mod cold;
mod denied;
pub mod evidence;
mod half_open;
pub mod mesh;
pub mod open_time;
mod order;
pub mod probes;
pub mod ramp;
pub mod record;
pub mod record_store;
mod transition;
pub mod trial;
mod view;

use crate::board::Words;
use crate::outcome::{Outcome, Report};
use crate::policy::{BreakerPolicy, Judge, Share};
use crate::rng::Rng;
use crate::time::Instant;
use alloc::boxed::Box;
use alloc::sync::Arc;
use cold::Cold;
pub use denied::Denied;
use evidence::Evidence;
pub use order::{Held, Order};
use probes::Probe;
use record::{Phase, Probing, Record, Trial};
use record_store::RecordStore;
pub use transition::{Cause, State, Transition};
pub use view::View;

/// One circuit breaker, or one replica of a shared one. One owner, no lock: a worker has its own.
#[derive(Clone, Debug)]
pub struct Breaker {
    /// The state, as this replica saw or made it last.
    record: Record,
    store: RecordStore,
    policy: Arc<BreakerPolicy>,
    /// None where no condition needs windows.
    evidence: Option<Box<Evidence>>,
    /// None while it never changed its state.
    cold: Option<Box<Cold>>,
    rng: Rng,
    /// Whether one more success changes nothing: the breaker is closed and healthy, and it has no window
    /// that is not full of good calls. Worked out after each result that is not absorbed; false again
    /// with each change of the record.
    absorbs_success: bool,
    /// Whether its state alone does not tell what becomes of a call: a ramp is under way, or an operator holds
    /// it.
    is_disturbed: bool,
    /// Whether there are changes of state that nobody took yet.
    has_news: bool,
}

/// The right to make one call, to be given back to [`Breaker::settle`]. Plain data: dropping it
/// frees nothing by itself, a probe's slot then waits for its lease.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a permit must be settled"]
pub struct Permit {
    generation: u32,
    probe: Probe,
}

impl Permit {
    /// Of a guard without a breaker.
    pub(crate) const NONE: Self = Self { generation: 0, probe: Probe::NONE };

    /// Whether it is of a probe that waits for response headers.
    pub const fn is_probe(&self) -> bool {
        self.probe.is_waiting()
    }
}

impl Breaker {
    /// A closed breaker that one worker has for itself. `seed` fixes the jitter of its open times.
    /// It allocates here, with its first change of state, and for more probes at once than ever before.
    pub fn new(policy: Arc<BreakerPolicy>, seed: u64) -> Self {
        Self::with_store(policy, seed, RecordStore::default())
    }

    /// A replica of the breaker whose state lies in `words`; there must be
    /// [`words_needed`](Breaker::words_needed) of them.
    pub fn shared(policy: Arc<BreakerPolicy>, seed: u64, words: Arc<dyn Words>) -> Self {
        Self::with_store(policy, seed, RecordStore::on_board(words))
    }

    /// How many words a shared breaker needs: its record, and the buckets of its time windows.
    pub fn words_needed(policy: &BreakerPolicy) -> usize {
        1 + evidence::words_needed(&policy.trip)
    }

    fn with_store(policy: Arc<BreakerPolicy>, seed: u64, store: RecordStore) -> Self {
        let mut evidence = Evidence::new(&policy.trip, store.words());
        if matches!(policy.share, Share::Mesh { .. }) {
            evidence = Some(Evidence::for_mesh(evidence, &policy.trip));
        }
        Self {
            record: Record::NEW,
            evidence: evidence.map(Box::new),
            cold: None,
            rng: Rng::new(seed),
            absorbs_success: false,
            is_disturbed: false,
            has_news: false,
            store,
            policy,
        }
    }

    /// Whether a call may go upstream now. Each permit is to be settled exactly once.
    ///
    /// # Errors
    /// For how long the breaker stays open, or why it admits no more.
    #[inline]
    pub fn admit(&mut self, now: Instant) -> Result<Permit, Denied> {
        self.look(now);
        match self.record.phase {
            Phase::Closed { .. } if !self.is_disturbed => Ok(self.permit(Probe::NONE)),
            Phase::Open { until } if now < until && !self.is_disturbed => {
                Err(Denied::open(until.since(now), self.record.cause))
            }
            _ => self.admit_carefully(now),
        }
    }

    /// A permit of a breaker that is closed, without a ramp, that nobody holds and no other replica changed: what
    /// [`Breaker::admit`] gives then.
    #[inline]
    pub(crate) fn admit_undisturbed(&self) -> Option<Permit> {
        let is_undisturbed = matches!(self.record.phase, Phase::Closed { .. })
            && !self.is_disturbed
            && self.store.unseen().is_none();
        is_undisturbed.then(|| self.permit(Probe::NONE))
    }

    /// Whether [`Breaker::admit`] would admit a call now. It takes nothing: whoever asks others as well
    /// asks before they take. What it turns away counts as offered. Another replica can still be faster.
    ///
    /// # Errors
    /// As [`Breaker::admit`].
    pub fn peek(&mut self, now: Instant) -> Result<(), Denied> {
        self.look(now);
        self.expire_leases(now);
        if let Some(answer) = self.held_answer() {
            return answer;
        }
        if let Some(denied) = self.denied(now) {
            return Err(denied);
        }
        let Some(ramp) = self.cold.as_mut().and_then(|cold| cold.ramp.as_mut()) else {
            return Ok(());
        };
        let mut next = ramp.clone();
        match next.admit(now, self.policy.ramp) {
            ramp::Step::Reject { percent } => {
                *ramp = next;
                Err(Denied::Ramping { percent })
            }
            ramp::Step::Admit | ramp::Step::Over => Ok(()),
        }
    }

    /// Why the state admits no call, where it admits none.
    fn denied(&self, now: Instant) -> Option<Denied> {
        match self.record.phase {
            Phase::Open { until } if now < until => {
                Some(Denied::open(until.since(now), self.record.cause))
            }
            Phase::HalfOpen(Probing { outstanding, .. })
                if outstanding >= self.policy.half_open.max_probes =>
            {
                Some(Denied::Probing { outstanding })
            }
            Phase::Trial(trial) if trial.admitted >= self.policy.half_open.max_probes => {
                Some(Denied::Probing { outstanding: trial.outstanding() })
            }
            _ => None,
        }
    }

    #[cold]
    fn admit_carefully(&mut self, now: Instant) -> Result<Permit, Denied> {
        if let Some(answer) = self.held_answer() {
            return answer.map(|()| self.permit(Probe::NONE));
        }
        loop {
            self.expire_leases(now);
            if let Some(denied) = self.denied(now) {
                return Err(denied);
            }
            let next = match self.record.phase {
                Phase::Closed { .. } => return self.admit_ramping(now),
                Phase::Open { .. } => {
                    let next = match self.policy.half_open.judge {
                        Judge::Each => Phase::HalfOpen(Probing::default().admitting()),
                        Judge::Rate => Phase::Trial(Trial::default().admitting()),
                        Judge::Nobody => Phase::Closed { streak: 0 },
                    };
                    self.record.entering(next, Cause::OpenElapsed)
                }
                Phase::Trial(trial) => self.record.counting(Phase::Trial(trial.admitting())),
                Phase::HalfOpen(probing) => {
                    self.record.counting(Phase::HalfOpen(probing.admitting()))
                }
            };
            // A breaker that nobody judges closed: what is over that admits is its ramp.
            if self.change(now, next) && self.state() == State::HalfOpen {
                let lease = self.policy.half_open.lease;
                let probe = self.cold().leases.add(now, lease);
                return Ok(self.permit(probe));
            }
        }
    }

    fn admit_ramping(&mut self, now: Instant) -> Result<Permit, Denied> {
        let ramp = self.cold.as_mut().and_then(|cold| cold.ramp.as_mut());
        let step = ramp.map_or(ramp::Step::Over, |ramp| ramp.admit(now, self.policy.ramp));
        match step {
            ramp::Step::Reject { percent } => Err(Denied::Ramping { percent }),
            ramp::Step::Admit => Ok(self.permit(Probe::NONE)),
            ramp::Step::Over => {
                self.cold().ramp = None;
                self.is_disturbed = false;
                Ok(self.permit(Probe::NONE))
            }
        }
    }

    /// Tells what became of a call.
    ///
    /// Returns whether the result came too late: it belongs to an older generation, or to a probe
    /// whose lease ran out, and changes neither state nor evidence.
    #[inline]
    pub fn settle(&mut self, now: Instant, permit: Permit, report: Report) -> bool {
        if let Some(word) = self.store.unseen_by_result(now) {
            self.adopt(now, word);
        }
        // Nearly all results.
        if self.absorbs_success
            && report.outcome == Outcome::Success
            && permit.generation == self.record.generation
        {
            return false;
        }
        self.settle_carefully(now, permit, report)
    }

    #[inline(never)]
    fn settle_carefully(&mut self, now: Instant, permit: Permit, report: Report) -> bool {
        if self.held().is_some() {
            return permit.generation != self.record.generation;
        }
        let late = match self.record.phase {
            Phase::Closed { .. } if permit.generation == self.record.generation => {
                self.count(now, report)
            }
            _ => self.settle_probe(now, permit, report),
        };
        self.absorbs_success = self.is_healthy()
            && self.evidence.as_ref().is_none_or(|one| one.absorbs(Outcome::Success));
        late
    }

    /// Whether it is closed, without a failure since the last success, and opens for the shortest time.
    fn is_healthy(&self) -> bool {
        self.record.phase == Phase::Closed { streak: 0 } && self.record.level == 0
    }

    /// A result while closed, of the present generation. Returns whether it is late.
    #[inline]
    fn count(&mut self, now: Instant, report: Report) -> bool {
        let rate = match (report.outcome, &mut self.evidence) {
            (Outcome::Neutral, _) => return false,
            (outcome, Some(evidence)) => evidence.record(&self.policy.trip, now, outcome),
            (_, None) => None,
        };
        if rate.is_none() && self.is_healthy() && report.outcome != Outcome::Failure {
            return false;
        }
        self.count_carefully(now, report, rate)
    }

    #[cold]
    fn count_carefully(&mut self, now: Instant, report: Report, rate: Option<Cause>) -> bool {
        let failed = report.outcome == Outcome::Failure;
        let generation = self.record.generation;
        while let Phase::Closed { streak } = self.record.phase
            && generation == self.record.generation
        {
            let next = if failed { streak.saturating_add(1) } else { 0 };
            let done = match evidence::streak_trips(&self.policy.trip, next).or(rate) {
                Some(cause) => self.open(now, cause, report.retry_after),
                None if next == streak => true,
                None => self.change(now, self.record.counting(Phase::Closed { streak: next })),
            };
            if done {
                if report.outcome == Outcome::Success && self.record.level != 0 {
                    self.recover(now);
                }
                return false;
            }
        }
        true
    }

    /// Carries out what time made due: leases that ran out, evidence that others should see. Every
    /// verb does so by itself; a host calls it on its tick, so that an idle worker learns too. It also finds
    /// an open time that was written while the clock was far ahead.
    pub fn poll(&mut self, now: Instant) {
        self.look(now);
        self.bound_open_time(now);
        self.expire_leases(now);
        if let Some(evidence) = &mut self.evidence {
            evidence.exchange(now);
        }
    }

    /// The board tells of changes that others make by `number` from now on, see [`Words::watch`].
    pub fn watch(&self, number: u64) {
        if let Some(words) = self.store.words() {
            words.watch(number);
        }
    }

    /// When [`Breaker::poll`] will next have something to do by itself.
    pub fn next_wakeup(&self) -> Option<Instant> {
        let expires = self.cold.as_ref().and_then(|cold| cold.leases.next_expiry());
        expires.into_iter().chain(self.shows_at()).min()
    }

    #[inline]
    fn shows_at(&self) -> Option<Instant> {
        self.evidence.as_ref().and_then(|evidence| evidence.shows_at())
    }

    /// The oldest change of state that was not taken yet. A caller that does not take them after
    /// every verb loses older ones.
    #[inline]
    pub fn take_transition(&mut self) -> Option<Transition> {
        if !self.has_news {
            return None;
        }
        let change = self.cold().journal.take();
        self.has_news = change.is_some();
        change
    }

    /// Whether [`Breaker::take_transition`] may have something to tell, or [`Breaker::next_wakeup`]
    /// something before `due`: neither has while a breaker is closed and stays so, but for counts that
    /// others should see.
    #[inline]
    pub fn is_stirred(&self, due: Instant) -> bool {
        self.has_news
            || self.state() == State::HalfOpen
            || self.shows_at().is_some_and(|at| at < due)
    }

    /// The state.
    #[inline]
    pub const fn state(&self) -> State {
        self.record.state()
    }

    const fn permit(&self, probe: Probe) -> Permit {
        Permit { generation: self.record.generation, probe }
    }
}
