//! Tries that failed: counted by upstream and reason, and logged without flooding the log.

use crate::attempt::{AttemptError, ErrorKind, Whose};
use crate::log::warning;
use bimetal_core::{Duration, Instant};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Between two log lines about the same upstream and reason. A dead upstream fails with every call.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// The failures that one worker saw.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    seen: RefCell<BTreeMap<(Arc<str>, ErrorKind), Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    count: u64,
    logged: Option<Instant>,
    unlogged: u64,
}

impl Failures {
    /// Takes note of an error. What the client did is no failure.
    pub(crate) fn add(&self, now: Instant, upstream: &Arc<str>, error: &AttemptError) {
        if error.kind.whose() == Whose::Client {
            return;
        }
        let mut seen = self.seen.borrow_mut();
        let seen = seen.entry((upstream.clone(), error.kind)).or_default();
        seen.count += 1;
        if seen.logged.is_some_and(|at| now.since(at) < LOG_INTERVAL) {
            seen.unlogged += 1;
            return;
        }
        seen.logged = Some(now);
        let more = match std::mem::take(&mut seen.unlogged) {
            0 => String::new(),
            more => format!(" ({more} more since the last line)"),
        };
        let (kind, detail) = (error.kind.name(), error.detail.escape_debug());
        warning!("upstream {upstream}: {kind}: {detail}{more}");
    }

    /// Upstream, reason, and how often.
    pub(crate) fn counts(&self) -> Vec<(Arc<str>, &'static str, u64)> {
        let seen = self.seen.borrow();
        seen.iter().map(|((name, kind), seen)| (name.clone(), kind.name(), seen.count)).collect()
    }
}
