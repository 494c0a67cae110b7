//! What is in force where: the policies of one filter instance, or of one listener configuration.
//!
//! A call is judged by the [`Policies`] of the place that it passes through. What calls leave behind,
//! breakers and their evidence, is *state*: it lies in the engine by the policy's name and its
//! [hashes](Policy::hashes), and policies that have both in common share it. So a document
//! that is only read changes nothing, an old listener that drains goes on by its own rules, and an
//! update keeps the breakers that mean the same.

use super::Engine;
use crate::policy::{Document, Policy};
use crate::registry::Registry;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// A document's policies as one filter instance or one listener configuration holds them. Made by
/// [`Engine::load`], and for that engine alone: to any other its policies have no state.
///
/// Once they are dropped, what they alone referred to is freed with the next [`Engine::poll`].
#[derive(Debug, Default)]
pub struct Policies {
    pub(super) entries: Vec<Entry>,
}

/// One policy, and where its state is.
#[derive(Debug)]
pub(super) struct Entry {
    pub policy: Arc<Policy>,
    pub state: Arc<StateRef>,
}

/// Keeps a state alive: the engine frees one that nobody else refers to.
#[derive(Debug)]
pub(super) struct StateRef {
    /// [`Registry::id`].
    pub registry: u32,
}

impl Policies {
    /// The policies in the order of their document.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.entries.iter().map(|entry| &entry.policy)
    }
}

/// The state of one policy.
#[derive(Debug)]
pub(super) struct State {
    pub registry: Registry,
    held: Arc<StateRef>,
    /// Whether a call came by any policies that refer to it.
    pub in_force: bool,
}

impl State {
    fn is_free(&self) -> bool {
        Arc::strong_count(&self.held) == 1
    }
}

impl Engine {
    /// Makes `document` ready to judge. Nothing is published by that: no scope is made, no count, no
    /// word on the board, and no call is judged by it before one is admitted by what this returns.
    pub fn load(&mut self, document: &Document) -> Policies {
        let entries = document.policies.iter().map(|policy| {
            let same = |state: &&State| {
                let registry = &state.registry;
                registry.name == policy.name && *registry.rules.hashes() == policy.hashes
            };
            let known = self.states.iter().find(same).map(|state| state.held.clone());
            let state = known.unwrap_or_else(|| self.new_state(policy));
            Entry { policy: Arc::clone(policy), state }
        });
        Policies { entries: entries.collect() }
    }

    fn new_state(&mut self, policy: &Policy) -> Arc<StateRef> {
        let id = self.next_registry;
        self.next_registry = self.next_registry.wrapping_add(1);
        let registry = Registry::new(id, policy, self.rng.next_u64(), self.board.clone());
        let held = Arc::new(StateRef { registry: id });
        self.states.push(State { registry, held: held.clone(), in_force: false });
        held
    }

    /// A first scope is about to be made by `policies`: from now on they have their share of labels.
    #[cold]
    pub(super) fn put_in_force(&mut self, policies: &Policies) {
        for state in &mut self.states {
            let id = state.registry.id;
            state.in_force |= policies.entries.iter().any(|entry| entry.state.registry == id);
        }
        self.share_labels();
    }

    /// Frees what no policies refer to any more. Results of its calls will be late.
    pub(super) fn free_states(&mut self) {
        if !self.states.iter().any(State::is_free) {
            return;
        }
        for gone in self.states.extract_if(.., |state| state.is_free()) {
            gone.registry.close_series(self.recorder.series());
        }
        self.share_labels();
    }

    fn share_labels(&mut self) {
        let takes_labels = |state: &&State| state.in_force && state.registry.scope.is_labelled();
        let count = self.states.iter().filter(takes_labels).count();
        self.recorder.series().share_between(count);
    }
}
