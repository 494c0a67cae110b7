//! Calls that wait in the queues of scopes, and how their hosts learn that they are to ask again.

use super::{Engine, Policies};
use crate::decision::{CallersTime, Verdict, Waiting};
use crate::facts::Facts;
use crate::guard::Patience;
use crate::policy::{Mode, Policy};
use crate::time::{Duration, Instant};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// The calls of an engine that wait.
#[derive(Debug, Default)]
pub(super) struct WaitingCalls {
    /// Whether the host can have a call wait.
    can_wait: bool,
    /// Scopes in which calls wait, or did when they were last looked at.
    places: Vec<u32>,
    woken: VecDeque<Waiting>,
    last: u32,
}

/// A call that asks again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Again {
    pub waiting: Waiting,
    /// When it asked first.
    pub begun: Instant,
}

impl WaitingCalls {
    /// How a call asks for a slot that may be one that `waited`; `time` is what its caller says.
    #[inline]
    pub(super) fn patience(
        &mut self,
        policy: &Policy,
        waiting: Option<Waiting>,
        waited: Option<Duration>,
        time: Option<CallersTime>,
    ) -> Patience {
        let left = time.and_then(|time| time.usable);
        if let Some(Waiting { number, .. }) = waiting {
            return Patience { number: Some(number), waited, left };
        }
        let has_queue = policy.concurrency.is_some_and(|limit| limit.queue.is_some())
            || policy.rate_limits.iter().any(|limit| limit.queue.is_some());
        // In shadow mode nothing is applied: what would wait counts as turned away.
        if !self.can_wait || !has_queue || policy.mode != Mode::Enforce {
            return Patience::default();
        }
        self.last = self.last.wrapping_add(1);
        Patience { number: Some(self.last), waited: None, left }
    }

    /// A call waits in that scope.
    pub(super) fn wait_in(&mut self, place: u32) {
        if !self.places.contains(&place) {
            self.places.push(place);
        }
    }
}

impl Engine {
    /// Tells whether the host can have a call wait: only then [`Verdict::Wait`] comes. Until it is told,
    /// what would have to wait is turned away.
    pub fn set_can_wait(&mut self, can_wait: bool) {
        self.waits.can_wait = can_wait;
    }

    /// Decides a request that has waited since `begun`: its time is over, or it was
    /// [woken](Engine::take_woken). It starts over. By the same policies as before: who waits keeps them.
    pub fn admit_again<'p>(
        &mut self,
        now: Instant,
        policies: &'p Policies,
        facts: &dyn Facts,
        waiting: Waiting,
        begun: Instant,
    ) -> Verdict<'p> {
        let entry = policies.find(facts).filter(|entry| entry.policy.mode == Mode::Enforce);
        let place = entry.and_then(|entry| self.scope(policies, entry, facts));
        match (entry, place) {
            // Where calls wait the scope keeps its place.
            (Some(entry), Some(place)) if place == waiting.place => {
                self.decide(now, entry, facts, place, Some(Again { waiting, begun }))
            }
            _ => {
                self.forget(now, waiting);
                self.admit(now, policies, facts)
            }
        }
    }

    /// A call that waits has ended. What was kept for it is others' now.
    pub fn forget(&mut self, now: Instant, waiting: Waiting) {
        self.limits.forget(now, waiting.number);
        self.wake_in_turn();
        if let Some(slot) = self.slots.get_mut(waiting.place) {
            slot.guard.forget(now, waiting.number);
            self.wake(waiting.place);
        }
    }

    /// A call that waits and is to ask again. To be called after every verb until it is empty, as
    /// [`Engine::take_event`].
    #[inline]
    pub fn take_woken(&mut self) -> Option<Waiting> {
        self.waits.woken.pop_front()
    }

    /// Whether calls wait.
    #[inline]
    pub fn has_waiting(&self) -> bool {
        !self.waits.places.is_empty()
    }

    /// How many calls of this worker wait for a slot, by policy and label, in scopes where calls wait or did
    /// lately; scopes can have one label together.
    pub fn waiting_for_slots(&self) -> impl Iterator<Item = (&str, &str, u64)> {
        self.waits.places.iter().filter_map(|place| {
            let slot = self.slots.get(*place)?;
            let (limit, _) = slot.guard.limit()?;
            let (policy, label) = self.recorder.labels(slot.row)?;
            Some((policy, label, u64::from(limit.waiting)))
        })
    }

    /// Gives slots that came free in other workers to calls that wait. A host calls it when the board
    /// [rings](crate::board::Board::ring); every poll does so too.
    pub fn serve_waiting(&mut self, now: Instant) {
        let mut places = core::mem::take(&mut self.waits.places);
        places.retain(|place| {
            let Some(slot) = self.slots.get_mut(*place) else {
                return false;
            };
            let waits = slot.guard.serve(now);
            self.wake(*place);
            waits
        });
        self.waits.places = places;
    }

    /// Notes who has another turn for a token of a rate limit than was said.
    pub(super) fn wake_in_turn(&mut self) {
        while let Some(waiting) = self.limits.take_woken() {
            self.waits.woken.push_back(waiting);
        }
    }

    /// Notes who is to ask again, and tells the other workers of a free slot. To be called after every
    /// verb that gives a slot back or has a call wait.
    #[cold]
    pub(super) fn wake(&mut self, place: u32) {
        let Some(slot) = self.slots.get_mut(place) else {
            return;
        };
        while let Some(number) = slot.guard.take_woken() {
            self.waits.woken.push_back(Waiting { place, number });
        }
        if slot.guard.take_ring()
            && let Some(board) = &self.board
        {
            board.ring();
        }
    }
}
