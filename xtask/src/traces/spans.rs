//! A span as a program wrote it, and as Jaeger gives it back.

use super::text;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;

/// One span.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Span {
    pub trace: String,
    pub id: String,
    /// Empty for a root.
    pub parent: String,
    pub name: String,
    /// `server`, `client` or `internal`.
    pub kind: String,
    /// In microseconds, which is as exact as Jaeger's old API is.
    pub start: u64,
    /// The same.
    pub duration: u64,
    pub attributes: BTreeMap<String, String>,
    /// The types of exceptions.
    pub exceptions: Vec<String>,
}

impl Span {
    /// The spans of a line of OTLP/JSON.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn written(line: &str) -> Result<Vec<Self>> {
        let line: Value = serde_json::from_str(line).context("no JSON")?;
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let scopes =
            list(&line["resourceSpans"]).into_iter().flat_map(|one| list(&one["scopeSpans"]));
        let spans = scopes.flat_map(|scope| list(&scope["spans"]));
        spans.map(|span| Self::of_otlp(&span)).collect()
    }

    fn of_otlp(span: &Value) -> Result<Self> {
        let start: u64 = text(&span["startTimeUnixNano"]).parse().context("no time")?;
        let end: u64 = text(&span["endTimeUnixNano"]).parse().context("no end")?;
        let kind = match span["kind"].as_u64() {
            Some(1) => "internal",
            Some(2) => "server",
            Some(3) => "client",
            _ => "",
        };
        let attributes = |of: &Value| -> BTreeMap<String, String> {
            let all = of["attributes"].as_array().into_iter().flatten();
            all.map(|one| {
                (
                    text(&one["key"]),
                    shown(one["value"].as_object().and_then(|value| value.values().next())),
                )
            })
            .collect()
        };
        let events = span["events"].as_array().into_iter().flatten();
        Ok(Self {
            trace: text(&span["traceId"]),
            id: text(&span["spanId"]),
            parent: text(&span["parentSpanId"]),
            name: text(&span["name"]),
            kind: kind.to_owned(),
            start: start / 1_000,
            duration: end.saturating_sub(start) / 1_000,
            attributes: attributes(span),
            exceptions: events
                .filter(|event| event["name"] == "exception")
                .filter_map(|event| attributes(event).remove("exception.type"))
                .collect(),
        })
    }

    /// A span of Jaeger's API.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn stored(span: &Value) -> Result<Self> {
        let pairs = |list: &Value| -> BTreeMap<String, String> {
            let all = list.as_array().into_iter().flatten();
            all.map(|one| (text(&one["key"]), shown(Some(&one["value"])))).collect()
        };
        let mut attributes = pairs(&span["tags"]);
        let logs = span["logs"].as_array().into_iter().flatten().map(|log| pairs(&log["fields"]));
        let parent = span["references"].as_array().into_iter().flatten();
        let mut parent =
            parent.filter(|one| one["refType"] == "CHILD_OF").map(|one| text(&one["spanID"]));
        Ok(Self {
            trace: text(&span["traceID"]),
            id: text(&span["spanID"]),
            parent: parent.next().unwrap_or_default(),
            name: text(&span["operationName"]),
            kind: attributes.remove("span.kind").unwrap_or_default(),
            start: span["startTime"].as_u64().context("no time")?,
            duration: span["duration"].as_u64().context("no duration")?,
            attributes,
            exceptions: logs
                .filter(|fields| fields.get("event").is_some_and(|event| event == "exception"))
                .filter_map(|mut fields| fields.remove("exception.type"))
                .collect(),
        })
    }

    /// Whether `stored` is this span; Jaeger may add attributes of its own.
    ///
    /// # Errors
    /// What is different.
    pub(super) fn is_stored_as(&self, stored: &Self) -> Result<()> {
        for (key, value) in &self.attributes {
            let found = stored.attributes.get(key);
            ensure!(found == Some(value), "{key} is {value:?}, in Jaeger {found:?}");
        }
        let attributes = self.attributes.clone();
        let stored = Self { attributes, ..stored.clone() };
        ensure!(stored == *self, "{self:?} is in Jaeger {stored:?}");
        Ok(())
    }
}

/// A plain value as text: Jaeger writes numbers where OTLP has them in quotes.
fn shown(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"0a","spanId":"0b",
        "parentSpanId":"0c","name":"n","kind":2,"startTimeUnixNano":"1700000000123456789",
        "endTimeUnixNano":"1700000000124457900",
        "attributes":[{"key":"a","value":{"intValue":"3"}},{"key":"b","value":{"boolValue":true}}],
        "events":[{"name":"exception","attributes":[{"key":"exception.type",
        "value":{"stringValue":"reset"}}]}]}]}]}]}"#;

    const STORED: &str = r#"{"traceID":"0a","spanID":"0b","operationName":"n",
        "references":[{"refType":"CHILD_OF","traceID":"0a","spanID":"0c"}],
        "startTime":1700000000123456,"duration":1001,"tags":[{"key":"a","type":"int64","value":3},
        {"key":"b","type":"bool","value":true},{"key":"span.kind","value":"server"},
        {"key":"internal.span.format","value":"otlp"}],
        "logs":[{"fields":[{"key":"event","value":"exception"},
        {"key":"exception.type","value":"reset"}]}]}"#;

    fn stored(change: impl FnOnce(&mut Value)) -> Span {
        let mut span = serde_json::from_str(STORED).unwrap();
        change(&mut span);
        Span::stored(&span).unwrap()
    }

    #[test]
    fn the_same_span_is_known_in_both_forms() {
        let written = Span::written(LINE).unwrap().remove(0);
        written.is_stored_as(&stored(|_| {})).unwrap();
    }

    #[test]
    fn every_difference_is_found() {
        let written = Span::written(LINE).unwrap().remove(0);
        let changes: [fn(&mut Value); 8] = [
            |span| span["operationName"] = "other".into(),
            |span| span["references"] = Value::Array(Vec::new()),
            |span| span["startTime"] = 1.into(),
            |span| span["duration"] = 1.into(),
            |span| span["tags"][0]["value"] = 4.into(),
            |span| span["tags"][1]["key"] = "c".into(),
            |span| span["tags"][2]["value"] = "client".into(),
            |span| span["logs"] = Value::Array(Vec::new()),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            assert!(written.is_stored_as(&stored(change)).is_err(), "change {number}");
        }
    }
}
