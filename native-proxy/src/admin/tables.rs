//! What a dashboard shows, as tables of rows; and what changed in them.
//!
//! A row is text, and changed where its text is another. So times are told on the proxy's clock, in
//! milliseconds since its start: a row of which nothing changes is told once, however long it stays.

use super::analyze;
use super::row;
use super::traffic::Traffic;
use crate::config::Settings;
use crate::proxy::Shared;
use crate::worker::{BreakerRow, LimitRow, Look};
use bimetal_core::Instant;
use bimetal_core::event::State;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Most breakers that a dashboard is told of. Those that are not closed come first.
pub(super) const MOST_BREAKERS: usize = 2_000;

/// Rows by id, as JSON.
type Table = BTreeMap<String, String>;

/// What there is to see.
#[derive(Debug, Default)]
pub(super) struct Tables {
    tables: BTreeMap<&'static str, Table>,
    /// How many breakers are not told of.
    pub hidden: usize,
}

impl Tables {
    /// What the workers say, at `now`.
    pub(super) fn of(
        shared: &Shared,
        looks: Vec<Look>,
        traffic: &mut Traffic,
        now: Instant,
    ) -> Self {
        let settings = shared.settings();
        let mut tables = Self::default();
        let stats: Vec<_> = looks.iter().map(|look| &look.stats).collect();
        for (policy, value) in traffic.rows(now, &stats) {
            tables.put("traffic", &[&policy], value);
        }
        tables.limits(looks.iter().flat_map(|look| &look.stats.limits), &looks);
        tables.breakers(looks.iter().flat_map(|look| &look.breakers));
        for group in shared.directory.groups() {
            group.rows().into_iter().for_each(|endpoint| tables.endpoint(endpoint, now));
        }
        let edges = looks.into_iter().flat_map(|look| look.edges);
        tables.edges(&settings, analyze::merged(edges));
        tables
    }

    fn put(&mut self, table: &'static str, key: &[&str], row: Value) {
        let id = json!(key).to_string();
        let Value::Object(mut fields) = row else { return };
        fields.insert("id".into(), id.clone().into());
        let row = Value::Object(fields).to_string();
        self.tables.entry(table).or_default().insert(id, row);
    }

