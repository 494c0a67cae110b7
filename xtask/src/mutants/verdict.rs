//! What became of the mutants, and whether that is good.

use super::argued::{Argued, FILE};
use super::name::Name;
use anyhow::{Context, Result};
use std::fmt;
use std::path::Path;

/// What became of each mutant.
#[derive(Clone, Debug, Default)]
pub struct Results {
    /// A test failed.
    pub caught: Vec<Name>,
    /// The tests did not end: as good as a failure.
    pub timeouts: Vec<Name>,
    /// It does not compile.
    pub unviable: Vec<Name>,
    /// No test noticed.
    pub missed: Vec<Name>,
}

impl Results {
    /// Reads what cargo-mutants has told so far in its folder.
    ///
    /// # Errors
    /// A file cannot be read, or has something else in it.
    pub fn read(folder: &Path) -> Result<Self> {
        let names = |file: &str| {
            let path = folder.join(file);
            let text = std::fs::read_to_string(&path);
            let text = text.with_context(|| format!("cannot read {}", path.display()))?;
            text.lines().map(Name::read).collect::<Result<Vec<_>>>()
        };
        Ok(Self {
            caught: names("caught.txt")?,
            timeouts: names("timeout.txt")?,
            unviable: names("unviable.txt")?,
            missed: names("missed.txt")?,
        })
    }

    /// How many there are.
    pub fn all(&self) -> usize {
        self.caught.len() + self.timeouts.len() + self.unviable.len() + self.missed.len()
    }
}

impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [caught, timeouts, unviable, missed] =
            [&self.caught, &self.timeouts, &self.unviable, &self.missed].map(Vec::len);
        write!(f, "{caught} caught, {timeouts} timeouts, {unviable} unviable, {missed} missed")
    }
}

/// What is to be done about a room.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Missed, and argued.
    pub argued: usize,
    /// Missed, and not argued: a test is missing.
    missing: Vec<Name>,
    /// Argued, but a test noticed it: the argument is wrong.
    refuted: Vec<Name>,
    /// Argued, but there is no such mutant, or not so often.
    gone: Vec<String>,
}

impl Verdict {
    /// Judges `results`; `all` are the mutants of the whole room.
    pub fn of(results: &Results, all: &[Name], argued: &Argued) -> Self {
        let alike = |names: &[Name], one: &Name| {
            names.iter().filter(|other| other.is(&one.file, &one.change)).count()
        };
        let mut verdict = Self::default();
        for name in &results.missed {
            if alike(&results.missed, name) <= argued.times(name) {
                verdict.argued += 1;
            } else {
                verdict.missing.push(name.clone());
            }
        }
        for name in results.caught.iter().chain(&results.timeouts) {
            // Where only some of those that look alike are argued, the others may be noticed.
            if argued.times(name) > 0 && argued.times(name) == alike(all, name) {
                verdict.refuted.push(name.clone());
            }
        }
        for (file, change, times) in argued.changes() {
            let here = all.iter().any(|one| one.file == file);
            let there = all.iter().filter(|one| one.is(file, change)).count();
            if here && there < times {
                verdict.gone.push(format!("{file}: {change} ({times} argued, {there} there)"));
            }
        }
        verdict
    }

    /// Whether nothing is to be done.
    pub fn is_good(&self) -> bool {
        self.missing.is_empty() && self.refuted.is_empty() && self.gone.is_empty()
    }
}

/// A line for everything that is to be done.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for name in &self.missing {
            writeln!(f, "missed: {name}")?;
        }
        for name in &self.refuted {
            writeln!(f, "argued in {FILE}, but a test noticed it: {name}")?;
        }
        for name in &self.gone {
            writeln!(f, "argued in {FILE}, but not there any more: {name}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(lines: &[&str]) -> Vec<Name> {
        lines.iter().map(|line| Name::read(line).unwrap()).collect()
    }

    fn argued(changes: &str, times: usize) -> Argued {
        let text = format!(
            "[[argued]]\nfile = \"a.rs\"\nchanges = [{changes:?}]\ntimes = {times}\nwhy = \"so\"\n"
        );
        Argued::parse(&text).unwrap()
    }

    #[test]
    fn a_missed_mutant_must_be_argued() {
        let all = names(&["a.rs:1:1: one", "a.rs:2:1: one", "a.rs:3:1: two"]);
        let results = Results { missed: all.clone(), ..Results::default() };
        for (times, counted, told) in [
            (2, 2, "missed: a.rs:3:1: two\n"),
            (1, 0, "missed: a.rs:1:1: one\nmissed: a.rs:2:1: one\nmissed: a.rs:3:1: two\n"),
        ] {
            let verdict = Verdict::of(&results, &all, &argued("one", times));
            assert_eq!((verdict.argued, verdict.to_string().as_str()), (counted, told));
            assert!(!verdict.is_good());
        }
        let fine = Results { missed: names(&["a.rs:9:9: one"]), ..Results::default() };
        let verdict = Verdict::of(&fine, &all, &argued("one", 2));
        assert_eq!((verdict.argued, verdict.is_good()), (1, true));
    }

    #[test]
    fn an_argument_that_a_test_refutes_is_told() {
        let all = names(&["a.rs:1:1: one", "a.rs:2:1: one"]);
        for results in [
            Results { caught: names(&["a.rs:1:1: one"]), ..Results::default() },
            Results { timeouts: names(&["a.rs:1:1: one"]), ..Results::default() },
        ] {
            let verdict = Verdict::of(&results, &all, &argued("one", 2));
            assert!(verdict.to_string().contains("a test noticed it: a.rs:1:1: one"));
            assert!(!verdict.is_good());
            // The other one may be meant.
            assert!(Verdict::of(&results, &all, &argued("one", 1)).is_good());
        }
        let unviable = Results { unviable: all.clone(), ..Results::default() };
        assert!(Verdict::of(&unviable, &all, &argued("one", 2)).is_good());
    }

    #[test]
    fn an_argument_about_nothing_is_told() {
        let all = names(&["a.rs:1:1: one"]);
        let none = Results::default();
        for (change, times) in [("two", 1), ("one", 2)] {
            let verdict = Verdict::of(&none, &all, &argued(change, times));
            assert!(verdict.to_string().contains("not there any more"), "{verdict}");
            assert!(!verdict.is_good());
        }
        // Another room's.
        assert!(Verdict::of(&none, &names(&["b.rs:1:1: one"]), &argued("two", 1)).is_good());
    }

    #[test]
    fn results_are_read_while_they_grow() {
        let folder = crate::place::made("xtask/tests/mutants").unwrap();
        for (file, text) in [
            ("caught.txt", "a.rs:1:1: one\na.rs:2:1: one\n"),
            ("timeout.txt", "a.rs:3:1: one\n"),
            ("unviable.txt", ""),
            ("missed.txt", "a.rs:4:1: one\n"),
        ] {
            std::fs::write(folder.join(file), text).unwrap();
        }
        let results = Results::read(&folder).unwrap();
        assert_eq!(results.all(), 4);
        assert_eq!(results.to_string(), "2 caught, 1 timeouts, 0 unviable, 1 missed");
        assert!(Results::read(&folder.join("nothing")).is_err());
    }
}
