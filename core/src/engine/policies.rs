//! What is in force where: the policies of one filter instance, or of one listener configuration.
//!
//! A call is judged by the [`Policies`] of the place that it passes through. What calls leave behind,
//! breakers and their evidence, is *state*: it lies in the engine by the policy's name and its
//! [hashes](Policy::hashes), and policies that have both in common share it. So a document
//! that is only read changes nothing, an old listener that drains goes on by its own rules, and an
//! update keeps the breakers that mean the same.

use super::Engine;
use super::anomalies::HeldWatches;
use super::limits::HeldLimit;
use crate::facts::Facts;
use crate::policy::{Document, Match, Mode, Policy, Subject};
use crate::registry::Registry;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// A document's policies as one filter instance or one listener configuration holds them. Made by
/// [`Engine::load`], and for that engine alone: to any other its policies have no state.
///
/// Once they are dropped, what they alone referred to is freed with the next [`Engine::poll`].
#[derive(Debug, Default)]
pub struct Policies {
    pub(super) entries: Vec<Entry>,
    /// Whether any of them limits connections.
    pub(super) limits_connections: bool,
}

/// One policy, and where its state is.
#[derive(Debug)]
pub(super) struct Entry {
    pub policy: Arc<Policy>,
    /// Whether every request is the policy's: then none has to be looked at.
    pub is_for_all: bool,
    /// Whether the policy's breaker alone decides, no time limit is measured and nothing is watched.
    pub asks_breaker_alone: bool,
    /// Place of the state in the engine.
    pub state: u32,
    pub held: Arc<Hold>,
    /// Its rate limits, where it has some.
    pub limits: Option<Box<[HeldLimit]>>,
    /// Its watches, where it asks for some.
    pub watched: Option<HeldWatches>,
}

/// Keeps a state alive: the engine frees one that nobody else refers to.
#[derive(Debug)]
pub(super) struct Hold {
    // Not empty, so that no two are at one address.
    _address: u8,
}

impl Hold {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { _address: 0 })
    }
}

/// Puts a state where one was freed, or at the end; gives its place.
pub(super) fn put<T>(states: &mut Vec<Option<T>>, state: T) -> usize {
    match states.iter_mut().enumerate().find(|(_, free)| free.is_none()) {
        Some((place, free)) => {
            *free = Some(state);
            place
        }
        None => {
            states.push(Some(state));
            states.len() - 1
        }
    }
}

impl Policies {
    /// The policies in the order of their document.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.entries.iter().map(|entry| &entry.policy)
    }

    /// Whether any of them limits the connections of clients: only then there is something to
    /// [count](Engine::connect).
    pub const fn limit_connections(&self) -> bool {
        self.limits_connections
    }

    /// The first policy that is for a request.
    #[inline]
    pub(super) fn find(&self, facts: &dyn Facts) -> Option<&Entry> {
        match self.entries.first() {
            Some(first) if first.is_for_all => Some(first),
            _ => self.find_among(facts),
        }
    }

    #[inline(never)]
    fn find_among(&self, facts: &dyn Facts) -> Option<&Entry> {
        let subject = Subject::new(facts);
        let is_for = |entry: &&Entry| entry.is_for_all || entry.policy.matcher.holds(&subject);
        self.entries.iter().find(is_for)
    }
}

/// The state of one policy.
#[derive(Debug)]
pub(super) struct State {
    pub registry: Registry,
    pub held: Arc<Hold>,
    /// Whether a call came by any policies that refer to it.
    pub is_in_force: bool,
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
            let same = |state: &Option<State>| {
                state.as_ref().is_some_and(|State { registry, .. }| {
                    registry.name == policy.name && *registry.rules.hashes() == policy.hashes
                })
            };
            let known = self.states.iter().position(same);
            let place = known.unwrap_or_else(|| self.new_state(policy));
            let held = self.states.get(place).and_then(Option::as_ref);
            Entry {
                policy: Arc::clone(policy),
                is_for_all: policy.matcher == Match::default(),
                asks_breaker_alone: matches!(policy.mode, Mode::Enforce | Mode::Shadow)
                    && policy.concurrency.is_none()
                    && policy.rate_limits.is_empty()
                    && policy.deadline.is_none()
                    && policy.retry.is_none()
                    && policy.timeout.auto.is_none()
                    && policy.anomaly.is_none(),
                state: u32::try_from(place).unwrap_or(u32::MAX),
                held: held.map_or_else(Hold::new, |state| state.held.clone()),
                limits: self.limits.load(policy, &mut self.rng),
                watched: self.anomalies.load(policy),
            }
        });
        let entries: Vec<Entry> = entries.collect();
        let limits_connections = entries.iter().any(|entry| entry.policy.connections.is_some());
        Policies { entries, limits_connections }
    }

    fn new_state(&mut self, policy: &Policy) -> usize {
        let (seed, board) = (self.rng.next_u64(), self.board.clone());
        let registry = Registry::new(policy, seed, board, self.room);
        put(&mut self.states, State { registry, held: Hold::new(), is_in_force: false })
    }

    /// A first scope is about to be made by `policies`: from now on they have their share of labels.
    #[cold]
    pub(super) fn put_in_force(&mut self, policies: &Policies) {
        for entry in &policies.entries {
            if let Some(Some(state)) = self.states.get_mut(entry.state as usize) {
                state.is_in_force |= Arc::ptr_eq(&state.held, &entry.held);
            }
        }
        self.share_labels();
    }

    /// Frees what no policies refer to any more. Results of its calls will be late.
    pub(super) fn free_states(&mut self) {
        self.limits.free();
        if !self.states.iter().flatten().any(State::is_free) {
            return;
        }
        for place in &mut self.states {
            if let Some(gone) = place.take_if(|state| state.is_free()) {
                gone.registry.close(&mut self.slots, self.recorder.series());
            }
        }
        self.share_labels();
    }

    pub(super) fn share_labels(&mut self) {
        let takes_labels = |state: &&State| state.is_in_force && state.registry.scope.is_labelled();
        let count = self.states.iter().flatten().filter(takes_labels).count();
        self.recorder.series().share_between(count);
    }
}
