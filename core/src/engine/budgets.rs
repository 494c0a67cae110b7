//! Budgets for retries. They lie beside the scopes, as rate limits do: a call of a policy without retries
//! carries nothing of them.

use crate::retry::budget::{RetryBudget, RetryBudgetPolicy};
use crate::time::Instant;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// The budgets of all scopes, by the scopes' places.
///
/// A budget keeps no scope in its table: one that leaves loses what it had earned, and a client that
/// can make scopes has the floor of each anyway.
#[derive(Debug, Default)]
pub(super) struct Budgets {
    of: Vec<Option<Box<Held>>>,
}

/// What was called and retried lately in a scope.
#[derive(Debug, Default)]
struct Held {
    budget: RetryBudget,
    /// That of the policy which asked last.
    policy: Option<RetryBudgetPolicy>,
}

impl Budgets {
    /// Whether no policy with a budget ever asked.
    pub(super) const fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    /// A call was admitted by a policy with this budget.
    pub(super) fn counts_call(&mut self, now: Instant, place: u32, policy: &RetryBudgetPolicy) {
        if let Some(held) = self.held(place) {
            held.policy = Some(*policy);
            held.budget.call(now);
        }
    }

    /// What retries of a scope are paid from.
    pub(super) fn budget(&mut self, place: u32) -> Option<&mut RetryBudget> {
        self.held(place).map(|held| &mut held.budget)
    }

    /// Whole retries that a scope has left; none where no policy with a budget asked.
    pub(super) fn left(&mut self, now: Instant, place: u32) -> Option<u64> {
        let held = self.of.get_mut(place as usize)?.as_deref_mut()?;
        held.policy.as_ref().map(|policy| held.budget.left(policy, now) as u64)
    }

    /// Another scope has this place.
    pub(super) fn forget(&mut self, place: u32) {
        if let Some(held) = self.of.get_mut(place as usize) {
            *held = None;
        }
    }

    fn held(&mut self, place: u32) -> Option<&mut Held> {
        let place = place as usize;
        if place >= self.of.len() {
            self.of.resize_with(place + 1, || None);
        }
        self.of.get_mut(place).map(|held| &mut **held.get_or_insert_default())
    }
}
