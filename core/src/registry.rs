//! The bounded table of one policy's scopes.
//!
//! A scope is made when its key is first seen, and leaves when the table is full and it is idle and was
//! not used for long. Busy ones never leave, so flooding the table with keys resets nobody's breaker.
//! Which idle one leaves is decided by second chance, as for pages in memory.

mod find;
mod key;
mod slot;

use crate::board::Board;
use crate::breaker::State;
use crate::engine::Room;
use crate::guard::{Guard, Place, Rules};
use crate::index::{Index, is_same_key};
use crate::policy::{Policy, Scope, Scopes, WhenFull};
use crate::second_chance::SecondChance;
use crate::series::{SHARED_LABEL, SeriesTable};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hash::BuildHasher;
use core::mem;
use foldhash::quality::FixedState;
pub use key::label;
pub(crate) use key::{LONGEST, OVERFLOW, shorten};
use slot::Key;
pub(crate) use slot::{Slot, Slots};

/// The scopes of one policy: what its calls have left behind. Whatever decides alike shares it, see
/// [`Policies`](crate::engine::Policies); so it holds nothing of a policy but what its state depends
/// on. The scopes themselves lie with those of other policies in the engine's [`Slots`].
#[derive(Debug)]
pub(crate) struct Registry {
    /// The policy's name.
    pub(crate) name: Arc<str>,
    pub(crate) scope: Scope,
    pub(crate) rules: Rules,
    scopes: Scopes,
    /// All places, the overflow's among them, in the order in which they were made.
    places: Vec<u32>,
    index: Index,
    /// Which of the places is given up.
    chance: SecondChance,
    overflow: Option<u32>,
    hasher: FixedState,
    seed: u64,
    board: Option<Arc<dyn Board>>,
    room: Room,
}

impl Registry {
    /// An empty table for `policy`. `seed` fixes jitter and the order of the hash table. Guards meet
    /// their replicas on `board` where there is one and the policy shares them. `room` is asked before
    /// the table grows.
    pub(crate) fn new(
        policy: &Policy,
        seed: u64,
        board: Option<Arc<dyn Board>>,
        room: Room,
    ) -> Self {
        let rules = Rules::of(policy);
        Self {
            board: board.filter(|_| rules.is_shared()),
            name: policy.name.clone(),
            scope: policy.scope.clone(),
            rules,
            scopes: policy.scopes,
            places: Vec::new(),
            index: Index::default(),
            chance: SecondChance::default(),
            overflow: None,
            hasher: FixedState::with_seed(seed),
            seed,
            room,
        }
    }

    /// The place of the one scope, where there can be no other and it was made.
    #[inline]
    pub(crate) fn only(&self) -> Option<u32> {
        if matches!(self.scope, Scope::Policy) { self.places.first().copied() } else { None }
    }

    /// The place of `key`'s scope, where there is one.
    #[inline]
    pub(crate) fn find(&self, key: &[u8], slots: &Slots) -> Option<u32> {
        if key.len() > LONGEST {
            return self.find(self.short(key, &mut [0; LONGEST]), slots);
        }
        let same = |place| slots.get(place).is_some_and(|slot| is_same_key(slot.key.bytes(), key));
        self.index.find(self.hash(key), same)
    }

    /// The place of a new scope for `key`, or the one that it shares with others. None where the table
    /// is full of busy scopes and the policy lets new ones pass.
    #[cold]
    pub(crate) fn make(
        &mut self,
        key: &[u8],
        slots: &mut Slots,
        series: &mut SeriesTable,
    ) -> Option<u32> {
        if key.len() > LONGEST {
            let short = &mut [0; LONGEST];
            return self.make_short(self.short(key, short), slots, series);
        }
        self.make_short(key, slots, series)
    }

    #[inline]
    fn hash(&self, key: &[u8]) -> u32 {
        self.hasher.hash_one(key) as u32
    }

    /// What a long key is called: the same in every worker, so that it means the same scope to all.
    #[cold]
    fn short<'s>(&self, key: &'s [u8], short: &'s mut [u8; LONGEST]) -> &'s [u8] {
        shorten(key, short, self.rules.hashes().scopes)
    }

