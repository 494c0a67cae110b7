//! The bounded table of one policy's scopes.
//!
//! A scope is made when its key is first seen, and leaves when the table is full and it is the idle
//! one that was not used for longest. Busy ones never leave, so flooding the table with keys resets
//! nobody's breaker.

mod idle;
mod key;

use crate::board::Board;
use crate::breaker::{State, Transition};
use crate::guard::{Guard, Place, Rules};
use crate::policy::{Policy, Scope, Scopes, WhenFull};
use crate::series::{SHARED_LABEL, SeriesTable};
use crate::time::Instant;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hash::BuildHasher;
use foldhash::quality::FixedState;
use hashbrown::HashTable;
use idle::IdleList;
pub use key::label;
use key::shorten;

/// One scope at work.
#[derive(Debug)]
pub struct Slot {
    pub(crate) guard: Guard,
    /// Row of its counts and its label in the engine's series.
    pub(crate) row: u32,
    key: Box<[u8]>,
}

impl Slot {
    /// The scope's key: a client may have chosen it.
    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }
}

/// What the overflow scope is called on the board: longer than any key.
const OVERFLOW: [u8; key::LONGEST + 1] = [b'*'; key::LONGEST + 1];

/// The scopes of one policy: what its calls have left behind. Whatever decides alike shares it, see
/// [`Policies`](crate::engine::Policies); so it holds nothing of a policy but what its state depends
/// on.
#[derive(Debug)]
pub struct Registry {
    /// Unlike every other registry's of the engine, for ever.
    pub(crate) id: u32,
    /// The policy's name.
    pub(crate) name: Arc<str>,
    pub(crate) scope: Scope,
    scopes: Scopes,
    pub(crate) rules: Rules,
    slots: Vec<Slot>,
    index: HashTable<u32>,
    idle: IdleList,
    overflow: Option<u32>,
    half_open: u32,
    hasher: FixedState,
    seed: u64,
    board: Option<Arc<dyn Board>>,
}

impl Registry {
    /// An empty table for `policy`. `seed` fixes jitter and the order of the hash table. Breakers
    /// are replicas on `board` where there is one and the policy shares them.
    pub fn new(id: u32, policy: &Policy, seed: u64, board: Option<Arc<dyn Board>>) -> Self {
        let rules = Rules::of(policy);
        Self {
            id,
            board: board.filter(|_| rules.is_shared()),
            name: policy.name.clone(),
            scope: policy.scope.clone(),
            scopes: policy.scopes,
            rules,
            slots: Vec::new(),
            index: HashTable::new(),
            idle: IdleList::default(),
            overflow: None,
            half_open: 0,
            hasher: FixedState::with_seed(seed),
            seed,
        }
    }

    /// The place of `key`'s scope, made where there is none. None where the table is full of busy
    /// scopes and the policy lets new ones pass.
    pub fn find_or_make(&mut self, key: &[u8], series: &mut SeriesTable) -> Option<u32> {
        // One scope: nothing to look up.
        if self.scope == Scope::Policy && !self.slots.is_empty() {
            return Some(0);
        }
        let mut short = [0; key::LONGEST];
        // Every worker shortens alike, so that a long key means the same breaker to all.
        let key = shorten(key, &mut short, &FixedState::with_seed(self.rules.hashes().scopes));
        let hash = self.hasher.hash_one(key);
        let slots = &self.slots;
        let same = |slot: &u32| slots.get(*slot as usize).is_some_and(|slot| equal(&slot.key, key));
        if let Some(found) = self.index.find(hash, same) {
            return Some(*found);
        }
        self.make(key, hash, series)
    }

    #[cold]
    fn make(&mut self, key: &[u8], hash: u64, series: &mut SeriesTable) -> Option<u32> {
        let keyed = self.index.len();
        let place = if keyed < self.scopes.max as usize {
            self.push(key, series)
        } else if let Some(place) = self.idle.oldest() {
            self.replace(place, key, series);
            place
        } else {
            return match self.scopes.when_full {
                WhenFull::Pass => None,
                WhenFull::Share => Some(self.overflow(series)),
            };
        };
        let (slots, hasher) = (&self.slots, &self.hasher);
        let rehash =
            |slot: &u32| slots.get(*slot as usize).map_or(0, |slot| hasher.hash_one(&*slot.key));
        self.index.insert_unique(hash, place, rehash);
        self.idle.add(place);
        Some(place)
    }

