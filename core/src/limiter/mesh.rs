//! One leased limit for each key: see [`escrow`](super::escrow).
//!
//! The table is bounded as that of [other limits](super::keyed) is: where it is full only a key leaves it that a new
//! one would be the same as, and where none can leave further keys share one limit.

use super::escrow::{Fleet, Lease, LeasedRate, WhenStoreFails};
use super::keyed::KeyPlace;
use super::{Exceeded, RateLimitPolicy, Token};
use crate::board::far::{Claim, Claims, Member};
use crate::index::{Index, is_same_key};
use crate::second_chance::SecondChance;
use crate::slabs::Slabs;
use crate::time::Instant;
use alloc::boxed::Box;
use core::hash::BuildHasher;
use core::mem;
use foldhash::quality::FixedState;

/// The leases of all keys of one limit, at one member.
#[derive(Debug)]
pub struct MeshLimit {
    rates: Box<[LeasedRate]>,
    fleet: Fleet,
    keys: Slabs<Key>,
    len: u32,
    index: Index,
    most: u32,
    chance: SecondChance,
    overflow: Option<Key>,
    hasher: FixedState,
}

#[derive(Debug)]
struct Key {
    lease: Lease,
    bytes: Box<[u8]>,
    hash: u32,
    policy: u16,
    is_recent: bool,
}

