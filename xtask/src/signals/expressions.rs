//! Every PromQL expression of the dashboards and rules.

use super::text;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fmt;
use std::path::Path;

/// The dashboards.
const DASHBOARDS: [&str; 4] = ["breakers", "traffic", "anomalies", "study"];

/// One expression, with what Grafana would put in put in.
#[derive(Debug)]
pub(super) struct Expression {
    /// Where it stands.
    pub place: String,
    pub expression: String,
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.expression)
    }
}

impl Expression {
    fn new(place: String, expression: &str) -> Self {
        let expression = expression
            .replace("$__rate_interval", "10s")
            .replace("$policy", ".*")
            .replace("$scope", ".*");
        Self { place, expression }
    }
}

/// All of them.
///
/// # Errors
/// A file cannot be read, or has none.
pub(super) fn all(root: &Path) -> Result<Vec<Expression>> {
    let mut all = Vec::new();
    for name in DASHBOARDS {
        let file = root.join(format!("dashboards/{name}.json"));
        let bytes = std::fs::read(&file).with_context(|| file.display().to_string())?;
        let dashboard: Value = serde_json::from_slice(&bytes)?;
        let before = all.len();
        for panel in list(&dashboard, "/panels") {
            let title = text(&panel["title"]);
            for target in list(panel, "/targets") {
                let place = format!("{name}, {title}");
                all.push(Expression::new(place, text(&target["expr"])));
            }
        }
        ensure!(all.len() > before, "{} has no panel", file.display());
        for note in list(&dashboard, "/annotations/list") {
            let place = format!("{name}, annotation {}", text(&note["name"]));
            all.push(Expression::new(place, text(&note["expr"])));
        }
        for variable in list(&dashboard, "/templating/list") {
            let query = text(&variable["query"]);
            let inner = query.strip_prefix("label_values(").and_then(|rest| rest.rsplit_once(','));
            if let Some((selector, _)) = inner {
                let place = format!("{name}, variable {}", text(&variable["name"]));
                all.push(Expression::new(place, selector));
            }
        }
    }
    let file = root.join("alerts/bimetal.yaml");
    let rules = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let rules: Value = serde_saphyr::from_str(&rules)?;
    for rule in list(&rules, "/groups").iter().flat_map(|group| list(group, "/rules")) {
        let name = rule["alert"].as_str().or(rule["record"].as_str()).unwrap_or_default();
        all.push(Expression::new(format!("rule {name}"), text(&rule["expr"])));
    }
    Ok(all)
}

fn list<'v>(value: &'v Value, at: &str) -> &'v [Value] {
    value.pointer(at).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place;
    use bimetal_core::metric::{ALL, Kind};
    use std::collections::BTreeSet;

    /// The metrics of ours that an expression asks for.
    fn metrics(expression: &str) -> Vec<&str> {
        let is_of_a_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        let words = expression.split(|letter| !is_of_a_name(letter));
        words.filter(|word| word.starts_with("bimetal_")).collect()
    }

    /// A metric with another name gives no series, and a panel of it is empty for ever.
    #[test]
    fn they_ask_for_metrics_that_are_described() {
        let mut known: BTreeSet<String> = ALL.iter().map(|metric| metric.name.into()).collect();
        for metric in ALL.iter().filter(|metric| metric.kind == Kind::Histogram) {
            known.extend(["bucket", "sum", "count"].map(|part| format!("{}_{part}", metric.name)));
        }
        let all = all(&place::root()).unwrap();
        assert!(all.len() > 50, "{}", all.len());
        for one in &all {
            for metric in metrics(&one.expression) {
                assert!(known.contains(metric), "{one}");
            }
        }
    }

    #[test]
    fn each_alert_says_what_to_do() {
        let page = std::fs::read_to_string(place::root().join("docs/observability.md")).unwrap();
        let rules = std::fs::read_to_string(place::root().join("alerts/bimetal.yaml")).unwrap();
        let anchors: Vec<_> = page
            .lines()
            .filter_map(|line| line.strip_prefix("### "))
            .map(|title| title.to_lowercase().replace(' ', "-"))
            .collect();
        let links = rules.lines().filter_map(|line| line.split_once("docs/observability.md#"));
        let links: Vec<_> = links.map(|(_, anchor)| anchor.trim().to_owned()).collect();
        assert_eq!(links.len(), rules.matches("- alert:").count());
        for link in links {
            assert!(anchors.contains(&link), "{link} is not in {anchors:?}");
        }
    }
}
