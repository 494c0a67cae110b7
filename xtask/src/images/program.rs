//! The program `bimetal` as one file that needs no other: what a `FROM scratch` image can run.

use crate::{place, process, say};
use anyhow::{Context, Result, bail};
use object::read::elf::{FileHeader, ProgramHeader};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long the build may take.
const LIMIT: Duration = Duration::from_secs(1800);

/// Builds the program, linked statically, with a Cargo profile.
///
/// # Errors
/// The build fails, or the program still asks for a dynamic loader.
pub(super) fn build(profile: &str) -> Result<PathBuf> {
    let since = Instant::now();
    say::begins("static program", "an image without a base has no libraries");
    let target = host()?;
    let folder = place::target().join("static");
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(place::root())
        .args(["build", "--package", "bimetal-proxy", "--bin", "bimetal"])
        // With --target the flag is not given to build scripts and procedural macros, which
        // cannot be static.
        .args(["--profile", profile, "--target", &target])
        .arg("--target-dir")
        .arg(&folder)
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    process::succeed("static build", &mut command, LIMIT)?;
    let output = if profile == "dev" { "debug" } else { profile };
    let binary = folder.join(target).join(output).join("bimetal");
    if wants_loader(&binary)? {
        bail!("{} is linked dynamically: it would not start in an empty image", binary.display());
    }
    say::ended("static program", "built", since.elapsed());
    Ok(binary)
}

/// The target triple of this machine.
fn host() -> Result<String> {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let told = process::answer(rustc, &["-vV"]).context("rustc does not answer")?;
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not say its host")?.to_owned())
}

/// Whether a 64-bit ELF file names an interpreter, that is a dynamic loader.
///
/// # Errors
/// It cannot be read, or is something else.
pub(super) fn wants_loader(binary: &Path) -> Result<bool> {
    let bytes =
        std::fs::read(binary).with_context(|| format!("cannot read {}", binary.display()))?;
    let header = object::elf::FileHeader64::<object::Endianness>::parse(&*bytes)?;
    let endian = header.endian()?;
    let segments = header.program_headers(endian, &*bytes)?;
    Ok(segments.iter().any(|segment| segment.p_type(endian) == object::elf::PT_INTERP))
}
