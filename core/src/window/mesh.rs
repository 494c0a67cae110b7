//! A window whose counts are told to other processes as well: what decides here, and beside it what was
//! counted here for [a store far away](crate::board::far).
//!
//! It is a window of its own so that calls of breakers that share nothing far away pay nothing.

use super::{Tally, TimeBuckets, Window};
use crate::board::far::{Buckets, Run};
use crate::policy::WindowSize;
use crate::time::{Duration, Instant};

/// A window of a breaker with `share: mesh`.
#[derive(Clone, Debug)]
pub struct MeshWindow {
    /// What decides here; none where there is no such condition.
    inner: Option<Window>,
    /// What this worker counted itself. Windows of calls are not told: they stay with their worker.
    own: Option<TimeBuckets>,
    run: OwnRun,
    has_news: bool,
}

/// Bad results since the last other one.
#[derive(Clone, Debug, Default)]
struct OwnRun {
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
        Self { inner, own, run: OwnRun::default(), has_news: false }
    }

    pub(super) fn record(&mut self, now: Instant, bad: bool) -> Tally {
        self.has_news = true;
        if let Some(own) = &mut self.own {
            own.record(now, bad);
        }
        self.run.add(now, bad);
        self.inner.as_mut().map_or_else(Tally::default, |inner| inner.record(now, bad))
    }

    pub(super) const fn inner(&self) -> Option<&Window> {
        self.inner.as_ref()
    }

    pub(super) const fn inner_mut(&mut self) -> Option<&mut Window> {
        self.inner.as_mut()
    }

    /// Whether anything was counted since it was told last; it is told then.
    pub fn take_news(&mut self) -> bool {
        core::mem::take(&mut self.has_news)
    }

    /// What others should know of it.
    pub fn told(&mut self, now: Instant) -> (Run, Buckets) {
        let mut told = Buckets::default();
        self.run.come_back(now);
        if let Some(own) = &mut self.own {
            own.come_back(now);
            (told.width, told.newest, told.counts) = own.buckets(now);
        }
        (self.run.told(now), told)
    }

    /// Whether the last result was not bad.
    pub const fn ends_well(&self) -> bool {
        self.run.count == 0 && self.run.good.is_some()
    }

    /// What was counted so far says nothing any more: others begin anew as well. `good` is when the last
    /// result was that was not bad, where that is known.
    pub fn restart(&mut self, good: Option<Instant>) {
        if let Some(own) = &mut self.own {
            own.clear();
        }
        self.run = OwnRun { good, ..OwnRun::default() };
        self.has_news = true;
    }
}

impl OwnRun {
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

    /// Begins anew where the clock came back from far ahead: what was then would be now, for ever.
    fn come_back(&mut self, now: Instant) {
        if self.last.max(self.good.unwrap_or(self.last)) > now {
            *self = Self::default();
        }
    }

    fn told(&self, now: Instant) -> Run {
        let good = self.good.map_or(Duration::MAX, |good| now.since(good));
        let (first, last) = (now.since(self.first), now.since(self.last));
        Run { failures: self.count, first, last, good }
    }
}
