//! How often answers stood in for others, by policy.

use super::Worker;
use bimetal_core::fallback::FallbackKind;
use std::cell::RefCell;
use std::sync::Arc;

/// How often, in the order of [`FallbackKind::ALL`].
pub(crate) type FallbackCounts = [u64; FallbackKind::ALL.len()];

/// What one worker counts.
#[derive(Debug, Default)]
pub(super) struct Fallbacks(RefCell<Vec<(Arc<str>, FallbackCounts)>>);

impl Fallbacks {
    /// Counts one of `policy`. Few policies have any: they are looked through.
    pub(super) fn add(&self, policy: &Arc<str>, kind: FallbackKind) {
        let mut all = self.0.borrow_mut();
        let place = all.iter().position(|(name, _)| **name == **policy).unwrap_or_else(|| {
            all.push((policy.clone(), FallbackCounts::default()));
            all.len() - 1
        });
        all[place].1[kind.place()] += 1;
    }
}

impl Worker {
    /// How often, by policy.
    pub(super) fn fallback_counts(&self) -> Vec<(Arc<str>, FallbackCounts)> {
        self.fallbacks.0.borrow().clone()
    }
}
