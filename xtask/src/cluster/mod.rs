//! The chart in each of its modes on a real Kubernetes with a real Istio, judged by calls between
//! pods. Each thing shown is one line `proof: …`; a thing that is not shown is a line `FAILED: …`.

pub(crate) mod access;
mod answer;
mod bench;
mod failures;
mod modes;
mod objects;
mod proofs;
pub(crate) mod registry;
mod updates;

use crate::{images, say};
use access::Access;
use anyhow::Result;
use bench::Bench;
use proofs::Proofs;
use std::process::ExitCode;
use std::time::Instant;

/// A part of the test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// What each mode does.
    Modes,
    /// Changes under load, and no control plane.
    Updates,
    /// A wrong policy, and a module that cannot be had.
    Failures,
}

/// Installs the chart in each mode, shows what each does, removes everything again and prints
/// `N passed, N failed, N skipped` as the last line. `profile` is the Cargo profile of the images.
/// Without `parts` all of them are shown.
///
/// Which cluster: `KUBECONFIG`, else the folder `BIMETAL_CLUSTER`, else `../shared/cluster` where
/// that exists. Without a cluster the test is skipped. `BIMETAL_TOOLS_IMAGE` names an image with
/// a shell, curl and crane that the cluster has; `BIMETAL_LOAD_IMAGE` a program that is given
/// image archives to load into it.
///
/// # Errors
/// The cluster, the images or the installation fail before anything can be shown.
pub fn cluster_test(profile: &str, parts: &[Part]) -> Result<ExitCode> {
    let mut proofs = Proofs::default();
    let since = Instant::now();
    match Access::find()? {
        None => proofs.skipped("everything", "no cluster: set KUBECONFIG or BIMETAL_CLUSTER"),
        Some(access) => {
            let images = images::images(profile)?;
            let (study, _) = images::study(profile)?;
            let bench = Bench::new(access, images, study);
            let ready = bench.set_up();
            if ready.is_ok() {
                let all = [Part::Modes, Part::Updates, Part::Failures];
                for part in all.iter().filter(|part| parts.is_empty() || parts.contains(part)) {
                    match part {
                        Part::Modes => modes::show_all(&bench, &mut proofs),
                        Part::Updates => updates::show_all(&bench, &mut proofs),
                        Part::Failures => failures::show_all(&bench, &mut proofs),
                    }
                }
            }
            // Nothing is left behind, whatever happened.
            bench.remove()?;
            ready?;
        }
    }
    say::ended("cluster-test", "done", since.elapsed());
    println!("{proofs}");
    Ok(if proofs.all_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
