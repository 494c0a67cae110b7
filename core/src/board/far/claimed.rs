//! The store's half of claims: the newest of each member.

use super::{Claim, Claims, KEPT, MAX_MEMBERS, Member, Refused};
use crate::time::Instant;
use alloc::vec::Vec;

/// The newest claim of each member, for one key of a limit.
#[derive(Clone, Debug, Default)]
pub(super) struct Claimed {
    /// In the order of their members.
    entries: Vec<Entry>,
    /// Since when there is one at least, on the store's clock.
    began: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    claim: Claim,
    /// When it came, on the store's clock.
    came: Instant,
}

impl Claimed {
    /// See [`Gathered::add`](super::Gathered::add).
    pub(super) fn add(&mut self, now: Instant, claim: Claim) -> Result<bool, Refused> {
        self.forget_old(now);
        if self.entries.is_empty() {
            self.began = now;
        }
        let entry = Entry { claim, came: now };
        match self.entries.binary_search_by_key(&claim.member, |entry| entry.claim.member) {
            Ok(at) => {
                let known = self.entries.get_mut(at);
                let Some(known) = known.filter(|known| known.claim.sequence < claim.sequence)
                else {
                    return Ok(false);
                };
                *known = entry;
            }
            Err(_) if self.entries.len() >= MAX_MEMBERS => return Err(Refused::Full),
            Err(at) => self.entries.insert(at, entry),
        }
        Ok(true)
    }

    /// Those that hold at `now`.
    pub(super) fn all(&mut self, now: Instant) -> Claims {
        self.forget_old(now);
        let of = self.entries.iter().map(|entry| entry.claim).collect();
        Claims { at: now, age: now.since(self.began), of }
    }

    pub(super) const fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn members(&self) -> impl Iterator<Item = Member> {
        self.entries.iter().map(|entry| entry.claim.member)
    }

    pub(super) fn forget_old(&mut self, now: Instant) {
        // A clock that was ahead and is not any more must not keep for ever what came meanwhile.
        self.entries.iter_mut().for_each(|entry| entry.came = entry.came.min(now));
        self.began = self.began.min(now);
        self.entries.retain(|entry| now.since(entry.came) < entry.claim.lease.min(KEPT));
    }
}

#[cfg(test)]
mod tests {
    use super::super::Gathered;
    use super::*;
    use crate::time::Duration;

    const KEY: &[u8] = b"key";

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn claim(replica: u64, sequence: u64, share: u32) -> Vec<u8> {
        let (member, lease) = (Member { replica, worker: 0 }, Duration::from_secs(1));
        Claim { member, sequence, share, lease, ..Claim::default() }.encode(KEY)
    }

    fn shares(all: &mut Gathered, now: Instant) -> Vec<u32> {
        let claims = Claims::decode(&all.merged(now), KEY).unwrap();
        assert_eq!(claims.at, now);
        claims.of.iter().map(|claim| claim.share).collect()
    }

    #[test]
    fn the_newest_of_each_member_holds_for_its_lease() {
        let mut all = Gathered::new(KEY);
        assert_eq!(all.add(at(0), &claim(1, 5, 10)), Ok(true));
        assert_eq!(all.add(at(500), &claim(2, 1, 20)), Ok(true));
        assert_eq!(all.add(at(600), &claim(1, 4, 99)), Ok(false), "it was overtaken");
        assert_eq!(all.add(at(600), &claim(1, 5, 99)), Ok(false), "it came twice");
        assert_eq!(shares(&mut all, at(999)), [10, 20]);
        assert_eq!(shares(&mut all, at(1_000)), [20]);
        assert_eq!(all.add(at(1_400), &claim(2, 2, 21)), Ok(true), "renewed");
        assert_eq!(shares(&mut all, at(2_399)), [21]);
        assert!(!all.is_empty(at(2_399)) && all.is_empty(at(2_400)));
    }

    #[test]
    fn a_store_tells_how_long_it_knows_a_key() {
        let mut all = Gathered::new(KEY);
        let age = |all: &mut Gathered, now| all.claims(now).unwrap().age.as_millis();
        all.add(at(10_000), &claim(1, 1, 10)).unwrap();
        all.add(at(10_900), &claim(2, 1, 10)).unwrap();
        assert_eq!(age(&mut all, at(11_500)), 1_500, "one of them is over");
        all.add(at(12_000), &claim(1, 2, 10)).unwrap();
        assert_eq!(age(&mut all, at(12_000)), 0, "for a while there was none");
        assert_eq!(age(&mut all, at(2_000)), 0, "its clock was set");
        assert_eq!(age(&mut all, at(2_500)), 500);
    }

    #[test]
    fn what_came_while_the_clock_was_ahead_gets_old() {
        let mut all = Gathered::new(KEY);
        all.add(Instant::FAR_FUTURE, &claim(1, 1, 10)).unwrap();
        all.add(at(5), &claim(2, 1, 20)).unwrap();
        assert_eq!(shares(&mut all, at(5)), [10, 20]);
        all.add(at(900), &claim(2, 2, 20)).unwrap();
        assert_eq!(shares(&mut all, at(1_005)), [20]);
    }

    #[test]
    fn members_are_bounded() {
        let mut all = Gathered::new(KEY);
        for replica in 0..MAX_MEMBERS as u64 {
            all.add(at(0), &claim(replica, 1, 1)).unwrap();
        }
        assert_eq!(all.add(at(1), &claim(u64::MAX, 1, 1)), Err(Refused::Full));
        assert_eq!(all.members().count(), MAX_MEMBERS);
        assert_eq!(all.add(at(1_000), &claim(u64::MAX, 1, 1)), Ok(true), "the others' are over");
    }
}
