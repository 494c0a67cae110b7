//! A clock that can stand.

use crate::time::{Duration, Instant};

/// How long a call was the upstream's.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct UpstreamClock {
    /// What it showed when it last began to run, or what it shows while it stands.
    shown: Duration,
    running_since: Option<Instant>,
}

impl UpstreamClock {
    /// It runs from now on, or goes on running.
    #[inline]
    pub(super) fn run(&mut self, now: Instant) {
        self.running_since.get_or_insert(now);
    }

    /// It stands from now on, or goes on standing.
    #[inline]
    pub(super) fn stand(&mut self, now: Instant) {
        self.shown = self.elapsed(now);
        self.running_since = None;
    }

    /// Whether it runs.
    pub(super) const fn runs(&self) -> bool {
        self.running_since.is_some()
    }

    /// What it shows.
    #[inline]
    pub(super) fn elapsed(&self, now: Instant) -> Duration {
        self.running_since.map_or(self.shown, |since| self.shown + now.since(since))
    }

    /// When it will show `limit`; none while it stands.
    pub(super) fn reaches(&self, limit: Duration) -> Option<Instant> {
        self.running_since.map(|since| since + (limit - self.shown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn it_counts_only_while_it_runs() {
        let mut clock = UpstreamClock::default();
        assert_eq!(clock.reaches(Duration::from_millis(5)), None);
        clock.run(at(10));
        clock.run(at(12));
        assert_eq!(clock.elapsed(at(13)), Duration::from_millis(3));
        assert_eq!(clock.reaches(Duration::from_millis(5)), Some(at(15)));
        clock.stand(at(13));
        clock.stand(at(14));
        assert_eq!((clock.elapsed(at(99)), clock.runs()), (Duration::from_millis(3), false));
        clock.run(at(100));
        assert_eq!(clock.reaches(Duration::from_millis(5)), Some(at(102)));
        // The limit is over already: at once, not in the past's past.
        assert_eq!(clock.reaches(Duration::from_millis(1)), Some(at(100)));
    }
}
