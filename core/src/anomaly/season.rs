//! The daily curve: what is usual at this time of day.

use crate::time::Instant;

/// Half an hour each.
const PARTS: usize = 48;
const DAY_NANOS: u64 = 86_400_000_000_000;

/// The mean of each half hour of the day.
#[derive(Clone, Debug)]
pub(super) struct Season {
    parts: [Part; PARTS],
}

#[derive(Clone, Copy, Debug)]
struct Part {
    mean: f64,
    seen: f64,
}

impl Season {
    pub(super) const fn new() -> Self {
        Self { parts: [Part { mean: 0.0, seen: 0.0 }; PARTS] }
    }

    /// The usual value at this time of day, if the time was seen before; then learns `value`, as one
    /// of at most `memory`.
    pub(super) fn observe(&mut self, now: Instant, value: f64, memory: f64) -> Option<f64> {
        // Less than PARTS, so it fits and the part exists.
        let index = (now.as_nanos() % DAY_NANOS) / (DAY_NANOS / PARTS as u64);
        let part = self.parts.get_mut(index as usize)?;
        let usual = (part.seen > 0.0).then_some(part.mean);
        part.seen = (part.seen + 1.0).min(memory.max(1.0));
        part.mean += (value - part.mean) / part.seen;
        usual
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000_000_000;

    #[test]
    fn a_time_of_day_is_known_from_the_days_before() {
        let mut season = Season::new();
        let at = |day: u64, minute: u64| Instant::from_nanos(day * DAY_NANOS + minute * HOUR / 60);
        assert_eq!(season.observe(at(0, 60), 10.0, 4.0), None);
        assert_eq!(season.observe(at(0, 89), 20.0, 4.0), Some(10.0));
        assert_eq!(season.observe(at(0, 90), 99.0, 4.0), None);
        assert_eq!(season.observe(at(0, 60 + 12 * 60), 99.0, 4.0), None);
        assert_eq!(season.observe(at(1, 75), 15.0, 4.0), Some(15.0));
        assert_eq!(season.observe(at(9, 1_439), 1.0, 4.0), None);
    }

    #[test]
    fn a_new_curve_is_learnt() {
        let mut season = Season::new();
        for day in 0..70 {
            let value = if day < 50 { 0.0 } else { 8.0 };
            season.observe(Instant::from_nanos(day * DAY_NANOS), value, 4.0);
        }
        assert!(season.observe(Instant::ZERO, 8.0, 4.0).is_some_and(|usual| usual > 7.9));
    }

    #[test]
    fn the_last_instant_has_a_time_of_day() {
        assert_eq!(Season::new().observe(Instant::FAR_FUTURE, 1.0, 4.0), None);
    }
}
