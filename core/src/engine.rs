//! Policy documents at work: what a host asks.
//!
//! A worker owns an engine, which has the state: breakers, their evidence, counts. What judges a
//! request is held by the place that it passes through, a listener or a filter instance: see
//! [`Policies`]. For each request the worker asks [`Engine::admit`], and tells [`Engine::settle`]
//! what became of what was admitted. Nothing in here waits, locks or performs.

mod anomalies;
mod budgets;
mod connections;
mod due;
mod far;
mod leases;
mod limits;
mod orders;
mod policies;
mod recorder;
mod scope;
mod settlement;
mod time_limits;
mod tries;
mod view;
mod waiting;

use crate::auto_timeout::AutoTimeoutPolicy;
use crate::board::Board;
use crate::connections::ClientConnections;
use crate::decision::{
    Admission, CallersTime, Pass, PassReason, Rejected, Rejection, Ticket, Verdict, Wait, Waiting,
};
use crate::event::{Decided, Event};
use crate::facts::Facts;
use crate::guard::{Answer, GuardPermit, Patience, Place};
use crate::policy::{Mode, Policy};
use crate::registry::Slots;
use crate::rng::Rng;
use crate::series::Counts;
use crate::time::{Duration, Instant};
use alloc::sync::Arc;
use alloc::vec::Vec;
use anomalies::Anomalies;
use budgets::Budgets;
use due::{DueQueue, Sweep};
use far::Exchanges;
pub use far::{Exchange, ExchangeTotals, KeyedDelta, MAX_DELTAS};
use leases::Leases;
use limits::{Call, Limits};
pub use policies::Policies;
use policies::{Entry, State};
use recorder::Recorder;
pub use recorder::{MAX_EVENTS, Totals, Tracing};
use time_limits::TimeLimits;
pub use view::{LimitSnapshot, Snapshot};
use waiting::{Again, WaitingCalls};

/// Policy documents at work.
#[derive(Debug)]
pub struct Engine {
    /// By policies' state; an entry finds its own by its place.
    states: Vec<Option<State>>,
    slots: Slots,
    due: DueQueue,
    sweep: Sweep,
    recorder: Recorder,
    calls: u32,
    rng: Rng,
    board: Option<Arc<dyn Board>>,
    room: Room,
    far: Exchanges,
    limits: Limits,
    budgets: Budgets,
    time_limits: TimeLimits,
    waits: WaitingCalls,
    connections: ClientConnections,
    leases: Leases,
    anomalies: Anomalies,
}

/// Whether the host has memory for one more entry in a table that has so many: a table may need twice
/// its size to grow.
pub type Room = fn(usize) -> bool;

impl Engine {
    /// An engine without a state. `seed` fixes jitter and the order of hash tables; workers should
    /// have different ones.
    pub fn new(seed: u64) -> Self {
        Self {
            states: Vec::new(),
            slots: Slots::default(),
            due: DueQueue::default(),
            sweep: Sweep::default(),
            recorder: Recorder::new(seed),
            calls: 0,
            rng: Rng::new(seed),
            board: None,
            room: |_| true,
            far: Exchanges::default(),
            limits: Limits::default(),
            budgets: Budgets::default(),
            time_limits: TimeLimits::default(),
            waits: WaitingCalls::default(),
            connections: ClientConnections::default(),
            leases: Leases::default(),
            anomalies: Anomalies::default(),
        }
    }

    /// An engine whose breakers are replicas on `board`, where their policy says
    /// `share: process`. Give every worker of the process the same board.
    pub fn with_board(seed: u64, board: Arc<dyn Board>) -> Self {
        Self { board: Some(board), ..Self::new(seed) }
    }

    /// Makes tables of scopes and of limits' keys ask for memory before they grow. Where there is none a
    /// table is full, whatever its policy allows. To be called before [`Engine::load`]: tables of scopes
    /// that were made before do not ask.
    pub fn set_room(&mut self, room: Room) {
        self.room = room;
    }

