//! The profiles against the breakers that they are named after: the same calls at the same times, and
//! every decision and every state compared. The originals run as programs of their own (the folder
//! `conformance/oracles`); `cargo xtask test --full` builds them. Without one its test counts as ignored.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test may end by a panic")]

mod gobreaker;
mod history;
mod resilience4j;

use libtest_mimic::{Arguments, Trial};
use std::process::Command;

/// What a program of `conformance/oracles` is called by; in words, separated by blanks.
fn oracle(variable: &str) -> Option<Command> {
    let words = std::env::var(variable).ok().filter(|words| !words.is_empty())?;
    let mut words = words.split(' ');
    let mut command = Command::new(words.next()?);
    command.args(words);
    Some(command)
}

fn main() {
    let arguments = Arguments::from_args();
    let oracles: [(_, _, fn(Command)); 2] = [
        ("resilience4j", "BIMETAL_RESILIENCE4J", resilience4j::check),
        ("gobreaker", "BIMETAL_GOBREAKER", gobreaker::check),
    ];
    let trials = oracles.map(|(name, variable, check)| {
        let oracle = oracle(variable);
        let is_missing = oracle.is_none();
        let decides = move || {
            oracle.into_iter().for_each(check);
            Ok(())
        };
        Trial::test(format!("the_profile_decides_as_{name}_does"), decides)
            .with_ignored_flag(is_missing)
    });
    libtest_mimic::run(&arguments, trials.into()).exit();
}
