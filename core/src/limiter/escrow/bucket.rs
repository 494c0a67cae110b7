//! A token bucket whose rate changes: it has a share of a rate, and as much of the capacity.

use super::WHOLE;
use crate::limiter::{AHEAD, Rate};
use crate::time::{Duration, Instant};

/// By how many parts shares that were divided and added up may be too small.
const ROUNDING: u128 = 8;

/// What the whole bucket is, of which each member has a share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) rate: Rate,
    capacity: u32,
}

/// Tokens of one member. They are counted in parts that are so small that no share of a rate has to be rounded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    level: u128,
    /// When it had that.
    at: Instant,
    /// What flowed in last.
    share: u32,
}

impl Size {
    pub(super) const fn new(rate: Rate, capacity: u32) -> Self {
        Self { rate, capacity }
    }

    fn period(&self) -> u128 {
        u128::from(self.rate.period.as_nanos().max(1))
    }

    /// How long the whole bucket takes to fill.
    pub(super) fn filling(&self) -> Duration {
        let span = self.period() * u128::from(self.capacity);
        let span = span.div_ceil(u128::from(self.rate.tokens.max(1)));
        Duration::from_nanos(u64::try_from(span).unwrap_or(u64::MAX))
    }

    /// The parts of a token.
    fn token(&self) -> u128 {
        self.period() * u128::from(WHOLE)
    }

    /// What flows in.
    fn flow(&self, span: Duration, share: u32) -> u128 {
        let parts = u128::from(span.as_nanos()) * u128::from(self.rate.tokens.max(1));
        parts.saturating_mul(u128::from(share))
    }

    /// The most that a bucket with this share holds: a token at least, or it would never have one.
    fn most(&self, share: u32) -> u128 {
        // A third of three tokens is one, though no third is a whole number of parts.
        let share = u128::from(share) + ROUNDING;
        (self.period() * u128::from(self.capacity)).saturating_mul(share).max(self.token())
    }
}

impl Bucket {
    /// A full one.
    pub(super) fn full(size: &Size, now: Instant, share: u32) -> Self {
        Self { level: size.most(share), at: now, share }
    }

    /// Lets tokens flow in until `now`. Between two looks it is the smaller of the two shares that flows: nobody
    /// knows when the one ended.
    pub(super) fn fill(&mut self, size: &Size, now: Instant, share: u32) {
        if self.at > now + AHEAD {
            // A clock that jumped ahead and came back.
            self.at = now;
        }
        let flow = size.flow(now.since(self.at), share.min(self.share));
        self.level = self.level.saturating_add(flow).min(size.most(share));
        self.at = self.at.max(now);
        self.share = share;
    }

    /// Adds what a full bucket of `share` has more than one of `before`.
    pub(super) fn top_up(&mut self, size: &Size, before: u32, share: u32) {
        let more = size.most(share).saturating_sub(size.most(before));
        self.level = self.level.saturating_add(more).min(size.most(share));
    }

    pub(super) fn has_token(&self, size: &Size) -> bool {
        self.level >= size.token()
    }

    pub(super) fn take(&mut self, size: &Size) {
        self.level = self.level.saturating_sub(size.token());
    }

    pub(super) fn give_back(&mut self, size: &Size) {
        self.level = self.level.saturating_add(size.token()).min(size.most(self.share));
    }

    /// How long until there is a token; the longest span where none flows.
    pub(super) fn until_token(&self, size: &Size) -> Duration {
        let missing = size.token().saturating_sub(self.level);
        let flow = size.flow(Duration::from_nanos(1), self.share);
        let span = missing.div_ceil(flow.max(1));
        if flow == 0 {
            Duration::MAX
        } else {
            Duration::from_nanos(u64::try_from(span).unwrap_or(u64::MAX))
        }
    }

    /// Nothing flows in from now on until the next look.
    pub(super) fn pause(&mut self) {
        self.share = 0;
    }

    /// Whether it has what one with this share holds.
    pub(super) fn is_full_for(&self, size: &Size, share: u32) -> bool {
        self.level >= size.most(share)
    }

    pub(super) fn is_full(&self, size: &Size) -> bool {
        self.is_full_for(size, self.share)
    }

    /// Whole tokens.
    pub(super) fn tokens(&self, size: &Size) -> u32 {
        u32::try_from(self.level / size.token()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn size(tokens: u32, capacity: u32) -> Size {
        Size::new(Rate { tokens, period: Duration::from_secs(1) }, capacity)
    }

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn drain(bucket: &mut Bucket, size: &Size) -> u32 {
        let mut taken = 0;
        while bucket.has_token(size) {
            bucket.take(size);
            taken += 1;
        }
        taken
    }

    #[test]
    fn a_share_of_the_rate_flows_and_a_share_of_the_capacity_is_held() {
        let size = size(100, 40);
        let mut bucket = Bucket::full(&size, at(0), WHOLE / 4);
        assert_eq!(drain(&mut bucket, &size), 10);
        bucket.fill(&size, at(200), WHOLE / 4);
        assert_eq!(drain(&mut bucket, &size), 5);
        bucket.fill(&size, at(100_000), WHOLE / 4);
        assert!(bucket.is_full(&size));
        assert_eq!(drain(&mut bucket, &size), 10);
    }

    #[test]
    fn a_larger_share_brings_no_tokens_and_a_smaller_one_takes_what_is_too_much() {
        let size = size(100, 40);
        let mut bucket = Bucket::full(&size, at(0), WHOLE / 4);
        bucket.fill(&size, at(0), WHOLE);
        assert_eq!(bucket.tokens(&size), 10);
        bucket.fill(&size, at(100), WHOLE / 4);
        assert_eq!(bucket.tokens(&size), 10, "what the smaller share brought is too much already");
        bucket.fill(&size, at(100), WHOLE / 40);
        assert_eq!(drain(&mut bucket, &size), 1);
    }

    #[test]
    fn the_smallest_share_has_a_token_at_times() {
        let size = size(1, 1);
        let mut bucket = Bucket::full(&size, at(0), WHOLE / 8);
        assert_eq!(drain(&mut bucket, &size), 1);
        assert_eq!(bucket.until_token(&size), Duration::from_secs(8));
        bucket.fill(&size, at(7_999), WHOLE / 8);
        assert!(!bucket.has_token(&size));
        bucket.fill(&size, at(8_000), WHOLE / 8);
        assert!(bucket.has_token(&size));
    }

    #[test]
    fn no_number_breaks_it() {
        let rate = Rate { tokens: u32::MAX, period: Duration::MAX };
        let size = Size::new(rate, u32::MAX);
        let mut bucket = Bucket::full(&size, at(0), u32::MAX);
        bucket.take(&size);
        bucket.fill(&size, Instant::FAR_FUTURE, u32::MAX);
        bucket.fill(&size, at(0), 0);
        assert_eq!(bucket.until_token(&Size::new(rate, 1)), Duration::MAX);
        bucket.give_back(&size);
        bucket.top_up(&size, 0, u32::MAX);
        assert!(bucket.has_token(&size));
    }
}
