//! What a limit allows, apart from its state: many keys have the same measures.

use super::bucket::Bucket;
use super::burst::{self, Budget};
use super::{Exceeded, LimitWords, RateLimitPolicy, Token, WORDS};
use crate::concurrency::queue::QueuePolicy;
use crate::time::{Duration, Instant};

/// When the bucket is full again.
pub(super) const BUCKET: usize = 0;
/// What was taken of the burst budget, and when that began.
const BURST: usize = 1;
/// When the limit was last exceeded.
pub(super) const LAST_EXCEEDED: usize = 2;

/// The measures of a limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measures {
    pub(super) bucket: Bucket,
    pub(super) budget: Option<Budget>,
}

impl Measures {
    pub(super) fn new(policy: &RateLimitPolicy) -> Self {
        let bucket = Bucket::new(policy.rate, policy.capacity);
        Self { bucket, budget: policy.burst.map(Budget::new) }
    }

    /// The same, with calls that wait for tokens.
    pub(super) fn with_queue(self, queue: &QueuePolicy) -> Self {
        Self { bucket: self.bucket.with_queue(queue.max, queue.max_wait), ..self }
    }

    /// When it would be the turn of a call that waits; none where it may not, or not for `longest`.
    pub(super) fn peek_turn(
        &self,
        words: &LimitWords,
        now: Instant,
        longest: Duration,
    ) -> Option<Instant> {
        let word = self.bucket.after_a_turn(words.load(BUCKET), now, longest)?;
        Some(self.bucket.turn_at(word))
    }

    /// Takes the token that a call waits for, and tells when it comes.
    pub(super) fn take_turn(
        &self,
        words: &mut LimitWords,
        now: Instant,
        longest: Duration,
    ) -> Option<(Token, Instant)> {
        let word = words.update(BUCKET, |word| self.bucket.after_a_turn(word, now, longest))?;
        Some((Token { burst: None }, self.bucket.turn_at(word)))
    }

    /// See [`RateLimit::peek`](super::RateLimit::peek).
    #[inline]
    pub(super) fn peek(&self, words: &mut LimitWords, now: Instant) -> Result<(), Exceeded> {
        match self.bucket.after_taking(words.load(BUCKET), now) {
            Some(_) => Ok(()),
            None => self.exceeds(words, now, false).map(drop),
        }
    }

    /// See [`RateLimit::commit`](super::RateLimit::commit).
    #[inline]
    pub(super) fn commit(&self, words: &mut LimitWords, now: Instant) -> Result<Token, Exceeded> {
        match words.update(BUCKET, |word| self.bucket.after_taking(word, now)) {
            Some(_) => Ok(Token { burst: None }),
            None => self.exceeds(words, now, true),
        }
    }

    pub(super) fn give_back(&self, words: &mut LimitWords, now: Instant, token: Token) {
        match token.burst {
            Some(since) => words.update(BURST, |word| burst::after_giving_back(word, since)),
            None => words.update(BUCKET, |word| Some(self.bucket.after_giving_back(word, now))),
        };
    }

    pub(super) fn remaining(&self, words: &LimitWords, now: Instant) -> u32 {
        self.bucket.tokens(words.load(BUCKET), now)
    }

    pub(super) fn fill(&self, words: &LimitWords, now: Instant) -> f64 {
        self.bucket.fill(words.load(BUCKET), now)
    }

    pub(super) fn until_full(&self, words: &LimitWords, now: Instant) -> Duration {
        self.bucket.until_full(words.load(BUCKET), now)
    }

    pub(super) fn is_idle(&self, words: &LimitWords, now: Instant) -> bool {
        let is_whole = self.budget.as_ref().is_none_or(|budget| {
            budget.is_whole(words.load(BURST), words.load(LAST_EXCEEDED), now)
        });
        is_whole && self.until_full(words, now).is_zero()
    }

    /// From when these words mean no more than those of a full limit.
    pub(super) fn idle_at(&self, words: &[u64; WORDS]) -> Instant {
        let [bucket, spent, exceeded] = *words;
        let whole_at = self.budget.as_ref().and_then(|budget| budget.is_whole_at(spent, exceeded));
        Bucket::is_full_at(bucket).max(whole_at.unwrap_or(Instant::ZERO))
    }

    /// Notes that the limit was exceeded then.
    pub(super) fn note(&self, words: &mut LimitWords, at: Instant) {
        if let Some(budget) = &self.budget {
            note_exceeded(budget, words, at);
        }
    }

    /// The bucket is empty: the burst budget decides.
    #[cold]
    pub(super) fn exceeds(
        &self,
        words: &mut LimitWords,
        now: Instant,
        takes: bool,
    ) -> Result<Token, Exceeded> {
        words.update(BUCKET, |word| self.bucket.mended(word, now));
        let until = self.bucket.has_token_at(words.load(BUCKET), now);
        let Some(budget) = self.budget else {
            return Err(Exceeded { until });
        };
        note_exceeded(&budget, words, now);
        let left = if takes {
            words.update(BURST, |word| budget.after_taking(word, now))
        } else {
            budget.after_taking(words.load(BURST), now)
        };
        match left {
            Some(word) => Ok(Token { burst: Some(burst::since(word)) }),
            None => Err(Exceeded { until }),
        }
    }
}

/// Where the budget is whole again, that is written down before this exceeding is noted: whether it is
/// whole goes by the exceeding before.
fn note_exceeded(budget: &Budget, words: &mut LimitWords, now: Instant) {
    let (spent, before) = (words.load(BURST), words.load(LAST_EXCEEDED));
    if budget.is_whole(spent, before, now) && spent != burst::WHOLE {
        // Where another worker was faster, it is whole by that one.
        words.update(BURST, |word| (word == spent).then_some(burst::WHOLE));
    }
    words.update(LAST_EXCEEDED, |word| Some(burst::exceeded_at(word, now)));
}
