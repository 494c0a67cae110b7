//! A line of OTLP/JSON, read by the rules of its encoding
//! (<https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>), and as a tree.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// One trace as one process tells it.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    pub(crate) service: String,
    pub(crate) spans: Vec<Span>,
}

/// One span.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) trace: String,
    pub(crate) id: String,
    pub(crate) parent: String,
    pub(crate) state: String,
    pub(crate) name: String,
    pub(crate) kind: u64,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) attributes: BTreeMap<String, String>,
    /// Names, and their attributes.
    pub(crate) events: Vec<(String, BTreeMap<String, String>)>,
    pub(crate) is_error: bool,
}

impl Trace {
    /// Reads a line; whatever the encoding forbids ends the test.
    pub(crate) fn read(line: &str) -> Self {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"));
        keys(&value, &["resourceSpans"]);
        let [resource_spans] = &array(&value["resourceSpans"])[..] else {
            panic!("one resource a line: {line}");
        };
        keys(resource_spans, &["resource", "scopeSpans", "schemaUrl"]);
        let resource = attributes(&resource_spans["resource"]["attributes"]);
        let [scope_spans] = &array(&resource_spans["scopeSpans"])[..] else {
            panic!("one scope a line: {line}");
        };
        keys(scope_spans, &["scope", "spans", "schemaUrl"]);
        assert_eq!(scope_spans["scope"]["name"], "bimetal");
        let spans: Vec<_> = array(&scope_spans["spans"]).iter().map(Span::read).collect();
        let ids: BTreeSet<_> = spans.iter().map(|span| &span.id).collect();
        assert_eq!(ids.len(), spans.len(), "ids are unique: {line}");
        for span in &spans {
            assert_eq!(span.trace, spans[0].trace, "one trace a line: {line}");
            assert!(spans[0].from <= span.from && span.to <= spans[0].to, "{span:?}");
        }
        let roots = spans.iter().filter(|span| !ids.contains(&span.parent));
        assert_eq!(roots.count(), 1, "one local root a line: {line}");
        Self { service: resource["service.name"].clone(), spans }
    }

    /// The local root.
    pub(crate) fn root(&self) -> &Span {
        &self.spans[0]
    }

    /// The one span of this name.
    pub(crate) fn span(&self, name: &str) -> &Span {
        let mut all = self.spans.iter().filter(|span| span.name == name);
        let found = all.next().unwrap_or_else(|| panic!("no {name} in {self:?}"));
        assert!(all.next().is_none(), "two {name} in {self:?}");
        found
    }
}

impl Span {
    fn read(value: &Value) -> Self {
        keys(
            value,
            &[
                "traceId",
                "spanId",
                "traceState",
                "parentSpanId",
                "flags",
                "name",
                "kind",
                "startTimeUnixNano",
                "endTimeUnixNano",
                "attributes",
                "droppedAttributesCount",
                "events",
                "droppedEventsCount",
                "links",
                "droppedLinksCount",
                "status",
            ],
        );
        keys(&value["status"], &["code", "message"]);
        let code = value["status"]["code"].as_u64().expect("enums are numbers");
        let parent = text(&value["parentSpanId"]);
        let span = Self {
            trace: hex(&value["traceId"], 32),
            id: hex(&value["spanId"], 16),
            parent: if parent.is_empty() { parent } else { hex(&value["parentSpanId"], 16) },
            state: text(&value["traceState"]),
            name: text(&value["name"]),
            kind: value["kind"].as_u64().expect("enums are numbers"),
            from: number(&value["startTimeUnixNano"]),
            to: number(&value["endTimeUnixNano"]),
            attributes: attributes(&value["attributes"]),
            events: array(&value["events"]).iter().map(event).collect(),
            is_error: code == 2,
        };
        assert!(code <= 2 && (1..=3).contains(&span.kind) && !span.name.is_empty(), "{value}");
        assert!(value["flags"].as_u64().is_some_and(|flags| flags & 0xff == 1), "{value}");
        // In this century, and not the wrong way round.
        assert!(span.from > 1_600_000_000_000_000_000 && span.from <= span.to, "{value}");
        span
    }

    pub(crate) fn attribute(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("", String::as_str)
    }

    /// The exception that it ended by: type and message.
    pub(crate) fn exception(&self) -> Option<(&str, &str)> {
        let (_, event) = self.events.iter().find(|(name, _)| name == "exception")?;
        Some((event["exception.type"].as_str(), event["exception.message"].as_str()))
    }
}

fn event(value: &Value) -> (String, BTreeMap<String, String>) {
    keys(value, &["timeUnixNano", "name", "attributes", "droppedAttributesCount"]);
    number(&value["timeUnixNano"]);
    (text(&value["name"]), attributes(&value["attributes"]))
}

fn attributes(value: &Value) -> BTreeMap<String, String> {
    let mut read = BTreeMap::new();
    for one in array(value) {
        let value = one["value"].as_object().unwrap_or_else(|| panic!("{one}"));
        assert_eq!(value.len(), 1, "{one}");
        let (kind, value) = value.iter().next().unwrap();
        let value = match kind.as_str() {
            "stringValue" => text(value),
            "boolValue" => value.as_bool().unwrap().to_string(),
            "doubleValue" => value.as_f64().expect("a number").to_string(),
            "intValue" => {
                let text = value.as_str().expect("64-bit integers are strings");
                text.parse::<i64>().unwrap().to_string()
            }
            other => panic!("{other}: {one}"),
        };
        assert_eq!(read.insert(text(&one["key"]), value), None, "twice: {one}");
    }
    read
}

fn keys(value: &Value, known: &[&str]) {
    let object = value.as_object().unwrap_or_else(|| panic!("no object: {value}"));
    for key in object.keys() {
        let standard = ["resource", "scope"].contains(&key.as_str());
        assert!(standard || known.contains(&key.as_str()), "{key} in {value}");
    }
}

fn array(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap_or_else(|| panic!("no list: {value}"))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

fn number(value: &Value) -> u64 {
    value.as_str().expect("64-bit integers are strings").parse().unwrap()
}

fn hex(value: &Value, length: usize) -> String {
    let text = text(value);
    let is_hex = text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    assert!(text.len() == length && is_hex && text.bytes().any(|byte| byte != b'0'), "{text}");
    text
}

/// Traces of several processes as one tree: a line for each span, in the order of their beginnings,
/// with its kind, an exclamation mark where it failed, and its exception's type.
pub(crate) fn tree(traces: &[&Trace]) -> String {
    let spans: Vec<_> = traces.iter().flat_map(|trace| &trace.spans).collect();
    let has_parent = |span: &&&Span| spans.iter().any(|other| other.id == span.parent);
    let mut text = String::new();
    for root in spans.iter().filter(|span| !has_parent(span)) {
        branch(&spans, root, 0, &mut text);
    }
    text
}

fn branch(spans: &[&Span], span: &Span, depth: usize, text: &mut String) {
    let kind = ["", "internal", "server", "client"][span.kind as usize];
    let mark = if span.is_error { " !" } else { "" };
    let exception = span.exception().map_or_else(String::new, |(kind, _)| format!(" {kind}"));
    let indent = depth * 2;
    writeln!(text, "{:indent$}{} ({kind}){mark}{exception}", "", span.name).unwrap();
    for child in spans.iter().filter(|child| child.parent == span.id) {
        branch(spans, child, depth + 1, text);
    }
}
