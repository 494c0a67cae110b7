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
//! workers.

mod bucket;
mod burst;

use crate::board::{self, Words};
use crate::time::{Duration, Instant};
use alloc::sync::Arc;
use bucket::Bucket;
pub use bucket::Rate;
use burst::Budget;
pub use burst::BurstPolicy;

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
    bucket: Bucket,
    budget: Option<Budget>,
    words: LimitWords,
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

/// The words of a limit, by their place.
#[derive(Clone, Debug)]
enum LimitWords {
    /// One worker has them for itself.
    Own([u64; WORDS]),
    /// All workers share them.
    Shared(Arc<dyn Words>),
}

/// By how much workers' clocks may differ. A time that is further ahead was written by a clock that
/// jumped.
const AHEAD: Duration = Duration::from_secs(1);

/// How many words a limit needs on a board.
pub const WORDS: usize = 3;

/// When the bucket is full again.
const BUCKET: usize = 0;
/// What was taken of the burst budget, and when that began.
const BURST: usize = 1;
/// When the limit was last exceeded.
const LAST_EXCEEDED: usize = 2;

impl LimitWords {
    #[inline]
    fn load(&self, index: usize) -> u64 {
        match self {
            Self::Own(words) => words.get(index).copied().unwrap_or(0),
            Self::Shared(words) => words.load(index),
        }
    }

    /// Makes of a word what `change` says, however often others change it meanwhile; gives the new
    /// word. None where `change` gives none.
    #[inline]
    fn update(&mut self, index: usize, change: impl Fn(u64) -> Option<u64>) -> Option<u64> {
        match self {
            Self::Own(words) => {
                let word = words.get_mut(index)?;
                *word = change(*word)?;
                Some(*word)
            }
            Self::Shared(words) => board::update(&**words, index, change),
        }
    }
}

impl RateLimit {
    /// A full limit that one worker has for itself.
    pub fn new(policy: &RateLimitPolicy) -> Self {
        Self::with_words(policy, LimitWords::Own([0; WORDS]))
    }

    /// A replica of the limit whose state lies in `words`; there must be [`WORDS`] of them.
    pub fn shared(policy: &RateLimitPolicy, words: Arc<dyn Words>) -> Self {
        Self::with_words(policy, LimitWords::Shared(words))
    }

    fn with_words(policy: &RateLimitPolicy, words: LimitWords) -> Self {
        let bucket = Bucket::new(policy.rate, policy.capacity);
        Self { bucket, budget: policy.burst.map(Budget::new), words }
    }

    /// Whether a call may pass now. It takes nothing; a call that finds the bucket empty is noted as
    /// one that exceeds the limit.
    ///
    /// # Errors
    /// The limit is exceeded, and nothing is left of a burst budget.
    #[inline]
    pub fn peek(&mut self, now: Instant) -> Result<(), Exceeded> {
        match self.bucket.after_taking(self.words.load(BUCKET), now) {
            Some(_) => Ok(()),
            None => self.exceeds(now, false).map(drop),
        }
    }

    /// Takes a token.
    ///
    /// # Errors
    /// As [`RateLimit::peek`]; behind a `peek` at the same time only where another worker took the
    /// last one.
    #[inline]
    pub fn commit(&mut self, now: Instant) -> Result<Token, Exceeded> {
        let bucket = self.bucket;
        match self.words.update(BUCKET, |word| bucket.after_taking(word, now)) {
            Some(_) => Ok(Token { burst: None }),
            None => self.exceeds(now, true),
        }
    }

    /// Gives back a token that was taken and not used.
    pub fn give_back(&mut self, now: Instant, token: Token) {
        let bucket = self.bucket;
        match token.burst {
            Some(since) => self.words.update(BURST, |word| burst::after_giving_back(word, since)),
            None => self.words.update(BUCKET, |word| Some(bucket.after_giving_back(word, now))),
        };
    }

    /// How many calls would pass now, the burst budget left out.
    pub fn remaining(&self, now: Instant) -> u32 {
        self.bucket.tokens(self.words.load(BUCKET), now)
    }

    /// How full the bucket is, from 0 to 1.
    pub fn fill(&self, now: Instant) -> f64 {
        self.bucket.fill(self.words.load(BUCKET), now)
    }

    /// How long until the bucket is full, if nobody takes a token.
    pub fn until_full(&self, now: Instant) -> Duration {
        self.bucket.until_full(self.words.load(BUCKET), now)
    }

    /// Whether it may be forgotten: a new one would be the same.
    pub fn is_idle(&self, now: Instant) -> bool {
        let is_whole = self.budget.as_ref().is_none_or(|budget| {
            budget.is_whole(self.words.load(BURST), self.words.load(LAST_EXCEEDED), now)
        });
        is_whole && self.until_full(now).is_zero()
    }

    /// The bucket is empty: the burst budget decides. Where it is whole again, that is written down
    /// before this exceeding is noted: whether it is whole goes by the exceeding before.
    #[cold]
    fn exceeds(&mut self, now: Instant, takes: bool) -> Result<Token, Exceeded> {
        let bucket = self.bucket;
        self.words.update(BUCKET, |word| bucket.mended(word, now));
        let until = bucket.has_token_at(self.words.load(BUCKET), now);
        let Some(budget) = self.budget else {
            return Err(Exceeded { until });
        };
        let (spent, before) = (self.words.load(BURST), self.words.load(LAST_EXCEEDED));
        if budget.is_whole(spent, before, now) && spent != burst::WHOLE {
            // Where another worker was faster, it is whole by that one.
            self.words.update(BURST, |word| (word == spent).then_some(burst::WHOLE));
        }
        self.words.update(LAST_EXCEEDED, |word| Some(burst::exceeded_at(word, now)));
        let left = if takes {
            self.words.update(BURST, |word| budget.after_taking(word, now))
        } else {
            budget.after_taking(self.words.load(BURST), now)
        };
        match left {
            Some(word) => Ok(Token { burst: Some(burst::since(word)) }),
            None => Err(Exceeded { until }),
        }
    }
}

#[cfg(test)]
mod tests;
