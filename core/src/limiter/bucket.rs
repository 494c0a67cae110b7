//! The token bucket as one word: when it will be full again.
//!
//! That is GCRA (ITU-T I.371, the "theoretical arrival time"): a token that is taken moves the time
//! by what a token takes to flow in, and there is a token where the time is no further away than a
//! full bucket takes. One word can be shared by compare-and-swap, and an idle bucket needs no
//! attention.

use super::AHEAD;
use crate::board::account::FRESH;
use crate::time::{Duration, Instant};

/// How fast tokens flow in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    /// So many tokens; at least 1.
    pub tokens: u32,
    /// In so much time; at least 1 ns.
    pub period: Duration,
}

/// Parts of a nanosecond that times are counted in: at 10 million tokens a second the rate is exact
/// to a third of a thousandth. 36 years fit in a word.
const PARTS: u64 = 16;

/// A bucket's measures, in parts of a nanosecond.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    /// What a token takes to flow in.
    token: u64,
    /// What an empty bucket takes to be full.
    whole: u64,
    /// How far it may be overdrawn, by calls that wait for tokens that are still to come.
    debt: u64,
}

fn parts(now: Instant) -> u64 {
    now.as_nanos().saturating_mul(PARTS)
}

fn span(span: Duration) -> u64 {
    span.as_nanos().saturating_mul(PARTS)
}

impl Bucket {
    pub(super) fn new(rate: Rate, capacity: u32) -> Self {
        let period = u128::from(rate.period.as_nanos()) * u128::from(PARTS);
        let tokens = u128::from(rate.tokens.max(1));
        let token = (period + tokens / 2) / tokens;
        // Half of the range, so that no sum with a sane clock saturates.
        let most = u64::MAX / 2;
        let token = u64::try_from(token).unwrap_or(most).clamp(1, most);
        let whole = token.saturating_mul(u64::from(capacity.max(1))).min(most);
        Self { token, whole, debt: 0 }
    }

    /// The same bucket, whose next tokens so many calls may wait for, none longer than that.
    pub(super) fn with_queue(self, calls: u32, longest: Duration) -> Self {
        let calls = self.token.saturating_mul(u64::from(calls));
        let debt = calls.min(span(longest)).min(u64::MAX / 4);
        Self { debt, ..self }
    }

    /// When the bucket is full, never in the past and never later than one that is overdrawn as far as it
    /// may be.
    fn full_at(&self, word: u64, now: u64) -> u64 {
        word.clamp(now, now.saturating_add(self.whole).saturating_add(self.debt))
    }

    /// The word behind a taken token; none where the bucket has none.
    #[inline]
    pub(super) fn after_taking(&self, word: u64, now: Instant) -> Option<u64> {
        let now = parts(now);
        let taken = self.full_at(word, now).saturating_add(self.token);
        (taken <= now.saturating_add(self.whole)).then_some(taken)
    }

    /// The word behind as many tokens as there are, up to `most`, and how many those are.
    pub(super) fn after_taking_up_to(&self, word: u64, now: Instant, most: u32) -> (u64, u32) {
        let present = parts(now);
        let taken = self.tokens(word, now).min(most);
        let full_at = self.full_at(word, present);
        (full_at.saturating_add(self.token.saturating_mul(u64::from(taken))), taken)
    }

    /// The most tokens that a worker leases: what flows in within [`FRESH`], and no more than a sixteenth
    /// of the bucket.
    pub(super) fn batch(&self) -> u32 {
        let flows = span(FRESH) / self.token;
        let most = flows.min(self.whole / self.token / 16).max(1);
        u32::try_from(most).unwrap_or(u32::MAX)
    }

    /// What an empty bucket takes to be full.
    pub(super) const fn fill_time(&self) -> Duration {
        Duration::from_nanos(self.whole / PARTS)
    }

    /// The word behind a token that is still to come, for a call that waits for it; none where that is
    /// later than `longest` from now, or others wait for as many as may be.
    pub(super) fn after_a_turn(&self, word: u64, now: Instant, longest: Duration) -> Option<u64> {
        let now = parts(now);
        let taken = self.full_at(word, now).saturating_add(self.token);
        let debt = self.debt.min(span(longest));
        (taken <= now.saturating_add(self.whole).saturating_add(debt)).then_some(taken)
    }

    /// When the token comes whose taking left this word.
    pub(super) fn turn_at(&self, word: u64) -> Instant {
        Instant::from_nanos(word.saturating_sub(self.whole).div_ceil(PARTS))
    }

    /// The word behind a token that came back.
    pub(super) fn after_giving_back(&self, word: u64, now: Instant) -> u64 {
        self.after_giving_back_all(word, now, 1)
    }

    /// The word behind so many tokens that came back.
    pub(super) fn after_giving_back_all(&self, word: u64, now: Instant, tokens: u32) -> u64 {
        let back = self.token.saturating_mul(u64::from(tokens));
        self.full_at(word, parts(now)).saturating_sub(back)
    }

    /// Corrects a word that lies too far ahead for any of our clocks: one that jumped ahead and came back
    /// has emptied the bucket, and no more than that. Without [`AHEAD`] each look of a worker whose clock
    /// is late would give back a few tokens.
    pub(super) fn mended(&self, word: u64, now: Instant) -> Option<u64> {
        let empty = parts(now).saturating_add(self.whole).saturating_add(self.debt);
        (word > empty.saturating_add(PARTS * AHEAD.as_nanos())).then_some(empty)
    }

    /// When there is a token.
    pub(super) fn has_token_at(&self, word: u64, now: Instant) -> Instant {
        self.has_tokens_at(word, now, 1)
    }

    /// When there are so many tokens, no more than the bucket holds.
    pub(super) fn has_tokens_at(&self, word: u64, now: Instant, tokens: u32) -> Instant {
        let full_at = self.full_at(word, parts(now));
        let wanted = self.token.saturating_mul(u64::from(tokens));
        let at = full_at.saturating_add(wanted).saturating_sub(self.whole);
        Instant::from_nanos(at.div_ceil(PARTS)).max(now)
    }

    /// When the bucket of this word is full.
    pub(super) const fn is_full_at(word: u64) -> Instant {
        Instant::from_nanos(word.div_ceil(PARTS))
    }

    /// Whole tokens in the bucket.
    pub(super) fn tokens(&self, word: u64, now: Instant) -> u32 {
        let now = parts(now);
        let missing = self.full_at(word, now) - now;
        u32::try_from((self.whole - missing.min(self.whole)) / self.token).unwrap_or(u32::MAX)
    }

    /// How full it is, from 0 to 1.
    pub(super) fn fill(&self, word: u64, now: Instant) -> f64 {
        let now = parts(now);
        let missing = self.full_at(word, now) - now;
        1.0 - missing.min(self.whole) as f64 / self.whole as f64
    }

    /// How long until it is full.
    pub(super) fn until_full(&self, word: u64, now: Instant) -> Duration {
        let now = parts(now);
        Duration::from_nanos((self.full_at(word, now) - now).div_ceil(PARTS))
    }
}
