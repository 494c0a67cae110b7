//! What a study ran on.

use crate::cluster::InCluster;
use crate::process::Cores;
use crate::tools;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// A machine and what is on it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// Its cores.
    pub cores: usize,
    /// The core of the arms and that of generator and server.
    pub pinned: [usize; 2],
    /// The kernel's release.
    pub kernel: String,
    /// Memory in KiB.
    pub memory_kib: u64,
    /// Its load when the study began: means of 1, 5 and 15 minutes.
    pub load_average: String,
    /// The commit that was measured.
    pub commit: String,
    /// What the arms are made of: versions of programs, sizes of modules.
    pub versions: BTreeMap<String, String>,
    /// The cluster in which the arms ran; none where they ran on this machine alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<InCluster>,
}

/// Looks at this machine and at the tools named.
pub fn look<'a>(cores: Cores, commit: &str, used: impl Iterator<Item = &'a str>) -> Machine {
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
    let memory = read("/proc/meminfo");
    let memory = memory.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    Machine {
        processor: model.unwrap_or("unknown").trim_start_matches(['\t', ' ', ':']).to_owned(),
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        pinned: [cores.arms, cores.load],
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        memory_kib: memory
            .and_then(|line| line.split_whitespace().next()?.parse().ok())
            .unwrap_or_default(),
        load_average: read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" "),
        commit: commit.to_owned(),
        versions: used.map(|name| (name.to_owned(), version(name))).collect(),
        cluster: None,
    }
}

/// What a tool says of itself.
fn version(name: &str) -> String {
    let Ok(path) = tools::find(name) else {
        return "not here".to_owned();
    };
    if path.extension().is_some_and(|end| end == "wasm") {
        return size(&path);
    }
    ["--version", "-v"].iter().find_map(|flag| said(&path, flag)).unwrap_or_else(|| size(&path))
}

fn said(path: &Path, flag: &str) -> Option<String> {
    let output = Command::new(path).arg(flag).output().ok().filter(|done| done.status.success())?;
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    let text = String::from_utf8_lossy(&text).into_owned();
    let line = text.lines().find(|line| !line.trim().is_empty())?;
    // Envoy names its own path before its version.
    Some(line.split("version:").last().unwrap_or(line).trim().to_owned())
}

fn size(path: &Path) -> String {
    path.metadata().map(|meta| format!("{} bytes", meta.len())).unwrap_or_default()
}

/// CPU time that all cores spent working so far, in seconds: what is neither idle nor waiting.
pub fn busy_s() -> f64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<f64> =
        line.split_whitespace().skip(1).filter_map(|one| one.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal; guests are within user.
    let of = |place: usize| ticks.get(place).copied().unwrap_or_default();
    (of(0) + of(1) + of(2) + of(5) + of(6) + of(7)) / TICKS
}

/// Ticks a second, as Linux shows them to programs everywhere.
const TICKS: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_told() {
        let cores = Cores::take().unwrap();
        let machine = look(cores, "abc", ["bash", "no-such-tool"].into_iter());
        assert!(machine.cores > 0 && machine.memory_kib > 1_000 && !machine.kernel.is_empty());
        assert_eq!(machine.load_average.split(' ').count(), 3);
        assert!(machine.versions["bash"].contains("bash"), "{machine:?}");
        assert_eq!(machine.versions["no-such-tool"], "not here");
        assert!(busy_s() > 0.0);
    }
}