    fn overflow(&mut self, series: &mut SeriesTable) -> u32 {
        match self.overflow {
            Some(place) => place,
            None => {
                let place = self.next_place();
                let mut slot = self.slot(&OVERFLOW, SHARED_LABEL, place, series);
                // Nobody's key: what a client sends is another scope, even where it is empty.
                slot.key = Box::default();
                self.slots.push(slot);
                self.overflow = Some(place);
                place
            }
        }
    }

    /// Whether `slot` is what further keys share.
    pub(crate) fn is_overflow(&self, slot: &Slot) -> bool {
        let overflow = self.overflow.and_then(|place| self.slots.get(place as usize));
        overflow.is_some_and(|overflow| core::ptr::eq(overflow, slot))
    }

    fn next_place(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
    }

    fn push(&mut self, key: &[u8], series: &mut SeriesTable) -> u32 {
        let (label, place) = (label(&self.scope, key), self.next_place());
        let slot = self.slot(key, &label, place, series);
        self.slots.push(slot);
        place
    }

    /// Gives an idle scope's place to a new one.
    fn replace(&mut self, place: u32, key: &[u8], series: &mut SeriesTable) {
        self.idle.remove(place);
        let hasher = &self.hasher;
        if let Some(old) = self.slots.get(place as usize) {
            let hash = hasher.hash_one(&*old.key);
            if let Ok(entry) = self.index.find_entry(hash, |slot| *slot == place) {
                entry.remove();
            }
            if let Some(counts) = series.counts(old.row) {
                counts.left(old.guard.state());
            }
        }
        let label = label(&self.scope, key);
        let slot = self.slot(key, &label, place, series);
        if let Some(old) = self.slots.get_mut(place as usize) {
            *old = slot;
        }
    }

    fn slot(&mut self, key: &[u8], label: &str, place: u32, series: &mut SeriesTable) -> Slot {
        self.seed =
            self.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(u64::from(place) | 1);
        let row = series.open(&self.name, label);
        if let Some(counts) = series.counts(row).filter(|_| self.rules.has_breaker()) {
            counts.entered(State::Closed);
        }
        let place = Place { board: self.board.as_deref(), key };
        Slot { guard: Guard::new(&self.rules, self.seed, place), row, key: key.into() }
    }

    /// The scope at `place`.
    #[inline]
    pub fn slot_mut(&mut self, place: u32) -> Option<&mut Slot> {
        self.slots.get_mut(place as usize)
    }

    /// To be called after every verb on the scope at `place`: keeps the order of the idle ones.
    #[inline]
    pub fn touched(&mut self, place: u32) {
        // A policy with one scope has nothing to evict.
        if self.scope == Scope::Policy {
            return;
        }
        if self.overflow == Some(place) {
            return;
        }
        if self.slots.get(place as usize).is_some_and(|slot| slot.guard.is_idle()) {
            self.idle.touch(place);
        } else {
            self.idle.remove(place);
        }
    }

    /// Keeps count of half-open scopes, the only ones with work for a poll.
    pub fn note(&mut self, change: &Transition) {
        self.half_open += u32::from(change.to == State::HalfOpen);
        self.half_open -= u32::from(change.from == State::HalfOpen).min(self.half_open);
    }

    /// How many places to look through for something due: all where others may have changed
    /// something, else none while no scope is half-open, the only state that time alone can change.
    pub fn places_to_poll(&self) -> u32 {
        let nothing = self.board.is_none() && self.half_open == 0;
        let places = if nothing { 0 } else { self.slots.len() };
        u32::try_from(places).unwrap_or(u32::MAX)
    }

    /// When a scope will next have something due.
    pub fn next_wakeup(&self) -> Option<Instant> {
        let places = self.slots.iter().take(self.places_to_poll() as usize);
        places.filter_map(|slot| slot.guard.next_wakeup()).min()
    }

    /// Every scope with its key.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Slot)> {
        self.slots.iter().map(|slot| (&*slot.key, slot))
    }

    /// Scopes in the table.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether no scope was made yet.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Takes its breakers out of the counts of present states, before it is dropped.
    pub(crate) fn close_series(&self, series: &mut SeriesTable) {
        for slot in self.slots.iter().filter(|slot| slot.guard.breaker().is_some()) {
            if let Some(counts) = series.counts(slot.row) {
                counts.left(slot.guard.state());
            }
        }
    }
}

/// Whether two keys are the same. Empty ones lie at no real address; comparing no bytes there costs
/// over 100 ns where `memcmp` loads by a mask (AVX-512), and every `scope: policy` would pay that.
#[inline]
fn equal(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && (one.is_empty() || one == other)
}
