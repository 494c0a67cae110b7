//! One thread's engine.

use super::span::SpanWitness;
use crate::call::{Ledger, TrackedCall};
use crate::clock::Clock;
use bimetal_core::breaker::View;
use bimetal_core::decision::BreakerPlace;
use bimetal_core::engine::Policies;
use bimetal_core::event::{Event, State};
use bimetal_core::outcome::Report;
use bimetal_core::policy::{Document, Policy};
use bimetal_core::{
    Admission, Engine, Facts, Instant, PassReason, Plan, Rejected, Rejection, Settled, Ticket,
    Verdict,
};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

/// Who hears of events.
pub(super) type Listener = Arc<dyn Fn(&Event) + Send + Sync>;

/// The account of one call that a layer guards.
pub(super) type Account = TrackedCall<Arc<Replica>>;

/// What decides: the engine, and the policies in force.
#[derive(Debug)]
struct Judge {
    engine: Engine,
    policies: Policies,
}

/// A verdict that has what it needs of the policies: they stay behind the lock.
pub(super) enum Judged {
    /// It passes without a permit.
    Passes { policy: Option<Arc<Policy>>, state: Option<State>, shadow: Option<Rejection> },
    /// It goes to the service and must be settled.
    Admitted { policy: Arc<Policy>, ticket: Ticket, plan: Plan, state: State },
    /// It is turned away.
    Rejected { policy: Arc<Policy>, rejection: Rejection },
}

impl Judged {
    /// No policy is for it.
    const UNMATCHED: Self = Self::Passes { policy: None, state: None, shadow: None };

    fn of(verdict: Verdict<'_>) -> Self {
        match verdict {
            Verdict::Pass(pass) => {
                let shadow = match pass.why {
                    PassReason::Shadow(rejection) => Some(rejection),
                    _ => None,
                };
                Self::Passes { policy: Some(pass.policy.clone()), state: pass.state(), shadow }
            }
            Verdict::Admit(admission) => {
                let (plan, state) = (admission.plan(), admission.state());
                let Admission { policy, ticket, .. } = admission;
                Self::Admitted { policy: policy.clone(), ticket, plan, state }
            }
            Verdict::Reject(Rejected { policy, rejection }) => {
                Self::Rejected { policy: policy.clone(), rejection }
            }
            // No policy is for it. Nothing waits: the engine is not told that anybody could.
            _ => Self::UNMATCHED,
        }
    }
}

/// An engine behind a lock that hardly ever has two threads at it: each thread asks its own. Only a
/// call that moved to another thread, or more threads than replicas, make one wait.
// Alone on its cache lines, also where the processor fetches them in pairs.
#[repr(align(128))]
pub(super) struct Replica {
    judge: Mutex<Judge>,
    clock: Clock,
    listener: Option<Listener>,
    decision_errors: AtomicU64,
}

impl Replica {
    pub(super) fn new(engine: Engine, clock: Clock, listener: Option<Listener>) -> Self {
        let judge = Mutex::new(Judge { engine, policies: Policies::default() });
        Self { judge, clock, listener, decision_errors: AtomicU64::new(0) }
    }

    /// Asks the engine. Should it fail, the call passes: a breaker must not be the outage.
    pub(super) fn admit(&self, now: Instant, facts: &dyn Facts) -> Judged {
        let admitted =
            |judge: &mut Judge| Judged::of(judge.engine.admit(now, &judge.policies, facts));
        self.ask(admitted).unwrap_or(Judged::UNMATCHED)
    }

    /// Puts `document` in force.
    pub(super) fn load(&self, now: Instant, document: &Document) {
        self.ask(|judge| {
            judge.policies = judge.engine.load(document);
            // What is due in breakers that go is carried out before they do.
            judge.engine.poll(now);
        });
    }

    /// Carries out what time made due, unless another thread is at work in here: then its verb does
    /// so for its own scope, and the next tick for the others.
    pub(super) fn tick(&self, now: Instant) {
        match self.judge.try_lock() {
            Ok(judge) => drop(judge),
            Err(TryLockError::Poisoned(_)) => {}
            Err(TryLockError::WouldBlock) => return,
        }
        self.with(|engine| engine.poll(now));
    }

    /// Does one thing with the engine, and tells of what happened in it. None where it panicked.
    pub(super) fn with<T>(&self, verb: impl FnOnce(&mut Engine) -> T) -> Option<T> {
        self.ask(|judge| verb(&mut judge.engine))
    }

    fn ask<T>(&self, verb: impl FnOnce(&mut Judge) -> T) -> Option<T> {
        let done = catch_unwind(AssertUnwindSafe(|| {
            // An engine that panicked is as good as its next decision, and that is caught as well.
            let mut judge = self.judge.lock().unwrap_or_else(PoisonError::into_inner);
            let done = verb(&mut judge);
            // Without an event, which is nearly always, this allocates nothing.
            let events: Vec<_> = std::iter::from_fn(|| judge.engine.take_event()).collect();
            (done, events)
        }));
        let Ok((done, events)) = done else {
            self.decision_errors.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        if let Some(listener) = &self.listener {
            // Without the lock: a listener may use the guard. Caught: its panic is not the call's.
            let heard = catch_unwind(AssertUnwindSafe(|| events.iter().for_each(|e| listener(e))));
            if heard.is_err() {
                self.decision_errors.fetch_add(1, Ordering::Relaxed);
            }
        }
        Some(done)
    }

    pub(super) fn decision_errors(&self) -> u64 {
        self.decision_errors.load(Ordering::Relaxed)
    }
}

impl Ledger for Arc<Replica> {
    type Witness = SpanWitness;
    type Endpoint = ();

    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn answered(&self, now: Instant, ticket: &mut Ticket) {
        self.with(|engine| engine.answered(now, ticket));
    }

    fn upstream_clock(&self, now: Instant, ticket: &Ticket, runs: bool) {
        self.with(|engine| engine.upstream_clock(now, ticket, runs));
    }

    fn wasted(&self, ticket: &Ticket) {
        self.with(|engine| engine.wasted(ticket));
    }

    fn settle(&self, now: Instant, ticket: Ticket, report: Report) -> Option<Settled> {
        self.with(|engine| engine.settle(now, ticket, report))
    }

    fn breaker(&self, now: Instant, at: BreakerPlace) -> Option<View> {
        self.with(|engine| engine.breaker(now, at)).flatten()
    }
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica").finish_non_exhaustive()
    }
}
