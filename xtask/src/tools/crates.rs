//! Programs from Rust crates.

use crate::{place, process, say, wasm};
use anyhow::Result;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// How long the build of one program may take.
const LIMIT: Duration = Duration::from_secs(1_800);

/// Builds the crate `name` in `version` and puts its programs into the tool folder; gives that of
/// the name `file`.
///
/// # Errors
/// The registry does not have it, or the build fails.
pub fn install(name: &str, version: &str, file: &str) -> Result<PathBuf> {
    let root = place::made("tools")?;
    let what = format!("cargo install {name}");
    let command = |is_locked: bool| {
        let mut command = Command::new(wasm::cargo());
        command.args(["install", name, "--version", version, "--root"]).arg(&root);
        // Not the folder of whoever called: the build is another one, and not for a target.
        command.env("CARGO_TARGET_DIR", root.join("build"));
        command.env_remove("CARGO_BUILD_TARGET");
        if is_locked {
            command.arg("--locked");
        }
        process::succeed(&what, &mut command, LIMIT)
    };
    say::line(format!("    {what} {version}"));
    if let Err(error) = command(true) {
        // A mirror may not have every version that the crate's own lock names.
        let why = error.to_string();
        let why = why.lines().find(|line| line.starts_with("error")).unwrap_or("it failed");
        say::line(format!("    not with its own lock: {why}"));
        command(false)?;
    }
    // What was built is of no use any more, and large.
    let _ = std::fs::remove_dir_all(root.join("build"));
    Ok(root.join("bin").join(file))
}
