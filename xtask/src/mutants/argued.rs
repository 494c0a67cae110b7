//! The mutants that no test can notice, each with the reason: `.cargo/mutants/argued.toml`.

use super::name::Name;
use crate::place;
use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// Where they are listed, from the repository's root.
pub const FILE: &str = ".cargo/mutants/argued.toml";

/// All of them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Argued {
    /// Each argument.
    pub argued: Vec<Argument>,
}

/// Why no test can notice some changes of one file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Argument {
    /// The file, from the repository's root.
    pub file: String,
    /// The changes as cargo-mutants writes them, without the place: places move with every commit.
    pub changes: Vec<String>,
    /// How often each stands in the file, where it is more than once.
    #[serde(default = "once")]
    pub times: usize,
    /// Why no test can notice it.
    pub why: String,
}

fn once() -> usize {
    1
}

impl Argued {
    /// Reads the list of this repository.
    ///
    /// # Errors
    /// It cannot be read, or an argument says nothing.
    pub fn read() -> Result<Self> {
        let text = std::fs::read_to_string(place::root().join(FILE));
        Self::parse(&text.with_context(|| format!("cannot read {FILE}"))?)
    }

    /// Reads a list.
    ///
    /// # Errors
    /// It is not such a list, an argument says nothing, or a change is argued twice.
    pub fn parse(text: &str) -> Result<Self> {
        let list: Self = toml::from_str(text).with_context(|| format!("{FILE} cannot be read"))?;
        let mut seen = Vec::new();
        for argument in &list.argued {
            if argument.why.trim().is_empty() || argument.changes.is_empty() || argument.times == 0
            {
                bail!("{FILE}: an argument about {} says nothing", argument.file);
            }
            for change in &argument.changes {
                if seen.contains(&(&argument.file, change)) {
                    bail!("{FILE}: {}: {change} is argued twice", argument.file);
                }
                seen.push((&argument.file, change));
            }
        }
        Ok(list)
    }

    /// How many mutants of this file and change are argued.
    pub fn times(&self, name: &Name) -> usize {
        self.changes().find(|(file, change, _)| name.is(file, change)).map_or(0, |found| found.2)
    }

    /// Each change that is argued: file, change, how often.
    pub fn changes(&self) -> impl Iterator<Item = (&str, &str, usize)> {
        self.argued.iter().flat_map(|argument| {
            let all = argument.changes.iter();
            all.map(|change| (argument.file.as_str(), change.as_str(), argument.times))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_arguments_are_about_files_that_there_are() {
        let list = Argued::read().unwrap();
        assert!(!list.argued.is_empty());
        for argument in &list.argued {
            assert!(place::root().join(&argument.file).exists(), "{}", argument.file);
        }
    }

    #[test]
    fn an_argument_counts_wherever_the_change_stands() {
        let text = "[[argued]]\nfile = \"a.rs\"\nchanges = [\"one\", \"two\"]\nwhy = \"so\"\n\
                    [[argued]]\nfile = \"b.rs\"\nchanges = [\"one\"]\ntimes = 5\nwhy = \"so\"\n";
        let list = Argued::parse(text).unwrap();
        let times = |line: &str| list.times(&Name::read(line).unwrap());
        assert_eq!(times("a.rs:1:1: one"), 1);
        assert_eq!(times("a.rs:7:7: two"), 1);
        assert_eq!(times("b.rs:1:1: one"), 5);
        assert_eq!(times("b.rs:1:1: two"), 0);
        assert_eq!(list.changes().count(), 3);
    }

    #[test]
    fn a_list_that_says_nothing_is_refused() {
        let list = |rest: &str| format!("[[argued]]\nfile = \"a.rs\"\n{rest}\n");
        let good = list("changes = [\"one\"]\nwhy = \"so\"");
        for (text, says) in [
            (list("changes = [\"one\"]"), "cannot be read"),
            (list("changes = [\"one\"]\nwhy = \" \""), "says nothing"),
            (list("changes = []\nwhy = \"so\""), "says nothing"),
            (list("changes = [\"one\"]\ntimes = 0\nwhy = \"so\""), "says nothing"),
            (list("changes = [\"one\"]\nwhy = \"so\"\nmore = 1"), "cannot be read"),
            (format!("{good}{good}"), "argued twice"),
        ] {
            let error = Argued::parse(&text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}\n{error}");
        }
    }
}
