//! The words of a mechanism that is shared or not: the same verbs for both.

use super::{Words, update};
use alloc::sync::Arc;

/// Words by their place: of one worker, or of all.
#[derive(Clone, Debug)]
pub(crate) enum HeldWords<const COUNT: usize> {
    /// One worker has them for itself.
    Own([u64; COUNT]),
    /// All workers share them.
    Shared(Arc<dyn Words>),
}

impl<const COUNT: usize> HeldWords<COUNT> {
    /// Words that one worker has for itself, all zero.
    pub(crate) const fn own() -> Self {
        Self::Own([0; COUNT])
    }

    #[inline]
    pub(crate) fn load(&self, index: usize) -> u64 {
        match self {
            Self::Own(words) => words.get(index).copied().unwrap_or(0),
            Self::Shared(words) => words.load(index),
        }
    }

    /// Makes of a word what `change` says, however often others change it meanwhile; gives the new
    /// word. None where `change` gives none.
    #[inline]
    pub(crate) fn update(
        &mut self,
        index: usize,
        change: impl Fn(u64) -> Option<u64>,
    ) -> Option<u64> {
        match self {
            Self::Own(words) => {
                let word = words.get_mut(index)?;
                *word = change(*word)?;
                Some(*word)
            }
            Self::Shared(words) => update(&**words, index, change),
        }
    }

    /// Puts zero in place of a word; gives what stood there.
    pub(crate) fn take(&mut self, index: usize) -> u64 {
        match self {
            Self::Own(words) => words.get_mut(index).map_or(0, core::mem::take),
            Self::Shared(words) => {
                let mut old = words.load(index);
                while old != 0
                    && let Err(actual) = words.compare_exchange(index, old, 0)
                    && actual != old
                {
                    old = actual;
                }
                old
            }
        }
    }
}
