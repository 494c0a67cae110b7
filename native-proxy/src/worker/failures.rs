//! Tries that failed: counted by upstream and reason, and logged.

use super::recurring::{LogTurns, Recurring, more};
use crate::attempt::{AttemptError, ErrorKind, Whose};
use bimetal_core::Instant;
use std::sync::Arc;

/// Most letters of a reason that the log shows.
const LONGEST_DETAIL: usize = 256;

/// Upstream and reason.
type Key = (Arc<str>, ErrorKind);

/// What the workers of a process have agreed to log of failures.
pub(crate) type FailureLog = LogTurns<Key>;

/// The failures that one worker saw.
#[derive(Debug)]
pub(crate) struct Failures(Recurring<Key>);

impl Failures {
    /// None yet; `log` is that of all workers.
    pub(super) fn new(log: Arc<FailureLog>) -> Self {
        Self(Recurring::new(log))
    }

    /// Takes note of an error. What the client did is no failure.
    pub(crate) fn add(&self, now: Instant, upstream: &Arc<str>, error: &AttemptError) {
        if error.kind.whose() == Whose::Client {
            return;
        }
        let Some(told) = self.0.add(now, (upstream.clone(), error.kind)) else {
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
        for ((upstream, kind), told) in self.0.suppressed(now) {
            let (upstream, reason) = (&*upstream, kind.name());
            tracing::warn!(
                upstream,
                reason,
                failures = told,
                "upstream {upstream}: {reason}: {told} more since the last line"
            );
        }
    }

    /// Upstream, reason, and how often.
    pub(crate) fn counts(&self) -> Vec<(Arc<str>, &'static str, u64)> {
        let counts = self.0.counts().into_iter();
        counts.map(|((name, kind), count)| (name, kind.name(), count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_client_did_is_no_failure() {
        let failures = Failures::new(Arc::default());
        let add = |kind, detail: &'static str| {
            failures.add(Instant::ZERO, &"echo".into(), &AttemptError::new(kind, detail));
        };
        add(ErrorKind::Client, "left");
        assert_eq!(failures.counts(), []);
        add(ErrorKind::Connect, "no");
        add(ErrorKind::Connect, "no");
        assert_eq!(failures.counts(), [("echo".into(), "connect", 2)]);
    }

    #[test]
    fn every_kind_but_the_clients_is_a_failure_with_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> =
            ErrorKind::FAILURES.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), ErrorKind::FAILURES.len());
        assert!(ErrorKind::FAILURES.iter().all(|kind| kind.whose() != Whose::Client));
    }
}
