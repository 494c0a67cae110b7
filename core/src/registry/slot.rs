//! One scope at work, laid out so that a call of a healthy one touches few cache lines.

use super::key::OVERFLOW;
use crate::guard::Guard;
use crate::slabs::Slabs;
use crate::time::Instant;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// One scope at work.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) guard: Guard,
    /// When [`Guard::poll`] is due, as far as the engine's queue knows.
    pub(crate) due: Instant,
    /// Row of its counts and its label in the engine's series.
    pub(crate) row: u32,
    /// Of its key: whoever takes it out of the index needs it again.
    pub(super) hash: u32,
    /// Whether it was used since somebody looked for one to give up.
    pub(crate) is_recent: bool,
    /// Whether the policies that made it are gone: it is there only until its calls have settled.
    pub(crate) is_orphan: bool,
    /// Its key: a client may have chosen it.
    pub(crate) key: Key,
}

impl Slot {
    pub(super) const fn new(guard: Guard, row: u32, hash: u32, key: Key) -> Self {
        let due = Instant::FAR_FUTURE;
        Self { guard, due, row, hash, is_recent: true, is_orphan: false, key }
    }
}

/// A key; nearly all are short enough to lie in the slot itself.
#[derive(Debug)]
pub(crate) enum Key {
    Short {
        length: u8,
        bytes: [u8; SHORT],
    },
    Long(Box<[u8]>),
    /// The overflow has no key. It differs from the empty key, which a client can send.
    Overflow,
}

const SHORT: usize = 22;

impl Key {
    pub(super) fn new(key: &[u8]) -> Self {
        let mut bytes = [0; SHORT];
        match (bytes.get_mut(..key.len()), u8::try_from(key.len())) {
            (Some(to), Ok(length)) => {
                to.copy_from_slice(key);
                Self::Short { length, bytes }
            }
            _ => Self::Long(key.into()),
        }
    }

    /// The key, empty for the overflow.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Short { length, bytes } => bytes.get(..usize::from(*length)).unwrap_or_default(),
            Self::Long(key) => key,
            Self::Overflow => &[],
        }
    }

    /// What the scope is called on the board.
    pub(crate) fn on_board(&self) -> &[u8] {
        match self {
            Self::Overflow => &OVERFLOW,
            _ => self.bytes(),
        }
    }
}

/// The scopes of all policies of an engine. A place is a scope's own for as long as a call of it is
/// under way.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    slots: Slabs<Slot>,
    free: Vec<u32>,
}

impl Slots {
    #[inline]
    pub(crate) fn get(&self, place: u32) -> Option<&Slot> {
        self.slots.get(place)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, place: u32) -> Option<&mut Slot> {
        self.slots.get_mut(place)
    }

    /// Adds a scope; gives its place.
    pub(super) fn add(&mut self, slot: Slot) -> u32 {
        match self.free.pop() {
            Some(place) => {
                self.replace(place, slot);
                place
            }
            None => self.slots.push(slot),
        }
    }

    /// Gives a place to another scope.
    pub(super) fn replace(&mut self, place: u32, slot: Slot) {
        if let Some(old) = self.slots.get_mut(place) {
            *old = slot;
        }
    }

    /// Takes a scope away that no call is under way of. What it held is freed.
    pub(crate) fn remove(&mut self, place: u32) {
        self.replace(place, Slot::new(Guard::default(), 0, 0, Key::Overflow));
        self.free.push(place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_small() {
        assert!(size_of::<Slot>() <= 192, "{} bytes", size_of::<Slot>());
        assert_eq!(size_of::<Key>(), 24);
    }

    #[test]
    fn keys_are_what_they_were() {
        for length in [0, 1, SHORT - 1, SHORT, SHORT + 1, 128] {
            let key: Vec<u8> = (0..length).map(|byte| byte as u8).collect();
            assert_eq!(Key::new(&key).bytes(), key);
        }
    }

    #[test]
    fn a_place_is_taken_again() {
        let mut slots = Slots::default();
        let slot = |row| Slot::new(Guard::default(), row, 0, Key::new(b"key"));
        let places = [1, 2, 3].map(|row| slots.add(slot(row)));
        slots.remove(places[1]);
        assert!(slots.get(places[1]).unwrap().key.bytes().is_empty());
        assert_eq!(slots.add(slot(4)), places[1]);
        assert_eq!(slots.get(places[1]).unwrap().row, 4);
        assert_eq!(slots.add(slot(5)), 3);
    }
}
