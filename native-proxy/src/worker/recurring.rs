//! What may happen with every call: counted by its key, and logged without flooding the log.

use bimetal_core::{Duration, Instant};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Between two log lines about the same key. A dead upstream fails with every call.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// What one worker counts, by key.
#[derive(Debug)]
pub(super) struct Recurring<K> {
    seen: RefCell<BTreeMap<K, Seen>>,
    log: Arc<LogTurns<K>>,
}

#[derive(Debug, Default)]
struct Seen {
    count: u64,
    /// Those that the log was not told of yet.
    untold: u64,
}

/// What the workers of a process have agreed to log: whoever finds a line due writes it. Nobody waits
/// for its lock, so that no call waits for another worker's.
#[derive(Debug)]
pub(crate) struct LogTurns<K> {
    lines: Mutex<BTreeMap<K, Line>>,
}

#[derive(Debug, Default)]
struct Line {
    logged: Option<Instant>,
    suppressed: u64,
}

impl<K> Default for LogTurns<K> {
    fn default() -> Self {
        Self { lines: Mutex::default() }
    }
}

impl<K: Ord + Clone> LogTurns<K> {
    /// Takes what is `untold`. Where a line about it is due, the number of events that it is about:
    /// one or more.
    fn due(&self, now: Instant, key: &K, untold: &mut u64) -> Option<u64> {
        let mut lines = self.lines.try_lock().ok()?;
        let line = match lines.get_mut(key) {
            Some(line) => line,
            None => lines.entry(key.clone()).or_default(),
        };
        line.suppressed += std::mem::take(untold);
        if line.suppressed == 0 || line.logged.is_some_and(|at| now.since(at) < LOG_INTERVAL) {
            return None;
        }
        line.logged = Some(now);
        Some(std::mem::take(&mut line.suppressed))
    }
}

impl<K: Ord + Clone> Recurring<K> {
    /// None yet; `log` is that of all workers.
    pub(super) fn new(log: Arc<LogTurns<K>>) -> Self {
        Self { seen: RefCell::default(), log }
    }

    /// Counts one more. Where a line of the log is due: how many it is about.
    pub(super) fn add(&self, now: Instant, key: K) -> Option<u64> {
        let mut seen = self.seen.borrow_mut();
        let seen = seen.entry(key.clone()).or_default();
        seen.count += 1;
        seen.untold += 1;
        self.log.due(now, &key, &mut seen.untold)
    }

    /// What was held back and is due now, with how many there are.
    pub(super) fn suppressed(&self, now: Instant) -> Vec<(K, u64)> {
        let mut seen = self.seen.borrow_mut();
        let due = seen.iter_mut().filter_map(|(key, seen)| {
            let told = self.log.due(now, key, &mut seen.untold)?;
            Some((key.clone(), told))
        });
        due.collect()
    }

    /// How often, by key.
    pub(super) fn counts(&self) -> Vec<(K, u64)> {
        self.seen.borrow().iter().map(|(key, seen)| (key.clone(), seen.count)).collect()
    }
}

/// What the line of one event adds where it is about `told` of them.
pub(super) fn more(told: u64) -> String {
    match told {
        0 | 1 => String::new(),
        told => format!(" ({} more since the last line)", told - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_how_many_it_stands_for() {
        assert_eq!([more(1), more(2)], ["", " (1 more since the last line)"]);
        assert_eq!(more(7), " (6 more since the last line)");
    }

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn a_line_is_due_once_a_second_for_all_workers_together_and_tells_of_all() {
        let log = LogTurns::default();
        let due = |millis, key: &str, mut untold| {
            let told = log.due(at(millis), &key.to_owned(), &mut untold);
            assert_eq!(untold, 0);
            told
        };
        assert_eq!(due(0, "a", 1), Some(1));
        // It does not matter who tells: one worker holds back for the other.
        assert_eq!(due(0, "a", 1), None);
        assert_eq!(due(999, "a", 3), None);
        // Other keys have lines of their own.
        assert_eq!(due(999, "b", 1), Some(1));
        assert_eq!(due(1_000, "a", 1), Some(5));
        // Nothing happened since: there is nothing to tell.
        assert_eq!(due(2_500, "a", 0), None);
        assert_eq!(due(2_600, "a", 1), Some(1));
        assert_eq!(due(2_700, "a", 1), None);
        assert_eq!(due(3_600, "a", 0), Some(1));
    }

    #[test]
    fn nobody_waits_for_the_log_and_nothing_is_forgotten() {
        let all = Recurring::new(Arc::default());
        let log = all.log.clone();
        let held = log.lines.lock().unwrap();
        assert_eq!([all.add(at(0), 7), all.add(at(0), 7)], [None, None]);
        drop(held);
        assert_eq!(all.seen.borrow()[&7].untold, 2);
        assert_eq!(all.suppressed(at(1)), [(7, 2)]);
        assert_eq!(all.seen.borrow()[&7].untold, 0);
        assert_eq!(log.lines.lock().unwrap()[&7].logged, Some(at(1)));
        assert_eq!(all.suppressed(at(2)), []);
        assert_eq!(all.counts(), [(7, 2)]);
    }
}
