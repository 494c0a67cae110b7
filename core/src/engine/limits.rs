//! Rate limits at work. They lie beside the scopes: a limit has keys of its own, and what a policy's
//! breaker means can change without them.

mod mesh;
mod turns;

use super::policies::{Hold, put};
use super::scope::scope_key;
use super::{Recorder, Room};
use crate::board::Board;
use crate::decision::{RateLimited, Rejection, Rule};
use crate::facts::Facts;
use crate::guard::{Answer, Patience, Place};
use crate::limiter::keyed::{KeyPlace, KeyedLimit, Opened};
use crate::limiter::{Exceeded, Token, WORDS};
use crate::policy::{LimitOverride, LimitPolicy, Mode, Policy, Share};
use crate::registry::{LONGEST, OVERFLOW, Slot, shorten};
use crate::rng::Rng;
use crate::time::{Duration, Instant};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use mesh::{MeshLimits, Said};
use turns::{Turn, Turns};

/// The rate limits of all policies.
#[derive(Debug, Default)]
pub(super) struct Limits {
    states: Vec<Option<State>>,
    mesh: MeshLimits,
    // What one admission needs; kept, so that it allocates nothing.
    key: Vec<u8>,
    asked: Vec<Asked>,
    turns: Turns,
}

/// One limit: what its calls left behind.
#[derive(Debug)]
struct State {
    hash: u64,
    table: KeyedLimit,
    /// The share of a rejection that is due, see [`State::enforces`].
    due: f64,
    held: Arc<Hold>,
}

/// A limit of a policy, and where its state is: for one of a mesh apart from the others.
#[derive(Debug)]
pub(super) struct HeldLimit {
    state: u32,
    held: Arc<Hold>,
}

/// A limit that a call has to pass.
#[derive(Debug)]
struct Asked {
    /// Its place in the policy.
    limit: usize,
    state: u32,
    place: KeyPlace,
    token: Option<Token>,
    /// Whether the call has to wait for its token.
    waits: bool,
}

/// One call as its limits see it.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub now: Instant,
    pub policy: &'a Policy,
    pub facts: &'a dyn Facts,
    pub board: Option<&'a dyn Board>,
    pub room: Room,
    /// The place of its scope.
    pub scope: u32,
    /// How it asks for a slot of the limit of calls under way.
    pub patience: Patience,
}

impl Limits {
    /// Makes the limits of a policy ready. None where it has none.
    pub(super) fn load(&mut self, policy: &Policy, rng: &mut Rng) -> Option<Box<[HeldLimit]>> {
        if policy.rate_limits.is_empty() {
            return None;
        }
        let held = policy.rate_limits.iter().map(|limit| {
            if matches!(limit.share, Share::Mesh { .. }) {
                let (state, held) = self.mesh.load(limit, rng);
                return HeldLimit { state, held };
            }
            let is_same = |state: &Option<State>| {
                state.as_ref().is_some_and(|state| state.hash == limit.hash)
            };
            let place = self.states.iter().position(is_same).unwrap_or_else(|| {
                let mut table = KeyedLimit::new(&limit.limits(), limit.max_keys, rng.next_u64());
                limit.queue.iter().for_each(|queue| table.set_queue(queue));
                let new = State { hash: limit.hash, table, due: 0.0, held: Hold::new() };
                put(&mut self.states, new)
            });
            let state = self.states.get(place).and_then(Option::as_ref);
            HeldLimit {
                state: u32::try_from(place).unwrap_or(u32::MAX),
                held: state.map_or_else(Hold::new, |state| state.held.clone()),
            }
        });
        Some(held.collect())
    }

    /// Frees what no policies refer to any more.
    pub(super) fn free(&mut self) {
        for place in &mut self.states {
            place.take_if(|state| Arc::strong_count(&state.held) == 1);
        }
        self.mesh.free();
    }

    /// Gives back what was leased and not used.
    pub(super) fn give_back_leases(&mut self, now: Instant) {
        self.states.iter_mut().flatten().for_each(|state| state.table.give_back_leases(now));
    }

    /// Keys in all tables.
    pub(super) fn keys(&self) -> u64 {
        let keys: u64 =
            self.states.iter().flatten().map(|state| u64::from(state.table.len())).sum();
        keys + self.mesh.keys()
    }

