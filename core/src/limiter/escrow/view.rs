//! What a member makes of the claims of all.

use super::{LEASE, LONGEST, POOL};
use crate::board::far::{Claim, Claims, Member};
use crate::hash::Hash;
use crate::time::Duration;

/// A bit for a member.
fn bit(member: Member) -> u128 {
    let hash = Hash::default().number(member.replica).number(member.worker.into()).finish();
    // The high bits: FNV's low ones know the last byte alone.
    1 << (hash >> 57)
}

/// What a member sees in the claims of all.
pub(super) struct View {
    /// With claims.
    pub(super) members: u16,
    /// A bit for each of them.
    pub(super) with_claims: u128,
    /// The same, and for each that gave back what it claimed.
    pub(super) seen: u128,
    /// The claims of the others.
    pub(super) others: u64,
    /// What all were asked for.
    demand: u128,
    /// What this one was asked for.
    own: u64,
    pub(super) longest: Duration,
}

impl View {
    pub(super) fn new(claims: &Claims, own: &Claim) -> Self {
        let mut view = Self {
            members: 0,
            with_claims: 0,
            seen: 0,
            others: 0,
            demand: 0,
            own: own.offered,
            longest: LEASE,
        };
        for claim in &claims.of {
            view.seen |= bit(claim.member);
            if claim.share == 0 {
                continue;
            }
            view.with_claims |= bit(claim.member);
            view.members = view.members.saturating_add(1);
            view.demand += u128::from(claim.offered);
            if claim.member != own.member {
                view.others += u64::from(claim.share);
                view.longest = view.longest.max(claim.lease.min(LONGEST));
            }
        }
        view
    }

    /// The share of the pool that is this member's by demand. Each member finds its own, and together they are no
    /// more than the pool.
    pub(super) fn target(&self) -> u32 {
        let (pool, own) = (u128::from(POOL), u128::from(self.own));
        let share = match pool.checked_sub(self.demand) {
            Some(rest) => own + rest / u128::from(self.members.max(1)),
            None => own * pool / self.demand.max(1),
        };
        u32::try_from(share).unwrap_or(POOL).min(POOL)
    }

    /// What a member that uses so much should claim. What is free is taken; what others hold is asked for where it is
    /// more than chance.
    pub(super) fn wanted(&self, used: u32, target: u32) -> u32 {
        let is_free = self.others + u64::from(target) <= u64::from(POOL);
        let is_worth_it = target.saturating_sub(used) > used / 16;
        if target > used && (is_free || is_worth_it) { target } else { used }
    }
}
