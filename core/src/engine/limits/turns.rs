//! Calls that wait for tokens.
//!
//! A call that finds the bucket empty takes the token that comes next and that nobody waits for yet, and
//! goes on when it comes. So calls are served in the order of their coming, over all workers, exactly as fast
//! as tokens come, and one that could not have its token in time is turned away at once. Where one leaves
//! those of its worker that are behind it move up, and the last token is free. They have other turns then
//! than their hosts know: one is woken at once, and each that goes on wakes the next.

use super::{Asked, Asking, Call, HeldLimit, Limits, State};
use crate::decision::{RateLimited, Rejection, Rule, Waiting};
use crate::engine::Recorder;
use crate::guard::{Answer, Patience, Place};
use crate::limiter::Token;
use crate::limiter::keyed::KeyPlace;
use crate::policy::Mode;
use crate::registry::Slot;
use crate::time::Instant;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// What calls that wait have taken of limits with a queue.
#[derive(Debug, Default)]
pub(super) struct Turns {
    of: BTreeMap<u32, Taken>,
    /// Where calls waited for tokens, by the counts of their scopes.
    rows: BTreeSet<u32>,
    woken: Vec<Waiting>,
}

/// What one call has taken.
#[derive(Debug, Default)]
struct Taken {
    turns: Vec<Turn>,
    row: u32,
    scope: u32,
    /// Whether it waits for a slot of the limit of calls under way by now.
    waits_for_slot: bool,
}

/// A token that a call waits for, or has waited for.
#[derive(Debug)]
pub(super) struct Turn {
    /// The limit's place in the policy.
    pub(super) limit: usize,
    /// When it comes.
    pub(super) at: Instant,
    /// When its host was told that it comes.
    told: Instant,
    state: u32,
    place: KeyPlace,
    mark: u32,
    token: Token,
}

impl Turns {
    /// The last turn of a key's calls that wait.
    pub(super) fn last(&self, state: u32, place: KeyPlace, mark: u32) -> Option<Instant> {
        let turns = self.of.values().flat_map(|taken| &taken.turns);
        turns.filter(|turn| turn.is_of((state, place, mark))).map(|turn| turn.at).max()
    }

    /// Calls that wait for the same limit as `one`, with later turns than the one that is free, have each
    /// the turn of the one before; gives the last, which is free then.
    fn move_up(&mut self, one: &Turn, mut free: Instant) -> Instant {
        let turns = self.of.values_mut().flat_map(|taken| &mut taken.turns);
        for turn in turns.filter(|turn| turn.is_of(one.key())) {
            if turn.at > free {
                core::mem::swap(&mut turn.at, &mut free);
            }
        }
        free
    }
}

impl Turn {
    /// What it is a turn of: the limit's state, the key's place there, and the mark of who holds that.
    const fn key(&self) -> (u32, KeyPlace, u32) {
        (self.state, self.place, self.mark)
    }

    fn is_of(&self, key: (u32, KeyPlace, u32)) -> bool {
        self.key() == key
    }
}

impl Limits {
    /// As [`Limits::admit`], of a call that may wait.
    #[cold]
    pub(super) fn admit_or_wait(
        &mut self,
        held: &[HeldLimit],
        slot: &mut Slot,
        recorder: &mut Recorder,
        call: Call<'_>,
    ) -> Answer {
        let number = call.patience.number.unwrap_or_default();
        let mut taken = self.turns.of.remove(&number).unwrap_or_default();
        let answer = self.ask_in_turn(held, slot, recorder, call, &mut taken);
        match &answer {
            Answer::Admit(_) => self.wake_next(&taken),
            Answer::Wait(_) => {
                (taken.row, taken.scope) = (slot.row, call.scope);
                taken.turns.iter_mut().for_each(|turn| turn.told = turn.at);
                if !taken.waits_for_slot {
                    self.turns.rows.insert(slot.row);
                }
                self.turns.of.insert(number, taken);
            }
            Answer::Reject(_) => {
                self.put_back(call.now, taken);
                slot.guard.forget_waiting(call.now, call.patience);
            }
        }
        answer
    }

    fn ask_in_turn(
        &mut self,
        held: &[HeldLimit],
        slot: &mut Slot,
        recorder: &mut Recorder,
        call: Call<'_>,
        taken: &mut Taken,
    ) -> Answer {
        let Call { now, policy, .. } = call;
        let breaker = slot.guard.state();
        let rejects = |limit| Answer::Reject(Rejection::RateLimit { limit, breaker });
        let asking = self.ask(held, call, Some(&taken.turns));
        if let Asking::Reject(limit) = asking {
            return rejects(limit);
        }
        if let Err(denied) = slot.guard.peek(now) {
            return Answer::Reject(Rejection::Breaker(denied));
        }
        if let Asking::Wait = asking {
            // The others are asked again when it is the call's turn.
            return match self.take_turns(call, taken) {
                Ok(has_moved) => {
                    let turns = taken.turns.iter().map(|turn| turn.at);
                    let until = turns.max().unwrap_or(now);
                    if has_moved {
                        self.wake_next(taken);
                    }
                    Answer::Wait(until)
                }
                Err(limit) => rejects(limit),
            };
        }
        if matches!(asking, Asking::PassUnenforced) && policy.mode != Mode::Shadow {
            recorder.not_applied(slot.row, Rule::RateLimit);
        }
        if let Err(limit) = self.take(call) {
            self.give_back(now);
            return rejects(limit);
        }
        let answer = match &policy.concurrency {
            None => slot.guard.admit(now),
            Some(limit) => {
                let place = Place { board: call.board, key: slot.key.on_board() };
                // It has waited, but not for a slot.
                let waited = call.patience.waited.filter(|_| taken.waits_for_slot);
                let patience = Patience { waited, ..call.patience };
                slot.guard.admit_peeked(now, limit, &policy.hashes, place, patience)
            }
        };
        if let Answer::Wait(_) = answer {
            taken.waits_for_slot = true;
            self.keep(call, taken);
            self.wake_next(taken);
        }
        if !matches!(answer, Answer::Admit(_)) {
            self.give_back(now);
        }
        answer
    }

