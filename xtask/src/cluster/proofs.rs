//! What was shown, what was not, and what could not be tried.

use anyhow::Result;
use std::fmt;

/// The tally of a run.
#[derive(Debug, Default)]
pub(super) struct Proofs {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Proofs {
    /// One claim and its evidence, or why there is none.
    pub(super) fn record(&mut self, claim: &str, evidence: Result<String>) {
        match evidence {
            Ok(evidence) => {
                self.passed += 1;
                println!("proof: {claim}: {evidence}");
            }
            Err(why) => {
                self.failed += 1;
                println!("FAILED: {claim}: {why:#}");
            }
        }
    }

    /// Something that cannot be tried here.
    pub(super) fn skipped(&mut self, what: &str, why: &str) {
        self.skipped += 1;
        println!("skipped: {what}: {why}");
    }

    /// Whether nothing failed.
    pub(super) fn all_good(&self) -> bool {
        self.failed == 0
    }
}

impl fmt::Display for Proofs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { passed, failed, skipped } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_counted_and_not_good() {
        let mut proofs = Proofs::default();
        proofs.record("a", Ok("seen".to_owned()));
        proofs.skipped("b", "no mesh");
        assert!(proofs.all_good());
        proofs.record("c", Err(anyhow::anyhow!("not seen")));
        assert!(!proofs.all_good());
        assert_eq!(proofs.to_string(), "1 passed, 1 failed, 1 skipped");
    }
}
