//! The board's page of metrics, in Prometheus' text format.

use super::keeper::Sizes;
use crate::board::ExchangeCounts;
use bimetal_core::metric::{BOARD_ERRORS, BOARD_EXCHANGE_SECONDS, Metric};
use std::fmt::Write;
use std::sync::atomic::Ordering;

/// The whole page.
pub(super) fn page(counts: &ExchangeCounts, sizes: &Sizes) -> String {
    let mut page = String::new();
    // Writing to a string cannot fail, here and below.
    head(&mut page, &BOARD_ERRORS);
    for (reason, count) in ExchangeCounts::REASONS.iter().zip(counts.errors()) {
        let _ = writeln!(page, "{}{{reason=\"{reason}\"}} {count}", BOARD_ERRORS.name);
    }
    let metric = &BOARD_EXCHANGE_SECONDS;
    head(&mut page, metric);
    let durations = counts.durations();
    let bounds = metric.bounds.iter().map(|(_, text)| *text).chain(["+Inf"]);
    let mut count = 0;
    for (bound, more) in bounds.zip(durations.counts) {
        count += more;
        let _ = writeln!(page, "{}_bucket{{le=\"{bound}\"}} {count}", metric.name);
    }
    let sum = durations.sum as f64 / 1e9;
    let _ = writeln!(page, "{0}_sum {sum}\n{0}_count {count}", metric.name);
    for (name, help, value) in [
        ("bimetal_board_records", "Records that the board knows.", &sizes.records),
        ("bimetal_board_keys", "Scopes that they are of.", &sizes.keys),
    ] {
        let value = value.load(Ordering::Relaxed);
        let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}");
    }
    page
}

fn head(page: &mut String, metric: &Metric) {
    let Metric { name, help, .. } = metric;
    let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {}", metric.kind.name());
}
