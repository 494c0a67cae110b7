//! What an operator orders of one scope's breaker.

use super::Engine;
use super::policies::State;
use crate::breaker::Order;
use crate::registry::label;
use crate::series::SHARED_LABEL;
use crate::time::Instant;

impl Engine {
    /// Whether `policy` has a breaker for `scope`: its key, or its label where it has no key.
    pub fn has_breaker(&self, policy: &str, scope: &[u8]) -> bool {
        (0..self.states.len()).any(|state| self.place_named(state, policy, scope).is_some())
    }

    /// Carries out an order for the breakers of `policy` for `scope`. One that is to be held is made where calls
    /// did not make it yet, so that each worker of a process holds it. False where there is none: the order
    /// would be without effect, or the table is full.
    pub fn order(&mut self, now: Instant, policy: &str, scope: &[u8], order: Order) -> bool {
        let mut is_done = false;
        for state in 0..self.states.len() {
            let place = self.place_named(state, policy, scope).or_else(|| match order {
                Order::Reset => None,
                Order::ForceOpen | Order::Disable => self.place_made(state, policy, scope),
            });
            let Some(place) = place else {
                continue;
            };
            if let Some(slot) = self.slots.get_mut(place) {
                is_done |= slot.guard.order(now, order);
                self.stirred(place);
            }
        }
        is_done
    }

    fn named(&self, state: usize, policy: &str) -> Option<&State> {
        let state = self.states.get(state)?.as_ref()?;
        let has_breaker = state.registry.rules.has_breaker();
        (has_breaker && *state.registry.name == *policy).then_some(state)
    }

    /// A key is looked for before a label: a client may choose a key that is spelled like one.
    fn place_named(&self, state: usize, policy: &str, scope: &[u8]) -> Option<u32> {
        let registry = &self.named(state, policy)?.registry;
        let keyed = if scope.is_empty() { None } else { registry.find(scope, &self.slots) };
        keyed.or_else(|| {
            registry.places().iter().copied().find(|place| {
                let is_overflow = registry.is_overflow(*place);
                let key = self.slots.get(*place).map(|slot| slot.key.bytes());
                match (is_overflow, key) {
                    (true, _) => scope == SHARED_LABEL.as_bytes(),
                    (false, Some([])) => scope == label(&registry.scope, &[]).as_bytes(),
                    _ => false,
                }
            })
        })
    }

    fn place_made(&mut self, state: usize, policy: &str, scope: &[u8]) -> Option<u32> {
        let registry = &self.named(state, policy)?.registry;
        let is_label = scope == label(&registry.scope, &[]).as_bytes();
        let key = if is_label { &[][..] } else { scope };
        if scope == SHARED_LABEL.as_bytes() {
            return None;
        }
        let is_new = {
            let state = self.states.get_mut(state)?.as_mut()?;
            !core::mem::replace(&mut state.is_in_force, true)
        };
        if is_new {
            self.share_labels();
        }
        let registry = &mut self.states.get_mut(state)?.as_mut()?.registry;
        let place = registry.make(key, &mut self.slots, self.recorder.series())?;
        if registry.is_overflow(place) {
            return None;
        }
        self.budgets.forget(place);
        self.time_limits.forget(place);
        Some(place)
    }
}
