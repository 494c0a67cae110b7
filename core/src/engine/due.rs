//! What time makes due in scopes, in the order in which it becomes due; and how to look after scopes in
//! which others may have changed something.

use super::Engine;
use crate::time::{Duration, Instant};
use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::Reverse;

/// Scopes by when they want to be polled, or watches. A scope whose time was put off is found here early,
/// and then there is nothing to do.
#[derive(Debug, Default)]
pub(super) struct DueQueue(BinaryHeap<Reverse<(Instant, u32)>>);

impl DueQueue {
    pub(super) fn add(&mut self, at: Instant, place: u32) {
        self.0.push(Reverse((at, place)));
    }

    pub(super) fn first(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }

    pub(super) fn take(&mut self, now: Instant) -> Option<(Instant, u32)> {
        self.first().filter(|at| *at <= now)?;
        self.0.pop().map(|Reverse(due)| due)
    }
}

/// So many shared scopes are all looked at by every poll.
const FEW: usize = 1_024;
/// The least that a poll looks at of more.
const LEAST: usize = 64;
/// How long it takes to look at all, however many there are.
const ROUND: Duration = Duration::from_secs(1);

/// How far the looks at shared scopes have come.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    state: usize,
    at: usize,
    last: Instant,
    /// What the board said changed, at the last look.
    changed: Vec<u64>,
}

impl Engine {
    pub(super) fn poll_due(&mut self, now: Instant) {
        while let Some((at, place)) = self.due.take(now) {
            // One that its scope does not know is of another scope that had the place before.
            let Some(slot) = self.slots.get_mut(place).filter(|slot| slot.due == at) else {
                continue;
            };
            slot.due = Instant::FAR_FUTURE;
            self.poll_scope(now, place);
        }
    }

    fn poll_scope(&mut self, now: Instant, place: u32) {
        let Some(slot) = self.slots.get_mut(place).filter(|slot| !slot.is_orphan) else {
            return;
        };
        slot.guard.poll(now);
        if slot.guard.is_stirred(slot.due) {
            self.stirred(place);
        }
    }

    /// Looks at shared scopes: every admission does so for its own, so this is for those that nobody
    /// calls. Where the board knows what changed it is that alone; else what it costs does not grow with
    /// the number of scopes.
    pub(super) fn sweep(&mut self, now: Instant) {
        let last = core::mem::replace(&mut self.sweep.last, now);
        if last.since(now) > ROUND {
            return self.poll_all(now);
        }
        if self.poll_changed(now) {
            return;
        }
        let swept = self.states.iter().flatten().filter(|state| state.registry.is_shared());
        let all: usize = swept.map(|state| state.registry.places().len()).sum();
        let passed = now.since(last).min(ROUND);
        let share = all as u64 * passed.as_millis() / ROUND.as_millis();
        let mut left = match all {
            0..=FEW => all,
            _ => usize::try_from(share).unwrap_or(all).max(LEAST),
        };
        // One round more than there are states: the first may be split between beginning and end.
        for _ in 0..=self.states.len() {
            while left > 0
                && let Some(place) = self.next_to_sweep()
            {
                self.poll_scope(now, place);
                left -= 1;
            }
            if left == 0 {
                return;
            }
            self.sweep.at = 0;
            self.sweep.state += 1;
            if self.sweep.state >= self.states.len() {
                self.sweep.state = 0;
            }
        }
    }

    /// Looks at each scope, since the clock came back from ahead: what became due then may not be due for
    /// long.
    fn poll_all(&mut self, now: Instant) {
        for state in 0..self.states.len() {
            let mut scope = 0;
            while let Some(place) = self.place_of(state, scope) {
                self.poll_scope(now, place);
                scope += 1;
            }
        }
    }

    fn place_of(&self, state: usize, scope: usize) -> Option<u32> {
        self.states.get(state)?.as_ref()?.registry.places().get(scope).copied()
    }

    /// Looks at what the board says changed. False where it does not know: then any may have changed.
    fn poll_changed(&mut self, now: Instant) -> bool {
        let Some(board) = &self.board else {
            return true;
        };
        let mut changed = core::mem::take(&mut self.sweep.changed);
        let knows = board.take_changed(&mut |number| changed.push(number));
        for number in changed.drain(..) {
            if let Ok(place) = u32::try_from(number) {
                self.poll_scope(now, place);
            }
        }
        self.sweep.changed = changed;
        knows
    }

    fn next_to_sweep(&mut self) -> Option<u32> {
        let state = self.states.get(self.sweep.state)?.as_ref()?;
        if !state.registry.is_shared() {
            return None;
        }
        let place = state.registry.places().get(self.sweep.at).copied()?;
        self.sweep.at += 1;
        Some(place)
    }
}