    /// Each breaker once, as its workers have it.
    fn breakers<'a>(&mut self, rows: impl Iterator<Item = &'a BreakerRow>) {
        let mut breakers: BTreeMap<(&str, &[u8]), Vec<&BreakerRow>> = BTreeMap::new();
        for row in rows {
            breakers.entry((&row.policy, &row.scope)).or_default().push(row);
        }
        let mut breakers: Vec<_> = breakers.into_values().collect();
        self.hidden = breakers.len().saturating_sub(MOST_BREAKERS);
        // Stable: those of a rank stay in the order of their names.
        breakers.sort_by_key(|replicas| replicas.iter().map(|row| rank(row)).min());
        for replicas in breakers.iter().take(MOST_BREAKERS) {
            if let Some((path, breaker)) = breaker(replicas) {
                self.put("breakers", &[&path], breaker);
            }
        }
    }

    fn limits<'a>(&mut self, rows: impl Iterator<Item = &'a LimitRow>, looks: &[Look]) {
        let mut limits: BTreeMap<(&str, &str), LimitRow> = BTreeMap::new();
        for row in rows {
            limits.entry((&row.policy, &row.scope)).or_default().merge(row);
        }
        let limited: Vec<_> = limits.keys().copied().collect();
        for (policy, scope, waiting) in looks.iter().flat_map(|look| &look.stats.queues) {
            limits.entry((policy, scope)).or_default().waiting += waiting;
        }
        for ((policy, scope), limit) in limits {
            let is_limited = limited.contains(&(policy, scope));
            let row = json!({
                "policy": policy,
                "scope": scope,
                "limit": is_limited.then_some(limit.limit),
                "fill": is_limited.then(|| (limit.fill * 100.0).round() / 100.0),
                "waiting": limit.waiting,
            });
            self.put("limits", &[policy, scope], row);
        }
    }

    fn endpoint(&mut self, mut endpoint: Value, now: Instant) {
        let text = |name| endpoint.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let key = [text("upstream"), text("endpoint")];
        if let Some(fields) = endpoint.as_object_mut() {
            let left = fields.remove("ejected_for_s").and_then(|left| left.as_f64()).unwrap_or(0.0);
            // In tenths of a second: the same end is told by the same text.
            let until = (left > 0.0).then(|| ((millis(now) / 100.0) + left * 10.0).round() * 100.0);
            fields.insert("ejected_until_ms".into(), json!(until));
        }
        self.put("endpoints", &[&key[0], &key[1]], endpoint);
    }

    fn edges(&mut self, settings: &Settings, edges: Vec<crate::worker::edges::Edge>) {
        for edge in edges {
            let mut row = analyze::fields(settings, &edge);
            row.insert("last_ms".into(), millis(edge.last).into());
            let caller = analyze::caller(&edge);
            self.put("edges", &[&caller, &edge.route, &edge.upstream], Value::Object(row));
        }
    }

    /// What is to be told to who knows `before`: for each table the rows that are new or other, and the ids of
    /// those that are gone. Tables without a change are left out.
    pub(super) fn changes(&self, before: &Self) -> Map<String, Value> {
        let nothing = Table::new();
        let names = self.tables.keys().chain(before.tables.keys()).copied();
        let mut changes = Map::new();
        for name in names.collect::<std::collections::BTreeSet<_>>() {
            let now = self.tables.get(name).unwrap_or(&nothing);
            let before = before.tables.get(name).unwrap_or(&nothing);
            let set: Vec<_> = now
                .iter()
                .filter(|(id, row)| before.get(*id) != Some(row))
                .filter_map(|(_, row)| serde_json::from_str::<Value>(row).ok())
                .collect();
            let gone: Vec<_> = before.keys().filter(|id| !now.contains_key(*id)).collect();
            if !set.is_empty() || !gone.is_empty() {
                changes.insert(name.to_owned(), json!({"set": set, "gone": gone}));
            }
        }
        changes
    }
}

/// Milliseconds since the proxy began.
pub(super) fn millis(at: Instant) -> f64 {
    at.as_nanos() as f64 / 1e6
}

/// What people want to see first.
fn rank(row: &BreakerRow) -> u8 {
    match (row.view.held, row.view.state) {
        (Some(_), _) => 0,
        (None, State::Open) => 1,
        (None, State::HalfOpen) => 2,
        (None, State::Closed) => 3,
    }
}

/// A breaker of which each worker has one of `replicas`: with its path. What the workers disagree in is told of
/// the one that changed last.
fn breaker(replicas: &[&BreakerRow]) -> Option<(String, Value)> {
    let newest = replicas.iter().max_by_key(|row| {
        // The earliest of those in the same generation: the others followed it.
        (row.view.since, std::cmp::Reverse(row.worker))
    })?;
    let view = newest.view;
    let of_it = replicas.iter().filter(|row| row.view.generation == view.generation);
    let since = of_it.map(|row| row.view.since).min().unwrap_or(view.since);
    let count = |state| replicas.iter().filter(|row| row.view.state == state).count();
    let most = |count: fn(&BreakerRow) -> u32| replicas.iter().map(|row| count(row)).max();
    let path = row::path(&newest.policy, &newest.scope);
    let row = json!({
        "policy": newest.policy,
        "scope": String::from_utf8_lossy(&newest.scope),
        "path": path,
        "state": view.state.name(),
        "workers": {
            "closed": count(State::Closed),
            "half_open": count(State::HalfOpen),
            "open": count(State::Open),
        },
        "since_ms": millis(since).round(),
        "cause": view.cause.map(|cause| cause.name()),
        "why": view.cause.map(|cause| cause.to_string()),
        "generation": view.generation,
        "level": view.level,
        "window": {
            "calls": most(|row| row.view.calls),
            "failures": most(|row| row.view.failures),
            "slow": most(|row| row.view.slow),
        },
        "next_probe_ms": view.next_probe.map(|at| millis(at).round()),
        "held": view.held.map(|held| held.name()),
    });
    Some((path, row))
}

#[cfg(test)]
#[path = "tables_tests.rs"]
mod tests;
