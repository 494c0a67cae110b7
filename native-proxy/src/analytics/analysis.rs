//! What `/analyze` tells.

use super::window::{WINDOW, Window};
use serde_json::{Value, json};

/// Samples of the window that are told in full.
const LATEST: usize = 10;

/// How much was taken in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// Samples, each counted once.
    pub(super) samples: u64,
    /// Those of them with |z| above 2.
    pub(super) anomalies: u64,
}

/// What one replica saw itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Samples in requests that were answered 202.
    pub(super) accepted: u64,
    /// Those of them that were known by their names already.
    pub(super) duplicates: u64,
    /// Those that were older than all of a full window: counted, not judged.
    pub(super) too_old: u64,
}

/// The answer. `replica` and `store` tell of the one that is asked; all else is the same for all
/// replicas of one store.
pub(super) fn told(
    window: &Window,
    totals: Totals,
    seen: Seen,
    replica: &str,
    store: &Value,
) -> Value {
    let reading = window.reading();
    let latest = window.samples().iter().rev().take(LATEST);
    json!({
        "count": totals.samples,
        "window": window.samples().len(),
        "window_size": WINDOW,
        "mean_rps": reading.mean,
        "stddev_rps": reading.deviation,
        "z_score": reading.z,
        "mean_cpu": window.mean_cpu(),
        "anomaly_count": totals.anomalies,
        "latest": latest.map(|sample| sample.told()).collect::<Vec<_>>(),
        "replica": {
            "id": replica,
            "accepted": seen.accepted,
            "duplicates": seen.duplicates,
            "too_old": seen.too_old,
        },
        "store": store,
    })
}
