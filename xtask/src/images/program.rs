//! Programs as one file each that needs no other: what a `FROM scratch` image can run.

use super::sbom;
use crate::{place, process, say};
use anyhow::{Context, Result, bail};
use object::read::elf::{FileHeader, ProgramHeader};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long the build may take.
const LIMIT: Duration = Duration::from_secs(1800);

/// Builds a package's program, linked statically, with a Cargo profile.
///
/// # Errors
/// The build fails, or the program still asks for a dynamic loader.
pub(super) fn build(package: &str, program: &str, profile: &str) -> Result<PathBuf> {
    let since = Instant::now();
    say::begins("static program", "an image without a base has no libraries");
    let target = sbom::host()?;
    let folder = place::target().join("static");
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(place::root())
        .args(["build", "--package", package, "--bin", program])
        // With --target the flag is not given to build scripts and procedural macros, which
        // cannot be static.
        .args(["--profile", profile, "--target", &target])
        .arg("--target-dir")
        .arg(&folder)
        // An image is pulled by every node, and its program runs from memory: lines of sources are no use there. The
        // names of functions stay, for profiles.
        .env(format!("CARGO_PROFILE_{}_DEBUG", profile.to_uppercase()), "none")
        .env(format!("CARGO_PROFILE_{}_STRIP", profile.to_uppercase()), "debuginfo")
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", flags(&folder).join("\u{1f}"));
    process::succeed("static build", &mut command, LIMIT)?;
    let output = if profile == "dev" { "debug" } else { profile };
    let binary = folder.join(target).join(output).join(program);
    needs_nothing(&binary)?;
    let bytes =
        std::fs::read(&binary).with_context(|| format!("cannot read {}", binary.display()))?;
    if let Some(place) = named_places(&bytes, &folder).first() {
        println!("note: the program names {}: another machine builds another one", place.display());
    }
    say::ended("static program", "built", since.elapsed());
    Ok(binary)
}

/// Holds that a program can run in an image without a base.
///
/// # Errors
/// It asks for a dynamic loader, or cannot be read.
pub(super) fn needs_nothing(binary: &Path) -> Result<()> {
    if wants_loader(binary)? {
        bail!("{} is linked dynamically: it would not start in an empty image", binary.display());
    }
    Ok(())
}

/// The compiler's flags. Where the sources lie on this machine would be in every message of a panic, and another
/// machine would build another program.
fn flags(folder: &Path) -> Vec<String> {
    let mut flags = vec!["-C".to_owned(), "target-feature=+crt-static".to_owned()];
    let here = places(folder).into_iter();
    flags.extend(
        here.map(|(place, name)| format!("--remap-path-prefix={}={name}", place.display())),
    );
    flags
}

/// Places of this machine that sources are compiled from, and what stands for each. Of two that fit the last one is
/// taken.
fn places(folder: &Path) -> Vec<(PathBuf, &'static str)> {
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo"));
    let cargo = std::env::var_os("CARGO_HOME").map(PathBuf::from).or(home);
    let here = [
        (Some(place::root()), "/bimetal"),
        (cargo, "/cargo"),
        (Some(folder.to_path_buf()), "/built"),
    ];
    here.into_iter().filter_map(|(place, name)| Some((place?, name))).collect()
}

/// Where in a program a place of this machine is named.
fn named_places(binary: &[u8], folder: &Path) -> Vec<PathBuf> {
    let is_named = |place: &PathBuf| {
        let name = place.as_os_str().as_encoded_bytes();
        binary.windows(name.len().max(1)).any(|part| part == name)
    };
    places(folder).into_iter().map(|(place, _)| place).filter(is_named).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_of_the_sources_has_another_name() {
        let folder = Path::new("/somewhere/static");
        let flags = flags(folder);
        assert_eq!(flags[1], "target-feature=+crt-static");
        let root = format!("--remap-path-prefix={}=/bimetal", place::root().display());
        assert!(flags.contains(&root), "{flags:?}");
        assert!(flags.contains(&"--remap-path-prefix=/somewhere/static=/built".to_owned()));
        assert!(flags.iter().any(|flag| flag.ends_with("=/cargo")), "{flags:?}");
    }

    #[test]
    fn a_program_that_names_a_place_is_found() {
        let folder = Path::new("/somewhere/static");
        assert!(named_places(b"panicked at /bimetal/core/src/lib.rs", folder).is_empty());
        let told = named_places(b"panicked at /somewhere/static/out.rs", folder);
        assert_eq!(told, [folder]);
    }
}