    /// Decides one request by the first of `policies` that matches it.
    pub fn admit<'p>(
        &mut self,
        now: Instant,
        policies: &'p Policies,
        facts: &dyn Facts,
    ) -> Verdict<'p> {
        let Some(entry) = policies.find(facts) else {
            return Verdict::Unmatched;
        };
        if !entry.asks_breaker_alone && entry.policy.mode == Mode::Disabled {
            return Verdict::Pass(Pass { policy: &entry.policy, why: PassReason::Disabled });
        }
        let Some(place) = self.scope(policies, entry, facts) else {
            return self.unscoped(entry);
        };
        let Some(slot) = self.slots.get_mut(place) else {
            return self.unscoped(entry);
        };
        slot.is_recent = true;
        if !entry.asks_breaker_alone {
            return self.decide(now, entry, facts, place, None);
        }
        // Nearly all calls: the breaker is closed.
        match slot.guard.admit_undisturbed() {
            Some(permit) => {
                let row = slot.row;
                self.admitted(now, &entry.policy, (place, row), permit, Duration::ZERO, None)
            }
            None => self.ask_breaker(now, entry, place),
        }
    }

    #[inline]
    fn admitted<'p>(
        &mut self,
        now: Instant,
        policy: &'p Arc<Policy>,
        (place, row): (u32, u32),
        permit: GuardPermit,
        waited: Duration,
        time_limit: Option<&AutoTimeoutPolicy>,
    ) -> Verdict<'p> {
        let call = self.next_call();
        let is_shadow = policy.mode == Mode::Shadow;
        self.recorder.decided(now, row, call, Decided::Admitted, is_shadow, waited);
        let millis = time_limit.map_or(0, |auto| self.auto_millis(place, auto));
        Verdict::Admit(Admission { policy, ticket: Ticket { place, call, permit }, millis })
    }

    #[inline(never)]
    fn auto_millis(&mut self, place: u32, auto: &AutoTimeoutPolicy) -> u32 {
        let limit = self.time_limits.limit(place, auto);
        // Rounded up: it is not shorter than the policy's shortest.
        u32::try_from(limit.as_nanos().div_ceil(1_000_000).max(1)).unwrap_or(u32::MAX)
    }

    #[inline]
    const fn next_call(&mut self) -> u32 {
        self.calls = self.calls.wrapping_add(1);
        self.calls
    }

    /// Asks a breaker that decides alone.
    #[inline(never)]
    fn ask_breaker<'p>(&mut self, now: Instant, entry: &'p Entry, place: u32) -> Verdict<'p> {
        let Some(slot) = self.slots.get_mut(place) else {
            return Verdict::Unmatched;
        };
        let answer = slot.guard.admit(now);
        self.answered_by(now, &entry.policy, place, answer, Patience::default())
    }

    /// Asks everything that can decide.
    #[inline(never)]
    fn decide<'p>(
        &mut self,
        now: Instant,
        entry: &'p Entry,
        facts: &dyn Facts,
        place: u32,
        again: Option<Again>,
    ) -> Verdict<'p> {
        let policy = &entry.policy;
        if let Some(watched) = &entry.watched {
            self.watch(now, watched, place);
        }
        let waited = again.map(|again| now.since(again.begun));
        let time = policy.time_of(facts, waited.unwrap_or_default());
        let call = self.waits.patience(policy, again.map(|again| again.waiting), waited, time);
        let Some(slot) = self.slots.get_mut(place) else {
            return Verdict::Unmatched;
        };
        let answer = match policy.mode {
            Mode::ForcedOpen => Answer::Reject(Rejection::ForcedOpen),
            _ if let Some(CallersTime { left, usable: None }) = time => {
                slot.guard.forget_waiting(now, call);
                self.limits.forget_waiting(now, call);
                Answer::Reject(Rejection::deadline(left, slot.guard.state()))
            }
            _ => match (&entry.limits, &policy.concurrency) {
                (None, None) => slot.guard.admit(now),
                (None, Some(limit)) => {
                    let place = Place { board: self.board.as_deref(), key: slot.key.on_board() };
                    slot.guard.admit_or_wait(now, limit, &policy.hashes, place, call)
                }
                (Some(limits), _) => {
                    let (board, room) = (self.board.as_deref(), self.room);
                    let (scope, patience) = (place, call);
                    let call = Call { now, policy, facts, board, room, scope, patience };
                    self.limits.admit(limits, slot, &mut self.recorder, call)
                }
            },
        };
        if let (Answer::Admit(_), Some(retry)) = (&answer, policy.retry_watched())
            && let Some(budget) = &retry.budget
        {
            self.budgets.counts_call(now, place, budget);
        }
        let verdict = self.answered_by(now, policy, place, answer, call);
        if policy.concurrency.is_some() {
            self.note_lease(place);
        }
        if call.number.is_some() {
            self.wake_in_turn();
        }
        if call.number.is_some() && self.slots.get(place).is_some_and(|slot| slot.guard.wakes()) {
            self.wake(place);
        }
        verdict
    }

    /// What a guard's answer is to the call, and to those who count.
    // Always: the answer would be copied for a call of it.
    #[inline(always)]
    fn answered_by<'p>(
        &mut self,
        now: Instant,
        policy: &'p Arc<Policy>,
        place: u32,
        answer: Answer,
        call: Patience,
    ) -> Verdict<'p> {
        let Some(slot) = self.slots.get_mut(place) else {
            return Verdict::Unmatched;
        };
        let waited = call.waited.unwrap_or_default();
        let (row, is_stirred) = (slot.row, slot.guard.is_stirred(slot.due));
        let is_shadow = policy.mode == Mode::Shadow;
        let verdict = match answer {
            Answer::Admit(permit) => {
                let time_limit = policy.timeout.auto.as_ref();
                self.admitted(now, policy, (place, row), permit, waited, time_limit)
            }
            Answer::Reject(rejection) => {
                let (call, decided) = (self.next_call(), Decided::Rejected(rejection.rule()));
                self.recorder.decided(now, row, call, decided, is_shadow, waited);
                if is_shadow {
                    Verdict::Pass(Pass { policy, why: PassReason::Shadow(rejection) })
                } else {
                    Verdict::Reject(Rejected { policy, rejection })
                }
            }
            Answer::Wait(until) => {
                self.waits.wait_in(place);
                let waiting = Waiting { place, number: call.number.unwrap_or_default() };
                Verdict::Wait(Wait { policy, until, waiting })
            }
        };
        if is_stirred {
            self.stirred(place);
        }
        verdict
    }

    /// To be called after every verb that stirred a scope: records its changes of state, and when it
    /// wants to be polled.
    #[cold]
    fn stirred(&mut self, place: u32) {
        let Some(slot) = self.slots.get_mut(place) else {
            return;
        };
        while let Some(change) = slot.guard.take_transition() {
            self.recorder.transition(slot.row, slot.key.bytes().into(), change);
        }
        if let Some(at) = slot.guard.next_wakeup().filter(|at| *at < slot.due) {
            slot.due = at;
            self.due.add(at, place);
        }
    }

    /// Carries out what time made due, looks at what other workers did, and frees the state of policies
    /// that are gone. A host calls it on its tick; what is due in its own scope every verb carries out by
    /// itself.
    pub fn poll(&mut self, now: Instant) {
        self.poll_due(now);
        self.sweep(now);
        self.limits.give_back_leases(now);
        self.renew_leases(now);
        self.serve_waiting(now);
        self.poll_anomalies(now);
        self.free_states();
    }

    /// When [`Engine::poll`] will next have something to do. It may turn out to be nothing.
    pub fn next_wakeup(&self) -> Option<Instant> {
        self.due.first().into_iter().chain(self.anomalies.next()).min()
    }

    /// Chooses which events are kept.
    pub fn set_tracing(&mut self, tracing: Tracing) {
        self.recorder.set_tracing(tracing);
    }

    /// The oldest event that was not taken yet. To be called after every verb until it is empty:
    /// at most [`MAX_EVENTS`] wait.
    #[inline]
    pub fn take_event(&mut self) -> Option<Event> {
        self.recorder.take_event()
    }

    /// Counts per policy and scope label: what metrics are published from.
    pub fn series(&self) -> impl Iterator<Item = (&str, &str, &Counts)> {
        self.recorder.rows()
    }

    /// Sums over everything since the engine began.
    pub fn totals(&self) -> Totals {
        let states = self.states.iter().flatten();
        let scopes = states.map(|state| state.registry.places().len() as u64).sum();
        Totals { scopes, limit_keys: self.limits.keys(), ..self.recorder.totals() }
    }
}
