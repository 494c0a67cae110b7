//! What a member knows of its mesh, for all keys of one limit.

use super::{LEASE, LONGEST, WHOLE, WhenStoreFails};
use crate::board::far::{Claim, Claims, Member};
use crate::time::{Duration, Instant};
use alloc::collections::VecDeque;

/// So many exchanges may be under way; an answer to an older one says nothing.
const UNDER_WAY: usize = 16;

/// An answer that is older than the last one by more than this comes from another store, or from one whose clock was
/// set. One that is older by less was overtaken on its way.
const ANOTHER_CLOCK: Duration = Duration::from_secs(10);

/// What a key may at a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InForce {
    /// This share of the rate.
    Share(u32),
    /// Every call: the store is silent.
    Everything,
    /// None: the store is silent.
    Nothing,
}

/// A member of a mesh as all its leases of one limit see it.
#[derive(Clone, Debug)]
pub struct Fleet {
    member: Member,
    when_silent: WhenStoreFails,
    /// Members that have the limit; fewer only where the store said so for a while.
    members: u16,
    /// Since when the store says that there are fewer: it may have forgotten some.
    fewer_since: Option<Instant>,
    /// When the store was heard last; at first, when the member began to speak.
    heard: Option<Instant>,
    answered: Option<Instant>,
    /// The exchanges under way, and when they began.
    sent: VecDeque<(u64, Instant)>,
    /// How long a store may be silent.
    patience: Duration,
    /// Whether the store has known members for longer than a lease: one that forgot all has not.
    is_store_settled: bool,
}

impl Fleet {
    /// A member that has not heard of any other.
    pub const fn new(when_silent: WhenStoreFails) -> Self {
        Self {
            member: Member { replica: 0, worker: 0 },
            when_silent,
            members: 1,
            fewer_since: None,
            heard: None,
            answered: None,
            sent: VecDeque::new(),
            patience: LEASE,
            is_store_settled: false,
        }
    }

    /// An exchange begins. `sequence` is higher than that of the last one.
    pub fn begin_exchange(&mut self, member: Member, sequence: u64, now: Instant) {
        if let Some((_, before)) = self.sent.back() {
            self.patience = now.since(*before).mul_f64(4.0).max(LEASE).min(LONGEST);
        }
        self.member = member;
        self.heard.get_or_insert(now);
        if self.sent.len() == UNDER_WAY {
            self.sent.pop_front();
        }
        self.sent.push_back((sequence, now));
    }

    /// That the member is there, whatever keys it has: for a key of the store that all members have.
    pub fn presence(&self) -> Claim {
        let (member, sequence) = self.exchange();
        Claim { member, sequence, share: 1, lease: self.patience, ..Claim::default() }
    }

    /// Learns which members are there.
    pub fn learn_presence(&mut self, claims: &Claims, now: Instant) {
        let own = claims.of.iter().find(|claim| claim.member == self.member);
        if own.is_some_and(|own| self.sent_at(own.sequence).is_some())
            && is_newer(&mut self.answered, claims.at)
        {
            self.notice_members(u16::try_from(claims.of.len()).unwrap_or(u16::MAX), now);
            self.heard = Some(now);
            let leases = claims.of.iter().map(|claim| claim.lease.min(LONGEST));
            self.is_store_settled = claims.age >= leases.max().unwrap_or(LEASE);
        }
    }

    /// Whether what the store says of other members is all that there is.
    pub(super) const fn is_store_settled(&self) -> bool {
        self.is_store_settled
    }

    fn notice_members(&mut self, members: u16, now: Instant) {
        let is_fewer = members < self.members;
        let mut for_long = || now.since(*self.fewer_since.get_or_insert(now)) >= self.patience;
        if !is_fewer || for_long() {
            (self.members, self.fewer_since) = (members, None);
        }
    }

    /// Members that have the limit, this one among them.
    pub const fn members(&self) -> u16 {
        self.members
    }

    /// Whether the store was not heard for so long that it counts as gone.
    pub fn is_silent(&self, now: Instant) -> bool {
        // One that was heard in the future was heard by a clock that jumped.
        self.heard.is_none_or(|heard| {
            now.since(heard) > self.patience || heard.since(now) > self.patience
        })
    }

    pub(super) const fn member(&self) -> Member {
        self.member
    }

    /// Member and number of the exchange that began last.
    pub(super) fn exchange(&self) -> (Member, u64) {
        (self.member, self.sent.back().map_or(0, |(sequence, _)| *sequence))
    }

    /// When an exchange of this member began; none where it is too old, or none of this member's.
    pub(super) fn sent_at(&self, sequence: u64) -> Option<Instant> {
        self.sent.iter().find(|(known, _)| *known == sequence).map(|(_, at)| *at)
    }

    /// What a key has before the store knows of it.
    pub(super) fn newcomers_share(&self) -> u32 {
        WHOLE / u32::from(self.members.max(1))
    }

    /// What a key of so many members has at each that hears nothing.
    pub(super) fn local_share(&self, known: u16) -> u32 {
        let known = if known == 0 { self.members } else { known };
        WHOLE / u32::from(known.max(1))
    }

    /// What a key without a lease may.
    pub(super) fn without_lease(&self, known: u16, now: Instant) -> InForce {
        if !self.is_silent(now) {
            return InForce::Share(self.newcomers_share());
        }
        match self.when_silent {
            WhenStoreFails::Local => InForce::Share(self.local_share(known)),
            WhenStoreFails::Allow => InForce::Everything,
            WhenStoreFails::Deny => InForce::Nothing,
        }
    }
}

/// Whether an answer of the store's time `at` is newer than the last one; it is the last one then.
pub(super) fn is_newer(last: &mut Option<Instant>, at: Instant) -> bool {
    let is_newer = last.is_none_or(|last| at > last || at + ANOTHER_CLOCK < last);
    if is_newer {
        *last = Some(at);
    }
    is_newer
}
