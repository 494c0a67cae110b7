//! What was seen of each arm.

use super::arm::Arm;
use super::attack::{LENGTH, PATIENCE};
use crate::demo::metrics::Page;
use std::time::Duration;

/// The unit of the timeline.
pub const TICK: Duration = Duration::from_millis(250);

/// What became of a call, as its client saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A good answer in time.
    Good,
    /// An error at once: the call was turned away.
    Rejected,
    /// No good answer in time: nearly always the client left.
    Lost,
}

/// One call.
#[derive(Clone, Copy, Debug)]
pub struct Hit {
    /// When it was sent, from the first one on.
    pub due: Duration,
    /// How long its client waited for what came.
    pub latency: Duration,
    /// What came.
    pub seen: Seen,
}

/// One arm under load once.
#[derive(Clone, Debug)]
pub struct Block {
    /// Which.
    pub arm: Arm,
    /// Capacity in calls a second, measured before this round.
    pub capacity: f64,
    /// Every call.
    pub hits: Vec<Hit>,
    /// Calls that the models worked on.
    pub done: f64,
    /// What the host counted in the end, where it is one of ours.
    pub metrics: Option<Page>,
}

/// Calls of one tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tick {
    /// With a good answer.
    pub good: u32,
    /// Turned away.
    pub rejected: u32,
    /// Without an answer.
    pub lost: u32,
}

/// How many ticks a block has.
pub fn ticks_each() -> usize {
    usize::try_from(LENGTH.as_millis() / TICK.as_millis()).unwrap_or(usize::MAX)
}

/// Calls by the time at which they were sent.
pub fn ticks<'a>(hits: impl IntoIterator<Item = &'a Hit>) -> Vec<Tick> {
    let mut ticks = vec![Tick::default(); ticks_each()];
    for hit in hits {
        let at = usize::try_from(hit.due.as_millis() / TICK.as_millis()).unwrap_or(usize::MAX);
        let Some(tick) = ticks.get_mut(at) else {
            continue;
        };
        match hit.seen {
            Seen::Good => tick.good += 1,
            Seen::Rejected => tick.rejected += 1,
            Seen::Lost => tick.lost += 1,
        }
    }
    ticks
}

/// A quantile of what those clients waited that were not turned away. Who left waited at least
/// [`PATIENCE`].
pub fn quantile<'a>(hits: impl IntoIterator<Item = &'a Hit>, share: f64) -> Option<Duration> {
    let waited = hits.into_iter().filter_map(|hit| match hit.seen {
        Seen::Good => Some(hit.latency),
        Seen::Lost => Some(hit.latency.max(PATIENCE)),
        Seen::Rejected => None,
    });
    let mut waited: Vec<Duration> = waited.collect();
    waited.sort_unstable();
    // The smallest value that a share of all does not exceed.
    let rank = (waited.len() as f64 * share).ceil() as usize;
    waited.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(due_ms: u64, latency_ms: u64, seen: Seen) -> Hit {
        let ms = Duration::from_millis;
        Hit { due: ms(due_ms), latency: ms(latency_ms), seen }
    }

    #[test]
    fn calls_count_when_they_were_sent() {
        let hits = [
            hit(0, 900, Seen::Lost),
            hit(249, 1, Seen::Good),
            hit(250, 1, Seen::Rejected),
            hit(99_999, 1, Seen::Good),
        ];
        let ticks = ticks(&hits);
        assert_eq!(ticks.len(), 40);
        assert_eq!(ticks[0], Tick { good: 1, rejected: 0, lost: 1 });
        assert_eq!(ticks[1], Tick { good: 0, rejected: 1, lost: 0 });
        assert!(ticks[2..].iter().all(|tick| *tick == Tick::default()));
    }

    #[test]
    fn who_left_counts_among_the_slow_and_who_was_turned_away_not_at_all() {
        let mut hits: Vec<Hit> = (1..=98).map(|ms| hit(0, ms, Seen::Good)).collect();
        hits.extend([hit(0, 3, Seen::Lost), hit(0, 600, Seen::Lost), hit(0, 0, Seen::Rejected)]);
        let ms = |share| quantile(&hits, share).unwrap().as_millis();
        assert_eq!((ms(0.5), ms(0.98), ms(0.99), ms(1.0)), (50, 98, 500, 600));
        assert_eq!(quantile(&[hit(0, 1, Seen::Rejected)], 0.5), None);
    }
}
