//! Whatever is given as a policy or a proxy file: an answer, each problem with its place, and what
//! compiles means the same when it is written down again.

use crate::Behaviour;
use bimetal_core::doc::{Node, Problems};
use bimetal_core::policy::{Document, Host};
use bimetal_proxy::config::{Syntax, parse};

/// Words of the language.
pub(super) const WORDS: &[&str] = &[
    "version",
    "v1",
    "unsupported",
    "skip",
    "refuse",
    "policies",
    "name",
    "match",
    "hosts",
    "path",
    "path_prefix",
    "methods",
    "headers",
    "direction",
    "inbound",
    "scope",
    "destination",
    "authority",
    "client",
    "header:x-tenant",
    "scopes",
    "max",
    "when_full",
    "share",
    "pass",
    "mode",
    "enforce",
    "shadow",
    "forced_open",
    "disabled",
    "evidence",
    "calls",
    "tries",
    "count_injected",
    "breaker",
    "profile",
    "origin-study",
    "resilience4j",
    "hystrix",
    "polly",
    "gobreaker",
    "istio-outlier",
    "trip",
    "consecutive_failures",
    "failure_rate",
    "slow_rate",
    "slower_than",
    "threshold",
    "window",
    "time",
    "minimum_calls",
    "confidence",
    "open",
    "base",
    "multiplier",
    "jitter",
    "half_open",
    "max_probes",
    "required_successes",
    "lease",
    "recovery",
    "ramp",
    "failure",
    "statuses",
    "5xx",
    "grpc",
    "unavailable",
    "transport",
    "connect",
    "reset",
    "timeout",
    "overflow",
    "ignore",
    "respect_retry_after",
    "none",
    "process",
    "mesh",
    "quorum",
    "rate_limits",
    "rate",
    "100/5s",
    "key",
    "overrides",
    "values",
    "allow",
    "10.0.0.0/8",
    "enforced",
    "max_keys",
    "capacity",
    "burst",
    "concurrency",
    "request",
    "per_try",
    "deadline",
    "retry",
    "tries",
    "backoff",
    "fallback",
    "on",
    "rejected",
    "failed",
    "status",
    "body",
    "anomaly",
    "debug_headers",
    "listeners",
    "address",
    "admin",
    "health",
    "workers",
    "upstreams",
    "endpoints",
    "routes",
    "upstream",
    "pool",
    "10ms",
    "30s",
    "5m",
    "18446744073709551615s",
    "64KiB",
    "true",
    "false",
    "null",
    "*",
    "*.a",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "\\u0000",
    "\u{e9}",
    "&a ",
    "*a",
    "<<: ",
    "!!float ",
    ".nan",
    ".inf",
    "- ",
    "? ",
    "|",
    ">",
    "---\n",
    "\n",
    "  ",
    "\t",
];

/// A policy document or proxy file in JSON.
pub(super) fn json(bytes: &[u8]) -> Behaviour {
    let node = Node::from_json(bytes);
    if let Err(problems) = &node {
        let parsed = Document::parse(bytes, Host::Wasm).expect_err("it is not readable");
        assert_eq!(&parsed, problems);
    }
    judged(node, bytes, Syntax::Json)
}

/// A policy document or proxy file in YAML.
pub(super) fn yaml(bytes: &[u8]) -> Behaviour {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Behaviour::of("not UTF-8");
    };
    match serde_saphyr::from_str::<Node>(text) {
        Ok(node) => judged(Ok(node), bytes, Syntax::Yaml),
        // Tabs, for one: what looks like JSON is read as JSON first.
        Err(_) if Node::from_json(bytes).is_ok() => {
            judged(Node::from_json(bytes), bytes, Syntax::Yaml)
        }
        Err(_) => {
            let problems =
                parse(text, Syntax::Yaml).expect_err("the proxy reads no more than YAML");
            placed(&problems);
            Behaviour::of("not YAML")
        }
    }
}

