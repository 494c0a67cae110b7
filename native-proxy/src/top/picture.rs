//! What is known of a proxy, from its events.

use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, VecDeque};

/// So many entries of the history are kept.
const MOST_ENTRIES: usize = 200;

/// What is known of a proxy.
#[derive(Debug, Default)]
pub(super) struct Picture {
    tables: BTreeMap<String, BTreeMap<String, Value>>,
    history: VecDeque<Value>,
    /// Of the proxy itself.
    pub proxy: Value,
    /// Routes, upstreams and policies as they are configured.
    pub topology: Value,
    /// How many watch.
    pub watching: u64,
    /// How many breakers are not told of.
    pub hidden: u64,
    /// The proxy's clock with the last event.
    pub now_ms: f64,
    /// What is wrong with the proxy, where it says so.
    pub trouble: Option<String>,
    changes: u64,
}

impl Picture {
    /// Takes one event.
    pub(super) fn take(&mut self, event: &str, data: &Value) {
        match event {
            "snapshot" => *self = Self::default(),
            "change" => self.changes += 1,
            "busy" => {
                self.trouble = data["why"].as_str().map(str::to_owned);
                return;
            }
            _ => return,
        }
        self.trouble = None;
        self.now_ms = data["now_ms"].as_f64().unwrap_or(self.now_ms);
        self.watching = data["watching"].as_u64().unwrap_or(self.watching);
        self.hidden = data["hidden"].as_u64().unwrap_or(self.hidden);
        for (name, own) in [("proxy", &mut self.proxy), ("topology", &mut self.topology)] {
            if !data[name].is_null() {
                own.clone_from(&data[name]);
            }
        }
        for (name, change) in data["tables"].as_object().into_iter().flatten() {
            let table = self.tables.entry(name.clone()).or_default();
            let gone = change["gone"].as_array().into_iter().flatten();
            gone.filter_map(Value::as_str).for_each(|id| drop(table.remove(id)));
            for row in change["set"].as_array().into_iter().flatten() {
                table.insert(row["id"].as_str().unwrap_or_default().to_owned(), row.clone());
            }
        }
        self.history.extend(data["history"].as_array().into_iter().flatten().cloned());
        let many = self.history.len().saturating_sub(MOST_ENTRIES);
        self.history.drain(..many);
    }

    /// Whether there is a picture.
    pub(super) fn is_whole(&self) -> bool {
        !self.proxy.is_null()
    }

    /// Whether there were two looks, so that rates are known.
    pub(super) fn has_rates(&self) -> bool {
        self.changes > 0
    }

    /// The rows of a table, those of `policy` alone where one is given.
    pub(super) fn rows(&self, table: &str, policy: Option<&str>) -> Vec<&Value> {
        let is_its = |row: &&Value| policy.is_none_or(|name| row["policy"] == name);
        self.tables.get(table).into_iter().flat_map(BTreeMap::values).filter(is_its).collect()
    }

    /// What happened, the newest first.
    pub(super) fn history(&self, policy: Option<&str>) -> impl Iterator<Item = &Value> {
        let is_its = move |entry: &&Value| policy.is_none_or(|name| entry["policy"] == name);
        self.history.iter().rev().filter(is_its)
    }

    /// Every policy that is configured.
    pub(super) fn policies(&self) -> Vec<&str> {
        let policies = self.topology["policies"].as_array();
        policies.into_iter().flatten().filter_map(|one| one["policy"].as_str()).collect()
    }

    /// All of it as one object.
    pub(super) fn json(&self, policy: Option<&str>) -> Value {
        let tables = self.tables.keys().map(|name| (name.clone(), json!(self.rows(name, policy))));
        json!({
            "proxy": self.proxy,
            "topology": self.topology,
            "now_ms": self.now_ms,
            "hidden": self.hidden,
            "tables": tables.collect::<Map<_, _>>(),
            "history": self.history(policy).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_laid_over_the_picture() {
        let mut picture = Picture::default();
        let row = |id: &str, state: &str| json!({"id": id, "policy": "p", "state": state});
        picture.take("change", &json!({"now_ms": 1.0}));
        assert!(!picture.is_whole());
        picture.take(
            "snapshot",
            &json!({
                "proxy": {"workers": 2}, "topology": {"policies": [{"policy": "p"}]}, "now_ms": 5.0,
                "tables": {"breakers": {"set": [row("a", "closed"), row("b", "closed")]}},
                "history": [{"number": 1, "policy": "p"}],
            }),
        );
        assert!(picture.is_whole() && !picture.has_rates());
        picture.take(
            "change",
            &json!({
                "now_ms": 6.0, "tables": {"breakers": {"set": [row("a", "open")], "gone": ["b"]}},
                "history": [{"number": 2, "policy": "q"}],
            }),
        );
        assert!(picture.has_rates());
        assert_eq!(picture.rows("breakers", None), [&row("a", "open")]);
        assert!(picture.rows("breakers", Some("q")).is_empty());
        let numbers: Vec<_> = picture.history(None).map(|entry| &entry["number"]).collect();
        assert_eq!(numbers, [2, 1]);
        assert_eq!((picture.history(Some("q")).count(), picture.policies()), (1, vec!["p"]));
        picture.take("busy", &json!({"why": "worker 1 does not answer"}));
        assert_eq!(picture.trouble.as_deref(), Some("worker 1 does not answer"));
        picture.take("snapshot", &json!({"proxy": {}}));
        assert!(picture.rows("breakers", None).is_empty() && picture.trouble.is_none());
    }
}
