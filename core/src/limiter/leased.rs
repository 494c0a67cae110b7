//! The state of a limit as one worker has it: words, or a lease.
//!
//! A lease is a batch of tokens that were taken from the [account](crate::board::account) at once. It grows
//! where it is used up before its time, up to [`RateLimit::batch`](super::RateLimit::batch), and shrinks to
//! what was used where it is not. A worker that ends keeps its tokens: the bucket is refilled anyway.
//!
//! With `n` workers and a batch of `b`, in any stretch of time no more than `n·b` calls are admitted beyond
//! what one bucket allows, and while all workers ask for tokens no fewer than `n·b` below it. A call may be
//! turned away while others have up to `(n − 1)·b` tokens that they do not use, for [`LEASE`] at most. The
//! burst budget is taken token by token; that the limit is exceeded is written down once in [`FRESH`], so the
//! budget may be whole so much too early.

use super::measures::{BUCKET, LAST_EXCEEDED, Measures};
use super::{Exceeded, LimitWords, Token, WORDS};
use crate::board::account::{Account, FRESH, LEASE, exchange};
use crate::time::Instant;
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// What one worker has of a limit.
#[derive(Clone, Debug)]
pub(super) enum LimitState {
    /// Words, of this worker or of all.
    Held(LimitWords),
    /// A lease.
    Leased(Box<Lease>),
}

/// A worker's lease.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    account: Arc<dyn Account>,
    /// What the account said last, with what was noted since.
    seen: LimitWords,
    seen_at: Instant,
    /// Tokens that are not used.
    tokens: u32,
    /// How many are taken next time.
    batch: u32,
    /// When they go back.
    until: Instant,
    /// Before this the account is not asked again: it had no batch.
    asks_at: Instant,
    /// When the limit was exceeded first since the account was told.
    noted: Option<Instant>,
    /// Whether the table of keys knows that there may be tokens.
    is_listed: bool,
}

impl From<Lease> for LimitState {
    fn from(lease: Lease) -> Self {
        Self::Leased(Box::new(lease))
    }
}

impl LimitState {
    /// See [`RateLimit::peek`](super::RateLimit::peek).
    #[inline]
    pub(super) fn peek(&mut self, measures: &Measures, now: Instant) -> Result<(), Exceeded> {
        match self {
            Self::Held(words) => measures.peek(words, now),
            Self::Leased(lease) => lease.peek(measures, now),
        }
    }

    /// See [`RateLimit::commit`](super::RateLimit::commit).
    #[inline]
    pub(super) fn commit(&mut self, measures: &Measures, now: Instant) -> Result<Token, Exceeded> {
        match self {
            Self::Held(words) => measures.commit(words, now),
            Self::Leased(lease) => lease.commit(measures, now),
        }
    }

    pub(super) fn give_back(&mut self, measures: &Measures, now: Instant, token: Token) {
        match self {
            Self::Held(words) => measures.give_back(words, now, token),
            Self::Leased(lease) => lease.give_back(measures, now, token),
        }
    }

    /// See [`RateLimit::give_back_lease`](super::RateLimit::give_back_lease).
    pub(super) fn give_back_lease(&mut self, measures: &Measures, now: Instant) -> bool {
        match self {
            Self::Held(_) => false,
            Self::Leased(lease) => lease.end(measures, now),
        }
    }

    /// The words of the limit, as far as this worker knows them.
    pub(super) const fn seen(&self) -> &LimitWords {
        match self {
            Self::Held(words) => words,
            Self::Leased(lease) => &lease.seen,
        }
    }

    /// The words, where calls can wait for tokens: whoever leases cannot take those that are to come.
    pub(super) const fn held_mut(&mut self) -> Option<&mut LimitWords> {
        match self {
            Self::Held(words) => Some(words),
            Self::Leased(_) => None,
        }
    }

    /// Tokens that are leased and not used.
    pub(super) const fn tokens(&self) -> u32 {
        match self {
            Self::Held(_) => 0,
            Self::Leased(lease) => lease.tokens,
        }
    }

    /// Whether the limit may be forgotten: a new one would be the same.
    pub(super) fn is_idle(&self, measures: &Measures, now: Instant) -> bool {
        self.tokens() == 0 && measures.is_idle(self.seen(), now)
    }

    /// Whether there are tokens that the table of keys does not know of; said once.
    #[inline]
    pub(super) fn is_to_be_listed(&mut self) -> bool {
        match self {
            Self::Leased(lease) if lease.tokens > 0 => {
                !core::mem::replace(&mut lease.is_listed, true)
            }
            _ => false,
        }
    }

    /// The table of keys knows it no more.
    pub(super) fn unlist(&mut self) {
        if let Self::Leased(lease) = self {
            lease.is_listed = false;
        }
    }
}

impl Lease {
    /// None yet.
    pub(super) fn new(account: Arc<dyn Account>) -> Self {
        Self {
            account,
            seen: LimitWords::own(),
            seen_at: Instant::ZERO,
            tokens: 0,
            batch: 1,
            until: Instant::ZERO,
            asks_at: Instant::ZERO,
            noted: None,
            is_listed: false,
        }
    }

    fn peek(&mut self, measures: &Measures, now: Instant) -> Result<(), Exceeded> {
        if self.has_token(measures, now) {
            return Ok(());
        }
        self.exceeds(measures, now, false).map(drop)
    }

