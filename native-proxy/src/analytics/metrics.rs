//! The page of metrics, in Prometheus' text format. The names are those that the service's dashboards
//! and alerts ask for.

use super::memory;
use crate::worker::histogram::Histogram;
use bimetal_core::Duration;
use bimetal_core::metric::DURATION_BOUNDS;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What the owner of the statistics counts.
#[derive(Debug, Default)]
pub(super) struct Counts {
    anomalies: AtomicU64,
}

impl Counts {
    /// So many samples were judged anomalies.
    pub(super) fn anomalies(&self, count: u64) {
        self.anomalies.fetch_add(count, Ordering::Relaxed);
    }
}

/// Method, path and status of an answer. Each is one of a few.
type Kind = (&'static str, &'static str, u16);

/// What is counted of requests.
#[derive(Debug, Default)]
pub(super) struct Requests(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    requests: BTreeMap<Kind, u64>,
    durations: BTreeMap<&'static str, Histogram>,
}

impl Requests {
    /// Counts one answer, and how long it took from the request's head on.
    pub(super) fn count(&self, kind: Kind, took: Duration) {
        let mut counted = self.counted();
        *counted.requests.entry(kind).or_default() += 1;
        counted.durations.entry(kind.1).or_default().record(took);
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        // Nothing in here is left half done by a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The whole page.
pub(super) fn page(requests: &Requests, counts: &Counts) -> String {
    let mut page = String::new();
    let counted = requests.counted();
    head(&mut page, "http_requests_total", "counter", "Answers to requests.");
    for ((method, path, status), count) in &counted.requests {
        let labels = format!(r#"method="{method}",path="{path}",status="{status}""#);
        line(&mut page, "http_requests_total", &labels, count);
    }
    let name = "http_request_duration_seconds";
    head(&mut page, name, "histogram", "From a request's head to its answer's.");
    for (path, histogram) in &counted.durations {
        let mut sum = 0;
        let bounds = DURATION_BOUNDS.iter().map(|(_, bound)| *bound).chain(["+Inf"]);
        for (count, bound) in histogram.counts.iter().zip(bounds) {
            sum += count;
            let labels = format!(r#"path="{path}",le="{bound}""#);
            line(&mut page, &format!("{name}_bucket"), &labels, &sum);
        }
        let labels = format!(r#"path="{path}""#);
        let seconds = histogram.sum as f64 / 1e9;
        line(&mut page, &format!("{name}_sum"), &labels, &seconds);
        line(&mut page, &format!("{name}_count"), &labels, &sum);
    }
    drop(counted);
    head(
        &mut page,
        "anomalies_total",
        "counter",
        "Samples with |z| above 2 that this replica took in.",
    );
    line(&mut page, "anomalies_total", "", &counts.anomalies.load(Ordering::Relaxed));
    for (name, help, bytes) in memory::figures() {
        head(&mut page, name, "gauge", help);
        line(&mut page, name, "", &bytes);
    }
    page
}

fn head(page: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a text cannot fail.
    let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(page: &mut String, name: &str, labels: &str, value: &dyn std::fmt::Display) {
    let _ = match labels {
        "" => writeln!(page, "{name} {value}"),
        _ => writeln!(page, "{name}{{{labels}}} {value}"),
    };
}
