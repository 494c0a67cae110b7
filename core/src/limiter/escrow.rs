//! A rate limit of a whole mesh (`share: mesh`), without a wait: each member leases a share of it.
//!
//! A member is one worker of one replica. A call takes its token from the member's own bucket, which has a share of
//! the rate and as much of the capacity. What share that is the members find out between calls, by
//! [a store far away](crate::board::far): each tells what it [claims](Claim) and what it was asked for, and learns
//! the [claims of all](Claims).
//!
//! - **Weighted by demand.** All that is claimed together is the [pool](POOL). Where less than that is asked for each
//!   has what it asks for, and the rest in equal parts; else each has the pool by its part of the demand.
//! - **Nobody starves.** What is not in the pool, 1/32 of the rate, is nobody's to claim: each member has an equal
//!   part of it. Its bucket holds one token at least.
//! - **Told before it is used.** A member uses a larger share only where its own claim lay in the store while all
//!   claims together were no more than the pool; a smaller one it uses before it tells. So whatever is lost,
//!   repeated or overtaken, and however demand moves, no more than the pool is in use, of members that hold leases.
//!   That is the bakery's order (Lamport 1974): write, then look.
//! - **What is not used goes back.** A claim is lowered where others ask for more than is free. A member without calls
//!   whose bucket is full gives its claim back.
//! - **Leases expire**, at the member before they do at the store, since the member counts from when it told. Where a
//!   member vanished without giving back nobody takes more for a lease: the store may have forgotten it.
//! - **A store that is silent.** Behind a lease without an answer [`WhenStoreFails`] decides.
//!
//! # How exact it is
//! What all members admit in a span of time `T`, with rate `R`, capacity `C` and `n` members:
//!
//! ```text
//! at most   C + n + R · T · (31/32 + Σ 1/(32 · nᵢ))   nᵢ: the members that member i knows of; n of n: 1/32
//!   more    max(1, C/m)                               for each member that comes to the key, m: members it knows of
//!   more    R/m · a                                   until it is answered
//!   more    R/nᵢ · tᵢ                                 for each member that is cut off for tᵢ, by `local`
//! at least  R · T · 31/32                             where each member is asked for R/(32 · n) or more, and all for R
//!   less    δ · (C + R · 3 · a)                       for each share δ that moves from one member to another
//!   less    σ · R · 2 · L                             for each member that vanishes with a share σ
//! ```
//!
//! `a` is the time from one answered exchange to the next, `L` a lease: a second, or four exchanges where that is more.
//! A member comes to a key at most once in the time that the whole bucket takes to fill.

mod bucket;
mod demand;
mod fleet;
mod view;

use super::{Exceeded, Rate, RateLimitPolicy, Token};
use crate::board::far::{Claim, Claims};
use crate::time::{Duration, Instant};
use bucket::{Bucket, Size};
use demand::Demand;
pub use fleet::{Fleet, InForce};
use view::View;

/// The whole rate; shares are parts of it.
pub const WHOLE: u32 = 1 << 30;

/// What members can claim together. The rest is divided equally.
pub const POOL: u32 = WHOLE - WHOLE / 32;

/// The shortest lease.
pub const LEASE: Duration = Duration::from_secs(1);

/// The longest, of a member that seldom has its turn.
const LONGEST: Duration = Duration::from_secs(60);

/// What a member does while its store is silent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WhenStoreFails {
    /// It has the rate, divided by the members that it knows of.
    #[default]
    Local,
    /// It admits every call.
    Allow,
    /// It admits none.
    Deny,
}

impl WhenStoreFails {
    /// Every one, in the order of the documentation.
    pub const ALL: [Self; 3] = [Self::Local, Self::Allow, Self::Deny];

    /// The name in a policy.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// What a key of a limit may in the whole mesh.
#[derive(Clone, Copy, Debug)]
pub struct LeasedRate(Size);

impl LeasedRate {
    /// Of a policy; bursts are not shared.
    pub const fn new(policy: &RateLimitPolicy) -> Self {
        Self(Size::new(policy.rate, policy.capacity))
    }

    const fn rate(&self) -> Rate {
        self.0.rate
    }
}

/// One member's lease of one key of a limit.
#[derive(Clone, Debug)]
pub struct Lease {
    bucket: Bucket,
    offered: Demand,
    admitted: Demand,
    last_call: Instant,
    /// Whether it gave back what it claimed: nobody called for a while.
    is_left: bool,
    /// The share of the pool that it uses until the lease ends.
    used: u32,
    until: Option<Instant>,
    /// What it told last.
    told: Told,
    /// What it will tell.
    next: u32,
    /// What its bucket was filled for, as long as nobody else had the key.
    began: Option<u32>,
    /// Which members have claims, as the store said last: a bit for each, some have the same.
    seen: u128,
    /// How many; fewer only once those that are gone hold no lease. 0 before the first answer.
    known: u16,
    /// The longest lease of another.
    longest: Duration,
    /// It takes no more before.
    frozen: Instant,
    /// The store's time of the last answer.
    answered: Option<Instant>,
}

/// The claims that a member told.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    share: u32,
    at: Option<Instant>,
    /// Since this exchange it claimed no less.
    since: u64,
}

