//! A table that grows piece by piece: what is in it never moves, and no growth copies more than a piece.

use alloc::vec::Vec;

/// How many values a slab holds.
const SLAB: usize = 1024;

/// Values by their place, which is theirs for ever.
#[derive(Debug)]
pub(crate) struct Slabs<T>(Vec<Vec<T>>);

impl<T> Default for Slabs<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Slabs<T> {
    #[inline]
    pub(crate) fn get(&self, place: u32) -> Option<&T> {
        let place = place as usize;
        self.0.get(place / SLAB)?.get(place % SLAB)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, place: u32) -> Option<&mut T> {
        let place = place as usize;
        self.0.get_mut(place / SLAB)?.get_mut(place % SLAB)
    }

    /// Adds a value; gives its place.
    pub(crate) fn push(&mut self, value: T) -> u32 {
        if self.0.last().is_none_or(|slab| slab.len() == SLAB) {
            // The first one grows as it is needed: most tables hold a few values.
            let room = if self.0.is_empty() { 0 } else { SLAB };
            self.0.push(Vec::with_capacity(room));
        }
        let before = (self.0.len() - 1) * SLAB;
        let Some(slab) = self.0.last_mut() else {
            return u32::MAX;
        };
        slab.push(value);
        u32::try_from(before + slab.len() - 1).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_has_its_place() {
        let mut slabs = Slabs::default();
        for value in 0..3_000_u32 {
            assert_eq!(slabs.push(value), value);
        }
        assert!((0..3_000).all(|place| slabs.get(place) == Some(&place)));
        *slabs.get_mut(2_047).unwrap() = 7;
        assert_eq!((slabs.get(2_047), slabs.get(3_000)), (Some(&7), None));
        assert!(slabs.0.iter().skip(1).all(|slab| slab.capacity() == SLAB), "no room for nobody");
    }
}
