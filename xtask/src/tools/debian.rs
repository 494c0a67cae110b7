//! Programs from Debian packages.

use crate::{process, say};
use anyhow::{Result, bail};
use std::process::Command;
use std::sync::Once;
use std::time::Duration;

/// The package lists are fetched once in a run.
static LISTS: Once = Once::new();

/// Installs `packages` with apt-get, as root or by `sudo -n`.
///
/// # Errors
/// There is no apt-get, no right to use it, or it fails.
pub fn install(packages: &[&str]) -> Result<()> {
    if process::answer("apt-get", &["--version"]).is_none() {
        bail!("this machine has no apt-get to install {} with", packages.join(" "));
    }
    let root = nix::unistd::geteuid().is_root();
    if !root && process::answer("sudo", &["-n", "true"]).is_none() {
        bail!(
            "installing needs root: run `sudo apt-get install {}` yourself, then try again",
            packages.join(" ")
        );
    }
    LISTS.call_once(|| {
        say::line("    apt-get update (the package lists, once)");
        // A stale list may still do: the installation decides.
        if let Err(error) = process::succeed(
            "apt-get update",
            apt_get().args(["update", "--quiet"]),
            Duration::from_secs(300),
        ) {
            say::line(format!("    {error}"));
        }
    });
    say::line(format!("    apt-get install {}", packages.join(" ")));
    process::succeed(
        &format!("apt-get install {}", packages.join(" ")),
        apt_get().args(["install", "--yes", "--no-install-recommends"]).args(packages),
        Duration::from_secs(900),
    )?;
    Ok(())
}

/// apt-get as root, asking nothing, waiting for another one to end, starting no service.
fn apt_get() -> Command {
    let mut command = if nix::unistd::geteuid().is_root() {
        Command::new("env")
    } else {
        let mut command = Command::new("sudo");
        command.args(["-n", "env"]);
        command
    };
    // RUNLEVEL=1: a freshly installed server is not started as a service.
    command
        .args(["DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", "apt-get"])
        .args(["-o", "DPkg::Lock::Timeout=300"]);
    command
}
