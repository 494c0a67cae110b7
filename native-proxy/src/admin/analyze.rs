//! Who calls what, as it was seen: `/analyze`.

use super::quantile;
use crate::config::Settings;
use crate::interactions::Kind;
use crate::proxy::Shared;
use crate::worker::edges::Edge;
use bimetal_core::{Duration, Instant};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The edges of all workers, added up: by caller, route and upstream.
pub(super) fn merged(edges: impl IntoIterator<Item = Edge>) -> Vec<Edge> {
    let mut all: BTreeMap<_, Edge> = BTreeMap::new();
    for edge in edges {
        let key = (edge.caller, edge.route.clone(), edge.upstream.clone());
        match all.entry(key) {
            std::collections::btree_map::Entry::Occupied(mut known) => known.get_mut().merge(&edge),
            std::collections::btree_map::Entry::Vacant(new) => drop(new.insert(edge)),
        }
    }
    all.into_values().collect()
}

/// The whole page.
pub(super) fn page(shared: &Shared, edges: Vec<Edge>) -> Value {
    let (settings, now) = (shared.settings(), shared.clock.now());
    let edges: Vec<_> = merged(edges).iter().map(|edge| row(&settings, edge, now)).collect();
    json!({"edges": edges})
}

/// What a caller is called; `*` stands for all that found no room.
pub(super) fn caller(edge: &Edge) -> String {
    edge.caller.map_or_else(|| String::from("*"), |caller| caller.to_string())
}

fn row(settings: &Settings, edge: &Edge, now: Instant) -> Value {
    let mut row = fields(settings, edge);
    row.insert("last_s".into(), now.since(edge.last).as_secs_f64().into());
    Value::Object(row)
}

/// What is told of an edge, but for when.
pub(super) fn fields(settings: &Settings, edge: &Edge) -> Map<String, Value> {
    let policy = edge.policy.as_deref();
    let policies = &settings.document.policies;
    let found = policy.and_then(|name| policies.iter().find(|policy| *policy.name == *name));
    let warnings: Map<String, Value> = Kind::ALL
        .into_iter()
        .zip(edge.warnings)
        .map(|(kind, count)| (kind.name().to_owned(), count.into()))
        .collect();
    let latency = |share| quantile::of(&edge.latency, share);
    let row = json!({
        "caller": caller(edge),
        "route": &*edge.route,
        "upstream": &*edge.upstream,
        "policy": policy,
        "calls": edge.calls,
        "rejected": edge.rejected,
        "failed": edge.failed,
        "left": edge.left,
        "retries": edge.retries,
        "timeout_ms": found.and_then(|policy| policy.timeout.request).map(millis),
        "caller_timeout_ms": edge.patience.map(|(shortest, longest)| {
            json!({"min": millis(shortest), "max": millis(longest)})
        }),
        "latency_ms": {"p50": latency(0.5), "p95": latency(0.95), "p99": latency(0.99)},
        "warnings": warnings,
    });
    match row {
        Value::Object(row) => row,
        _ => Map::new(),
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
