//! Whether traces arrive: the last ones that an arm's programs wrote, asked for in the cluster's
//! Jaeger.

use super::Cluster;
use super::pods::{PROXY, SERVER, output};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// How many traces of an arm are asked for.
const ASKED: usize = 5;

/// How long the last ones may be under way.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two questions.
const GLANCE: Duration = Duration::from_millis(500);

/// What Jaeger has of one arm's last traces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shipped {
    /// The arm.
    pub arm: String,
    /// Traces that its programs wrote last.
    pub asked: usize,
    /// Those that are in Jaeger with as many spans as were written.
    pub whole: usize,
    /// Spans of one of them as written.
    pub spans: usize,
}

impl Cluster {
    /// Asks Jaeger for the last traces of each arm that left outputs; nothing where there is no Jaeger.
    pub fn shipped(&self, arms: &[String]) -> Vec<Shipped> {
        let Some(jaeger) = &self.site.jaeger else {
            return Vec::new();
        };
        let of = |arm: &String| {
            let written = self.written(arm)?;
            let deadline = Instant::now() + PATIENCE;
            let stored = |id: &str| {
                let raw = format!("{jaeger}/api/traces/{id}");
                // Jaeger answers 404 for a trace that it does not know yet.
                let answer = self.calls.object(&["get", "--raw", &raw]).unwrap_or_default();
                answer["data"][0]["spans"].as_array().map_or(0, Vec::len)
            };
            let arrives = |(id, spans): &(String, usize)| {
                while stored(id) != *spans {
                    if Instant::now() > deadline {
                        return false;
                    }
                    std::thread::sleep(GLANCE);
                }
                true
            };
            Some(Shipped {
                arm: arm.clone(),
                asked: written.len(),
                whole: written.iter().filter(|one| arrives(one)).count(),
                spans: written.last().map(|(_, spans)| *spans).unwrap_or_default(),
            })
        };
        arms.iter().filter_map(of).collect()
    }

    /// The last traces in the outputs of an arm, with the number of their spans; none where there is
    /// no output.
    fn written(&self, arm: &str) -> Option<Vec<(String, usize)>> {
        let namespace = self.namespace(arm);
        let text =
            |name: &str| std::fs::read_to_string(output(Path::new(&self.folder), &namespace, name));
        let server = text(SERVER).ok()?;
        Some(last(&[&text(PROXY).unwrap_or_default(), &server]))
    }
}

/// The last traces of the first output that has any, and their spans in all of them.
fn last(outputs: &[&str]) -> Vec<(String, usize)> {
    let mut spans: BTreeMap<String, usize> = BTreeMap::new();
    let mut order = Vec::new();
    for (number, output) in outputs.iter().enumerate() {
        for id in output.lines().filter(|line| line.starts_with('{')).flat_map(ids) {
            let of = spans.entry(id.clone()).or_default();
            *of += 1;
            if *of == 1 {
                order.push((number, id));
            }
        }
    }
    let first = order.first().map(|(number, _)| *number);
    let own = order.into_iter().filter(|(number, _)| Some(*number) == first).map(|(_, id)| id);
    let own: Vec<String> = own.collect();
    // One that is still being written is not the last that can be asked for.
    let from = own.len().saturating_sub(ASKED + 1);
    let own = own.get(from..own.len().saturating_sub(1)).unwrap_or_default();
    own.iter().map(|id| (id.clone(), spans.get(id).copied().unwrap_or_default())).collect()
}

/// The trace of each span in a line.
fn ids(line: &str) -> Vec<String> {
    let line: Value = serde_json::from_str(line).unwrap_or_default();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let scopes = list(&line["resourceSpans"]).into_iter().flat_map(|one| list(&one["scopeSpans"]));
    let spans = scopes.flat_map(|scope| list(&scope["spans"]));
    spans.filter_map(|span| span["traceId"].as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: &str, spans: usize) -> String {
        let spans: Vec<Value> = (0..spans).map(|_| serde_json::json!({"traceId": id})).collect();
        let line = serde_json::json!({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]});
        format!("{line}\n")
    }

    #[test]
    fn the_last_traces_are_counted_over_both_programs() {
        let proxy: String = (0..9).map(|number| line(&number.to_string(), 8)).collect();
        let server: String = (0..9).map(|number| line(&number.to_string(), 5)).collect();
        let found = last(&[&format!("info: a log\n{proxy}"), &server]);
        let ids: Vec<&str> = found.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(ids, ["3", "4", "5", "6", "7"]);
        assert!(found.iter().all(|(_, spans)| *spans == 13));
        // Straight to the server: only its own.
        assert_eq!(last(&["", &server])[0], ("3".to_owned(), 5));
        assert!(last(&["", "{broken\n"]).is_empty());
    }
}
