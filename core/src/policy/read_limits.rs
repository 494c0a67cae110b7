//! `rate_limits`: what depends on other fields, and how they are read.

use super::limit::{LimitOverride, LimitPolicy, Pattern};
use super::table::RATE_LIMITS;
use super::table::limits::{
    self, ALLOW, BURST, CAPACITY, ENFORCED, KEY, LIMIT, MAX_KEYS, OVERRIDES, RATE, SHARE, STATUS,
    VALUES, WHEN_STORE_FAILS, burst, queue,
};
use super::types::Share;
use crate::concurrency::queue::QueuePolicy;
use crate::doc::problem::quoted;
use crate::doc::{Node, Path, Problems, Unread};
use crate::hash::Hash;
use crate::limiter::{BurstPolicy, RateLimitPolicy};
use crate::time::Duration;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

/// A bucket that takes longer to fill is a mistake, and longer than the limiter counts.
const LONGEST_FILL: Duration = Duration::from_secs(366 * 24 * 3600);

const NO_BURST: &str =
    "cannot stand beside share: \"mesh\": a budget for short peaks is not shared";

/// A mesh shares rates, which neither bursts nor turns are.
fn check_mesh(at: &Path<'_>, limit: &Node, problems: &mut Problems) {
    if BURST.node(limit).is_some() {
        problems.add(&at.key(BURST.name()), NO_BURST);
    }
    if limits::QUEUE.node(limit).is_some() {
        let what = "cannot stand beside share: \"mesh\": nobody knows when the next token comes";
        problems.add(&at.key(limits::QUEUE.name()), what);
    }
}

/// Completes the limits of a policy, whose `scope` is given.
pub(super) fn complete(
    at: &Path<'_>,
    scope: Option<Node>,
    node: &mut Node,
    problems: &mut Problems,
) {
    let Some(Node::List(limits)) = RATE_LIMITS.node_mut(node) else {
        return;
    };
    let at = at.key(RATE_LIMITS.name());
    for (index, limit) in limits.iter_mut().enumerate() {
        if let (None, Some(scope)) = (KEY.node(limit), &scope) {
            limit.set(KEY.name(), Node::List(vec![scope.clone()]));
        }
        let at = at.index(index);
        complete_bucket(&at, limit, problems);
        let is_mesh = matches!(SHARE.find(limit), Some(Share::Mesh { .. }));
        if is_mesh {
            check_mesh(&at, limit, problems);
        }
        let parts = KEY.find(limit).map(|key| key.len());
        let burst = BURST.node(limit).cloned();
        let Some(Node::List(overrides)) = OVERRIDES.node_mut(limit) else {
            continue;
        };
        let at = at.key(OVERRIDES.name());
        for (index, one) in overrides.iter_mut().enumerate() {
            let at = at.index(index);
            complete_bucket(&at, one, problems);
            if is_mesh && BURST.node(one).is_some() {
                problems.add(&at.key(BURST.name()), NO_BURST);
            }
            if let (None, Some(burst)) = (BURST.node(one), &burst) {
                one.set(BURST.name(), burst.clone());
            }
            if let (Some(parts), Some(values)) = (parts, VALUES.find(one))
                && values.len() != parts
            {
                let what = format!("{} for a key of {parts}", values.len());
                problems.add(&at.key(VALUES.name()), what);
            }
        }
    }
}

/// `60/m` and `60/60s` mean the same: hashes and readers see one form.
fn complete_bucket(at: &Path<'_>, node: &mut Node, problems: &mut Problems) {
    let Some(rate) = RATE.find(node) else {
        return;
    };
    if CAPACITY.node(node).is_none() {
        CAPACITY.set(node, rate.tokens);
    }
    if let Some(capacity) = CAPACITY.find(node) {
        let fill = u128::from(rate.period.as_nanos()) * u128::from(capacity);
        if fill / u128::from(rate.tokens) > u128::from(LONGEST_FILL.as_nanos()) {
            let rate = quoted(RATE.text(node).unwrap_or_default());
            let what = format!("{capacity} take longer than a year at {rate}");
            problems.add(&at.key(CAPACITY.name()), what);
        }
    }
    node.set(RATE.name(), Node::Text(format!("{}/{}ns", rate.tokens, rate.period.as_nanos())));
}

/// The limits of a policy in a checked and completed document.
pub(super) fn read(policy: &Node, name: &str) -> Result<Vec<LimitPolicy>, Unread> {
    let mut all: Vec<LimitPolicy> = Vec::new();
    for node in RATE_LIMITS.parts(policy) {
        let mut limit = read_one(node, name)?;
        // Two that are written alike are two limits.
        let alike = all.iter().filter(|other| other.hash == limit.hash).count() as u64;
        if alike > 0 {
            limit.hash = Hash::default().number(limit.hash).number(alike).finish();
        }
        all.push(limit);
    }
    Ok(all)
}

fn read_one(node: &Node, name: &str) -> Result<LimitPolicy, Unread> {
    // What judges, and counts nothing, is no part of the state.
    let mut state = node.clone();
    for judges in [ALLOW.name(), ENFORCED.name(), STATUS.name(), WHEN_STORE_FAILS.name()] {
        state.remove(judges);
    }
    // Names of headers are the same in any case.
    if let Some(Node::List(parts)) = KEY.node_mut(&mut state) {
        for part in parts {
            if let Node::Text(text) = part {
                text.make_ascii_lowercase();
            }
        }
    }
    let overrides = OVERRIDES.parts(node).iter().map(|one| {
        let values = VALUES.read(one)?.into_iter().map(|Pattern(value)| value).collect();
        Ok(LimitOverride { values, limit: read_bucket(one)? })
    });
    Ok(LimitPolicy {
        limit: read_bucket(node)?,
        key: KEY.read(node)?,
        overrides: overrides.collect::<Result<_, Unread>>()?,
        allow: ALLOW.read(node)?,
        enforced: ENFORCED.read(node)?,
        status: STATUS.read(node)?,
        queue: match limits::QUEUE.node(node) {
            Some(node) => Some(QueuePolicy {
                max: queue::MAX.read(node)?,
                max_wait: queue::MAX_WAIT.read(node)?,
            }),
            None => None,
        },
        share: SHARE.read(node)?,
        when_store_fails: WHEN_STORE_FAILS.read(node)?,
        max_keys: MAX_KEYS.read(node)?,
        hash: Hash::default().bytes(name.as_bytes()).object(&state, &LIMIT).finish(),
    })
}

fn read_bucket(node: &Node) -> Result<RateLimitPolicy, Unread> {
    let burst = limits::BURST.node(node).map(|node| {
        Ok(BurstPolicy {
            tokens: burst::TOKEN_COUNT.read(node)?,
            expires: burst::EXPIRES.read(node)?,
            recovers_after: burst::RECOVERS_AFTER.read(node)?,
        })
    });
    Ok(RateLimitPolicy {
        rate: RATE.read(node)?,
        capacity: CAPACITY.read(node)?,
        burst: burst.transpose()?,
    })
}