impl Lease {
    /// A key that nobody else may have: its bucket is full, by the members that there are.
    pub fn new(rate: &LeasedRate, fleet: &Fleet, now: Instant) -> Self {
        let share = fleet.newcomers_share();
        Self {
            bucket: Bucket::full(&rate.0, now, share),
            offered: Demand::default(),
            admitted: Demand::default(),
            last_call: now,
            is_left: false,
            used: 0,
            until: None,
            told: Told::default(),
            next: newcomers_claim(fleet),
            began: Some(share),
            seen: 0,
            known: 0,
            longest: LEASE,
            frozen: Instant::ZERO,
            answered: None,
        }
    }

    /// The share of the pool that it uses at `now`; none without a lease.
    pub fn leased(&self, now: Instant) -> Option<u32> {
        // An end that no lease can have was set by a clock that jumped.
        let until = self.until.filter(|until| *until > now && until.since(now) <= LONGEST);
        until.map(|_| self.used)
    }

    /// What is in force at `now`.
    pub fn in_force(&self, fleet: &Fleet, now: Instant) -> InForce {
        match self.leased(now) {
            Some(used) => InForce::Share(used + floor(self.known)),
            None => fleet.without_lease(self.known, now),
        }
    }

    fn fill(&mut self, rate: &LeasedRate, fleet: &Fleet, now: Instant) -> InForce {
        let in_force = self.in_force(fleet, now);
        let share = match in_force {
            InForce::Share(share) => share,
            InForce::Everything | InForce::Nothing => fleet.local_share(self.known),
        };
        self.bucket.fill(&rate.0, now, share);
        in_force
    }

    /// Whether a call may pass now. It counts as a call that came, and takes nothing.
    ///
    /// # Errors
    /// The limit is exceeded.
    pub fn peek(&mut self, rate: &LeasedRate, fleet: &Fleet, now: Instant) -> Result<(), Exceeded> {
        if self.is_left {
            self.come_back(rate, fleet, now);
        }
        self.offered.count(now);
        self.last_call = now;
        self.may_pass(rate, fleet, now)
    }

    fn may_pass(&mut self, rate: &LeasedRate, fleet: &Fleet, now: Instant) -> Result<(), Exceeded> {
        match self.fill(rate, fleet, now) {
            InForce::Everything => Ok(()),
            // Until the store may have been heard again.
            InForce::Nothing => Err(Exceeded { until: now + LEASE }),
            InForce::Share(_) if self.bucket.has_token(&rate.0) => Ok(()),
            InForce::Share(_) => Err(Exceeded { until: now + self.bucket.until_token(&rate.0) }),
        }
    }

    /// Takes a token.
    ///
    /// # Errors
    /// As [`Lease::peek`].
    pub fn commit(
        &mut self,
        rate: &LeasedRate,
        fleet: &Fleet,
        now: Instant,
    ) -> Result<Token, Exceeded> {
        self.may_pass(rate, fleet, now)?;
        self.bucket.take(&rate.0);
        self.admitted.count(now);
        Ok(Token { burst: None })
    }

    /// Gives back a token that was taken and not used.
    pub fn give_back(&mut self, rate: &LeasedRate, _token: Token) {
        self.bucket.give_back(&rate.0);
        self.admitted.take_back();
    }

    /// How many calls would pass now.
    pub fn remaining(&mut self, rate: &LeasedRate, fleet: &Fleet, now: Instant) -> u32 {
        self.fill(rate, fleet, now);
        self.bucket.tokens(&rate.0)
    }

    /// Whether it may be forgotten. It may where it has as much as a new one, or where nobody called for so long that
    /// the whole bucket filled.
    pub fn is_idle(&self, rate: &LeasedRate, fleet: &Fleet, now: Instant) -> bool {
        let mut bucket = self.bucket;
        if !self.is_left
            && let InForce::Share(share) = self.in_force(fleet, now)
        {
            bucket.fill(&rate.0, now, share);
        }
        bucket.is_full_for(&rate.0, fleet.newcomers_share())
            || now.since(self.last_call) >= rate.0.filling().max(LEASE)
    }

    /// What the member claims in the exchange that [`Fleet::begin_exchange`] began. None where there is nothing to
    /// tell: nobody called for a while, and what was claimed was given back.
    pub fn claim(&mut self, rate: &LeasedRate, fleet: &Fleet, now: Instant) -> Option<Claim> {
        self.offered.measure(now);
        self.admitted.measure(now);
        if self.is_left {
            return None;
        }
        let lease = self.lease(now);
        if now.since(self.last_call) >= lease {
            self.fill(rate, fleet, now);
            self.is_left = self.bucket.is_full(&rate.0);
        }
        if self.is_left {
            self.leave();
        }
        let (member, sequence) = fleet.exchange();
        let share = if self.is_left { 0 } else { self.next.max(1) };
        if share > self.told.share {
            self.told.since = sequence;
        }
        (self.told.share, self.told.at) = (share, Some(now));
        Some(Claim {
            member,
            sequence,
            share,
            offered: self.offered.share_of(rate.rate()),
            admitted: self.admitted.share_of(rate.rate()),
            lease,
        })
    }

