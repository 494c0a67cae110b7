//! A study's folder. What was measured is added block by block, and nothing is ever overwritten.

use crate::cluster::Shipped;
use crate::faults::Faulted;
use crate::machine::Machine;
use crate::plan::{Next, Plan};
use crate::record::Block;
use crate::stages::Staged;
use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

const HEAD: &str = "study.json";
const BLOCKS: &str = "blocks.jsonl";
const STAGES: &str = "stages.jsonl";
const FAULTS: &str = "faults.jsonl";
const SHIPPED: &str = "shipped.jsonl";

/// What a study is, written once when it begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// What is measured.
    pub plan: Plan,
    /// Where.
    pub machine: Machine,
}

/// The folder of one study.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    head: Head,
    blocks: Vec<Block>,
    file: File,
}

impl Store {
    /// Begins a study in `folder`, which is made where it is not there.
    ///
    /// # Errors
    /// There is a study in it already, or it cannot be written.
    pub fn begin(folder: &Path, head: Head) -> Result<Self> {
        if folder.join(HEAD).exists() {
            bail!(
                "there is a study in {}: --resume goes on with it, another --out begins a new one",
                folder.display()
            );
        }
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        let text = serde_json::to_string_pretty(&head)? + "\n";
        // The blocks' file first: a folder with a head is a whole one.
        let file = File::create(folder.join(BLOCKS)).with_context(|| cannot_write(folder))?;
        write_whole(&folder.join(HEAD), &text)?;
        Ok(Self { folder: folder.to_path_buf(), head, blocks: Vec::new(), file })
    }

    /// Opens the study in `folder`.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn open(folder: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(folder.join(HEAD))
            .with_context(|| format!("there is no study in {}", folder.display()))?;
        let head = serde_json::from_str(&text)
            .with_context(|| format!("{} is not readable", folder.join(HEAD).display()))?;
        let path = folder.join(BLOCKS);
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        // A line without its end was being written when the study was stopped.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let lines = text.get(..whole).unwrap_or_default().lines();
        let blocks = lines.map(|line| {
            serde_json::from_str(line).with_context(|| format!("{} is broken", path.display()))
        });
        let blocks = blocks.collect::<Result<_>>()?;
        let file =
            OpenOptions::new().append(true).open(&path).with_context(|| cannot_write(folder))?;
        file.set_len(whole as u64).with_context(|| cannot_write(folder))?;
        Ok(Self { folder: folder.to_path_buf(), head, blocks, file })
    }

    /// Adds a block, and does not return before it is on the disk.
    ///
    /// # Errors
    /// It cannot be written: the disk is full, say. What was written before stays.
    pub fn add(&mut self, block: Block) -> Result<()> {
        let line = serde_json::to_string(&block)? + "\n";
        let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data());
        // Half a line may be left; whoever opens it drops that.
        written.with_context(|| {
            let told = cannot_write(&self.folder);
            format!("{told}. What was measured so far is kept; --resume goes on")
        })?;
        self.blocks.push(block);
        Ok(())
    }

    /// What is still to be measured, in its order.
    pub fn left(&self) -> Vec<Next> {
        let is_done = |next: &Next| {
            let load = next.load.to_string();
            self.blocks
                .iter()
                .any(|done| done.round == next.round && done.arm == next.arm && done.load == load)
        };
        self.head.plan.blocks().into_iter().filter(|next| !is_done(next)).collect()
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What it is.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// What was measured so far.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Writes a file beside the study's own: a report, which is made anew from the blocks each time.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        write_whole(&path, text)?;
        Ok(path)
    }
}

/// What k6 saw, of the study in `folder`; none where it was not run.
///
/// # Errors
/// The file is broken.
pub fn stages(folder: &Path) -> Result<Vec<Staged>> {
    lines(folder, STAGES)
}

/// Adds what k6 saw of one arm.
///
/// # Errors
/// It cannot be written.
pub fn add_stage(folder: &Path, staged: &Staged) -> Result<()> {
    add_line(folder, STAGES, staged)
}

