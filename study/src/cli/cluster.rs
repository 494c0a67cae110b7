//! What a study in a cluster does when its blocks are measured: whether the traces arrived, and how
//! the arms answer under faults that Istio injects.

use anyhow::Result;
use bimetal_study::arms::Arm;
use bimetal_study::cluster::Cluster;
use bimetal_study::faults;
use bimetal_study::plan::Extent;
use bimetal_study::store::{self, Store};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

/// How long calls are made under one fault, in seconds.
const SECONDS: f64 = 20.0;

/// The same of a smoke test.
const SHORT: f64 = 4.0;

/// Looks after the traces, and lets Istio inject its faults. What is in the folder already is not done
/// again.
///
/// # Errors
/// An arm does not come up, or a file cannot be written.
pub fn after(
    cluster: &Cluster,
    store: &Store,
    all: &BTreeMap<String, Arm>,
    stop: &AtomicBool,
) -> Result<()> {
    let (folder, plan) = (store.folder(), &store.head().plan);
    if store::shipped(folder)?.is_empty() {
        for shipped in cluster.shipped(&plan.arms) {
            eprintln!(
                "{}: {} of {} last traces are in Jaeger, of {} spans each",
                shipped.arm, shipped.whole, shipped.asked, shipped.spans
            );
            store::add_shipped(folder, &shipped)?;
        }
    }
    let seconds = if plan.extent == Extent::Quick { SHORT } else { SECONDS };
    let done = store::faults(folder)?;
    let arms = plan.arms.iter().filter_map(|name| all.get(name));
    for arm in arms.filter(|arm| faults::can_be_faulted(arm)) {
        if stop.load(Ordering::Relaxed) || done.iter().any(|one| one.arm == arm.name) {
            continue;
        }
        let tell = |seen: &faults::Faulted| {
            eprintln!("{} under {}: {} of {} good", seen.arm, seen.fault, seen.good, seen.calls);
        };
        for faulted in faults::run(cluster, arm, seconds, tell)? {
            store::add_fault(folder, &faulted)?;
        }
    }
    Ok(())
}
