//! What is known, in words: one table for each thing there is to see.

use super::picture::Picture;
use serde_json::Value;

/// A table.
#[derive(Debug)]
pub(super) struct View {
    /// Names of its columns.
    pub columns: Vec<&'static str>,
    /// Its rows.
    pub rows: Vec<Row>,
}

/// A row of a table.
#[derive(Debug)]
pub(super) struct Row {
    /// Its cells, which a terminal can show.
    pub cells: Vec<String>,
    /// What it is about, where it has a colour.
    pub tone: Tone,
}

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// Nothing to look at.
    Plain,
    /// An open breaker.
    Open,
    /// A half-open one.
    HalfOpen,
    /// One that an operator holds.
    Held,
}

/// Names of all views, in their order.
pub(super) const TITLES: [&str; 6] =
    ["breakers", "traffic", "limits", "edges", "endpoints", "history"];

/// Every view.
pub(super) fn views(picture: &Picture, policy: Option<&str>) -> Vec<View> {
    vec![
        breakers(picture, policy),
        traffic(picture, policy),
        limits(picture, policy),
        edges(picture, policy),
        endpoints(picture),
        history(picture, policy),
    ]
}

/// A text that a client may have chosen: it moves no cursor and hides nothing.
pub(super) fn safe(text: &str) -> String {
    text.escape_debug().to_string().replace("\\'", "'").replace("\\\"", "\"")
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::from("-"),
        Value::String(text) if text.is_empty() => String::from("-"),
        Value::String(text) => safe(text),
        other => other.to_string(),
    }
}

/// A time of so many milliseconds.
pub(super) fn span(millis: f64) -> String {
    let secs = (millis / 1e3).max(0.0).round();
    match secs {
        secs if secs < 120.0 => format!("{secs} s"),
        secs if secs < 7_200.0 => format!("{} min", (secs / 60.0).round()),
        secs => format!("{} h", (secs / 3_600.0).round()),
    }
}

fn millis(value: &Value) -> String {
    value.as_f64().map_or_else(|| String::from("-"), |millis| format!("{millis} ms"))
}

fn plain(cells: Vec<String>) -> Row {
    Row { cells, tone: Tone::Plain }
}

fn breakers(picture: &Picture, policy: Option<&str>) -> View {
    let mut rows = picture.rows("breakers", policy);
    let tone = |row: &Value| match (row["held"].as_str(), row["state"].as_str()) {
        (Some(_), _) => Tone::Held,
        (None, Some("open")) => Tone::Open,
        (None, Some("half_open")) => Tone::HalfOpen,
        _ => Tone::Plain,
    };
    rows.sort_by_key(|row| match tone(row) {
        Tone::Held => 0,
        Tone::Open => 1,
        Tone::HalfOpen => 2,
        Tone::Plain => 3,
    });
    let rows = rows.into_iter().map(|row| {
        let ago = |at: &Value| at.as_f64().map(|at| picture.now_ms - at);
        let probe = match ago(&row["next_probe_ms"]) {
            None => String::from("-"),
            Some(passed) if passed < 0.0 => format!("in {}", span(-passed)),
            Some(_) => String::from("next call"),
        };
        let window = &row["window"];
        let (calls, failures) = (text(&window["calls"]), text(&window["failures"]));
        let state = match row["held"].as_str() {
            Some("force_open") => String::from("forced open"),
            Some("disable") => String::from("disabled"),
            _ => text(&row["state"]).replace('_', "-"),
        };
        Row {
            cells: vec![
                state,
                text(&row["policy"]),
                text(&row["scope"]),
                ago(&row["since_ms"]).map_or_else(|| String::from("-"), span),
                probe,
                text(&row["why"]),
                format!("{failures} failed, {} slow of {calls}", text(&window["slow"])),
            ],
            tone: tone(row),
        }
    });
    let columns = vec!["state", "policy", "scope", "since", "next probe", "why", "window"];
    View { columns, rows: rows.collect() }
}

fn traffic(picture: &Picture, policy: Option<&str>) -> View {
    let rules = ["admitted", "breaker", "rate_limit", "concurrency", "deadline"];
    let rows = picture.rows("traffic", policy).into_iter().map(|row| {
        let mut cells = vec![text(&row["policy"])];
        cells.extend(rules.map(|rule| text(&row["per_s"][rule])));
        cells.push(text(&row["failures_per_s"]));
        cells.extend(["p50", "p95", "p99"].map(|share| millis(&row["latency_ms"][share])));
        plain(cells)
    });
    let columns = vec![
        "policy",
        "admitted/s",
        "breaker/s",
        "rate limit/s",
        "concurrency/s",
        "deadline/s",
        "failures/s",
        "p50",
        "p95",
        "p99",
    ];
    View { columns, rows: rows.collect() }
}

