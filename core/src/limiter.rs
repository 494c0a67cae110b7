//! A rate limit: a token bucket, and a burst budget behind it.
//!
//! The bucket holds `capacity` tokens and is refilled continuously. A call takes one. A call that
//! finds the bucket empty *exceeds* the limit: it may draw on the burst budget, where the policy has
//! one and something is left of it, and is turned away otherwise. The budget serves short peaks: what
//! is left of it is void `expires` after its first token was taken, and it is whole again
//! `recovers_after` after the limit was last exceeded. So whoever exceeds the limit all the time has
//! it once.
//!
//! Two verbs carry it: [`RateLimit::peek`] asks and takes nothing, [`RateLimit::commit`] takes. So a
//! call that another rule turns away costs no token. [`RateLimit::give_back`] returns a token that
//! was taken and not used.
//!
//! The host's clock must have begun less than 36 years ago: beyond that every call is admitted.
//!
//! The state is three words. A worker has them for itself, or shares them with others on a
//! [board](crate::board): then a token is taken by compare-and-swap, and the limit is exact over all
//! workers. On a board where that is too dear for each call a worker [leases](crate::board::account) tokens,
//! and over the replicas of a mesh each has a share of the rate [in escrow](escrow).

mod bucket;
mod burst;
pub mod escrow;
pub mod keyed;
mod leased;
mod measures;
pub mod mesh;

use crate::board::account::Account;
use crate::board::{HeldWords, Words};
use crate::time::{Duration, Instant};
use alloc::sync::Arc;
pub use bucket::Rate;
pub use burst::BurstPolicy;
use leased::{Lease, LimitState};
use measures::Measures;

/// What a rate limit allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RateLimitPolicy {
    /// How fast the bucket is refilled.
    pub rate: Rate,
    /// How many tokens it holds; at least 1.
    pub capacity: u32,
    /// The budget for short peaks.
    pub burst: Option<BurstPolicy>,
}

/// One rate limit, or one replica of a shared one.
#[derive(Clone, Debug)]
pub struct RateLimit {
    measures: Measures,
    state: LimitState,
}

/// A token that was taken: where it came from, for [`RateLimit::give_back`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a token that is not used is to be given back"]
pub struct Token {
    /// Of a burst: when that began, in its own unit.
    burst: Option<u64>,
}

/// The limit is exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// When the bucket has a token again, if nobody else takes it.
    pub until: Instant,
}

/// By how much workers' clocks may differ. A time that is further ahead was written by a clock that
/// jumped.
const AHEAD: Duration = Duration::from_secs(1);

/// How many words a limit needs on a board.
pub const WORDS: usize = 3;

/// The state of a limit: of one worker, or of all.
type LimitWords = HeldWords<WORDS>;

impl RateLimit {
    /// A full limit that one worker has for itself.
    pub fn new(policy: &RateLimitPolicy) -> Self {
        Self { measures: Measures::new(policy), state: LimitState::Held(LimitWords::own()) }
    }

    /// A replica of the limit whose state lies in `words`; there must be [`WORDS`] of them.
    pub fn shared(policy: &RateLimitPolicy, words: Arc<dyn Words>) -> Self {
        Self { measures: Measures::new(policy), state: LimitState::Held(LimitWords::Shared(words)) }
    }

    /// A replica that leases its tokens from `account`. [`RateLimit::give_back_lease`] is to be called
    /// from time to time.
    pub fn leased(policy: &RateLimitPolicy, account: Arc<dyn Account>) -> Self {
        Self { measures: Measures::new(policy), state: Lease::new(account).into() }
    }

    /// How many tokens a worker leases at most.
    pub fn batch(&self) -> u32 {
        self.measures.bucket.batch()
    }

    /// Gives back what is left of a lease whose time is over. Whether something is left of one.
    pub fn give_back_lease(&mut self, now: Instant) -> bool {
        self.state.give_back_lease(&self.measures, now)
    }

    /// Whether a call may pass now. It takes nothing; a call that finds the bucket empty is noted as
    /// one that exceeds the limit.
    ///
    /// # Errors
    /// The limit is exceeded, and nothing is left of a burst budget.
    #[inline]
    pub fn peek(&mut self, now: Instant) -> Result<(), Exceeded> {
        self.state.peek(&self.measures, now)
    }

    /// Takes a token.
    ///
    /// # Errors
    /// As [`RateLimit::peek`]; behind a `peek` at the same time only where another worker took the
    /// last one.
    #[inline]
    pub fn commit(&mut self, now: Instant) -> Result<Token, Exceeded> {
        self.state.commit(&self.measures, now)
    }

    /// Gives back a token that was taken and not used.
    pub fn give_back(&mut self, now: Instant, token: Token) {
        self.state.give_back(&self.measures, now, token);
    }

    /// How many calls would pass now, the burst budget left out.
    pub fn remaining(&self, now: Instant) -> u32 {
        self.measures.remaining(self.state.seen(), now).saturating_add(self.state.tokens())
    }

    /// How full the bucket is, from 0 to 1.
    pub fn fill(&self, now: Instant) -> f64 {
        self.measures.fill(self.state.seen(), now)
    }

    /// How long until the bucket is full, if nobody takes a token.
    pub fn until_full(&self, now: Instant) -> Duration {
        self.measures.until_full(self.state.seen(), now)
    }

    /// Whether it may be forgotten: a new one would be the same.
    pub fn is_idle(&self, now: Instant) -> bool {
        self.state.is_idle(&self.measures, now)
    }
}

#[cfg(test)]
mod tests;
