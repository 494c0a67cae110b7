//! What containers used, by the kernel's control groups. They can be read where the cluster's nodes
//! are on this machine, and nowhere else: then there is no CPU time and no memory in the record.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How deep control groups are looked through: a node, the kubelet's classes, a pod, a container.
const DEEPEST: usize = 10;

/// Roots of hierarchies: the second version's, and the first's of CPU time and of memory.
const ROOTS: [&str; 3] = ["/sys/fs/cgroup", "/sys/fs/cgroup/cpuacct", "/sys/fs/cgroup/memory"];

/// Where the kernel counts what one container uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    time: PathBuf,
    memory: PathBuf,
}

impl Counted {
    /// The counters of the container with this id; none where it is not on this machine.
    pub(super) fn of(container: &str) -> Option<Self> {
        let [unified, time, memory] = ROOTS.map(Path::new);
        if time.exists() {
            let time = found(time, container, DEEPEST)?.join("cpuacct.usage");
            let memory = found(memory, container, DEEPEST)?.join("memory.stat");
            return Some(Self { time, memory });
        }
        let own = found(unified, container, DEEPEST)?;
        Some(Self { time: own.join("cpu.stat"), memory: own.join("memory.stat") })
    }

    /// CPU time that all of its processes ever used.
    ///
    /// # Errors
    /// It is gone.
    pub(super) fn time_used(&self) -> Result<Duration> {
        time_in(&read(&self.time)?).with_context(|| format!("{} has no time", self.time.display()))
    }

    /// Memory of its processes without files, in KiB.
    ///
    /// # Errors
    /// It is gone.
    pub(super) fn resident_kib(&self) -> Result<u64> {
        let text = read(&self.memory)?;
        let size = field(&text, "total_rss").or_else(|| field(&text, "anon"));
        let size = size.with_context(|| format!("{} has no size", self.memory.display()))?;
        Ok(size / 1024)
    }
}

/// A folder below `from` whose name holds the container's id.
fn found(from: &Path, container: &str, deepest: usize) -> Option<PathBuf> {
    let folders = std::fs::read_dir(from).ok()?.flatten();
    let folders = folders.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut below = Vec::new();
    for entry in folders {
        if entry.file_name().to_string_lossy().contains(container) {
            return Some(entry.path());
        }
        below.push(entry.path());
    }
    let deepest = deepest.checked_sub(1)?;
    below.iter().find_map(|folder| found(folder, container, deepest))
}

/// `cpuacct.usage` is a number of nanoseconds alone, `cpu.stat` has microseconds by name.
fn time_in(text: &str) -> Option<Duration> {
    match text.trim().parse() {
        Ok(nanos) => Some(Duration::from_nanos(nanos)),
        Err(_) => field(text, "usage_usec").map(Duration::from_micros),
    }
}

fn field(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(field, _)| *field == name)?.1.trim().parse().ok()
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_found_by_its_id_at_any_depth() {
        let root = tempfile::tempdir().unwrap();
        let own = root.path().join("bimetal/worker/kubepods/pod1/cri-containerd-abc.scope");
        std::fs::create_dir_all(&own).unwrap();
        std::fs::create_dir_all(root.path().join("bimetal/worker/kubepods/pod2/def")).unwrap();
        assert_eq!(found(root.path(), "abc", 6), Some(own));
        assert_eq!(found(root.path(), "abc", 2), None);
        assert_eq!(found(root.path(), "fed", 6), None);
    }

    #[test]
    fn both_versions_of_control_groups_are_read() {
        assert_eq!(time_in("1500\n"), Some(Duration::from_nanos(1500)));
        let text = "usage_usec 7\nuser_usec 5\n";
        assert_eq!(time_in(text), Some(Duration::from_micros(7)));
        assert_eq!(time_in("nothing"), None);
        let root = tempfile::tempdir().unwrap();
        let memory = root.path().join("memory.stat");
        let counted = Counted { time: root.path().join("none"), memory: memory.clone() };
        for text in ["rss 4096\ntotal_rss 8192\n", "anon 8192\nfile 1\n"] {
            std::fs::write(&memory, text).unwrap();
            assert_eq!(counted.resident_kib().unwrap(), 8);
        }
        std::fs::write(&memory, "file 1\n").unwrap();
        assert!(counted.resident_kib().is_err() && counted.time_used().is_err());
    }
}