    /// So long that one lost exchange, or two, do not end it.
    fn lease(&self, now: Instant) -> Duration {
        let before = self.told.at.map_or(Duration::ZERO, |at| now.since(at));
        before.mul_f64(4.0).max(LEASE).min(LONGEST)
    }

    fn leave(&mut self) {
        (self.used, self.until, self.seen, self.known) = (0, None, 0, 0);
        self.bucket.pause();
        self.began = None;
    }

    /// Somebody calls again. While it was away nothing flowed in, or whoever goes from member to member would find
    /// a full bucket everywhere.
    fn come_back(&mut self, rate: &LeasedRate, fleet: &Fleet, now: Instant) {
        // It has not told for a while, which says nothing of how often it tells.
        let told = Told { at: None, ..self.told };
        self.told = told;
        if self.is_idle(rate, fleet, now) {
            *self = Self { told, ..Self::new(rate, fleet, now) };
        }
        self.is_left = false;
        self.next = newcomers_claim(fleet);
    }

    /// Learns what all members claim. True where others wait for what it gave back just now: it should tell it
    /// without waiting for its turn.
    pub fn learn(
        &mut self,
        rate: &LeasedRate,
        fleet: &Fleet,
        claims: &Claims,
        now: Instant,
    ) -> bool {
        // Before its own claim is there it knows nothing of what the others will make of theirs.
        let own = claims.of.iter().find(|claim| claim.member == fleet.member());
        let Some(own) = own.filter(|own| own.share > 0) else {
            return false;
        };
        let Some(sent) = fleet.sent_at(own.sequence) else {
            return false;
        };
        if self.told.share == 0 || !fleet::is_newer(&mut self.answered, claims.at) {
            return false;
        }
        self.fill(rate, fleet, now);
        let view = View::new(claims, own);
        let may_grow = self.notice_members(fleet, &view, now);
        let is_over = self.leased(now).is_none();
        if is_over && !may_grow {
            // It has what members have that know of no lease: a store that forgot all would leave each nothing.
            return false;
        }
        // What lies in the store covers what is used.
        self.used = if is_over { 0 } else { self.used.min(own.share) };
        let target = view.target();
        if view.others + u64::from(own.share) > u64::from(POOL) {
            self.used = self.used.min(target);
        }
        if may_grow && own.sequence >= self.told.since {
            let free = u64::from(POOL).saturating_sub(view.others);
            let covered = own.share.min(self.told.share);
            self.used = self.used.max(covered.min(u32::try_from(free).unwrap_or(POOL)));
        }
        self.next = if may_grow { view.wanted(self.used, target) } else { self.used };
        self.until = Some(sent + own.lease.min(LONGEST).mul_f64(7.0 / 8.0));
        self.fill(rate, fleet, now);
        self.top_up(rate, fleet, now);
        // Not for what is within chance.
        self.told.share.saturating_sub(self.next.max(1)) > WHOLE / 64
    }

    /// Notes who is there. Whether more may be taken: members that are gone and did not give back may hold leases
    /// that the store forgot.
    fn notice_members(&mut self, fleet: &Fleet, view: &View, now: Instant) -> bool {
        if self.seen & !view.seen != 0 {
            self.frozen = now + self.longest;
        } else if self.frozen.since(now) > LONGEST {
            // A clock that jumped ahead and came back.
            self.frozen = now;
        }
        self.longest = view.longest;
        self.seen = view.with_claims;
        let may_grow = now >= self.frozen && fleet.is_store_settled();
        self.known = if may_grow { view.members } else { self.known.max(view.members) };
        may_grow
    }

    /// While nobody else has the key its bucket is as that of one process: full at first.
    fn top_up(&mut self, rate: &LeasedRate, fleet: &Fleet, now: Instant) {
        let is_alone = self.known == 1;
        self.began = match (self.began, self.in_force(fleet, now)) {
            (Some(began), InForce::Share(share)) if is_alone => {
                self.bucket.top_up(&rate.0, began, share);
                Some(began.max(share))
            }
            _ => None,
        };
    }
}

/// What is claimed first.
fn newcomers_claim(fleet: &Fleet) -> u32 {
    POOL / u32::from(fleet.members().max(1))
}

/// Each member's part of what is nobody's to claim.
fn floor(members: u16) -> u32 {
    (WHOLE - POOL) / u32::from(members.max(1))
}

#[cfg(test)]
mod tests;
