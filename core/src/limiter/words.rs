//! The state of a limit: three words, of one worker or of all.

use super::WORDS;
use crate::board::{self, Words};
use alloc::sync::Arc;

/// The words of a limit, by their place.
#[derive(Clone, Debug)]
pub(super) enum LimitWords {
    /// One worker has them for itself.
    Own([u64; WORDS]),
    /// All workers share them.
    Shared(Arc<dyn Words>),
}

impl LimitWords {
    /// The words of a full limit that one worker has for itself.
    pub(super) const fn own() -> Self {
        Self::Own([0; WORDS])
    }

    #[inline]
    pub(super) fn load(&self, index: usize) -> u64 {
        match self {
            Self::Own(words) => words.get(index).copied().unwrap_or(0),
            Self::Shared(words) => words.load(index),
        }
    }

    /// Makes of a word what `change` says, however often others change it meanwhile; gives the new
    /// word. None where `change` gives none.
    #[inline]
    pub(super) fn update(
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
            Self::Shared(words) => board::update(&**words, index, change),
        }
    }
}
