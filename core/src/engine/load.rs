//! A new document takes the place of the one in force.

use super::Engine;
use crate::policy::Document;
use crate::registry::Registry;
use crate::time::Instant;
use alloc::sync::Arc;
use alloc::vec::Vec;

impl Engine {
    /// Puts `document` in force. A policy whose name, scope and breaker are the same keeps its
    /// breakers and their permits; results for a policy that is gone will be late.
    ///
    /// What time made due is carried out first, so that no change is lost with the old document.
    pub fn load(&mut self, now: Instant, document: &Document) {
        self.poll(now);
        let labelled = document.policies.iter().filter(|policy| policy.scope.is_labelled());
        self.recorder.series().share_between(labelled.count());
        let mut old = core::mem::take(&mut self.registries);
        let registries = document.policies.iter().map(|policy| {
            let same = |registry: &Registry| {
                registry.policy.name == policy.name
                    && registry.policy.state_hash == policy.state_hash
            };
            match old.iter().position(same) {
                Some(index) => {
                    let mut kept = old.swap_remove(index);
                    kept.policy = Arc::clone(policy);
                    kept
                }
                None => {
                    let id = self.next_registry;
                    self.next_registry = self.next_registry.wrapping_add(1);
                    Registry::new(id, Arc::clone(policy), self.rng.next_u64(), self.board.clone())
                }
            }
        });
        self.registries = registries.collect::<Vec<_>>();
        for gone in old {
            gone.close_series(self.recorder.series());
        }
        self.document = Some(document.clone());
    }

    /// The document in force; none before the first [`Engine::load`].
    pub const fn document(&self) -> Option<&Document> {
        self.document.as_ref()
    }
}