    fn make_short(
        &mut self,
        key: &[u8],
        slots: &mut Slots,
        series: &mut SeriesTable,
    ) -> Option<u32> {
        let hash = self.hash(key);
        let keyed = self.index.len();
        let place = if keyed < self.scopes.max as usize && (self.room)(keyed) {
            let slot = self.slot(Key::new(key), hash, &label(&self.scope, key), series);
            let place = slots.add(slot);
            self.places.push(place);
            place
        } else if let Some(place) = self.dispensable(slots) {
            self.give_up(place, slots, series);
            let slot = self.slot(Key::new(key), hash, &label(&self.scope, key), series);
            slots.replace(place, slot);
            place
        } else {
            return match self.scopes.when_full {
                WhenFull::Pass => None,
                WhenFull::Share => Some(self.overflow(slots, series)),
            };
        };
        if let Some(slot) = slots.get(place) {
            slot.guard.watch(u64::from(place));
        }
        self.index.insert(hash, place);
        Some(place)
    }

    /// The place of an idle scope, for another one.
    fn dispensable(&mut self, slots: &mut Slots) -> Option<u32> {
        let (places, overflow) = (&self.places, self.overflow);
        let number = self.chance.choose(places.len(), |number| {
            let place = places.get(number).filter(|place| overflow != Some(**place))?;
            let slot = slots.get_mut(*place).filter(|slot| slot.guard.is_idle())?;
            Some(mem::take(&mut slot.is_recent))
        });
        number.and_then(|number| places.get(number).copied())
    }

    fn give_up(&mut self, place: u32, slots: &Slots, series: &mut SeriesTable) {
        let Some(old) = slots.get(place) else {
            return;
        };
        self.index.remove(old.hash, place);
        self.uncount(old, series);
    }

    fn overflow(&mut self, slots: &mut Slots, series: &mut SeriesTable) -> u32 {
        match self.overflow {
            Some(place) => place,
            None => {
                let slot = self.slot(Key::Overflow, 0, SHARED_LABEL, series);
                let place = slots.add(slot);
                if let Some(slot) = slots.get(place) {
                    slot.guard.watch(u64::from(place));
                }
                self.places.push(place);
                self.overflow = Some(place);
                place
            }
        }
    }

    fn slot(&mut self, key: Key, hash: u32, label: &str, series: &mut SeriesTable) -> Slot {
        let number = self.places.len() as u64;
        self.seed = self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(number | 1);
        let row = series.open(&self.name, label);
        if let Some(counts) = series.counts(row).filter(|_| self.rules.has_breaker()) {
            counts.entered(State::Closed);
        }
        let place = Place { board: self.board.as_deref(), key: key.on_board() };
        Slot::new(Guard::new(&self.rules, self.seed, place), row, hash, key)
    }

    /// Takes a scope's breaker out of the counts of present states.
    fn uncount(&self, slot: &Slot, series: &mut SeriesTable) {
        if let Some(counts) = series.counts(slot.row).filter(|_| self.rules.has_breaker()) {
            counts.left(slot.guard.state());
        }
    }

    /// Whether `place` is what further keys share.
    pub(crate) fn is_overflow(&self, place: u32) -> bool {
        self.overflow == Some(place)
    }

    /// Whether other workers can change something in its scopes.
    pub(crate) const fn is_shared(&self) -> bool {
        self.board.is_some()
    }

    /// The places of all scopes.
    pub(crate) fn places(&self) -> &[u32] {
        &self.places
    }

    /// Frees all scopes, and what lies in them. Those with calls under way stay until these have settled.
    pub(crate) fn close(self, slots: &mut Slots, series: &mut SeriesTable) {
        for place in &self.places {
            let Some(slot) = slots.get_mut(*place) else {
                continue;
            };
            self.uncount(slot, series);
            if slot.guard.outstanding() == 0 {
                slots.remove(*place);
            } else {
                slot.is_orphan = true;
            }
        }
    }
}

#[cfg(test)]
mod tests;
