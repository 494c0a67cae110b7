//! What an engine exchanges with a store far away, for all scopes and limits with `share: mesh`: see
//! [`board::far`](crate::board::far).
//!
//! A host does so once per interval, and at once after an event that tells of a change of state and where
//! [`Engine::wants_exchange`] says so:
//! 1. [`Engine::take_deltas`]: what others should know. Each delta goes to the store under its key.
//! 2. The store's answer for each key goes to [`Engine::merge`]; so do answers for keys of which this
//!    engine gave no delta, where the store says that they changed.
//! 3. An exchange that may not have reached the store goes to [`Engine::give_back`]. If it did reach it,
//!    nothing counts twice.
//!
//! Where limits are shared the answer has to be made after the deltas came to the store, and one exchange is under way
//! at a time: one whose answer is later than the next exchange lends nothing more.
//!
//! Nothing is queued here. While a store is away, each exchange has the state of its own time.

use super::Engine;
use crate::board::far::{self, Claims, Member, Merged, Refused};
use crate::time::Instant;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// The most deltas in one exchange; the rest has its turn in the next one.
pub const MAX_DELTAS: usize = 4_096;

/// The deltas of one exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    /// Whose they are. A store that only keeps bytes keeps them under this and their key.
    pub member: Member,
    /// Its number; the next one has a higher one.
    pub sequence: u64,
    /// One for each scope in which something changed, for each key of a limit that is in use, and for each limit.
    pub deltas: Vec<KeyedDelta>,
}

/// The delta of one scope, as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyedDelta {
    /// What the scope is called in the store: of at most 138 bytes, any of them.
    pub key: Box<[u8]>,
    /// A [`Delta`](far::Delta) or a [`Claim`](far::Claim), for [`Gathered::add`](far::Gathered::add).
    pub record: Vec<u8>,
}

/// Sums over all exchanges since the engine began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExchangeTotals {
    /// Deltas that were taken.
    pub taken: u64,
    /// Of these, such as were given back.
    pub given_back: u64,
    /// Records that were learned from.
    pub merged: u64,
    /// Records for scopes that are not in the table.
    pub unknown: u64,
    /// Records that were not believed.
    pub refused: u64,
}

#[derive(Debug, Default)]
pub(super) struct Exchanges {
    member: Option<Member>,
    sequence: u64,
    /// Which scope, of all that are shared, has its turn first.
    next: usize,
    totals: ExchangeTotals,
    /// Whether others wait for what was given back.
    is_awaited: bool,
}

impl Engine {
    /// Makes the engine a member of a mesh. `sequence` is what its exchanges are numbered from: it has to be
    /// higher than what the same member used before a restart, so wall clock time in microseconds does. A
    /// store takes a member that begins too low for an old record, until it forgot the newer one.
    pub fn join_mesh(&mut self, member: Member, sequence: u64) {
        self.far.member = Some(member);
        self.far.sequence = sequence;
    }

    /// What others should know. Empty before [`Engine::join_mesh`].
    pub fn take_deltas(&mut self, now: Instant) -> Exchange {
        let Some(member) = self.far.member else {
            return Exchange::default();
        };
        self.far.sequence = self.far.sequence.saturating_add(1);
        let sequence = self.far.sequence;
        let mut deltas = Vec::new();
        // In turns, so that neither leaves no room for the other.
        let claims_first = sequence.is_multiple_of(2);
        for takes_claims in [claims_first, !claims_first] {
            if takes_claims {
                self.limits.take_claims(now, (member, sequence), MAX_DELTAS, &mut deltas);
            } else {
                self.take_scopes(now, member, sequence, &mut deltas);
            }
        }
        self.exchange(member, deltas)
    }

    fn take_scopes(
        &mut self,
        now: Instant,
        member: Member,
        sequence: u64,
        deltas: &mut Vec<KeyedDelta>,
    ) {
        let start = core::mem::take(&mut self.far.next);
        // From where the last exchange ended to the end, then from the beginning to there.
        for turn in [start..usize::MAX, 0..start] {
            let mut number = 0;
            for state in 0..self.states.len() {
                let mut scope = 0;
                while let Some((hash, place)) = self.mesh_scope(state, scope) {
                    if turn.contains(&number) {
                        if deltas.len() >= MAX_DELTAS {
                            self.far.next = number;
                            return;
                        }
                        deltas.extend(self.take_delta(now, hash, place, member, sequence));
                    }
                    (scope, number) = (scope + 1, number + 1);
                }
            }
        }
    }