    /// Takes the tokens that the call has to wait for. Whether others have earlier turns by that.
    ///
    /// # Errors
    /// Another worker was faster, and no more may wait.
    fn take_turns(&mut self, call: Call<'_>, taken: &mut Taken) -> Result<bool, RateLimited> {
        let mut has_moved = false;
        for Asked { limit, state: number, place, .. } in
            self.asked.iter().filter(|asked| asked.waits)
        {
            let Some(Some(state)) = self.states.get_mut(*number as usize) else {
                continue;
            };
            let policy = call.policy.rate_limits.get(*limit);
            let longest =
                policy.and_then(|policy| super::longest(policy, call)).unwrap_or_default();
            match state.table.take_turn(call.now, *place, longest) {
                Some((token, at)) => {
                    let at = at.max(call.now);
                    let (place, mark) = (*place, state.table.mark(*place));
                    let (limit, told, state) = (*limit, at, *number);
                    let mut turn = Turn { limit, at, told, state, place, mark, token };
                    // Callers of another worker that left may have made it an earlier one.
                    turn.at = self.turns.move_up(&turn, at);
                    has_moved |= turn.at != at;
                    taken.turns.push(turn);
                }
                None => {
                    let until = state.table.peek(call.now, *place).err();
                    let until = until.map_or(call.now, |exceeded| exceeded.until);
                    let left = until.since(call.now);
                    return Err(RateLimited::new(*limit, state.table.policy(*place), left));
                }
            }
        }
        Ok(has_moved)
    }

    /// A call waits for a slot: its tokens of limits with a queue stay its own, or it could find itself at
    /// that queue's end once it has the slot.
    fn keep(&mut self, call: Call<'_>, taken: &mut Taken) {
        for asked in &mut self.asked {
            let policy = call.policy.rate_limits.get(asked.limit);
            let Some(Some(state)) = self.states.get(asked.state as usize) else {
                continue;
            };
            if policy.is_some_and(|policy| policy.queue.is_some())
                && let Some(token) = asked.token.take()
            {
                let &mut Asked { limit, state: number, place, .. } = asked;
                let mark = state.table.mark(place);
                let (at, told, state) = (call.now, call.now, number);
                taken.turns.push(Turn { limit, at, told, state, place, mark, token });
            }
        }
    }

    fn put_back(&mut self, now: Instant, taken: Taken) {
        for gone in &taken.turns {
            self.turns.move_up(gone, gone.at.max(now));
        }
        self.wake_next(&taken);
        for Turn { state, place, mark, token, .. } in taken.turns {
            if let Some(Some(State { table, .. })) = self.states.get_mut(state as usize)
                && table.mark(place) == mark
            {
                table.give_back(now, place, token);
            }
        }
    }

    /// Wakes the first call behind one whose host knows another turn of it.
    fn wake_next(&mut self, before: &Taken) {
        for gone in &before.turns {
            let moved = |turn: &Turn| turn.is_of(gone.key()) && turn.at < turn.told;
            let mut waiting = self.turns.of.iter();
            if let Some((number, taken)) = waiting.find(|(_, taken)| taken.turns.iter().any(moved))
            {
                self.turns.woken.push(Waiting { place: taken.scope, number: *number });
            }
        }
    }

    /// A call that is to ask again; each is told once.
    pub(in crate::engine) fn take_woken(&mut self) -> Option<Waiting> {
        self.turns.woken.pop()
    }

    /// A call that waits has ended.
    pub(in crate::engine) fn forget(&mut self, now: Instant, number: u32) {
        if let Some(taken) = self.turns.of.remove(&number) {
            self.put_back(now, taken);
        }
    }

    /// A call that has waited is turned away.
    pub(in crate::engine) fn forget_waiting(&mut self, now: Instant, call: Patience) {
        if let (Some(number), Some(_)) = (call.number, call.waited) {
            self.forget(now, number);
        }
    }

    /// How many calls wait for tokens, by the counts of their scopes: of each where one ever did.
    pub(in crate::engine) fn queues(&self) -> impl Iterator<Item = (u32, u64)> {
        self.turns.rows.iter().map(|row| {
            let waits = |taken: &&Taken| taken.row == *row && !taken.waits_for_slot;
            (*row, self.turns.of.values().filter(waits).count() as u64)
        })
    }
}
