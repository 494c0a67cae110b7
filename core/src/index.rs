//! Where what belongs to a key lies: the hash table of a bounded table.

use core::fmt;
use hashbrown::HashTable;

/// How many tables there are. Each grows by itself, so the longest wait for one that grows is this much
/// shorter than with one for all.
const PARTS: usize = 16;

/// Places by the hash of their key. A hash is kept beside its place, so that neither a look at the wrong
/// key nor a table that grows touches what lies at the places.
#[derive(Default)]
pub(crate) struct Index([HashTable<Entry>; PARTS]);

#[derive(Clone, Copy)]
struct Entry {
    hash: u32,
    place: u32,
}

impl Index {
    /// The place with this `hash` for which `is_same` says so.
    #[inline]
    pub(crate) fn find(&self, hash: u32, is_same: impl Fn(u32) -> bool) -> Option<u32> {
        let part = self.0.get(part(hash))?;
        let same = |entry: &Entry| entry.hash == hash && is_same(entry.place);
        part.find(spread(hash), same).map(|entry| entry.place)
    }

    /// Adds a place that is not there yet.
    pub(crate) fn insert(&mut self, hash: u32, place: u32) {
        if let Some(part) = self.0.get_mut(part(hash)) {
            part.insert_unique(spread(hash), Entry { hash, place }, |entry| spread(entry.hash));
        }
    }

    /// Takes a place away.
    pub(crate) fn remove(&mut self, hash: u32, place: u32) {
        if let Some(part) = self.0.get_mut(part(hash))
            && let Ok(found) = part.find_entry(spread(hash), |entry| entry.place == place)
        {
            found.remove();
        }
    }

    /// How many places there are.
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(HashTable::len).sum()
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// The part of a hash, by bits from its middle: a table uses the lowest and the highest.
#[inline]
const fn part(hash: u32) -> usize {
    (hash >> 20) as usize % PARTS
}

/// A table's hash of a key's: it chooses by the low bits and tells apart by the highest seven.
#[inline]
const fn spread(hash: u32) -> u64 {
    (hash as u64) << 32 | hash as u64
}

/// Whether two keys are the same. Empty ones lie at no real address; comparing no bytes there costs
/// over 100 ns where `memcmp` loads by a mask (AVX-512), and every limit without a key would pay that.
#[inline]
pub(crate) fn is_same_key(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && (one.is_empty() || one == other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_with_one_hash_are_told_apart() {
        let mut index = Index::default();
        (0..3).for_each(|place| index.insert(7, place));
        assert_eq!(index.find(7, |place| place == 1), Some(1));
        assert_eq!(index.find(8, |_| true), None);
        index.remove(7, 1);
        index.remove(7, 9);
        assert_eq!(index.find(7, |place| place == 1), None);
        assert_eq!((index.len(), index.find(7, |place| place == 2)), (2, Some(2)));
    }

    #[test]
    fn no_part_grows_to_more_than_its_share() {
        let mut index = Index::default();
        // Hashes as good as random ones.
        for place in 0..16_000_u32 {
            index.insert(place.wrapping_mul(0x9E37_79B9).rotate_left(13), place);
        }
        assert_eq!(index.len(), 16_000);
        assert!(index.0.iter().all(|part| (700..1_300).contains(&part.len())));
    }
}