    fn exchange(&mut self, member: Member, deltas: Vec<KeyedDelta>) -> Exchange {
        self.far.totals.taken += deltas.len() as u64;
        Exchange { member, sequence: self.far.sequence, deltas }
    }

    /// Hash and place of one of a state's scopes, where it is shared and there are so many.
    fn mesh_scope(&self, state: usize, scope: usize) -> Option<(u64, u32)> {
        let registry = &self.states.get(state)?.as_ref()?.registry;
        let place = registry.places().get(scope).filter(|_| registry.rules.is_mesh())?;
        Some((registry.rules.hashes().breaker, *place))
    }

    fn take_delta(
        &mut self,
        now: Instant,
        hash: u64,
        place: u32,
        member: Member,
        sequence: u64,
    ) -> Option<KeyedDelta> {
        let slot = self.slots.get_mut(place)?;
        let delta = slot.guard.take_delta(now, member, sequence);
        let keyed = delta.map(|delta| {
            let key = far::name(hash, slot.key.on_board());
            KeyedDelta { record: delta.encode(&key), key }
        });
        if slot.guard.is_stirred(slot.due) {
            self.stirred(place);
        }
        keyed
    }

    /// An exchange may not have reached the store: its scopes have a delta in the next one again.
    pub fn give_back(&mut self, exchange: Exchange) {
        self.far.totals.given_back += exchange.deltas.len() as u64;
        for KeyedDelta { key, .. } in exchange.deltas {
            let place = self.find_by_name(&key);
            if let Some(slot) = place.and_then(|place| self.slots.get_mut(place)) {
                slot.guard.give_back_delta();
            }
        }
    }

    /// Learns what a store says of `key`, a [`Merged`] or a [`Claims`] record. Of a scope or a key that is not there it
    /// learns nothing, and makes none: whoever fills a store cannot fill the table.
    ///
    /// # Errors
    /// The record is of another version, or not ours. It is counted, and changes nothing.
    pub fn merge(&mut self, now: Instant, key: &[u8], record: &[u8]) -> Result<(), Refused> {
        if Claims::is_kind(record) {
            let claims = self.believed(Claims::decode(record, key))?;
            self.learn_claims(now, key, &claims);
            return Ok(());
        }
        let merged = self.believed(Merged::decode(record, key))?;
        let place = self.find_by_name(key);
        let Some((slot, place)) = place.and_then(|at| Some((self.slots.get_mut(at)?, at))) else {
            self.far.totals.unknown += 1;
            return Ok(());
        };
        self.far.totals.merged += 1;
        slot.guard.merge(now, &merged);
        if slot.guard.is_stirred(slot.due) {
            self.stirred(place);
        }
        Ok(())
    }

    fn believed<T>(&mut self, record: Result<T, Refused>) -> Result<T, Refused> {
        self.far.totals.refused += u64::from(record.is_err());
        record
    }

    fn learn_claims(&mut self, now: Instant, key: &[u8], claims: &Claims) {
        let learned = far::parts(key).and_then(|key| self.limits.learn_claims(now, key, claims));
        match learned {
            Some(is_awaited) => {
                self.far.totals.merged += 1;
                self.far.is_awaited |= is_awaited;
            }
            None => self.far.totals.unknown += 1,
        }
    }

    /// Whether the next exchange should not wait for its turn, because others wait for what this member gave back of
    /// a limit. To be asked behind [`Engine::merge`]; it says so once.
    pub const fn wants_exchange(&mut self) -> bool {
        core::mem::replace(&mut self.far.is_awaited, false)
    }

    fn find_by_name(&self, key: &[u8]) -> Option<u32> {
        let (hash, key) = far::parts(key)?;
        let mut registries = self.states.iter().flatten().map(|state| &state.registry);
        let is_its =
            |rules: &crate::guard::Rules| rules.is_mesh() && rules.hashes().breaker == hash;
        let registry = registries.find(|registry| is_its(&registry.rules))?;
        registry.find_on_board(key, &self.slots)
    }

    /// Sums over all exchanges.
    pub const fn exchange_totals(&self) -> ExchangeTotals {
        self.far.totals
    }
}