    /// Asks the limits, then the scope's guard; takes a token of each limit where all say yes.
    #[inline(never)]
    pub(super) fn admit(
        &mut self,
        held: &[HeldLimit],
        slot: &mut Slot,
        recorder: &mut Recorder,
        call: Call<'_>,
    ) -> Answer {
        let Call { now, policy, .. } = call;
        if call.patience.number.is_some()
            && policy.rate_limits.iter().any(|one| one.queue.is_some())
        {
            return self.admit_or_wait(held, slot, recorder, call);
        }
        let breaker = slot.guard.state();
        match self.ask(held, call, None) {
            Asking::Wait | Asking::Pass => {}
            Asking::PassUnenforced if policy.mode == Mode::Shadow => {}
            Asking::PassUnenforced => recorder.not_applied(slot.row, Rule::RateLimit),
            Asking::Reject(limit) => {
                slot.guard.forget_waiting(now, call.patience);
                return Answer::Reject(Rejection::RateLimit { limit, breaker });
            }
        }
        if let Err(denied) = slot.guard.peek(now) {
            slot.guard.forget_waiting(now, call.patience);
            return Answer::Reject(Rejection::Breaker(denied));
        }
        // Taken before the guard gives its permit: a token can be given back, a probe's place cannot.
        if let Err(limit) = self.take(call) {
            self.give_back(now);
            slot.guard.forget_waiting(now, call.patience);
            return Answer::Reject(Rejection::RateLimit { limit, breaker });
        }
        let answer = match &policy.concurrency {
            None => slot.guard.admit(now),
            Some(limit) => {
                let place = Place { board: call.board, key: slot.key.on_board() };
                slot.guard.admit_peeked(now, limit, &policy.hashes, place, call.patience)
            }
        };
        if !matches!(answer, Answer::Admit(_)) {
            self.give_back(now);
        }
        answer
    }

    /// Asks every limit, also behind one that says no: each notes by itself that it is exceeded, and who
    /// is turned away learns the longest of the waits.
    /// One that may wait has taken the turns of `taken` already.
    fn ask(&mut self, held: &[HeldLimit], call: Call<'_>, taken: Option<&[Turn]>) -> Asking {
        self.asked.clear();
        let (mut worst, mut is_unenforced, mut until) = (None::<RateLimited>, false, call.now);
        for (index, (held, limit)) in held.iter().zip(&call.policy.rate_limits).enumerate() {
            if let Some(turn) =
                taken.and_then(|taken| taken.iter().find(|turn| turn.limit == index))
            {
                until = until.max(turn.at);
                continue;
            }
            let is_allowed = |client| limit.allows(client);
            if !limit.allow.is_empty() && call.facts.client_address().is_some_and(is_allowed) {
                continue;
            }
            let place = held.state as usize;
            let state = self.states.get_mut(place).and_then(Option::as_mut);
            let Some(state) = state.filter(|state| Arc::ptr_eq(&state.held, &held.held)) else {
                match self.ask_mesh((held.state, &held.held), (index, limit), call) {
                    Said::No(told) if worst.is_none_or(|worst| worst.left() < told.left()) => {
                        worst = Some(told);
                    }
                    Said::Unenforced => is_unenforced = true,
                    _ => {}
                }
                continue;
            };
            let place = find(state, limit, call, &mut self.key);
            match state.table.peek(call.now, place) {
                Ok(()) => {
                    // A token came back from another worker: it is for those who wait, and this call is
                    // the last of them.
                    let mark = state.table.mark(place);
                    let last = taken.and_then(|_| self.turns.last(held.state, place, mark));
                    until = until.max(last.unwrap_or(until));
                    let (state, waits) = (held.state, last.is_some_and(|last| last > call.now));
                    self.asked.push(Asked { limit: index, state, place, token: None, waits });
                }
                Err(exceeded) if state.enforces(limit.enforced) => {
                    if taken.is_some()
                        && let Some(longest) = longest(limit, call)
                        && let Some(at) = state.table.peek_turn(call.now, place, longest)
                    {
                        until = until.max(at);
                        let state = held.state;
                        let asked = Asked { limit: index, state, place, token: None, waits: true };
                        self.asked.push(asked);
                        continue;
                    }
                    let told = state.tells(index, place, exceeded, call.now);
                    if worst.is_none_or(|worst| worst.left() < told.left()) {
                        worst = Some(told);
                    }
                }
                Err(_) => is_unenforced = true,
            }
        }
        match worst {
            Some(told) => Asking::Reject(told),
            None if until > call.now => Asking::Wait,
            None if is_unenforced => Asking::PassUnenforced,
            None => Asking::Pass,
        }
    }

