//! Warnings of how services call each other: counted by policy and kind, and logged.

use super::recurring::{LogTurns, Recurring, more};
use crate::interactions::{Kind, TraceCalls};
use bimetal_core::Instant;
use std::fmt;
use std::sync::Arc;

/// Policy and kind.
type Key = (Arc<str>, Kind);

/// What the workers of a process know together of how services call each other.
#[derive(Debug, Default)]
pub(crate) struct Interactions {
    /// Calls within traces.
    pub calls: TraceCalls,
    log: Arc<LogTurns<Key>>,
}

/// The warnings of one worker.
#[derive(Debug)]
pub(super) struct Warnings(Recurring<Key>);

impl Warnings {
    /// None yet; what is logged is agreed by `all`.
    pub(super) fn new(all: &Interactions) -> Self {
        Self(Recurring::new(all.log.clone()))
    }

    /// Takes note of something; `what` is of our own words and of names in the configuration.
    pub(super) fn add(
        &self,
        now: Instant,
        policy: &Arc<str>,
        kind: Kind,
        what: fmt::Arguments<'_>,
    ) {
        if let Some(told) = self.0.add(now, (policy.clone(), kind)) {
            let (kind, more) = (kind.name(), more(told));
            tracing::warn!(
                policy = &**policy,
                kind,
                warnings = told,
                "policy {policy}: {kind}: {what}{more}"
            );
        }
    }

    /// Logs what was held back, once it is due.
    pub(super) fn tell_of_suppressed(&self, now: Instant) {
        for ((policy, kind), told) in self.0.suppressed(now) {
            let (policy, kind) = (&*policy, kind.name());
            tracing::warn!(
                policy,
                kind,
                warnings = told,
                "policy {policy}: {kind}: {told} more since the last line"
            );
        }
    }

    /// Policy, kind, and how often.
    pub(super) fn counts(&self) -> Vec<(Arc<str>, Kind, u64)> {
        self.0.counts().into_iter().map(|((policy, kind), count)| (policy, kind, count)).collect()
    }
}