    fn commit(&mut self, measures: &Measures, now: Instant) -> Result<Token, Exceeded> {
        if self.has_token(measures, now) {
            self.tokens -= 1;
            return Ok(Token { burst: None });
        }
        self.exceeds(measures, now, true)
    }

    fn give_back(&mut self, measures: &Measures, now: Instant, token: Token) {
        match token.burst {
            Some(_) => self.change(measures, now, |words| {
                measures.give_back(words, now, Token { burst: token.burst });
            }),
            None => {
                if self.tokens == 0 {
                    self.until = now + LEASE;
                }
                self.tokens = self.tokens.saturating_add(1);
                if self.tokens > measures.bucket.batch() {
                    self.put_back(measures, now);
                }
            }
        }
    }

    #[inline]
    fn has_token(&mut self, measures: &Measures, now: Instant) -> bool {
        if self.tokens > 0 && now < self.until {
            return true;
        }
        // A clock that came back from ahead must not have the account left alone for long.
        let waits = now < self.asks_at && self.asks_at.since(now) <= LEASE;
        if self.tokens > 0 || !waits {
            self.renew(measures, now);
        }
        self.tokens > 0
    }

    /// Gives back what is left, and takes a batch.
    #[cold]
    fn renew(&mut self, measures: &Measures, now: Instant) {
        let (unused, left) = (self.tokens, self.left(measures, now));
        let most = measures.bucket.batch();
        let batch = match unused {
            0 if now < self.until => self.batch.saturating_mul(2).min(most),
            0 => self.batch.min(most),
            _ => self.batch.saturating_sub(unused).max(1),
        };
        let (taken, asks_at) = self.change(measures, now, |words| {
            let bucket = &measures.bucket;
            words.update(BUCKET, |word| bucket.mended(word, now));
            let word = bucket.after_giving_back_all(words.load(BUCKET), now, left);
            let (word, taken) = bucket.after_taking_up_to(word, now, batch);
            words.update(BUCKET, |_| Some(word));
            // A whole batch again, or each of them would come alone.
            (taken, bucket.has_tokens_at(word, now, most))
        });
        (self.tokens, self.batch, self.until) = (taken, batch, now + LEASE);
        self.asks_at = if taken < batch { asks_at.min(now + LEASE) } else { now };
    }

    /// Gives back what is left of it, where its time is over. Whether something is left.
    fn end(&mut self, measures: &Measures, now: Instant) -> bool {
        if self.tokens > 0 && now >= self.until {
            self.batch = self.batch.saturating_sub(self.tokens).max(1);
            self.put_back(measures, now);
        }
        self.tokens > 0
    }

    /// How many tokens there are to give back. Those of a lease that is as old as a bucket takes to be full are
    /// void: it is full without them.
    fn left(&self, measures: &Measures, now: Instant) -> u32 {
        let is_void = now >= self.until && now.since(self.until) >= measures.bucket.fill_time();
        if is_void { 0 } else { self.tokens }
    }

    fn put_back(&mut self, measures: &Measures, now: Instant) {
        let left = self.left(measures, now);
        self.tokens = 0;
        self.change(measures, now, |words| {
            let bucket = &measures.bucket;
            words.update(BUCKET, |word| Some(bucket.after_giving_back_all(word, now, left)));
        });
    }

    /// There is no token: the burst budget decides.
    #[cold]
    fn exceeds(
        &mut self,
        measures: &Measures,
        now: Instant,
        takes: bool,
    ) -> Result<Token, Exceeded> {
        let asks_at = self.asks_at;
        let is_fresh = self.seen_at <= now && now.since(self.seen_at) < FRESH;
        let is_decided = match measures.budget {
            None => true,
            // By what was seen a moment ago nothing is left, or it is only asked whether there is.
            Some(_) if is_fresh => !takes || measures.exceeds(&mut self.seen, now, false).is_err(),
            Some(_) => false,
        };
        let result = if is_decided {
            self.noted.get_or_insert(now);
            measures.exceeds(&mut self.seen, now, takes)
        } else {
            self.change(measures, now, |words| measures.exceeds(words, now, takes))
        };
        result.map_err(|Exceeded { until }| Exceeded { until: until.max(asks_at) })
    }

    /// Changes the account.
    fn change<R>(
        &mut self,
        measures: &Measures,
        now: Instant,
        mut change: impl FnMut(&mut LimitWords) -> R,
    ) -> R {
        let (noted, exceeded) = (self.noted.take(), self.seen.load(LAST_EXCEEDED));
        let mut words: Vec<u64> = (0..WORDS).map(|index| self.seen.load(index)).collect();
        let result = exchange(&*self.account, now, &mut words, |words| {
            let mut own = [0; WORDS];
            own.iter_mut().zip(&*words).for_each(|(own, word)| *own = *word);
            let mut held = LimitWords::Own(own);
            // What was noted here alone. Whether the budget was whole goes by the first of it.
            if let Some(noted) = noted {
                measures.note(&mut held, noted);
                held.update(LAST_EXCEEDED, |word| (exceeded > word).then_some(exceeded));
            }
            let result = change(&mut held);
            let own = core::array::from_fn(|index| held.load(index));
            words.clear();
            words.extend(own);
            (result, measures.idle_at(&own))
        });
        words.iter().enumerate().for_each(|(index, word)| {
            self.seen.update(index, |_| Some(*word));
        });
        self.seen_at = now;
        result
    }
}
