//! The core under Miri, the interpreter that sees undefined behaviour: in what the core uses, since
//! the core itself has no unsafe code.

use super::tally::Counts;
use super::{LIMIT, judge};
use crate::{place, process};
use anyhow::Result;
use std::process::Command;

/// The tests that end in minutes under an interpreter.
const TESTS: [&str; 4] = ["--lib", "--test=breaker", "--test=engine", "--test=policy_match"];

/// Runs them; skipped where rustup's nightly has no Miri.
///
/// # Errors
/// The interpreter cannot be started.
pub(super) fn check() -> Result<Counts> {
    if process::answer("rustup", &["run", "nightly", "cargo", "miri", "--version"]).is_none() {
        println!(
            "skipped: the core under Miri: `rustup toolchain install nightly --component miri` \
             brings it"
        );
        return Ok(Counts::SKIPPED);
    }
    let mut command = Command::new("rustup");
    command.current_dir(place::root());
    command.args(["run", "nightly", "cargo", "miri", "test", "--package", "bimetal-core"]);
    command.args(TESTS);
    command.env("CARGO_TARGET_DIR", place::made("miri")?);
    // Property tests look for their failures of yesterday in a file; a few cases must do.
    command.env("MIRIFLAGS", "-Zmiri-disable-isolation").env("PROPTEST_CASES", "4");
    Ok(judge(&process::run("miri", &mut command, LIMIT)?))
}
