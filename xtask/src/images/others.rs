//! Images that tests and studies need in a cluster, and nobody installs.

use super::archive::{File, Recipe};
use super::{Image, TAG, USER, program, read, write};
use crate::place;
use anyhow::Result;
use oci_spec::image::{Arch, Config, ConfigBuilder};
use std::path::{Path, PathBuf};

/// Writes an image that holds one program of elsewhere, which must need no other file.
/// `name` is that of the image without its tag, and of the program in it.
///
/// # Errors
/// The program needs a loader, or a file cannot be read or written.
pub fn of_program(name: &str, program: &Path) -> Result<Image> {
    program::needs_nothing(program)?;
    let config = ConfigBuilder::default().user(USER).entrypoint([format!("/{name}")]).build()?;
    of_file(name, File { path: name, bytes: &read(program)?, mode: 0o755 }, config)
}

/// Writes an image that holds one module, in the form that every Istio accepts. `name` is that of the
/// image without its tag.
///
/// # Errors
/// A file cannot be read or written.
pub fn of_module(name: &str, module: &Path) -> Result<Image> {
    let file = File { path: "plugin.wasm", bytes: &read(module)?, mode: 0o644 };
    of_file(name, file, Config::default())
}

/// The study's own program in an image, generator and shipper of traces in a cluster, and the program
/// itself. The variable `BIMETAL_STUDY` may name one that is built already, and needs no other file.
///
/// # Errors
/// As [`super::images`].
pub fn study(profile: &str) -> Result<(Image, PathBuf)> {
    let program = match std::env::var_os("BIMETAL_STUDY") {
        Some(given) => PathBuf::from(given),
        None => program::build("bimetal-study", "bimetal-study", profile)?,
    };
    Ok((of_program("study", &program)?, program))
}

fn of_file(name: &str, file: File<'_>, config: Config) -> Result<Image> {
    let repository = format!("localhost/bimetal/{name}");
    let recipe = Recipe {
        repository: &repository,
        tag: TAG,
        // The one that Istio's agent, like any puller, asks for, where it is a module.
        architecture: if file.path.ends_with(".wasm") { Arch::Amd64 } else { Arch::default() },
        config,
        files: vec![file],
    };
    write(&recipe, &place::made("images")?.join(format!("{name}.tar")))
}
