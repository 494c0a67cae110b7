//! Programs from Go modules.

use crate::{place, process};
use anyhow::{Result, bail};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Builds `program` (package path and version) into the tool folder.
///
/// # Errors
/// There is no Go, or the build fails.
pub fn install(program: &str, file: &str) -> Result<PathBuf> {
    if process::answer("go", &["version"]).is_none() {
        bail!("building {program} needs Go, which is not on PATH");
    }
    let folder = place::made("tools/bin")?;
    process::succeed(
        &format!("go install {file}"),
        Command::new("go").args(["install", program]).env("GOBIN", &folder),
        Duration::from_secs(900),
    )?;
    Ok(folder.join(file))
}
