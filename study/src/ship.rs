//! From containers' outputs on a node to a collector, as Fluent Bit's tail does it: every line that
//! begins with a brace is posted as it is.
//!
//! The container runtime writes each line with a time, the stream and a mark before it
//! (`2025-01-02T03:04:05Z stdout F text`), and cuts a long one into parts marked `P`; the last part is
//! marked `F`.

use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Between two looks at the files.
const PACE: Duration = Duration::from_millis(250);

/// How long the collector may take for a line.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is read of a file at a time.
const PIECE: u64 = 1 << 20;

/// Lines that are kept while the collector does not answer; older ones are dropped and counted.
const KEPT: usize = 10_000;

/// One file: how far it is read, and what a line has of it so far.
#[derive(Debug, Default)]
struct Tail {
    read: u64,
    rest: Vec<u8>,
    line: String,
}

impl Tail {
    /// Takes what was added; gives whole lines of standard output.
    fn take(&mut self, added: &[u8]) -> Vec<String> {
        self.rest.extend_from_slice(added);
        let whole = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let lines: Vec<u8> = self.rest.drain(..whole).collect();
        let mut texts = Vec::new();
        for line in String::from_utf8_lossy(&lines).lines() {
            let mut parts = line.splitn(4, ' ');
            let (_, stream, mark, text) = (parts.next(), parts.next(), parts.next(), parts.next());
            if stream != Some("stdout") {
                continue;
            }
            self.line.push_str(text.unwrap_or_default());
            if mark == Some("F") {
                texts.push(std::mem::take(&mut self.line));
            }
        }
        texts
    }

    /// Reads on in `file`; from its beginning where it has become shorter, as one that was turned over.
    fn read_on(&mut self, file: &Path) -> std::io::Result<Vec<String>> {
        let mut open = File::open(file)?;
        let size = open.metadata()?.len();
        if size < self.read {
            *self = Self::default();
        }
        let mut added = Vec::new();
        open.seek(SeekFrom::Start(self.read))?;
        open.take(PIECE).read_to_end(&mut added)?;
        self.read += added.len() as u64;
        Ok(self.take(&added))
    }
}

/// Ships until the process is ended.
///
/// # Errors
/// The folder cannot be read.
pub fn run(from: &Path, only: &str, to: &str) -> Result<()> {
    let agent = ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).proxy(None).build();
    let agent = agent.new_agent();
    let mut tails: BTreeMap<PathBuf, Tail> = BTreeMap::new();
    let mut waiting: Vec<String> = Vec::new();
    loop {
        let files = files(from, only)?;
        tails.retain(|file, _| files.contains(file));
        for file in files {
            // One that goes between two looks is a pod that went.
            let lines = tails.entry(file.clone()).or_default().read_on(&file).unwrap_or_default();
            waiting.extend(lines.into_iter().filter(|line| line.starts_with('{')));
        }
        let sent = waiting.iter().take_while(|line| is_sent(&agent, to, line)).count();
        waiting.drain(..sent);
        if let Some(many) = waiting.len().checked_sub(KEPT).filter(|many| *many > 0) {
            eprintln!("{many} lines are dropped: {to} does not take them");
            waiting.drain(..many);
        }
        std::thread::sleep(PACE);
    }
}

/// Whether the collector took a line. One that it refuses is its loss: the same line would be refused
/// for ever.
fn is_sent(agent: &ureq::Agent, to: &str, line: &str) -> bool {
    match agent.post(to).header("content-type", "application/json").send(line) {
        Ok(_) => true,
        Err(ureq::Error::StatusCode(status)) => {
            eprintln!("{to} answers {status}");
            status < 500
        }
        Err(_) => false,
    }
}

/// The files with outputs: `FOLDER/NAMESPACE_POD_ID/CONTAINER/N.log`.
fn files(from: &Path, only: &str) -> Result<Vec<PathBuf>> {
    let pods =
        std::fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))?;
    let own = pods.flatten().filter(|pod| pod.file_name().to_string_lossy().starts_with(only));
    let inside = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let containers = own.flat_map(|pod| inside(pod.path()));
    let logs = containers.flat_map(|container| inside(container.path())).map(|log| log.path());
    Ok(logs.filter(|log| log.extension().is_some_and(|end| end == "log")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn lines_are_put_together_from_their_parts() {
        let mut tail = Tail::default();
        let text = "2025-01-02T03:04:05Z stdout F {\"a\": 1}\n\
                    2025-01-02T03:04:06Z stderr F {\"no\": 1}\n\
                    2025-01-02T03:04:06Z stdout P {\"b\":\n\
                    2025-01-02T03:04:07Z stdout F  2}\n\
                    2025-01-02T03:04:08Z stdout F {\"c\"";
        assert_eq!(tail.take(text.as_bytes()), ["{\"a\": 1}", "{\"b\": 2}"]);
        assert_eq!(tail.take(b": 3}\n"), ["{\"c\": 3}"]);
    }

    #[test]
    fn a_file_is_read_on_and_anew_when_it_was_turned_over() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("shop_pod_1/proxy");
        std::fs::create_dir_all(&own).unwrap();
        std::fs::create_dir_all(folder.path().join("other_pod_2/proxy")).unwrap();
        std::fs::write(folder.path().join("other_pod_2/proxy/0.log"), "").unwrap();
        let file = own.join("0.log");
        std::fs::write(&file, "t stdout F {1}\n").unwrap();
        std::fs::write(own.join("0.log.gz"), "").unwrap();
        assert_eq!(files(folder.path(), "shop_").unwrap(), [file.clone()]);
        assert!(files(&folder.path().join("none"), "").is_err());
        let mut tail = Tail::default();
        assert_eq!(tail.read_on(&file).unwrap(), ["{1}"]);
        assert!(tail.read_on(&file).unwrap().is_empty());
        let mut open = std::fs::OpenOptions::new().append(true).open(&file).unwrap();
        open.write_all(b"t stdout F {2}\n").unwrap();
        assert_eq!(tail.read_on(&file).unwrap(), ["{2}"]);
        std::fs::write(&file, "t stdout F {3}\n").unwrap();
        assert_eq!(tail.read_on(&file).unwrap(), ["{3}"]);
    }
}
