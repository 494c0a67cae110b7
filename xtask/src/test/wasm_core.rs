//! The core's tests as WebAssembly: the same tests, compiled for the target that the filter is
//! shipped as, run by Node.
//!
//! Rust's own test harness compiles to WASI, so no test is written twice. WebAssembly has no
//! unwinding: the first test that fails ends its executable, which counts as one failure.

use super::suites::{self, Suite};
use super::tally::Counts;
use super::{LIMIT, judge};
use crate::{place, process, tools, wasm};
use anyhow::{Result, bail};
use std::process::Command;

/// Builds the core's tests for the filter's target and runs them all; skipped without Node.
///
/// # Errors
/// They cannot be built.
pub(super) fn check() -> Result<Counts> {
    let node = match tools::named("node").and_then(tools::Tool::get) {
        Ok(node) => node,
        Err(error) => {
            println!("skipped: the core's tests as WebAssembly: {error:#}");
            return Ok(Counts::SKIPPED);
        }
    };
    let mut build = wasm::cargo_for_target(wasm::Library::WithTests)?;
    build.args(["test", "--package", "bimetal-core", "--no-run"]);
    build.arg("--message-format=json-render-diagnostics");
    let done = process::run("core as wasm: build", &mut build, LIMIT)?;
    let output = done.output();
    if !done.status.success() {
        bail!("{}", suites::last_lines(&output));
    }
    let mut counts = Counts::default();
    for suite in suites::found(output.as_bytes())?.suites {
        counts = counts.plus(run(&node, &suite)?);
    }
    Ok(counts)
}

fn run(node: &std::path::Path, suite: &Suite) -> Result<Counts> {
    let mut command = Command::new(node);
    // Node warns that its WASI may change; it does not need to be told at every run.
    command.current_dir(&suite.folder).arg("--no-warnings");
    // With V8's quick first compiler Node 20 crashes behind the last test of a large module.
    command.arg("--no-liftoff");
    command.arg(place::root().join("xtask/src/test/wasi.mjs"));
    // Captured words would be lost with the executable that a failing test ends.
    command.arg(&suite.executable).arg("--nocapture");
    Ok(judge(&process::run(&format!("wasm {}", suite.name), &mut command, LIMIT)?))
}
