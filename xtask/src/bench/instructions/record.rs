//! The figures of the last release, in a file of the repository.

use super::super::ends::machine;
use crate::{place, process};
use anyhow::{Context, Result};
use object::read::elf::FileHeader;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Figures, and what they are the figures of.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// What was counted, and by what.
    pub source: Source,
    /// Instructions by row.
    pub rows: Vec<Figure>,
}

/// What was counted, and by what.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The proxy's version.
    pub version: String,
    /// The commit it was built from.
    pub commit: String,
    /// The compiler that built the proxy.
    pub rustc: String,
    /// The target triple it was built for.
    pub target: String,
    /// The processor it was built for: `generic` where none was asked for.
    pub target_cpu: String,
    /// valgrind's version.
    pub valgrind: String,
    /// The processor it ran on: libc picks its copies by it.
    pub cpu: String,
}

/// A row.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// Its name.
    pub row: String,
    /// Instructions of one request or call.
    pub instructions: f64,
}

/// Where the figures lie.
pub fn file() -> PathBuf {
    place::root().join("docs/instructions.json")
}

impl Record {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read or holds something else.
    pub fn read() -> Result<Self> {
        let file = file();
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no record", file.display()))
    }

    /// Writes the file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self) -> Result<()> {
        let text = format!("{}\n", serde_json::to_string_pretty(self)?);
        let file = file();
        std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
    }

    /// The instructions of a row.
    pub fn of(&self, row: &str) -> Option<f64> {
        self.rows.iter().find(|figure| figure.row == row).map(|figure| figure.instructions)
    }
}

impl Source {
    /// What is known of `bimetal`. `commit` names what it was built from; where it is empty, that is
    /// the work tree, unless the environment names the program.
    pub fn of(bimetal: &Path, commit: &str, valgrind: Option<String>) -> Self {
        let unknown = || "unknown".to_owned();
        let version = process::answer(bimetal, &["--version"]);
        let version = version.map(|told| told.trim_start_matches("bimetal ").to_owned());
        Self {
            version: version.unwrap_or_else(unknown),
            commit: match commit {
                "" if std::env::var_os("BIMETAL").is_some() => unknown(),
                "" => commit_of_tree().unwrap_or_else(unknown),
                named => named.to_owned(),
            },
            rustc: compiler(bimetal).ok().flatten().unwrap_or_else(unknown),
            target: target().unwrap_or_else(unknown),
            target_cpu: target_cpu(&flags()).unwrap_or("generic").to_owned(),
            valgrind: valgrind.unwrap_or_else(unknown),
            cpu: machine()["cpu"].as_str().map_or_else(unknown, str::to_owned),
        }
    }

    /// What makes figures of `self` and of `other` different that is no change of ours.
    pub fn unlike(&self, other: &Self) -> Vec<String> {
        [
            ("rustc", &self.rustc, &other.rustc),
            ("the target", &self.target, &other.target),
            ("the target's processor", &self.target_cpu, &other.target_cpu),
            ("valgrind", &self.valgrind, &other.valgrind),
            ("the processor", &self.cpu, &other.cpu),
        ]
        .into_iter()
        .filter(|(_, own, theirs)| own != theirs)
        .map(|(what, own, theirs)| format!("{what} was {own}, it is {theirs} now"))
        .collect()
    }
}

fn commit_of_tree() -> Option<String> {
    let commit = process::answer("git", &["rev-parse", "--short", "HEAD"])?;
    let changes = process::answer("git", &["status", "--porcelain", "--untracked-files=no"])?;
    Some(if changes.is_empty() { commit } else { format!("{commit} with changes") })
}

fn target() -> Option<String> {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let told = process::answer(rustc, &["-vV"])?;
    told.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned)
}

fn flags() -> String {
    let variables = ["CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS"];
    variables.iter().find_map(|name| std::env::var(name).ok()).unwrap_or_default()
}

/// The processor that the compiler's flags ask for. Cargo separates encoded flags by 0x1f.
fn target_cpu(flags: &str) -> Option<&str> {
    let (_, rest) = flags.rsplit_once("target-cpu=")?;
    rest.split([' ', '\u{1f}']).next()
}

/// The compiler that a 64-bit ELF file says it was built by.
fn compiler(program: &Path) -> Result<Option<String>> {
    let bytes = std::fs::read(program)?;
    let header = object::elf::FileHeader64::<object::Endianness>::parse(&*bytes)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, &*bytes)?;
    let Some((_, section)) = sections.section_by_name(endian, b".comment") else {
        return Ok(None);
    };
    let comment = object::read::elf::SectionHeader::data(section, endian, &*bytes)?;
    Ok(named_compiler(comment))
}

/// The Rust compiler among the words that compilers and linkers leave, each with a zero at its end.
fn named_compiler(comment: &[u8]) -> Option<String> {
    comment.split(|byte| *byte == 0).find_map(|word| {
        std::str::from_utf8(word).ok()?.strip_prefix("rustc version ").map(str::to_owned)
    })
}

#[cfg(test)]
mod tests {
    use super::super::{calls, requests};
    use super::*;

    #[test]
    fn the_repository_has_figures_of_every_row() {
        let record = Record::read().unwrap();
        let requests = requests::rows();
        // HAProxy is no release of ours, and the last one made no traces.
        let others = [requests::Setting::Haproxy, requests::Setting::Unsampled];
        let ours = requests.iter().filter(|row| !others.contains(&row.setting));
        let names = ours.map(|row| row.name).chain(calls::ROWS.map(|row| row.name));
        for name in names {
            assert!(record.of(name).is_some_and(|count| count > 0.0), "{name}");
        }
        assert_eq!(record.source.unlike(&record.source), Vec::<String>::new());
    }

    #[test]
    fn a_record_survives_its_file() {
        let record = Record::read().unwrap();
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    }

    #[test]
    fn another_compiler_is_told() {
        let old = Record::read().unwrap().source;
        let new = Source { rustc: "2.0.0".to_owned(), ..old.clone() };
        let told = old.unlike(&new);
        assert_eq!(told.len(), 1);
        assert!(told[0].starts_with("rustc was") && told[0].ends_with("2.0.0 now"), "{told:?}");
    }

    #[test]
    fn compiler_and_processor_are_found() {
        let comment = b"GCC: 12\0rustc version 1.95.0 (59807616e 2026-04-14)\0LLD\0";
        assert_eq!(named_compiler(comment).unwrap(), "1.95.0 (59807616e 2026-04-14)");
        assert_eq!(target_cpu("-C lto -C target-cpu=znver4 -g"), Some("znver4"));
        assert_eq!(target_cpu("-Ctarget-cpu=native\u{1f}-g"), Some("native"));
        assert_eq!(target_cpu("-C lto"), None);
    }
}
