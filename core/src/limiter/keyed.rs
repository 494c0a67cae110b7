//! One rate limit for each key: each client, each tenant.
//!
//! A key is made when it is first seen, full. The table is bounded, and keys are what clients choose:
//! where it is full, only a key leaves it whose limit is full too, since a new one would be the same.
//! So flooding the table with keys resets nobody. Which of those leaves is decided by second chance, as
//! for pages in memory. Where no key can leave, further keys share one limit, the overflow.

use super::leased::{Lease, LimitState};
use super::measures::Measures;
use super::{Exceeded, LimitWords, RateLimitPolicy, Token};
use crate::board::Words;
use crate::board::account::Account;
use crate::concurrency::queue::QueuePolicy;
use crate::index::{Index, is_same_key};
use crate::second_chance::SecondChance;
use crate::slabs::Slabs;
use crate::time::{Duration, Instant};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hash::BuildHasher;
use core::mem;
use foldhash::quality::FixedState;

/// The limits of all keys.
#[derive(Debug)]
pub struct KeyedLimit {
    /// What the limits allow; a key has one of them.
    measures: Box<[Measures]>,
    keys: Slabs<Key>,
    len: u32,
    index: Index,
    most: u32,
    /// Which key leaves.
    chance: SecondChance,
    overflow: Option<Key>,
    hasher: FixedState,
    /// Keys of which tokens may be leased and not used.
    leases: Vec<KeyPlace>,
}

/// The limit of one key.
#[derive(Debug)]
struct Key {
    state: LimitState,
    bytes: Box<[u8]>,
    hash: u32,
    measures: u16,
    /// Whether it was used since somebody looked for one to leave.
    is_recent: bool,
}

/// What a new key has.
#[derive(Debug, Default)]
pub struct Opened {
    /// Which of the limit's policies is its own: 0 is the first.
    pub policy: u16,
    /// Where its state lies, if other workers share it: [`WORDS`](super::WORDS) words.
    pub words: Option<Arc<dyn Words>>,
    /// The same, where workers lease from it.
    pub account: Option<Arc<dyn Account>>,
}

/// Where the limit of a key is. Once another key was asked for it may be another key's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPlace(pub(super) u32);

impl KeyPlace {
    /// The place of the overflow.
    pub(super) const OVERFLOW: Self = Self(u32::MAX);
}

/// The place of the overflow.
const OVERFLOW: KeyPlace = KeyPlace::OVERFLOW;

impl KeyedLimit {
    /// A table of at most `most` keys, one at least. A key has one of `policies`; without one nothing
    /// is limited. `seed` fixes the order of the hash table: clients must not know it.
    pub fn new(policies: &[RateLimitPolicy], most: u32, seed: u64) -> Self {
        Self {
            measures: policies.iter().map(Measures::new).collect(),
            keys: Slabs::default(),
            len: 0,
            index: Index::default(),
            most: most.clamp(1, u32::MAX - 1),
            chance: SecondChance::default(),
            overflow: None,
            hasher: FixedState::with_seed(seed),
            leases: Vec::new(),
        }
    }

    /// How many keys it holds, the overflow left out.
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Whether it holds no key.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The place of `key`. A key that is not there is made by `open`, which is told the key, or none
    /// for the overflow; `has_room` says whether there is memory for one more than so many.
    #[inline]
    pub fn find_or_make(
        &mut self,
        now: Instant,
        key: &[u8],
        has_room: fn(usize) -> bool,
        open: impl FnOnce(Option<&[u8]>) -> Opened,
    ) -> KeyPlace {
        let hash = self.hasher.hash_one(key) as u32;
        let is_its = |at| self.keys.get(at).is_some_and(|known| is_same_key(&known.bytes, key));
        match self.index.find(hash, is_its) {
            Some(at) => {
                if let Some(known) = self.keys.get_mut(at) {
                    known.is_recent = true;
                }
                KeyPlace(at)
            }
            None => self.make(now, key, hash, has_room, open),
        }
    }

    #[cold]
    fn make(
        &mut self,
        now: Instant,
        key: &[u8],
        hash: u32,
        has_room: fn(usize) -> bool,
        open: impl FnOnce(Option<&[u8]>) -> Opened,
    ) -> KeyPlace {
        let may_grow = self.len < self.most && has_room(self.len as usize);
        let leaves = if may_grow { None } else { self.dispensable(now) };
        if !may_grow && leaves.is_none() {
            if self.overflow.is_none() {
                self.overflow = Some(Key::new(&[], 0, open(None)));
            }
            return OVERFLOW;
        }
        let new = Key::new(key, hash, open(Some(key)));
        let at = match leaves {
            None => {
                self.len += 1;
                self.keys.push(new)
            }
            Some(at) => {
                if let Some(old) = self.keys.get_mut(at).map(|old| mem::replace(old, new)) {
                    self.index.remove(old.hash, at);
                }
                at
            }
        };
        self.index.insert(hash, at);
        KeyPlace(at)
    }