fn limits(picture: &Picture, policy: Option<&str>) -> View {
    let rows = picture.rows("limits", policy).into_iter().map(|row| {
        let fill = row["fill"].as_f64().map(|fill| format!("{:.0} %", fill * 100.0));
        plain(vec![
            text(&row["policy"]),
            text(&row["scope"]),
            text(&row["limit"]),
            fill.unwrap_or_else(|| String::from("-")),
            text(&row["waiting"]),
        ])
    });
    let columns = vec!["policy", "scope", "limit", "fill", "waiting"];
    View { columns, rows: rows.collect() }
}

fn edges(picture: &Picture, policy: Option<&str>) -> View {
    let rows = picture.rows("edges", policy).into_iter().map(|row| {
        let waits = &row["caller_timeout_ms"];
        let waits = match waits.is_null() {
            true => String::from("-"),
            false => format!("{} to {}", millis(&waits["min"]), millis(&waits["max"])),
        };
        let names = ["caller", "route", "upstream", "policy", "calls", "failed", "rejected"];
        let mut cells: Vec<_> = names.iter().map(|name| text(&row[*name])).collect();
        let latency = &row["latency_ms"];
        cells.extend([millis(&latency["p50"]), millis(&latency["p99"])]);
        cells.extend([millis(&row["timeout_ms"]), waits]);
        plain(cells)
    });
    let columns = vec![
        "caller",
        "route",
        "upstream",
        "policy",
        "calls",
        "failed",
        "rejected",
        "p50",
        "p99",
        "limit",
        "caller waits",
    ];
    View { columns, rows: rows.collect() }
}

fn endpoints(picture: &Picture) -> View {
    let names = ["upstream", "endpoint", "state", "health", "calls", "ejections"];
    let rows = picture.rows("endpoints", None).into_iter();
    let rows = rows.map(|row| plain(names.iter().map(|name| text(&row[*name])).collect()));
    View { columns: names.to_vec(), rows: rows.collect() }
}

fn history(picture: &Picture, policy: Option<&str>) -> View {
    let rows = picture.history(policy).map(|entry| {
        let ago = entry["at_ms"].as_f64().map(|at| span(picture.now_ms - at));
        let (what, why) = match entry["order"].as_str() {
            Some(order) => (format!("{order} was ordered"), format!("from {}", text(&entry["by"]))),
            None => {
                let names = format!("{} to {}", text(&entry["from"]), text(&entry["to"]));
                let open = entry["open_for_ms"].as_f64().filter(|millis| *millis > 0.0);
                let open = open.map_or_else(String::new, |millis| format!(" for {}", span(millis)));
                (names.replace('_', "-") + &open, text(&entry["why"]))
            }
        };
        let ago = ago.map_or_else(|| String::from("-"), |ago| format!("{ago} ago"));
        plain(vec![ago, text(&entry["policy"]), text(&entry["scope"]), what, why])
    });
    let columns = vec!["when", "policy", "scope", "what", "why"];
    View { columns, rows: rows.collect() }
}

/// One line of the whole.
pub(super) fn headline(picture: &Picture, policy: Option<&str>) -> String {
    let rows = picture.rows("breakers", policy);
    let count = |state: &str| rows.iter().filter(|row| row["state"] == state).count();
    let mut line = format!(
        "{}: {} open, {} half-open, {} closed",
        text(&picture.proxy["name"]),
        count("open"),
        count("half_open"),
        count("closed"),
    );
    if picture.hidden > 0 {
        line += &format!(", {} not shown", picture.hidden);
    }
    if let Some(trouble) = &picture.trouble {
        line += &format!("; {}", safe(trouble));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_chose_moves_no_cursor() {
        assert_eq!(safe("a\u{1b}[2J\r\nb\u{202e}c"), "a\\u{1b}[2J\\r\\nb\\u{202e}c");
        assert_eq!(safe("it's \"fine\" \u{e9}"), "it's \"fine\" \u{e9}");
    }

    #[test]
    fn times_are_told_in_one_unit() {
        assert_eq!([span(-5.0), span(1_400.0), span(119_400.0)], ["0 s", "1 s", "119 s"]);
        assert_eq!([span(119_600.0), span(7_199_000.0), span(9e9)], ["2 min", "120 min", "2500 h"]);
    }
}
