//! All that members gave, by key: a store in memory, or what is known of one that only keeps bytes.

use super::{Gathered, Refused, parts};
use crate::time::Instant;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// The most records of all keys together. One more is refused, and its member decides alone.
pub const MAX_RECORDS: usize = 262_144;

/// The records of all keys, in the order in which keys changed last.
#[derive(Clone, Debug, Default)]
pub struct Records {
    // Ordered, because members choose the keys: no choice of theirs makes it slow.
    by_key: BTreeMap<Box<[u8]>, OfKey>,
    /// Each key under the number of its last change.
    by_change: BTreeMap<u64, Box<[u8]>>,
    changes: u64,
    count: usize,
}

#[derive(Clone, Debug)]
struct OfKey {
    gathered: Gathered,
    change: u64,
}

impl Records {
    /// Takes a member's record that came at `now` on the store's clock, as the change of that number: higher than
    /// all before, for a store in memory one more than [`Records::changes`]. True where it is newer than the one
    /// that was there.
    ///
    /// # Errors
    /// Key or record are of another version or not ours, or there are too many.
    pub fn add(
        &mut self,
        change: u64,
        now: Instant,
        key: &[u8],
        record: &[u8],
    ) -> Result<bool, Refused> {
        let change = change.max(self.changes.saturating_add(1));
        if let Some(known) = self.by_key.get_mut(key) {
            let before = known.gathered.len();
            let added = known.gathered.add(now, record);
            self.count = self.count + known.gathered.len() - before;
            if added == Ok(true) {
                self.changes = change;
                Self::changed(&mut self.by_change, change, known, key);
            }
            return added;
        }
        if parts(key).is_none() {
            // A record of another version says so; else the key is somebody else's.
            return Err(match Gathered::new(key).add(now, record) {
                Err(refused) => refused,
                Ok(_) => Refused::Foreign,
            });
        }
        let mut gathered = Gathered::new(key);
        gathered.add(now, record)?;
        if self.count >= MAX_RECORDS {
            self.forget_old(now);
            if self.count >= MAX_RECORDS {
                return Err(Refused::Full);
            }
        }
        let mut new = OfKey { gathered, change: 0 };
        self.changes = change;
        Self::changed(&mut self.by_change, change, &mut new, key);
        self.by_key.insert(key.into(), new);
        self.count += 1;
        Ok(true)
    }

    fn changed(
        by_change: &mut BTreeMap<u64, Box<[u8]>>,
        change: u64,
        of_key: &mut OfKey,
        key: &[u8],
    ) {
        let name = by_change.remove(&of_key.change).unwrap_or_else(|| key.into());
        of_key.change = change;
        by_change.insert(change, name);
    }

    /// The number of the last change; 0 where nothing was ever added.
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    /// The keys that changed after the change of this number, each with the number of its own last one, the
    /// longest unchanged first.
    pub fn changed_since(&self, change: u64) -> impl Iterator<Item = (u64, &[u8])> {
        let after = change.saturating_add(1)..;
        self.by_change.range(after).map(|(change, key)| (*change, &**key))
    }

    /// What all members together say of `key` at `now`, for [`Engine::merge`](crate::Engine::merge). None where
    /// nothing is known.
    pub fn merged(&mut self, now: Instant, key: &[u8]) -> Option<Vec<u8>> {
        self.by_key.get_mut(key).map(|known| known.gathered.merged(now))
    }

    /// Forgets what nobody confirmed for [so long](super::KEPT). To be asked once in a while, for memory alone: what is old
    /// decides nothing either way.
    pub fn forget_old(&mut self, now: Instant) {
        let (by_change, mut count) = (&mut self.by_change, 0);
        self.by_key.retain(|_, known| {
            let is_empty = known.gathered.is_empty(now);
            if is_empty {
                by_change.remove(&known.change);
            }
            count += known.gathered.len();
            !is_empty
        });
        self.count = count;
    }

