//! Who calls what, as it was seen: one edge for each caller and route.
//!
//! The graph that people believe in is seldom the real one, so nothing here is taken from the configuration
//! but the names. Each worker counts for itself when a request ends; callers are bounded.

use super::{Histogram, Worker};
use crate::account::{AnsweredBy, Decision, End, RequestEnded};
use crate::interactions::Kind;
use bimetal_core::{Duration, Instant};
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Most edges of a worker with a caller of their own; further callers are counted together.
pub(crate) const MOST_EDGES: usize = 256;

/// An edge that was not used for so long makes room for another.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// The edges that one worker saw.
#[derive(Debug, Default)]
pub(super) struct Edges {
    seen: RefCell<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// By caller; none stands for all that found no room.
    callers: HashMap<Option<IpAddr>, Vec<Edge>>,
    /// How many there are with a caller.
    count: usize,
    /// Before then nothing is forgotten: looking costs.
    look_again: Instant,
}

/// One edge.
#[derive(Clone, Debug)]
pub(crate) struct Edge {
    /// Who calls; none: all that found no room.
    pub caller: Option<IpAddr>,
    /// By which route.
    pub route: Arc<str>,
    /// Whom.
    pub upstream: Arc<str>,
    /// The policy of the last call; none where none was for it.
    pub policy: Option<Arc<str>>,
    /// Calls.
    pub calls: u64,
    /// Those that a rule turned away.
    pub rejected: u64,
    /// Those that got no whole answer, or one of 5xx from the upstream.
    pub failed: u64,
    /// Those whose caller left before the end.
    pub left: u64,
    /// Tries beyond the first of each call.
    pub retries: u64,
    /// How long they took but for those that were turned away.
    pub latency: Histogram,
    /// What callers said that they wait, the shortest and the longest; none where none said it.
    pub patience: Option<(Duration, Duration)>,
    /// Warnings in the order of [`Kind::ALL`].
    pub warnings: [u64; Kind::ALL.len()],
    /// When the last call ended.
    pub last: Instant,
}

impl Edge {
    fn new(request: &RequestEnded, caller: Option<IpAddr>) -> Option<Self> {
        let route = request.route.as_ref()?;
        Some(Self {
            caller,
            route: route.name.clone(),
            upstream: route.destination.clone(),
            policy: None,
            calls: 0,
            rejected: 0,
            failed: 0,
            left: 0,
            retries: 0,
            latency: Histogram::default(),
            patience: None,
            warnings: [0; Kind::ALL.len()],
            last: Instant::ZERO,
        })
    }

    fn add(&mut self, request: &RequestEnded) {
        self.calls += 1;
        self.rejected += u64::from(matches!(request.decision, Decision::Rejected(_)));
        self.failed += u64::from(has_failed(request));
        self.left += u64::from(request.end == End::ClientGone);
        self.retries += u64::from(request.attempts.saturating_sub(1));
        if request.is_timed() {
            self.latency.record(request.duration);
        }
        if let Some(given) = request.patience {
            let (shortest, longest) = self.patience.unwrap_or((given, given));
            self.patience = Some((shortest.min(given), longest.max(given)));
        }
        for (kind, count) in Kind::ALL.into_iter().zip(&mut self.warnings) {
            *count += u64::from(request.warned & kind.bit() != 0);
        }
        let policy = request.policy.as_ref().map(|policy| &policy.name);
        if self.policy.as_ref() != policy {
            self.policy = policy.cloned();
        }
        self.last = self.last.max(request.begun + request.duration);
    }

    /// Adds what another worker saw of the same edge.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.calls += other.calls;
        self.rejected += other.rejected;
        self.failed += other.failed;
        self.left += other.left;
        self.retries += other.retries;
        self.latency.merge(&other.latency);
        self.patience = match (self.patience, other.patience) {
            (Some(one), Some(more)) => Some((one.0.min(more.0), one.1.max(more.1))),
            (one, more) => one.or(more),
        };
        self.warnings.iter_mut().zip(other.warnings).for_each(|(all, more)| *all += more);
        if other.last > self.last {
            self.policy.clone_from(&other.policy);
            self.last = other.last;
        }
    }
}

fn has_failed(request: &RequestEnded) -> bool {
    match request.end {
        End::BrokeOff | End::Panicked => true,
        _ if matches!(request.decision, Decision::Rejected(_)) => false,
        _ => match request.status {
            Some(status) => {
                let is_upstreams = request.by == AnsweredBy::Upstream;
                request.failure.is_some() || is_upstreams && status.is_server_error()
            }
            None => request.failure.is_some(),
        },
    }
}

impl Edges {
    /// A request ended.
    pub(super) fn add(&self, request: &RequestEnded) {
        let (Some(route), Ok(mut seen)) = (&request.route, self.seen.try_borrow_mut()) else {
            return;
        };
        let is_it = |edge: &&mut Edge| {
            Arc::ptr_eq(&edge.route, &route.name)
                || *edge.route == *route.name && *edge.upstream == *route.destination
        };
        let known = seen.callers.get_mut(&request.caller);
        if let Some(edge) = known.and_then(|edges| edges.iter_mut().find(is_it)) {
            return edge.add(request);
        }
        let caller = request.caller.filter(|_| seen.has_room(request.begun));
        let edges = seen.callers.entry(caller).or_default();
        if let Some(edge) = edges.iter_mut().find(is_it) {
            return edge.add(request);
        }
        if let Some(mut edge) = Edge::new(request, caller) {
            edge.add(request);
            edges.push(edge);
            seen.count += usize::from(caller.is_some());
        }
    }

    /// Every edge.
    pub(super) fn all(&self) -> Vec<Edge> {
        self.seen.borrow().callers.values().flatten().cloned().collect()
    }
}

impl Seen {
    /// Whether one more may have a caller of its own. Those that are not used make room.
    fn has_room(&mut self, now: Instant) -> bool {
        if self.count >= MOST_EDGES && now >= self.look_again {
            self.look_again = now + Duration::from_secs(1);
            self.callers.retain(|caller, edges| {
                edges.retain(|edge| caller.is_none() || now.since(edge.last) < FORGOTTEN_AFTER);
                !edges.is_empty()
            });
            let with_caller = self.callers.iter().filter(|(caller, _)| caller.is_some());
            self.count = with_caller.map(|(_, edges)| edges.len()).sum();
        }
        self.count < MOST_EDGES
    }
}

impl Worker {
    /// Every edge that this worker saw.
    pub(crate) fn edges(&self) -> Vec<Edge> {
        self.edges.all()
    }
}

#[cfg(test)]
#[path = "edges_tests.rs"]
mod tests;
