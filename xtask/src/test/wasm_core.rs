//! The core's tests as WebAssembly, twice: as the filter is shipped, and as a program in a browser
//! has them. Node runs both.
//!
//! Rust's own test harness compiles to WASI, so there no test is written twice. WebAssembly has no
//! unwinding: the first test that fails ends its executable, which counts as one failure.
//!
//! In a browser the harness has no way to tell its results; there the attribute of
//! wasm-bindgen-test takes the place of `#[test]` (`core/browser-test`), and its runner tells them.

use super::suites::{self, Suite};
use super::tally::Counts;
use super::{Extent, LIMIT, judge};
use crate::tools::{self, Tool};
use crate::{place, process, wasm};
use anyhow::{Result, bail};
use std::path::Path;
use std::process::Command;

/// What has tests under the model checker alone.
const MODELS: &str = "core: loom";

/// Builds the core's tests for the filter's target and runs them all; skipped without Node.
///
/// # Errors
/// They cannot be built.
pub(super) fn check_as_shipped() -> Result<Counts> {
    let node = match tools::named("node").and_then(Tool::get) {
        Ok(node) => node,
        Err(error) => {
            println!("skipped: the core's tests as WebAssembly: {error:#}");
            return Ok(Counts::SKIPPED);
        }
    };
    let mut counts = Counts::default();
    for suite in built("core as wasm", wasm::Target::Wasi)? {
        counts = counts.plus(run(&node, &suite)?);
    }
    Ok(counts)
}

/// Builds the core's tests for a browser's target and runs them all; skipped without Node, and
/// without the runner. That takes minutes to build, so a usual run has it only where it is.
///
/// # Errors
/// They cannot be built.
pub(super) fn check_as_in_a_browser(extent: Extent) -> Result<Counts> {
    let runner = tools::named("wasm-bindgen-test-runner").and_then(|tool| match extent {
        Extent::Full => tool.get(),
        Extent::Usual => tool.find().ok_or_else(|| {
            anyhow::anyhow!("`cargo xtask tools wasm-bindgen-test-runner` brings its runner")
        }),
    });
    let tools = runner.and_then(|runner| Ok((runner, tools::named("node")?.get()?)));
    let (runner, node) = match tools {
        Ok(tools) => tools,
        Err(error) => {
            println!("skipped: the core's tests as in a browser: {error:#}");
            return Ok(Counts::SKIPPED);
        }
    };
    let mut counts = Counts::default();
    for suite in built("core for a browser", wasm::Target::Browser)? {
        if suite.name == MODELS {
            continue;
        }
        let mut command = Command::new(&runner);
        command.current_dir(&suite.folder).arg(&suite.executable);
        command.env("PATH", before_all(&node)?);
        // Seconds for one executable; its own limit is for a page that hangs.
        command.env("WASM_BINDGEN_TEST_TIMEOUT", LIMIT.as_secs().to_string());
        let done = process::run(&format!("browser {}", suite.name), &mut command, LIMIT)?;
        counts = counts.plus(judge(&done));
    }
    Ok(counts)
}

/// The `PATH` on which `program` is found first.
fn before_all(program: &Path) -> Result<std::ffi::OsString> {
    let own = program.parent().map(Path::to_path_buf);
    let path = std::env::var_os("PATH").unwrap_or_default();
    Ok(std::env::join_paths(own.into_iter().chain(std::env::split_paths(&path)))?)
}

/// Builds the core's tests for a target.
fn built(what: &str, target: wasm::Target) -> Result<Vec<Suite>> {
    let mut build = wasm::cargo_for(target, wasm::Library::WithTests)?;
    build.args(["test", "--package", "bimetal-core", "--no-run"]);
    build.arg("--message-format=json-render-diagnostics");
    let done = process::run(&format!("{what}: build"), &mut build, LIMIT)?;
    let output = done.output();
    if !done.status.success() {
        bail!("{}", suites::last_lines(&output));
    }
    Ok(suites::found(output.as_bytes())?.suites)
}

fn run(node: &Path, suite: &Suite) -> Result<Counts> {
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