    /// How many records there are, of all members and keys.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many keys there are.
    pub fn keys(&self) -> usize {
        self.by_key.len()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::{Buckets, Delta, Member, Merged, Streak, VERSION, name};
    use super::*;
    use crate::breaker::{Cause, State};
    use crate::time::Duration;

    fn at(secs: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(secs)
    }

    fn record(key: &[u8], replica: u64, sequence: u64) -> Vec<u8> {
        let delta = Delta {
            member: Member { replica, worker: 0 },
            sequence,
            state: State::Closed,
            open_for: Duration::ZERO,
            level: 0,
            cause: Cause::ProbesSucceeded,
            generation: 0,
            is_mesh_open: false,
            is_vote: false,
            streak: Streak { failures: 2, good: Duration::MAX, ..Streak::default() },
            failures: Buckets::default(),
            slow: Buckets::default(),
        };
        delta.encode(key)
    }

    fn since(records: &Records, change: u64) -> Vec<Vec<u8>> {
        records.changed_since(change).map(|(_, key)| key.to_vec()).collect()
    }

    #[test]
    fn what_changed_is_told_once_and_in_order() {
        let (one, other) = (name(1, b"one"), name(1, b"other"));
        let mut records = Records::default();
        assert_eq!(records.merged(at(1), &one), None);
        for (key, replica) in [(&one, 1), (&other, 1), (&one, 2)] {
            assert_eq!(records.add(0, at(1), key, &record(key, replica, 1)), Ok(true));
        }
        assert_eq!(since(&records, 0), [other.to_vec(), one.to_vec()]);
        assert_eq!(since(&records, 2), [one.to_vec()]);
        assert_eq!(since(&records, records.changes()), [[0; 0]; 0]);
        // What is no news changes nothing.
        assert_eq!(records.add(0, at(2), &other, &record(&other, 1, 1)), Ok(false));
        assert_eq!(since(&records, 3), [[0; 0]; 0]);
        let merged = Merged::decode(&records.merged(at(2), &one).unwrap(), &one).unwrap();
        assert_eq!((merged.at, merged.streak, merged.streak_of_others), (at(2), 4, 2));
        assert_eq!((records.len(), records.keys()), (3, 2));
    }

    #[test]
    fn what_is_old_is_forgotten_with_its_place() {
        let (one, other) = (name(1, b"one"), name(1, b"other"));
        let mut records = Records::default();
        records.add(0, at(0), &one, &record(&one, 1, 1)).unwrap();
        records.add(0, at(0), &other, &record(&other, 1, 1)).unwrap();
        records.add(0, at(300), &other, &record(&other, 2, 1)).unwrap();
        records.forget_old(at(599));
        assert_eq!((records.len(), records.keys()), (3, 2));
        records.forget_old(at(600));
        assert_eq!((records.len(), records.keys()), (1, 1));
        assert_eq!(since(&records, 0), [other.to_vec()]);
        records.forget_old(at(900));
        assert!(records.is_empty());
        assert_eq!(since(&records, 0), [[0; 0]; 0]);
    }

    #[test]
    fn what_is_not_ours_leaves_nothing_behind() {
        let key = name(1, b"one");
        let good = record(&key, 1, 1);
        let mut records = Records::default();
        assert_eq!(records.add(0, at(1), &key, b"garbage"), Err(Refused::Foreign));
        assert_eq!(records.add(0, at(1), b"another's key", &good), Err(Refused::Foreign));
        let mut later = good.clone();
        later[1] = VERSION + 1;
        assert_eq!(records.add(0, at(1), &key, &later), Err(Refused::Version));
        let mut later_key = key.to_vec();
        later_key[0] = VERSION + 1;
        assert_eq!(records.add(0, at(1), &later_key, &later), Err(Refused::Version));
        // Whole, but under a key that no engine has.
        let strange = record(b"strange", 1, 1);
        assert_eq!(records.add(0, at(1), b"strange", &strange), Err(Refused::Foreign));
        assert!(records.is_empty() && records.keys() == 0 && records.changes() == 0);
    }
}
