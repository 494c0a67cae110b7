//! What the runner prints: a table of results and, for each that is red, the differing lines.

use crate::log::{Recording, answers, normalise};
use crate::scenario::Scenario;
use similar::{ChangeTag, TextDiff};
use std::fmt::Write;

/// How one scenario went on one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Line by line as written.
    Equal,
    /// Not so; the difference.
    Different(String),
    /// The host could not be started or told what to do: why.
    Failed(String),
    /// The host cannot play it, as its table of limits says: why.
    Unseen(&'static str),
}

/// Compares what a host did with what the scenario says.
pub fn judge(scenario: &Scenario, recording: &Recording) -> Verdict {
    let mut expected = scenario.expected_answers();
    expected.extend(scenario.log.iter().cloned());
    let mut seen = answers(recording);
    seen.extend(normalise(scenario, recording));
    if expected == seen { Verdict::Equal } else { Verdict::Different(difference(&expected, &seen)) }
}

/// A line diff: `-` is missing, `+` should not be there.
pub fn difference(expected: &[String], seen: &[String]) -> String {
    let (expected, seen) = (expected.join("\n") + "\n", seen.join("\n") + "\n");
    let mut text = String::new();
    for change in TextDiff::from_lines(&expected, &seen).iter_all_changes() {
        let mark = match change.tag() {
            ChangeTag::Delete => '-',
            ChangeTag::Insert => '+',
            ChangeTag::Equal => ' ',
        };
        // Writing to a String cannot fail.
        let _ = write!(text, "  {mark} {change}");
    }
    text
}
