//! Tries that failed: counted by upstream and reason, and logged without flooding the log.

use crate::attempt::{AttemptError, ErrorKind, Whose};
use bimetal_core::{Duration, Instant};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Between two log lines about the same upstream and reason. A dead upstream fails with every call.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// Most letters of a reason that the log shows.
const LONGEST_DETAIL: usize = 256;

type Key = (Arc<str>, ErrorKind);

/// The failures that one worker saw.
#[derive(Debug)]
pub(crate) struct Failures {
    seen: RefCell<BTreeMap<Key, Seen>>,
    log: Arc<FailureLog>,
}

#[derive(Debug, Default)]
struct Seen {
    count: u64,
    /// Those that the log was not told of yet.
    untold: u64,
}

/// What the workers of a process have agreed to log of failures: whoever finds a line due writes it.
/// Nobody waits for its lock, so that no call waits for another worker's.
#[derive(Debug, Default)]
pub(crate) struct FailureLog {
    lines: Mutex<BTreeMap<Key, Line>>,
}

#[derive(Debug, Default)]
struct Line {
    logged: Option<Instant>,
    suppressed: u64,
}

impl FailureLog {
    /// Takes what is `untold`. Where a line about it is due, the number of failures that it is
    /// about: one or more.
    fn due(&self, now: Instant, key: &Key, untold: &mut u64) -> Option<u64> {
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

impl Failures {
    /// None yet; `log` is that of all workers.
    pub(super) fn new(log: Arc<FailureLog>) -> Self {
        Self { seen: RefCell::default(), log }
    }

    /// Takes note of an error. What the client did is no failure.
    pub(crate) fn add(&self, now: Instant, upstream: &Arc<str>, error: &AttemptError) {
        if error.kind.whose() == Whose::Client {
            return;
        }
        let key = (upstream.clone(), error.kind);
        let mut seen = self.seen.borrow_mut();
        let seen = seen.entry(key.clone()).or_default();
        seen.count += 1;
        seen.untold += 1;
        let Some(told) = self.log.due(now, &key, &mut seen.untold) else {
            return;
        };
        let more = more(told);
        let detail: String = error.detail.chars().take(LONGEST_DETAIL).collect();
        let reason = error.kind.name();
        tracing::warn!(
            upstream = &**upstream,
            reason,
            detail,
            failures = told,
            "upstream {upstream}: {reason}: {}{more}",
            detail.escape_debug()
        );
    }

    /// Logs what was held back, once it is due.
    pub(super) fn tell_of_suppressed(&self, now: Instant) {
        for (key, seen) in self.seen.borrow_mut().iter_mut() {
            if let Some(told) = self.log.due(now, key, &mut seen.untold) {
                let (upstream, reason) = (&*key.0, key.1.name());
                tracing::warn!(
                    upstream,
                    reason,
                    failures = told,
                    "upstream {upstream}: {reason}: {told} more since the last line"
                );
            }
        }
    }

    /// Upstream, reason, and how often.
    pub(crate) fn counts(&self) -> Vec<(Arc<str>, &'static str, u64)> {
        let seen = self.seen.borrow();
        seen.iter().map(|((name, kind), seen)| (name.clone(), kind.name(), seen.count)).collect()
    }
}

/// What the line of one failure adds where it is about `told` of them.
fn more(told: u64) -> String {
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
        let log = FailureLog::default();
        let reset: Key = ("echo".into(), ErrorKind::Reset);
        let due = |millis, key: &Key, mut untold| {
            let told = log.due(at(millis), key, &mut untold);
            assert_eq!(untold, 0);
            told
        };
        assert_eq!(due(0, &reset, 1), Some(1));
        // It does not matter who tells: one worker holds back for the other.
        assert_eq!(due(0, &reset, 1), None);
        assert_eq!(due(999, &reset, 3), None);
        // Other reasons and other upstreams have lines of their own.
        assert_eq!(due(999, &("echo".into(), ErrorKind::Closed), 1), Some(1));
        assert_eq!(due(999, &("other".into(), ErrorKind::Reset), 1), Some(1));
        assert_eq!(due(1_000, &reset, 1), Some(5));
        // Nothing happened since: there is nothing to tell.
        assert_eq!(due(2_500, &reset, 0), None);
        assert_eq!(due(2_600, &reset, 1), Some(1));
        assert_eq!(due(2_700, &reset, 1), None);
        assert_eq!(due(3_600, &reset, 0), Some(1));
    }

    #[test]
    fn nobody_waits_for_the_log_and_nothing_is_forgotten() {
        let failures = Failures::new(Arc::default());
        let name: Arc<str> = "echo".into();
        let error = AttemptError::new(ErrorKind::Connect, "no");
        let log = failures.log.clone();
        let held = log.lines.lock().unwrap();
        failures.add(at(0), &name, &error);
        failures.add(at(0), &name, &error);
        drop(held);
        let key = (name.clone(), ErrorKind::Connect);
        assert_eq!(failures.seen.borrow()[&key].untold, 2);
        failures.tell_of_suppressed(at(1));
        assert_eq!(failures.seen.borrow()[&key].untold, 0);
        assert_eq!(log.lines.lock().unwrap()[&key].logged, Some(at(1)));
        assert_eq!(failures.counts(), [(name, "connect", 2)]);
    }

    #[test]
    fn what_the_client_did_is_no_failure() {
        let failures = Failures::new(Arc::default());
        failures.add(at(0), &"echo".into(), &AttemptError::new(ErrorKind::Client, "left"));
        assert_eq!(failures.counts(), []);
    }

    #[test]
    fn every_kind_but_the_clients_is_a_failure_with_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> =
            ErrorKind::FAILURES.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), ErrorKind::FAILURES.len());
        assert!(ErrorKind::FAILURES.iter().all(|kind| kind.whose() != Whose::Client));
    }
}
