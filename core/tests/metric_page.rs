//! The page of metrics says what the hosts print.

#![allow(clippy::panic)]

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate bimetal_browser_test;

use bimetal_core::doc::Host;
use bimetal_core::metric::{ALL, Metric};

const PAGE: &str = include_str!("../../docs/metrics.md");

/// A row of the page.
fn row(metric: &Metric) -> String {
    let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
    let hosts = match metric.hosts {
        [Host::Native] => "proxy",
        [Host::Wasm] => "filter",
        _ => "both",
    };
    format!(
        "| `{}` | {} | {} | {hosts} | {} |",
        metric.name,
        metric.kind.name(),
        labels.join(", "),
        metric.help
    )
}

#[test]
fn its_table_is_the_description() {
    let rows: Vec<_> = ALL.iter().map(|metric| row(metric)).collect();
    let written: Vec<_> = PAGE.lines().filter(|line| line.starts_with("| `bimetal_")).collect();
    assert_eq!(written, rows, "the table should be:\n{}\n", rows.join("\n"));
}

#[test]
fn it_explains_every_label() {
    for label in ALL.iter().flat_map(|metric| metric.labels) {
        assert!(PAGE.contains(&format!("\n| `{label}` |")), "{label}");
    }
}