impl MeshLimit {
    /// A table of at most `most` keys, one at least. A key has one of `policies`; without one nothing is limited.
    /// `seed` fixes the order of the hash table: clients must not know it.
    pub fn new(
        policies: &[RateLimitPolicy],
        when_silent: WhenStoreFails,
        most: u32,
        seed: u64,
    ) -> Self {
        Self {
            rates: policies.iter().map(LeasedRate::new).collect(),
            fleet: Fleet::new(when_silent),
            keys: Slabs::default(),
            len: 0,
            index: Index::default(),
            most: most.clamp(1, u32::MAX - 1),
            chance: SecondChance::default(),
            overflow: None,
            hasher: FixedState::with_seed(seed),
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

    /// What it knows of the other members.
    pub const fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// The place of `key`. A key that is not there is made; `policy` says which of the policies it has, and is told
    /// the key, or none for the overflow. `has_room` says whether there is memory for one more than so many.
    pub fn find_or_make(
        &mut self,
        now: Instant,
        key: &[u8],
        has_room: fn(usize) -> bool,
        policy: impl FnOnce(Option<&[u8]>) -> u16,
    ) -> KeyPlace {
        let hash = self.hasher.hash_one(key) as u32;
        if let Some(at) = self.at_key(key, hash) {
            if let Some(known) = self.keys.get_mut(at) {
                known.is_recent = true;
            }
            return KeyPlace(at);
        }
        let may_grow = self.len < self.most && has_room(self.len as usize);
        let leaves = if may_grow { None } else { self.dispensable(now) };
        if !may_grow && leaves.is_none() {
            if self.overflow.is_none() {
                self.overflow = self.new_key(now, &[], 0, policy(None));
            }
            return KeyPlace::OVERFLOW;
        }
        let Some(new) = self.new_key(now, key, hash, policy(Some(key))) else {
            return KeyPlace::OVERFLOW;
        };
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

    fn at_key(&self, key: &[u8], hash: u32) -> Option<u32> {
        let is_its = |at| self.keys.get(at).is_some_and(|known| is_same_key(&known.bytes, key));
        self.index.find(hash, is_its)
    }

    fn new_key(&self, now: Instant, key: &[u8], hash: u32, policy: u16) -> Option<Key> {
        let rate = self.rates.get(usize::from(policy))?;
        let lease = Lease::new(rate, &self.fleet, now);
        Some(Key { lease, bytes: key.into(), hash, policy, is_recent: true })
    }

    /// The place of a key that may be forgotten, for another one.
    fn dispensable(&mut self, now: Instant) -> Option<u32> {
        let (rates, fleet, keys) = (&self.rates, &self.fleet, &mut self.keys);
        let number = self.chance.choose(self.len as usize, |number| {
            let key = keys.get_mut(u32::try_from(number).ok()?)?;
            let rate = rates.get(usize::from(key.policy))?;
            key.lease.is_idle(rate, fleet, now).then(|| mem::take(&mut key.is_recent))
        })?;
        u32::try_from(number).ok()
    }

    fn at(&mut self, place: KeyPlace) -> Option<(&LeasedRate, &Fleet, &mut Lease)> {
        let key = match place {
            KeyPlace::OVERFLOW => self.overflow.as_mut()?,
            KeyPlace(at) => self.keys.get_mut(at)?,
        };
        Some((self.rates.get(usize::from(key.policy))?, &self.fleet, &mut key.lease))
    }

    /// Whether a call of that key may pass now, see [`Lease::peek`].
    ///
    /// # Errors
    /// The limit is exceeded.
    pub fn peek(&mut self, now: Instant, place: KeyPlace) -> Result<(), Exceeded> {
        self.at(place).map_or(Ok(()), |(rate, fleet, lease)| lease.peek(rate, fleet, now))
    }

    /// Takes a token of that key; none where there is no such key, and nothing to limit.
    ///
    /// # Errors
    /// The limit is exceeded.
    pub fn commit(&mut self, now: Instant, place: KeyPlace) -> Result<Option<Token>, Exceeded> {
        match self.at(place) {
            Some((rate, fleet, lease)) => lease.commit(rate, fleet, now).map(Some),
            None => Ok(None),
        }
    }

    /// Gives back a token of that key that was taken and not used.
    pub fn give_back(&mut self, place: KeyPlace, token: Token) {
        if let Some((rate, _, lease)) = self.at(place) {
            lease.give_back(rate, token);
        }
    }

    /// Which of the policies that key has.
    pub fn policy(&self, place: KeyPlace) -> u16 {
        let key = match place {
            KeyPlace::OVERFLOW => self.overflow.as_ref(),
            KeyPlace(at) => self.keys.get(at),
        };
        key.map_or(0, |key| key.policy)
    }

    /// An exchange begins: tells that the member is there.
    pub fn begin_exchange(&mut self, member: Member, sequence: u64, now: Instant) -> Claim {
        self.fleet.begin_exchange(member, sequence, now);
        self.fleet.presence()
    }

    /// What is claimed of the key at that number, from 0 to [`MeshLimit::len`], behind which is the overflow.
    /// With it the key; none for the overflow. None where there is nothing to tell.
    pub fn claim(&mut self, now: Instant, number: u32) -> Option<(Option<&[u8]>, Claim)> {
        let key =
            if number < self.len { self.keys.get_mut(number)? } else { self.overflow.as_mut()? };
        let rate = self.rates.get(usize::from(key.policy))?;
        let claim = key.lease.claim(rate, &self.fleet, now)?;
        Some(((number < self.len).then_some(&*key.bytes), claim))
    }

    /// Learns which members there are.
    pub fn learn_presence(&mut self, claims: &Claims, now: Instant) {
        self.fleet.learn_presence(claims, now);
    }

    /// Learns what all members claim of a key, none for the overflow; none where it has no such key. True where
    /// what it gave back should be told without waiting for its turn.
    pub fn learn(&mut self, now: Instant, key: Option<&[u8]>, claims: &Claims) -> Option<bool> {
        let place = match key {
            None => KeyPlace::OVERFLOW,
            Some(key) => KeyPlace(self.at_key(key, self.hasher.hash_one(key) as u32)?),
        };
        let (rate, fleet, lease) = self.at(place)?;
        Some(lease.learn(rate, fleet, claims, now))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use crate::limiter::Rate;
    use crate::time::Duration;
    use std::vec::Vec;

    const fn per_second(tokens: u32) -> RateLimitPolicy {
        let rate = Rate { tokens, period: Duration::from_secs(1) };
        RateLimitPolicy { rate, capacity: tokens, burst: None }
    }

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn table(most: u32) -> MeshLimit {
        MeshLimit::new(&[per_second(1), per_second(3)], WhenStoreFails::Local, most, 1)
    }

    fn place(table: &mut MeshLimit, now: Instant, key: &[u8]) -> KeyPlace {
        table.find_or_make(now, key, |_| true, |key| u16::from(key == Some(b"gold")))
    }

    fn passes(table: &mut MeshLimit, now: Instant, key: &[u8]) -> bool {
        let place = place(table, now, key);
        table.peek(now, place).is_ok() && table.commit(now, place).is_ok()
    }

    #[test]
    fn a_key_is_small() {
        assert!(size_of::<Key>() <= 368, "{}", size_of::<Key>());
    }

    #[test]
    fn each_key_has_its_limit_and_a_full_table_resets_nobody() {
        let mut table = table(2);
        assert!(passes(&mut table, at(0), b"one") && !passes(&mut table, at(0), b"one"));
        let gold = (0..5).filter(|_| passes(&mut table, at(0), b"gold")).count();
        assert_eq!(gold, 3);
        // Neither may be forgotten: further ones share one limit.
        assert!(passes(&mut table, at(0), b"two") && !passes(&mut table, at(0), b"three"));
        assert!(!passes(&mut table, at(0), b"one"));
        assert_eq!(table.len(), 2);
        // Both are full again.
        assert!(passes(&mut table, at(2_000), b"four") && passes(&mut table, at(2_000), b"five"));
        assert_eq!((table.len(), table.index.len()), (2, 2));
    }

    #[test]
    fn what_is_told_is_of_keys_in_use() {
        let mut table = table(10);
        passes(&mut table, at(0), b"one");
        passes(&mut table, at(0), b"two");
        let member = Member { replica: 7, worker: 1 };
        let told = |table: &mut MeshLimit, sequence, now| {
            assert_eq!(table.begin_exchange(member, sequence, now).member, member);
            let numbers = 0..=table.len();
            let told = numbers.filter_map(|number| Some(table.claim(now, number)?.0?.to_vec()));
            told.collect::<Vec<_>>()
        };
        assert_eq!(told(&mut table, 1, at(100)), [b"one", b"two"]);
        for tick in 2..11 {
            assert_eq!(told(&mut table, tick, at(100 * tick)).len(), 2);
        }
        passes(&mut table, at(1_050), b"two");
        // Both were given back by the last one.
        assert_eq!(told(&mut table, 11, at(1_100)), [b"two"]);
        let claims = Claims { at: at(9), age: Duration::from_secs(9), of: Vec::new() };
        assert_eq!(table.learn(at(1_100), Some(b"three"), &claims), None, "no key is made");
        assert_eq!(table.learn(at(1_100), Some(b"two"), &claims), Some(false));
    }
}
