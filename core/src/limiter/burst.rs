//! The burst budget: tokens for short peaks, in a word that says how many are gone and since when.
//!
//! Times are whole milliseconds here, so that both fit.

use super::AHEAD;
use crate::time::{Duration, Instant};

/// A budget for short peaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BurstPolicy {
    /// So many tokens, up to [`BurstPolicy::MOST`].
    pub tokens: u32,
    /// What is left so long after the first one was taken is void.
    pub expires: Duration,
    /// The budget is whole again so long after the limit was last exceeded.
    pub recovers_after: Duration,
}

impl BurstPolicy {
    /// The most tokens that a budget can have.
    pub const MOST: u32 = (1 << SPENT_BITS) - 1;
}

const SPENT_BITS: u32 = 24;

/// A budget's measures, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    tokens: u64,
    expires: u64,
    recovers: u64,
}

/// What a word says.
#[derive(Clone, Copy)]
struct Spent {
    /// Tokens that are gone; 0 means that the budget is whole.
    tokens: u64,
    /// When the first was taken.
    since: u64,
}

/// The word of a budget of which nothing is gone.
pub(super) const WHOLE: u64 = 0;

impl Spent {
    const fn unpack(word: u64) -> Self {
        Self { tokens: word & BurstPolicy::MOST as u64, since: word >> SPENT_BITS }
    }

    const fn pack(self) -> u64 {
        self.since << SPENT_BITS | self.tokens
    }
}

/// Whole milliseconds; 34 years fit beside the tokens.
const fn millis(now: Instant) -> u64 {
    let most = u64::MAX >> SPENT_BITS;
    let millis = now.as_nanos() / 1_000_000;
    if millis < most { millis } else { most }
}

/// The word of the last exceeding, once another one comes: one more than its millisecond, because 0
/// is never.
pub(super) fn exceeded_at(word: u64, now: Instant) -> u64 {
    let now = millis(now) + 1;
    if word > now.saturating_add(AHEAD.as_millis()) { now } else { word.max(now) }
}

/// When the budget of this word began.
pub(super) const fn since(word: u64) -> u64 {
    Spent::unpack(word).since
}

/// The budget's word behind a token that came back of the budget that began then; none where that one
/// is over.
pub(super) fn after_giving_back(word: u64, since: u64) -> Option<u64> {
    let spent = Spent::unpack(word);
    if spent.since != since {
        return None;
    }
    match spent.tokens {
        0 => None,
        1 => Some(WHOLE),
        tokens => Some(Spent { tokens: tokens - 1, ..spent }.pack()),
    }
}

impl Budget {
    pub(super) fn new(policy: BurstPolicy) -> Self {
        Self {
            tokens: u64::from(policy.tokens.min(BurstPolicy::MOST)),
            expires: policy.expires.as_millis_ceil(),
            recovers: policy.recovers_after.as_millis_ceil(),
        }
    }

    /// Whether all of it is there. Its own beginning counts as well: whoever began it anew may not
    /// have noted the exceeding yet.
    pub(super) fn is_whole(&self, word: u64, last_exceeded: u64, now: Instant) -> bool {
        let Spent { tokens, since } = Spent::unpack(word);
        let last = last_exceeded.saturating_sub(1).max(since);
        let now = millis(now);
        tokens == 0
            || now >= last.saturating_add(self.recovers)
            || last > now.saturating_add(AHEAD.as_millis())
    }

    /// When all of it is there again, if the limit is not exceeded any more; none where it is there.
    pub(super) fn is_whole_at(&self, word: u64, last_exceeded: u64) -> Option<Instant> {
        let Spent { tokens, since } = Spent::unpack(word);
        let last = last_exceeded.saturating_sub(1).max(since);
        (tokens > 0).then(|| Instant::from_millis(last.saturating_add(self.recovers)))
    }

    /// The word behind a taken token; none where nothing is left, or what is left is void.
    pub(super) fn after_taking(&self, word: u64, now: Instant) -> Option<u64> {
        let Spent { tokens, since } = match word {
            WHOLE => Spent { tokens: 0, since: millis(now) },
            word => Spent::unpack(word),
        };
        let is_void = word != WHOLE && millis(now) >= since.saturating_add(self.expires);
        (tokens < self.tokens && !is_void).then(|| Spent { tokens: tokens + 1, since }.pack())
    }
}
