//! The idle scopes in the order of their last use: a doubly linked list in a vector, so that
//! taking one out costs the same wherever it stands.

use alloc::vec::Vec;

const NONE: u32 = u32::MAX;

/// Places of idle scopes, the one that was not used for longest first.
#[derive(Debug)]
pub(super) struct IdleList {
    links: Vec<Link>,
    oldest: u32,
    newest: u32,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    before: u32,
    after: u32,
    listed: bool,
}

const UNLISTED: Link = Link { before: NONE, after: NONE, listed: false };

impl Default for IdleList {
    fn default() -> Self {
        Self { links: Vec::new(), oldest: NONE, newest: NONE }
    }
}

impl IdleList {
    /// The place to give up first.
    pub(super) fn oldest(&self) -> Option<u32> {
        (self.oldest != NONE).then_some(self.oldest)
    }

    /// Adds a place as the newest; makes room for its link, so that later calls do not allocate.
    pub(super) fn add(&mut self, place: u32) {
        let needed = place as usize + 1;
        if self.links.len() < needed {
            self.links.resize(needed, UNLISTED);
        }
        self.touch(place);
    }

    /// Makes `place` the newest.
    #[inline]
    pub(super) fn touch(&mut self, place: u32) {
        if self.newest == place {
            return;
        }
        self.remove(place);
        let before = self.newest;
        let Some(link) = self.links.get_mut(place as usize) else {
            return;
        };
        *link = Link { before, after: NONE, listed: true };
        match self.links.get_mut(before as usize) {
            Some(link) => link.after = place,
            None => self.oldest = place,
        }
        self.newest = place;
    }

    /// Takes `place` out, where it is listed.
    #[inline]
    pub(super) fn remove(&mut self, place: u32) {
        let Some(link) = self.links.get_mut(place as usize).filter(|link| link.listed) else {
            return;
        };
        let Link { before, after, .. } = core::mem::replace(link, UNLISTED);
        match self.links.get_mut(before as usize) {
            Some(link) => link.after = after,
            None => self.oldest = after,
        }
        match self.links.get_mut(after as usize) {
            Some(link) => link.before = before,
            None => self.newest = before,
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    proptest! {
        #[test]
        fn equals_a_queue(steps in prop::collection::vec((0_u32..8, any::<bool>()), 0..200)) {
            let mut list = IdleList::default();
            (0..8).for_each(|place| list.add(place));
            let mut model: VecDeque<u32> = (0..8).collect();
            for (place, touch) in steps {
                model.retain(|other| *other != place);
                if touch {
                    model.push_back(place);
                    list.touch(place);
                } else {
                    list.remove(place);
                }
                prop_assert_eq!(list.oldest(), model.front().copied());
            }
            while let Some(place) = model.pop_front() {
                prop_assert_eq!(list.oldest(), Some(place));
                list.remove(place);
            }
            prop_assert_eq!(list.oldest(), None);
        }
    }
}
