//! What was counted: the steps of a test run and their report.

use crate::say;
use anyhow::Result;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Numbers of tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Tests that passed.
    pub(super) passed: usize,
    /// Tests that failed.
    pub(super) failed: usize,
    /// Tests that could not be run here, and those that are switched off.
    pub(super) skipped: usize,
}

impl Counts {
    /// One check, passed.
    pub(super) const PASSED: Self = Self { passed: 1, failed: 0, skipped: 0 };
    /// One check, failed.
    pub(super) const FAILED: Self = Self { passed: 0, failed: 1, skipped: 0 };
    /// One check that cannot be made here.
    pub(super) const SKIPPED: Self = Self { passed: 0, failed: 0, skipped: 1 };

    /// Both together.
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }
}

/// One step of the run.
#[derive(Clone, Debug)]
struct Step {
    name: String,
    counts: Counts,
    took: Duration,
}

/// All steps so far.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<Vec<Step>>);

impl Tally {
    /// Does one step and notes what it counted; an error is one failure, told at once.
    pub(super) fn step(&self, name: &str, why: &str, work: impl FnOnce() -> Result<Counts>) {
        let since = Instant::now();
        say::begins(name, why);
        let counts = work().unwrap_or_else(|error| {
            println!("{name}: {error:#}");
            Counts::FAILED
        });
        let took = since.elapsed();
        say::ended(name, &counts.to_string(), took);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Step {
            name: name.to_owned(),
            counts,
            took,
        });
    }

    /// Prints the table and the closing line on stdout; true if nothing failed.
    pub(super) fn report(&self, took: Duration) -> bool {
        let steps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = steps.iter().fold(Counts::default(), |sum, step| sum.plus(step.counts));
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        table.set_header(["step", "passed", "failed", "skipped", "time"]);
        for step in steps.iter() {
            let Counts { passed, failed, skipped } = step.counts;
            let [passed, failed, skipped] = [passed, failed, skipped].map(|n| n.to_string());
            table.add_row([step.name.clone(), passed, failed, skipped, say::span(step.took)]);
        }
        println!("{table}");
        println!("in {}", say::span(took));
        println!("{sum}");
        sum.failed == 0 && sum.passed > 0
    }
}

/// The closing line: `3 passed, 0 failed, 1 skipped`.
impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// Adds up the `test result:` lines of test executables. A test whose first words are `skipped: `
/// could not be run: it counts as skipped, not as passed.
pub(super) fn read(output: &str) -> Counts {
    let mut counts = Counts::default();
    let mut excused = 0;
    let mut before = "";
    for line in output.lines() {
        // Later words may be what a test of such lines prints.
        let first = before.is_empty() || before.ends_with("stdout ----");
        before = line;
        if first && line.starts_with("skipped: ") {
            excused += 1;
        } else if let Some(result) = line.strip_prefix("test result: ") {
            counts = counts.plus(Counts {
                passed: number(result, " passed"),
                failed: number(result, " failed"),
                skipped: number(result, " ignored"),
            });
        }
    }
    let excused = excused.min(counts.passed);
    counts.passed -= excused;
    counts.skipped += excused;
    counts
}

/// Whether an output has the line in which a test executable tells its result.
pub(super) fn has_result(output: &str) -> bool {
    output.lines().any(|line| line.starts_with("test result: "))
}

/// The part of a test executable's output that tells of its failures, or its first 200 lines.
pub(super) fn failures(output: &str) -> Option<String> {
    let lines: Vec<&str> =
        output.lines().skip_while(|line| *line != "failures:").take(200).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// The number before `word`.
fn number(line: &str, word: &str) -> usize {
    line.split(word)
        .next()
        .filter(|before| before.len() < line.len())
        .and_then(|before| before.rsplit(|c: char| !c.is_ascii_digit()).next())
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_of_several_executables_add_up() {
        let output = "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out\n\
                      test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 4 filtered out";
        assert_eq!(read(output), Counts { passed: 15, failed: 2, skipped: 1 });
    }

    #[test]
    fn a_test_without_its_tool_is_skipped_not_passed() {
        let output = "---- a stdout ----\nskipped: no Envoy here\n\n---- b stdout ----\n\
                      proof: one\nskipped: two\n\ntest result: ok. 2 passed; 0 failed; 0 ignored;";
        assert_eq!(read(output), Counts { passed: 1, failed: 0, skipped: 1 });
    }

    #[test]
    fn failures_are_told_without_what_went_well() {
        let output = "successes:\nfine\nfailures:\n---- a ----\nwhy";
        assert_eq!(failures(output).as_deref(), Some("failures:\n---- a ----\nwhy"));
        assert_eq!(failures("Segmentation fault"), None);
    }

    #[test]
    fn an_output_without_results_counts_nothing() {
        assert_eq!(read("thread panicked"), Counts::default());
    }

    #[test]
    fn a_step_that_errs_is_a_failure() {
        let tally = Tally::default();
        tally.step("one", "passes", || Ok(Counts::PASSED));
        assert!(tally.report(Duration::ZERO));
        tally.step("two", "errs", || anyhow::bail!("on purpose"));
        assert!(!tally.report(Duration::ZERO));
    }
}
