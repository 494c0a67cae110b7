//! A window whose counts go to other processes as well: beside the window that decides here, what this
//! worker counted for [a store far away](crate::board::far).
//!
//! It is a window of its own so that calls of breakers that share nothing far away pay nothing.

use super::{Tally, TimeBuckets, Window};
use crate::board::far::{Buckets, Streak};
use crate::policy::WindowSize;
use crate::time::{Duration, Instant};

/// A window of a breaker with `share: mesh`.
#[derive(Clone, Debug)]
pub struct MeshWindow {
    /// What decides here; none where there is no such condition.
    inner: Option<Window>,
    /// What this worker counted itself. None for a window of calls, which stays with its worker.
    own: Option<TimeBuckets>,
    streak: OwnStreak,
    has_news: bool,
}

/// Bad results since the last other one.
#[derive(Clone, Debug, Default)]
struct OwnStreak {
    count: u32,
    first: Instant,
    last: Instant,
    good: Option<Instant>,
}

impl MeshWindow {
    /// Around `inner`, which was made for `size`.
    pub(super) fn new(size: Option<WindowSize>, inner: Option<Window>) -> Self {
        let own = match size {
            Some(WindowSize::Time(span)) => Some(TimeBuckets::new(span)),
            _ => None,
        };
        Self { inner, own, streak: OwnStreak::default(), has_news: false }
    }

    pub(super) fn record(&mut self, now: Instant, bad: bool) -> Tally {
        self.has_news = true;
        if let Some(own) = &mut self.own {
            own.record(now, bad);
        }
        self.streak.add(now, bad);
        self.inner.as_mut().map_or_else(Tally::default, |inner| inner.record(now, bad))
    }

    pub(super) const fn inner(&self) -> Option<&Window> {
        self.inner.as_ref()
    }

    pub(super) const fn inner_mut(&mut self) -> Option<&mut Window> {
        self.inner.as_mut()
    }

    /// Whether anything was counted since this was asked last.
    pub fn take_news(&mut self) -> bool {
        core::mem::take(&mut self.has_news)
    }

    /// What was counted here, for a [`Delta`](crate::board::far::Delta).
    pub fn own_counts(&mut self, now: Instant) -> (Streak, Buckets) {
        let mut buckets = Buckets::default();
        self.streak.come_back(now);
        if let Some(own) = &mut self.own {
            own.come_back(now);
            (buckets.width, buckets.newest, buckets.counts) = own.buckets(now);
        }
        (self.streak.ages(now), buckets)
    }

    /// Whether there is a last result, and it was good.
    pub const fn is_last_good(&self) -> bool {
        self.streak.count == 0 && self.streak.good.is_some()
    }

    /// Forgets what was counted here, as all replicas do. `good` is when the last good result was, where that
    /// is known.
    pub fn restart(&mut self, good: Option<Instant>) {
        if let Some(own) = &mut self.own {
            own.clear();
        }
        self.streak = OwnStreak { good, ..OwnStreak::default() };
        self.has_news = true;
    }
}

impl OwnStreak {
    fn add(&mut self, now: Instant, bad: bool) {
        if !bad {
            self.count = 0;
            self.good = Some(now);
            return;
        }
        if self.count == 0 {
            self.first = now;
        }
        self.count = self.count.saturating_add(1);
        self.last = now;
    }

    /// Begins anew where the clock came back: a result later than now would have no age until then.
    fn come_back(&mut self, now: Instant) {
        if self.last.max(self.good.unwrap_or(self.last)) > now {
            *self = Self::default();
        }
    }

    fn ages(&self, now: Instant) -> Streak {
        let good = self.good.map_or(Duration::MAX, |good| now.since(good));
        let (first, last) = (now.since(self.first), now.since(self.last));
        Streak { failures: self.count, first, last, good }
    }
}