    /// Takes a token of each limit that was asked.
    ///
    /// # Errors
    /// Another worker was faster.
    fn take(&mut self, call: Call<'_>) -> Result<(), RateLimited> {
        for asked in &mut self.asked {
            let Some(Some(state)) = self.states.get_mut(asked.state as usize) else {
                if let Said::No(told) = Self::take_of_mesh(&mut self.mesh, asked, call) {
                    return Err(told);
                }
                continue;
            };
            match state.table.commit(call.now, asked.place) {
                Ok(token) => asked.token = token,
                Err(exceeded) => {
                    let limit = call.policy.rate_limits.get(asked.limit);
                    if state.enforces(limit.map_or(1.0, |limit| limit.enforced)) {
                        return Err(state.tells(asked.limit, asked.place, exceeded, call.now));
                    }
                }
            }
        }
        Ok(())
    }

    #[cold]
    fn give_back(&mut self, now: Instant) {
        for asked in &mut self.asked {
            let Some(Some(state)) = self.states.get_mut(asked.state as usize) else {
                Self::give_back_of_mesh(&mut self.mesh, asked);
                continue;
            };
            if let Some(token) = asked.token.take() {
                state.table.give_back(now, asked.place, token);
            }
        }
    }
}

/// What the limits say.
enum Asking {
    Pass,
    /// A limit is exceeded that is not enforced for this call.
    PassUnenforced,
    /// It has to wait for its turn.
    Wait,
    Reject(RateLimited),
}

/// How long a call may wait for a token of a limit; none where it may not.
fn longest(limit: &LimitPolicy, call: Call<'_>) -> Option<Duration> {
    let queue = limit.queue?;
    Some(call.patience.left.map_or(queue.max_wait, |left| left.min(queue.max_wait)))
}

impl State {
    /// Whether this rejection is carried out.
    fn enforces(&mut self, share: f64) -> bool {
        enforces(&mut self.due, share)
    }

    fn tells(
        &self,
        limit: usize,
        place: KeyPlace,
        exceeded: Exceeded,
        now: Instant,
    ) -> RateLimited {
        RateLimited::new(limit, self.table.policy(place), exceeded.until.since(now))
    }
}

/// Whether a rejection is carried out. Error diffusion, as in a breaker's ramp: the `enforced`
/// share of every rejection is added up, and one is carried out when a whole one has come together.
fn enforces(due: &mut f64, share: f64) -> bool {
    *due += share;
    let is_due = *due >= 1.0;
    if is_due {
        *due -= 1.0;
    }
    is_due
}

/// A call's key. What a host does not know of a call counts as empty: nobody escapes a limit by leaving a header
/// out.
#[inline]
fn write_key(limit: &LimitPolicy, call: Call<'_>, key: &mut Vec<u8>) {
    key.clear();
    match &limit.key[..] {
        [part] => key.extend_from_slice(&scope_key(part, call.facts)),
        parts => parts.iter().for_each(|part| {
            let value = scope_key(part, call.facts);
            // Its length first, so that no other values give the same key.
            key.extend_from_slice(&(value.len() as u64).to_le_bytes());
            key.extend_from_slice(&value);
        }),
    }
}

/// The place of a call's key in the table of a limit.
fn find(state: &mut State, limit: &LimitPolicy, call: Call<'_>, key: &mut Vec<u8>) -> KeyPlace {
    write_key(limit, call, key);
    let mut short = [0; LONGEST];
    let key = shorten(key, &mut short, limit.hash);
    state.table.find_or_make(call.now, key, call.room, |key| open(limit, call, key))
}

/// What a new key has; none is the overflow.
#[cold]
fn open(limit: &LimitPolicy, call: Call<'_>, key: Option<&[u8]>) -> Opened {
    let board = match limit.share {
        Share::None | Share::Mesh { .. } => None,
        Share::Process => call.board,
    };
    let at = Place { board, key: key.unwrap_or(&OVERFLOW) };
    let account = at.account(limit.hash);
    let words = if account.is_some() { None } else { at.words(limit.hash, WORDS) };
    Opened { policy: choice(limit, call, key), words, account }
}

/// Which of a limit's policies a new key has: its own is 0, then come the overrides.
fn choice(limit: &LimitPolicy, call: Call<'_>, key: Option<&[u8]>) -> u16 {
    let values: Vec<_> = limit.key.iter().map(|part| scope_key(part, call.facts)).collect();
    let fits = |one: &LimitOverride| one.fits(values.iter().map(|value| &**value));
    let place = limit.overrides.iter().position(fits).filter(|_| key.is_some());
    place.map_or(0, |place| u16::try_from(place + 1).unwrap_or(0))
}
