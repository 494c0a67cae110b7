//! From containers' outputs on a node to a collector, as Fluent Bit's tail does it: every line that
//! begins with a brace is posted as it is.
//!
//! The container runtime writes each line with a time, the stream and a mark before it
//! (`2025-01-02T03:04:05Z stdout F text`), and cuts a long one into parts marked `P`; the last part is
//! marked `F`.

use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Between two looks at the files.
const PACE: Duration = Duration::from_millis(250);

/// How long the collector may take for a line.
const PATIENCE: Duration = Duration::from_secs(5);

/// Lines that are kept while the collector does not answer; older ones are dropped and counted.
const KEPT: usize = 10_000;

/// One file: what of it is read, and what a line has so far.
#[derive(Debug)]
struct Tail {
    path: PathBuf,
    open: File,
    lines: Lines,
}

/// What becomes of the bytes.
#[derive(Debug, Default)]
struct Lines {
    rest: Vec<u8>,
    line: String,
}

impl Lines {
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
}

impl Tail {
    /// From the beginning of a file.
    fn open(path: &Path) -> std::io::Result<Self> {
        Ok(Self { path: path.to_owned(), open: File::open(path)?, lines: Lines::default() })
    }

    /// Reads what was added. A file that was turned over is read to its end first, and a line may go on
    /// in the next one.
    fn read_on(&mut self) -> std::io::Result<Vec<String>> {
        let mut whole = self.added()?;
        let now = match self.path.metadata() {
            Ok(now) => now,
            // It goes with its pod, and what it had is read.
            Err(_) => return Ok(whole),
        };
        if now.ino() != self.open.metadata()?.ino() {
            whole.extend(self.added()?);
            self.open = File::open(&self.path)?;
            whole.extend(self.added()?);
        } else if now.len() < self.open.stream_position()? {
            self.open.rewind()?;
            whole.extend(self.added()?);
        }
        Ok(whole)
    }

    fn added(&mut self) -> std::io::Result<Vec<String>> {
        let mut added = Vec::new();
        self.open.read_to_end(&mut added)?;
        Ok(self.lines.take(&added))
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
            if !tails.contains_key(&file)
                && let Ok(tail) = Tail::open(&file)
            {
                tails.insert(file.clone(), tail);
            }
            let lines = tails.get_mut(&file).map(Tail::read_on).transpose().unwrap_or_default();
            let lines = lines.into_iter().flatten();
            waiting.extend(lines.filter(|line| line.starts_with('{')));
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
        let mut tail = Lines::default();
        let text = "2025-01-02T03:04:05Z stdout F {\"a\": 1}\n\
                    2025-01-02T03:04:06Z stderr F {\"no\": 1}\n\
                    2025-01-02T03:04:06Z stdout P {\"b\":\n\
                    2025-01-02T03:04:07Z stdout F  2}\n\
                    2025-01-02T03:04:08Z stdout F {\"c\"";
        assert_eq!(tail.take(text.as_bytes()), ["{\"a\": 1}", "{\"b\": 2}"]);
        assert_eq!(tail.take(b": 3}\n"), ["{\"c\": 3}"]);
    }

    #[test]
    fn a_file_is_read_on_also_when_it_is_turned_over() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("shop_pod_1/proxy");
        std::fs::create_dir_all(&own).unwrap();
        std::fs::create_dir_all(folder.path().join("other_pod_2/proxy")).unwrap();
        std::fs::write(folder.path().join("other_pod_2/proxy/0.log"), "").unwrap();
        let file = own.join("0.log");
        std::fs::write(&file, "t stdout F {1}\n").unwrap();
        std::fs::write(own.join("0.log.gz"), "").unwrap();
        assert_eq!(files(folder.path(), "shop_").unwrap().as_slice(), std::slice::from_ref(&file));
        assert!(files(&folder.path().join("none"), "").is_err());
        let mut tail = Tail::open(&file).unwrap();
        assert_eq!(tail.read_on().unwrap(), ["{1}"]);
        assert!(tail.read_on().unwrap().is_empty());
        let add = |text: &str| {
            let mut open = std::fs::OpenOptions::new().append(true).open(&file).unwrap();
            open.write_all(text.as_bytes()).unwrap();
        };
        // What users of other tails lost: the last lines before a file was turned over, and a line whose
        // second part is in the next file.
        add("t stdout F {2}\nt stdout P {3,\n");
        std::fs::rename(&file, own.join("0.log.1")).unwrap();
        std::fs::write(&file, "t stdout F 4}\nt stdout F {5}\n").unwrap();
        assert_eq!(tail.read_on().unwrap(), ["{2}", "{3,4}", "{5}"]);
        // Cut in place.
        std::fs::write(&file, "t stdout F {6}\n").unwrap();
        assert_eq!(tail.read_on().unwrap(), ["{6}"]);
        std::fs::remove_file(&file).unwrap();
        assert!(tail.read_on().unwrap().is_empty());
    }
}