fn judged(node: Result<Node, Problems>, bytes: &[u8], syntax: Syntax) -> Behaviour {
    let node = match node {
        Ok(node) => node,
        Err(problems) => {
            placed(&problems);
            return Behaviour::of(("unreadable", problems.len()));
        }
    };
    let documents = [Host::Native, Host::Wasm].map(|host| compiled(&node, host));
    let file = std::str::from_utf8(bytes).map(|text| match parse(text, syntax) {
        Ok(settings) => {
            assert!(!settings.listeners.is_empty() && settings.workers > 0);
            vec!["file".to_owned()]
        }
        Err(problems) => placed(&problems),
    });
    Behaviour::of((documents, file.unwrap_or_default()))
}

/// What a document is to one host, in words without its numbers.
fn compiled(node: &Node, host: Host) -> Vec<String> {
    let document = match Document::compile(node, host) {
        Ok(document) => document,
        Err(problems) => return placed(&problems),
    };
    let mut canonical = String::new();
    json_of(node, &mut canonical);
    let again = Document::parse(canonical.as_bytes(), host)
        .unwrap_or_else(|problems| panic!("its own JSON is refused: {problems}\n{canonical}"));
    same(&document, &again);
    // Another order of keys, as a protobuf `Struct` makes it, means the same.
    let sorted = serde_json::from_str::<serde_json::Value>(&canonical).expect("it is JSON");
    let again = Document::parse(sorted.to_string().as_bytes(), host)
        .unwrap_or_else(|problems| panic!("with its keys sorted it is refused: {problems}"));
    assert_eq!(document.hash, again.hash, "with its keys sorted: {sorted}");
    // Every JSON document is a YAML document of the same meaning, where YAML takes its letters.
    if let Ok(node) = serde_saphyr::from_str::<Node>(&canonical) {
        let again = Document::compile(&node, host)
            .unwrap_or_else(|problems| panic!("its JSON as YAML is refused: {problems}"));
        same(&document, &again);
    }
    let shapes = document.policies.iter().map(|policy| {
        let trip = policy.breaker.as_ref().map(|breaker| {
            let trip = &breaker.trip;
            let conditions = (trip.consecutive_failures.is_some(), trip.failure_rate.is_some());
            (conditions, trip.slow_rate.is_some(), breaker.share)
        });
        let shape = (policy.mode, policy.fallback.is_some(), policy.timeout.request.is_some());
        format!("{trip:?} {shape:?}")
    });
    shapes.collect()
}

fn same(one: &Document, other: &Document) {
    assert_eq!(one.hash, other.hash);
    assert_eq!(one.skipped, other.skipped);
    assert_eq!(format!("{:?}", one.policies), format!("{:?}", other.policies));
}

/// Each problem has a place and fits a line of a log. Gives the places, without indices.
fn placed(problems: &Problems) -> Vec<String> {
    assert!(!problems.is_empty(), "refused without a reason");
    let lines = problems.to_string();
    assert_eq!(lines.lines().count(), problems.len(), "one line each: {lines}");
    let mut places: Vec<String> = problems
        .iter()
        .map(|problem| {
            assert!(!problem.path.is_empty() && !problem.what.is_empty());
            let line = problem.to_string();
            assert!(!line.contains(|letter: char| letter.is_control()), "{line:?}");
            let known = problem.path.rsplit(['.', '[']).next().unwrap_or_default();
            let known = WORDS.contains(&known).then_some(known);
            known.unwrap_or("?").to_owned()
        })
        .collect();
    places.sort_unstable();
    places.dedup();
    places
}

/// Keys in their order: skipped parts are named in the order of the document.
fn json_of(node: &Node, out: &mut String) {
    match node {
        Node::Null => out.push_str("null"),
        Node::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Node::Int(value) => out.push_str(&value.to_string()),
        Node::Float(value) => out.push_str(&serde_json::Value::from(*value).to_string()),
        Node::Text(value) => quote(value, out),
        Node::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                json_of(item, out);
            }
            out.push(']');
        }
        Node::Map(entries) => {
            out.push('{');
            for (index, (key, value)) in entries.iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                quote(key, out);
                out.push_str(": ");
                json_of(value, out);
            }
            out.push('}');
        }
    }
}

fn quote(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}
