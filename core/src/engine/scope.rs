//! Which scope a request belongs to.

use super::policies::{Entry, State};
use super::{Engine, Policies};
use crate::decision::{Pass, PassReason, Verdict};
use crate::facts::{Facts, without_port};
use crate::policy::Scope;
use crate::registry::Slots;
use alloc::borrow::Cow;
use alloc::sync::Arc;

impl Engine {
    /// The state of a policy; none where another engine made the policies.
    #[inline]
    pub(super) fn state(&self, entry: &Entry) -> Option<&State> {
        let state = self.states.get(entry.state as usize)?.as_ref()?;
        Arc::ptr_eq(&state.held, &entry.held).then_some(state)
    }

    /// The place of a request's scope; none where there is no room for it, or another engine made the
    /// policies.
    // Always: left to itself the compiler makes a call of it, which costs more than the look-up.
    #[inline(always)]
    pub(super) fn scope(
        &mut self,
        policies: &Policies,
        entry: &Entry,
        facts: &dyn Facts,
    ) -> Option<u32> {
        let state = self.state(entry)?;
        if let Some(place) = state.registry.only() {
            return Some(place);
        }
        match find(state, &self.slots, facts) {
            Some(place) => Some(place),
            None => self.make_scope(policies, entry, facts),
        }
    }

    #[cold]
    fn make_scope(&mut self, policies: &Policies, entry: &Entry, facts: &dyn Facts) -> Option<u32> {
        if self.state(entry).is_some_and(|state| !state.is_in_force) {
            self.put_in_force(policies);
        }
        let state = self.states.get_mut(entry.state as usize)?.as_mut()?;
        let key = scope_key(&state.registry.scope, facts);
        let place = state.registry.make(&key, &mut self.slots, self.recorder.series())?;
        if !state.registry.is_overflow(place) {
            self.budgets.forget(place);
            self.time_limits.forget(place);
        }
        Some(place)
    }

    /// What becomes of a request without a scope.
    #[cold]
    pub(super) fn unscoped<'p>(&mut self, entry: &'p Entry) -> Verdict<'p> {
        if self.state(entry).is_none() {
            return Verdict::Unmatched;
        }
        let policy = &entry.policy;
        self.recorder.unprotected(&policy.name);
        Verdict::Pass(Pass { policy, why: PassReason::TableFull })
    }
}

/// The place of a request's scope among others, where it was made.
#[inline(never)]
fn find(state: &State, slots: &Slots, facts: &dyn Facts) -> Option<u32> {
    state.registry.find(&scope_key(&state.registry.scope, facts), slots)
}

/// The key of a request's scope; empty where the policy has one scope, or the host does not know.
pub(super) fn scope_key<'a>(scope: &Scope, facts: &'a dyn Facts) -> Cow<'a, [u8]> {
    let key = match scope {
        Scope::Policy => None,
        Scope::Destination => facts.destination(),
        Scope::Endpoint => facts.endpoint(),
        Scope::Route => facts.route(),
        Scope::Authority => facts.authority().map(lower_without_port),
        Scope::Client => facts.client(),
        Scope::Header(name) => facts.header(name),
    };
    key.unwrap_or(Cow::Borrowed(&[]))
}

/// Nearly all are lower case as they come: then there is nothing to copy.
fn lower_without_port(authority: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    match authority {
        Cow::Borrowed(authority) => match without_port(authority) {
            host if host.iter().any(u8::is_ascii_uppercase) => {
                Cow::Owned(host.to_ascii_lowercase())
            }
            host => Cow::Borrowed(host),
        },
        Cow::Owned(authority) => Cow::Owned(without_port(&authority).to_ascii_lowercase()),
    }
}