    /// The place of a key whose limit is full, for another one.
    fn dispensable(&mut self, now: Instant) -> Option<u32> {
        let (measures, keys) = (&self.measures, &mut self.keys);
        let number = self.chance.choose(self.len as usize, |number| {
            let key = keys.get_mut(u32::try_from(number).ok()?)?;
            let measures = measures.get(usize::from(key.measures))?;
            key.state.is_idle(measures, now).then(|| mem::take(&mut key.is_recent))
        })?;
        u32::try_from(number).ok()
    }

    #[inline]
    fn at(&mut self, place: KeyPlace) -> Option<(&Measures, &mut LimitState)> {
        let key = match place {
            OVERFLOW => self.overflow.as_mut()?,
            KeyPlace(at) => self.keys.get_mut(at)?,
        };
        Some((self.measures.get(usize::from(key.measures))?, &mut key.state))
    }

    /// Whether a call of that key may pass now, see [`RateLimit::peek`](super::RateLimit::peek).
    ///
    /// # Errors
    /// The limit is exceeded.
    #[inline]
    pub fn peek(&mut self, now: Instant, place: KeyPlace) -> Result<(), Exceeded> {
        let Some((measures, state)) = self.at(place) else {
            return Ok(());
        };
        let result = state.peek(measures, now);
        if state.is_to_be_listed() {
            self.leases.push(place);
        }
        result
    }

    /// Takes a token of that key; none where there is no such key, and nothing to limit.
    ///
    /// # Errors
    /// The limit is exceeded.
    #[inline]
    pub fn commit(&mut self, now: Instant, place: KeyPlace) -> Result<Option<Token>, Exceeded> {
        match self.at(place) {
            Some((measures, state)) => state.commit(measures, now).map(Some),
            None => Ok(None),
        }
    }

    /// Gives back what was leased and not used in time. To be called from time to time.
    pub fn give_back_leases(&mut self, now: Instant) {
        let mut leases = mem::take(&mut self.leases);
        leases.retain(|place| {
            let Some((measures, state)) = self.at(*place) else {
                return false;
            };
            let is_left = state.give_back_lease(measures, now);
            if !is_left {
                state.unlist();
            }
            is_left
        });
        self.leases = leases;
    }

    /// Has calls wait for tokens, of each key as many as `queue` says.
    pub fn set_queue(&mut self, queue: &QueuePolicy) {
        self.measures.iter_mut().for_each(|measures| *measures = measures.with_queue(queue));
    }

    /// When it would be the turn of a call of that key that waits for a token: calls have theirs in the
    /// order of their coming, as fast as tokens come. None where no more may wait, or none for `longest`.
    pub fn peek_turn(
        &mut self,
        now: Instant,
        place: KeyPlace,
        longest: Duration,
    ) -> Option<Instant> {
        let (measures, state) = self.at(place)?;
        measures.peek_turn(state.held_mut()?, now, longest)
    }

    /// Takes the token that a call of that key waits for; with it, when it comes. Whoever does not wait for
    /// it gives it back. None as of [`KeyedLimit::peek_turn`].
    pub fn take_turn(
        &mut self,
        now: Instant,
        place: KeyPlace,
        longest: Duration,
    ) -> Option<(Token, Instant)> {
        let (measures, state) = self.at(place)?;
        measures.take_turn(state.held_mut()?, now, longest)
    }

    /// What tells a key from others that may have its place later.
    pub(crate) fn mark(&self, place: KeyPlace) -> u32 {
        match place {
            OVERFLOW => 0,
            KeyPlace(at) => self.keys.get(at).map_or(0, |key| key.hash),
        }
    }

    /// Gives back a token of that key that was taken and not used.
    pub fn give_back(&mut self, now: Instant, place: KeyPlace, token: Token) {
        if let Some((measures, state)) = self.at(place) {
            state.give_back(measures, now, token);
            if state.is_to_be_listed() {
                self.leases.push(place);
            }
        }
    }

    /// Which of the policies that key has.
    pub fn policy(&self, place: KeyPlace) -> u16 {
        let key = match place {
            OVERFLOW => self.overflow.as_ref(),
            KeyPlace(at) => self.keys.get(at),
        };
        key.map_or(0, |key| key.measures)
    }
}

impl Key {
    fn new(bytes: &[u8], hash: u32, opened: Opened) -> Self {
        let state = match (opened.account, opened.words) {
            (Some(account), _) => Lease::new(account).into(),
            (None, Some(words)) => LimitState::Held(LimitWords::Shared(words)),
            (None, None) => LimitState::Held(LimitWords::own()),
        };
        Self { state, bytes: bytes.into(), hash, measures: opened.policy, is_recent: true }
    }
}

#[cfg(test)]
mod tests;
