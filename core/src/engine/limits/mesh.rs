//! Limits of a whole mesh (`share: mesh`) at work: see [`limiter::escrow`](crate::limiter::escrow). They lie apart from
//! the others, so that calls of those pay nothing for them.

use super::{Asked, Call, Hold, LimitPolicy, Limits, choice, enforces, put, write_key};
use crate::board::far::{Claim, Claims, Member, name};
use crate::decision::RateLimited;
use crate::engine::KeyedDelta;
use crate::hash::Hash;
use crate::limiter::Exceeded;
use crate::limiter::keyed::KeyPlace;
use crate::limiter::mesh::MeshLimit;
use crate::registry::{LONGEST, OVERFLOW, shorten};
use crate::rng::Rng;
use crate::time::Instant;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Places of limit of a meshs begin here. No other limit has such a place, so whoever looks for one there finds none.
const FIRST: u32 = 1 << 31;

/// All limit of a meshs.
#[derive(Debug, Default)]
pub(super) struct MeshLimits {
    states: Vec<Option<State>>,
    /// Which key, of all, has its turn first.
    next: usize,
}

#[derive(Debug)]
struct State {
    hash: u64,
    table: MeshLimit,
    /// As of other limits.
    due: f64,
    held: Arc<Hold>,
}

/// What a limit of a mesh says.
pub(super) enum Said {
    /// It is no limit that is known.
    Nothing,
    /// The call may pass, or has a token.
    Yes,
    /// It is exceeded, which is not enforced for this call.
    Unenforced,
    /// It is exceeded.
    No(RateLimited),
}

impl State {
    fn says(
        &mut self,
        limit: &LimitPolicy,
        index: usize,
        place: KeyPlace,
        now: Instant,
        exceeded: Exceeded,
    ) -> Said {
        if !enforces(&mut self.due, limit.enforced) {
            return Said::Unenforced;
        }
        let left = exceeded.until.since(now);
        Said::No(RateLimited::new(index, self.table.policy(place), left))
    }

    /// What is called in a store by which members know of each other.
    fn presence(&self) -> u64 {
        Hash::default().number(self.hash).bytes(b"members").finish()
    }
}

impl MeshLimits {
    /// The place of a limit, which is made where it is not there, and what keeps it.
    pub(super) fn load(&mut self, limit: &LimitPolicy, rng: &mut Rng) -> (u32, Arc<Hold>) {
        let is_same =
            |state: &Option<State>| state.as_ref().is_some_and(|state| state.hash == limit.hash);
        let place = self.states.iter().position(is_same).unwrap_or_else(|| {
            let (when, most) = (limit.when_store_fails, limit.max_keys);
            let table = MeshLimit::new(&limit.limits(), when, most, rng.next_u64());
            put(&mut self.states, State { hash: limit.hash, table, due: 0.0, held: Hold::new() })
        });
        let state = self.states.get(place).and_then(Option::as_ref);
        let held = state.map_or_else(Hold::new, |state| state.held.clone());
        (u32::try_from(place).map_or(u32::MAX, |place| FIRST | place), held)
    }

    pub(super) fn free(&mut self) {
        for place in &mut self.states {
            place.take_if(|state| Arc::strong_count(&state.held) == 1);
        }
    }

    pub(super) fn keys(&self) -> u64 {
        self.states.iter().flatten().map(|state| u64::from(state.table.len())).sum()
    }

    fn state(&mut self, place: u32) -> Option<&mut State> {
        self.states.get_mut(place.checked_sub(FIRST)? as usize)?.as_mut()
    }
}

impl Limits {
    /// Asks a limit of a mesh.
    #[cold]
    pub(super) fn ask_mesh(
        &mut self,
        (place, held): (u32, &Arc<Hold>),
        (index, limit): (usize, &LimitPolicy),
        call: Call<'_>,
    ) -> Said {
        let state = self.mesh.state(place).filter(|state| Arc::ptr_eq(&state.held, held));
        let Some(state) = state else {
            return Said::Nothing;
        };
        write_key(limit, call, &mut self.key);
        let mut short = [0; LONGEST];
        let key = shorten(&self.key, &mut short, limit.hash);
        let at = state.table.find_or_make(call.now, key, call.room, |key| choice(limit, call, key));
        match state.table.peek(call.now, at) {
            Ok(()) => {
                let (state, token) = (place, None);
                self.asked.push(Asked { limit: index, state, place: at, token, waits: false });
                Said::Yes
            }
            Err(exceeded) => state.says(limit, index, at, call.now, exceeded),
        }
    }

    /// Takes a token of a limit of a mesh.
    #[cold]
    pub(super) fn take_of_mesh(mesh: &mut MeshLimits, asked: &mut Asked, call: Call<'_>) -> Said {
        let limit = call.policy.rate_limits.get(asked.limit);
        let (Some(state), Some(limit)) = (mesh.state(asked.state), limit) else {
            return Said::Nothing;
        };
        match state.table.commit(call.now, asked.place) {
            Ok(token) => {
                asked.token = token;
                Said::Yes
            }
            Err(exceeded) => state.says(limit, asked.limit, asked.place, call.now, exceeded),
        }
    }

    /// Gives back a token of a limit of a mesh.
    pub(super) fn give_back_of_mesh(mesh: &mut MeshLimits, asked: &mut Asked) {
        if let (Some(state), Some(token)) = (mesh.state(asked.state), asked.token.take()) {
            state.table.give_back(asked.place, token);
        }
    }

    /// Adds what this member claims of each key in use, as long as there are fewer than `most` deltas. Those that
    /// found no room have their turn first in the next exchange.
    pub(in crate::engine) fn take_claims(
        &mut self,
        now: Instant,
        (member, sequence): (Member, u64),
        most: usize,
        deltas: &mut Vec<KeyedDelta>,
    ) {
        let keyed = |key: alloc::boxed::Box<[u8]>, claim: Claim| KeyedDelta {
            record: claim.encode(&key),
            key,
        };
        for state in self.mesh.states.iter_mut().flatten() {
            let presence = state.table.begin_exchange(member, sequence, now);
            // There are as many as limits in policies, and each has to be told.
            deltas.push(keyed(name(state.presence(), &[]), presence));
        }
        let start = core::mem::take(&mut self.mesh.next);
        for turn in [start..usize::MAX, 0..start] {
            let mut number = 0;
            for state in self.mesh.states.iter_mut().flatten() {
                for key in 0..=state.table.len() {
                    if turn.contains(&number) {
                        if deltas.len() >= most {
                            self.mesh.next = number;
                            return;
                        }
                        let hash = state.hash;
                        if let Some((key, claim)) = state.table.claim(now, key) {
                            deltas.push(keyed(name(hash, key.unwrap_or(&OVERFLOW)), claim));
                        }
                    }
                    number += 1;
                }
            }
        }
    }

    /// Learns what all members claim of a key. None where it is not known. True where what this one gave back should
    /// be told at once.
    pub(in crate::engine) fn learn_claims(
        &mut self,
        now: Instant,
        (hash, key): (u64, &[u8]),
        claims: &Claims,
    ) -> Option<bool> {
        for state in self.mesh.states.iter_mut().flatten() {
            if state.hash == hash {
                return state.table.learn(now, (key != OVERFLOW).then_some(key), claims);
            }
            if key.is_empty() && state.presence() == hash {
                state.table.learn_presence(claims, now);
                return Some(false);
            }
        }
        None
    }
}