/// How arms answered under faults that a mesh injected; none where there were none.
///
/// # Errors
/// The file is broken.
pub fn faults(folder: &Path) -> Result<Vec<Faulted>> {
    lines(folder, FAULTS)
}

/// Adds how one arm answered under one fault.
///
/// # Errors
/// It cannot be written.
pub fn add_fault(folder: &Path, faulted: &Faulted) -> Result<()> {
    add_line(folder, FAULTS, faulted)
}

/// What a cluster's Jaeger had of arms' last traces.
///
/// # Errors
/// The file is broken.
pub fn shipped(folder: &Path) -> Result<Vec<Shipped>> {
    lines(folder, SHIPPED)
}

/// Adds what Jaeger had of one arm's last traces.
///
/// # Errors
/// It cannot be written.
pub fn add_shipped(folder: &Path, shipped: &Shipped) -> Result<()> {
    add_line(folder, SHIPPED, shipped)
}

fn lines<T: DeserializeOwned>(folder: &Path, file: &str) -> Result<Vec<T>> {
    let path = folder.join(file);
    let text = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        read => read.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let lines = text.lines().map(|line| {
        serde_json::from_str(line).with_context(|| format!("{} is broken", path.display()))
    });
    lines.collect()
}

fn add_line(folder: &Path, file: &str, one: &impl Serialize) -> Result<()> {
    let line = serde_json::to_string(one)? + "\n";
    let file = OpenOptions::new().create(true).append(true).open(folder.join(file));
    file.and_then(|mut file| file.write_all(line.as_bytes())).with_context(|| cannot_write(folder))
}

/// Writes beside and moves into place: nobody ever sees half of it.
fn write_whole(path: &Path, text: &str) -> Result<()> {
    let beside = path.with_extension("new");
    let written = std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, path));
    written.with_context(|| format!("cannot write {}", path.display()))
}

fn cannot_write(folder: &Path) -> String {
    format!("cannot write into {}", folder.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::plan;
    use crate::stats::synthetic::{Made, block};
    use fastrand::Rng;

    fn head() -> Head {
        Head { plan: plan(), machine: Machine::default() }
    }

    fn measured(next: &Next) -> Block {
        let made = Made { calls: 100, ..Made::default() };
        let made = block(&made, &next.arm, next.round, &mut Rng::with_seed(1));
        Block { load: next.load.to_string(), ..made }
    }

    #[test]
    fn a_study_that_was_stopped_goes_on_where_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let order = plan().blocks();
        let mut store = Store::begin(folder.path(), head()).unwrap();
        assert_eq!(store.left(), order);
        for next in &order[..4] {
            store.add(measured(next)).unwrap();
        }
        drop(store);
        // Stopped in the middle of a line.
        let path = folder.path().join(BLOCKS);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.clone() + "{\"arm\":\"nat").unwrap();
        let mut store = Store::open(folder.path()).unwrap();
        assert_eq!((store.head(), store.blocks().len()), (&head(), 4));
        assert_eq!(store.left(), order[4..]);
        store.add(measured(&order[4])).unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.blocks()[4], measured(&order[4]));
        assert!(std::fs::read_to_string(&path).unwrap().starts_with(&text));
    }

    #[test]
    fn nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        drop(Store::begin(folder.path(), head()).unwrap());
        let told = Store::begin(folder.path(), head()).unwrap_err().to_string();
        assert!(told.contains("--resume"), "{told}");
        let empty = tempfile::tempdir().unwrap();
        let told = Store::open(empty.path()).unwrap_err().to_string();
        assert!(told.contains("no study"), "{told}");
    }

    #[test]
    fn a_full_disk_is_told_and_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::begin(folder.path(), head()).unwrap();
        let order = plan().blocks();
        store.add(measured(&order[0])).unwrap();
        store.file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let told = format!("{:#}", store.add(measured(&order[1])).unwrap_err());
        assert!(told.contains("No space left") && told.contains("--resume"), "{told}");
        assert_eq!(Store::open(folder.path()).unwrap().blocks().len(), 1);
    }
}
