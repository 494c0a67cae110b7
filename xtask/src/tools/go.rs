//! Programs from Go modules.

use crate::{place, process};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Builds `program` (package path and version) into the tool folder.
///
/// # Errors
/// There is no Go, or the build fails.
pub fn install(program: &str, file: &str) -> Result<PathBuf> {
    is_there(program)?;
    let folder = place::made("tools/bin")?;
    process::succeed(
        &format!("go install {file}"),
        Command::new("go").args(["install", program]).env("GOBIN", &folder),
        Duration::from_secs(900),
    )?;
    Ok(folder.join(file))
}

/// Builds `program` of a module that `go install` refuses: within a small module that takes over
/// which versions of others it wants.
///
/// # Errors
/// There is no Go, or the build fails.
pub fn install_within(module: &str, version: &str, program: &str, file: &str) -> Result<PathBuf> {
    let fetched = fetch(module, version)?;
    let wanted = format!("{module}@{version}");
    let within = place::made(&format!("tools/go/{file}"))?;
    for name in ["go.mod", "go.sum"] {
        let text = std::fs::read_to_string(fetched.join(name));
        let text = text.with_context(|| format!("{wanted} has no {name}"))?;
        std::fs::write(within.join(name), text)?;
    }
    let out = place::made("tools/bin")?.join(file);
    let go = |name: &str, arguments: &[&str]| {
        let mut command = Command::new("go");
        // Without C it needs no library, so that an image without a base can hold it.
        command.current_dir(&within).args(arguments).env("CGO_ENABLED", "0");
        process::succeed(&format!("{name} {file}"), &mut command, Duration::from_secs(3_600))
    };
    let edit = ["mod", "edit", "-module=bimetal.example/tool", &format!("-require={wanted}")];
    go("go mod edit", &edit)?;
    go("go build", &["build", "-mod=mod", "-o", &out.to_string_lossy(), program])?;
    Ok(out)
}

/// Fetches a module and says where its files are.
///
/// # Errors
/// There is no Go, or no such module.
pub fn fetch(module: &str, version: &str) -> Result<PathBuf> {
    is_there(module)?;
    let wanted = format!("{module}@{version}");
    let told = process::answer("go", &["mod", "download", "-json", &wanted]);
    let told = told.with_context(|| format!("{wanted} cannot be fetched"))?;
    let fetched: Fetched = serde_json::from_str(&told).context("go tells of no module")?;
    Ok(PathBuf::from(fetched.dir))
}

/// Where a module was fetched to.
#[derive(Deserialize)]
struct Fetched {
    #[serde(rename = "Dir")]
    dir: String,
}

fn is_there(program: &str) -> Result<()> {
    if process::answer("go", &["version"]).is_none() {
        bail!("{program} needs Go, which is not on PATH");
    }
    Ok(())
}
