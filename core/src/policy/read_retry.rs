//! `retry`: what depends on other fields, and how it is read.

use super::table::RETRY;
use super::table::retry::{
    BACKOFF, BUDGET, BUFFER, Condition, METHODS, ON, RESPECT_RETRY_AFTER, Retried, TRIES, backoff,
    budget,
};
use crate::doc::problem::quoted;
use crate::doc::{Node, Path, Problems, Unread};
use crate::outcome::AnswerSet;
use crate::retry::backoff::Backoff;
use crate::retry::budget::RetryBudgetPolicy;
use crate::retry::{RetriedMethods, RetryPolicy};
use crate::time::Duration;
use alloc::format;
use alloc::vec::Vec;

/// What is kept of a request's body, unless the policy says otherwise.
const BUFFERED: u64 = 64 << 10;

/// `backoff.max`, unless `base` is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Completes the retries of a policy.
pub(super) fn complete(at: &Path<'_>, policy: &mut Node, problems: &mut Problems) {
    let Some(waits) = RETRY.node_mut(policy).and_then(|retry| BACKOFF.node_mut(retry)) else {
        return;
    };
    let base = backoff::BASE.find(waits);
    match (backoff::MAX.text(waits), backoff::MAX.find(waits), base) {
        (Some(text), Some(max), Some(base)) if max < base => {
            let base = quoted(backoff::BASE.text(waits).unwrap_or_default());
            let what = format!("{} is shorter than backoff.base {base}", quoted(text));
            let at = at.key(RETRY.name());
            let at = at.key(BACKOFF.name());
            problems.add(&at.key(backoff::MAX.name()), what);
        }
        (None, _, Some(base)) if backoff::MAX.node(waits).is_none() => {
            backoff::MAX.set(waits, base.max(LONGEST_WAIT));
        }
        _ => {}
    }
}

/// The retries of a policy, in a checked and completed document.
pub(super) fn read(node: &Node) -> Result<RetryPolicy, Unread> {
    let mut on = AnswerSet::default();
    let mut methods = methods(METHODS.read(node)?);
    let mut on_refused_streams = false;
    for condition in ON.read(node)? {
        condition.insert(&mut on);
        methods.every |= matches!(condition, Condition::NonIdempotent);
        on_refused_streams |= matches!(condition, Condition::RefusedStream);
    }
    let waits = BACKOFF.part(node)?;
    let budget = BUDGET.node(node).map(|node| {
        Ok(RetryBudgetPolicy {
            share: budget::SHARE.read(node)?,
            floor: budget::FLOOR.read(node)?.0,
        })
    });
    Ok(RetryPolicy {
        tries: TRIES.read(node)?,
        on,
        on_refused_streams,
        methods,
        backoff: Backoff {
            base: backoff::BASE.read(waits)?,
            max: backoff::MAX.read(waits)?,
            jitter: backoff::JITTER.read(waits)?,
        },
        budget: budget.transpose()?,
        respects_retry_after: RESPECT_RETRY_AFTER.read(node)?,
        buffer: BUFFER.read(node)?.0,
    })
}

/// Which requests may be sent twice.
pub(super) fn methods(listed: Vec<Retried>) -> RetriedMethods {
    let mut methods = RetriedMethods::default();
    listed.into_iter().for_each(|one| one.insert(&mut methods));
    methods
}

/// How much of a request's body is kept to be sent again; the usual where nothing is tried again.
pub(super) fn buffer(retry: Option<&Node>) -> Result<u64, Unread> {
    retry.map_or(Ok(BUFFERED), |retry| BUFFER.read(retry).map(|size| size.0))
}
