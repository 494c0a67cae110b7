//! Spans that an arm's programs wrote while they were measured: the lines of OTLP/JSON on their
//! standard output, which a collector would have been sent.

use crate::stats::{mean, median};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::PathBuf;

/// The proxy's root: the time of the whole trace.
pub const ROOT: &str = "POST /echo (echo-proxy)";

/// Spans of the origin's tree that only use the processor.
pub const CPU_ONLY: [&str; 5] = [
    "parse_request_client",
    "construct_response_client",
    "parse_request_server",
    "process_message_server",
    "construct_response_server",
];

/// Kind of a server's span, as OTLP numbers it.
const SERVER: u8 = 2;

/// How long spans of one name took.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// How many there were.
    pub count: u64,
    /// Mean, in microseconds.
    pub mean_us: f64,
    /// Median, in microseconds.
    pub median_us: f64,
}

/// The spans of one measurement, by name. A server's has its service behind the name, for both
/// programs serve the same path.
pub type Spans = BTreeMap<String, Span>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans {
    resource: Resource,
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Deserialize)]
struct Resource {
    attributes: Vec<Attribute>,
}

#[derive(Deserialize)]
struct Attribute {
    key: String,
    value: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Value {
    string_value: Option<String>,
}

#[derive(Deserialize)]
struct ScopeSpans {
    spans: Vec<Written>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    name: String,
    kind: u8,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
}

/// Reads the spans that began `within` (nanoseconds of unix time) from outputs of programs. Lines of
/// their logs may stand between.
///
/// # Errors
/// A file cannot be read, or a line of spans is broken. The last line of a program that was killed
/// may be half; it is left out.
pub fn read(files: &[PathBuf], within: &Range<u128>) -> Result<Spans> {
    let mut times: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for file in files {
        let told = || format!("cannot read the spans in {}", file.display());
        let mut input = BufReader::new(File::open(file).with_context(told)?);
        let mut line = Vec::new();
        loop {
            line.clear();
            if input.read_until(b'\n', &mut line).with_context(told)? == 0 {
                break;
            }
            if line.starts_with(b"{\"resourceSpans\"") && line.ends_with(b"\n") {
                take(&serde_json::from_slice(&line).with_context(told)?, within, &mut times)
                    .with_context(told)?;
            }
        }
    }
    let of = |(name, times): (String, Vec<f64>)| {
        let span =
            Span { count: times.len() as u64, mean_us: mean(&times), median_us: median(&times) };
        (name, span)
    };
    Ok(times.into_iter().map(of).collect())
}

fn take(line: &Line, within: &Range<u128>, times: &mut BTreeMap<String, Vec<f64>>) -> Result<()> {
    for program in &line.resource_spans {
        let named = program.resource.attributes.iter().find(|one| one.key == "service.name");
        let service = named.and_then(|one| one.value.string_value.as_deref()).unwrap_or_default();
        for span in program.scope_spans.iter().flat_map(|scope| &scope.spans) {
            let start: u128 = span.start_time_unix_nano.parse()?;
            let end: u128 = span.end_time_unix_nano.parse()?;
            if !within.contains(&start) {
                continue;
            }
            let name = match span.kind {
                SERVER => format!("{} ({service})", span.name),
                _ => span.name.clone(),
            };
            let took = end.saturating_sub(start) as f64 / 1e3;
            times.entry(name).or_default().push(took);
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A line as a program writes it, of spans with name, kind, start and end.
    fn line(service: &str, spans: &[(&str, u8, u64, u64)]) -> String {
        let spans: Vec<_> = spans
            .iter()
            .map(|(name, kind, start, end)| {
                serde_json::json!({"traceId": "0a", "name": name, "kind": kind, "flags": 257,
                    "startTimeUnixNano": start.to_string(), "endTimeUnixNano": end.to_string()})
            })
            .collect();
        let attributes = serde_json::json!([{"key": "other", "value": {"intValue": "3"}},
            {"key": "service.name", "value": {"stringValue": service}}]);
        let spans = serde_json::json!([{"scope": {}, "spans": spans}]);
        format!(
            "{{\"resourceSpans\":[{{\"resource\":{{\"attributes\":{attributes}}},\"scopeSpans\":{spans}}}]}}\n"
        )
    }

    fn read_all(texts: &[&str], within: Range<u128>) -> Result<Spans> {
        let folder = tempfile::tempdir().unwrap();
        let files = texts.iter().enumerate().map(|(number, text)| {
            let file = folder.path().join(number.to_string());
            std::fs::write(&file, text).unwrap();
            file
        });
        read(&files.collect::<Vec<_>>(), &within)
    }

    #[test]
    fn spans_are_gathered_by_name_over_files_and_the_server_by_its_service() {
        let proxy =
            line("echo-proxy", &[("POST /echo", 2, 1_000, 9_000), ("POST", 3, 2_000, 5_000)])
                + "info: a line of the log\n"
                + &line("echo-proxy", &[("POST", 3, 10_000, 11_000)]);
        let echo = line("echo-server", &[("POST /echo", 2, 3_000, 4_000)]);
        let seen = read_all(&[&proxy, &echo], 0..100_000).unwrap();
        let names: Vec<&str> = seen.keys().map(String::as_str).collect();
        assert_eq!(names, ["POST", ROOT, "POST /echo (echo-server)"]);
        assert_eq!(seen["POST"], Span { count: 2, mean_us: 2.0, median_us: 2.0 });
        assert_eq!(seen[ROOT].mean_us, 8.0);
    }

    #[test]
    fn only_what_began_within_counts_and_half_a_line_does_not() {
        let one = line("a", &[("POST", 3, 1_000, 2_000), ("POST", 3, 5_000, 9_000)]);
        let seen = read_all(&[&one, one.trim_end()], 1_001..6_000).unwrap();
        assert_eq!(seen["POST"], Span { count: 1, mean_us: 4.0, median_us: 4.0 });
        assert_eq!(read_all(&["info: nothing\n"], 0..9).unwrap(), Spans::new());
        let broken = format!("{}\n", &one[..one.len() - 4]);
        assert!(
            format!("{:#}", read_all(&[&broken], 0..9).unwrap_err())
                .contains("cannot read the spans")
        );
    }
}
