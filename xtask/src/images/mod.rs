//! Container images, written without a container engine: the program `bimetal` (proxy and echo
//! server in one), and the filter as Istio loads it from a registry.
//!
//! The same inputs give the same bytes: no times, no user names, sorted entries.

mod archive;
mod program;

use crate::{place, say, wasm};
use anyhow::{Context, Result};
use archive::{File, Recipe};
use oci_spec::image::{Arch, Config, ConfigBuilder};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Tag of the images: the version of this repository, which is the chart's `appVersion` too.
pub const TAG: &str = env!("CARGO_PKG_VERSION");

/// Name of the program's image without its tag, as the chart's values have it.
pub const PROGRAM: &str = "localhost/bimetal/bimetal";

/// Name of the filter's image without its tag.
pub const FILTER: &str = "localhost/bimetal/filter";

/// Who the program runs as: a number alone, since the image has no list of users.
const USER: &str = "65532:65532";

/// An image in a file.
#[derive(Debug)]
pub struct Image {
    /// Its name with the tag.
    pub name: String,
    /// The file: an OCI layout and what `docker load` reads, in one tar.
    pub archive: PathBuf,
    /// Digest of its manifest, `sha256:…`.
    pub digest: String,
}

/// What [`images`] writes.
#[derive(Debug)]
pub struct Images {
    /// `FROM scratch` with the static program `bimetal`.
    pub program: Image,
    /// `FROM scratch` with `plugin.wasm` in its only layer: the form that every Istio accepts.
    pub filter: Image,
}

/// Builds program and filter and writes both images to `target/images`, one line on stdout each.
/// `profile` is the Cargo profile of the program, such as `release`. The variable
/// `BIMETAL_FILTER` may name a filter that is built already.
///
/// # Errors
/// A build fails, or a file cannot be read or written.
pub fn images(profile: &str) -> Result<Images> {
    let since = Instant::now();
    let program = program::build(profile)?;
    let filter = match std::env::var_os("BIMETAL_FILTER") {
        Some(given) => PathBuf::from(given),
        None => {
            wasm::build()?;
            place::filter()
        }
    };
    let folder = place::made("images")?;
    let images = Images {
        program: write(&program_recipe(&read(&program)?)?, &folder.join("bimetal.tar"))?,
        filter: write(&filter_recipe(&read(&filter)?)?, &folder.join("filter.tar"))?,
    };
    for image in [&images.program, &images.filter] {
        let size = image.archive.metadata()?.len();
        println!(
            "{} {} {} ({})",
            image.archive.display(),
            image.name,
            image.digest,
            say::size(size)
        );
    }
    say::ended("images", "written", since.elapsed());
    Ok(images)
}

fn read(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

fn write(recipe: &Recipe<'_>, to: &Path) -> Result<Image> {
    let digest = archive::write(recipe, to)?;
    let name = format!("{}:{TAG}", recipe.repository);
    Ok(Image { name, archive: to.to_path_buf(), digest })
}

/// The image of proxy and echo server.
fn program_recipe(binary: &[u8]) -> Result<Recipe<'_>> {
    let config = ConfigBuilder::default()
        .user(USER)
        .entrypoint(["/bimetal".to_owned()])
        .cmd(["proxy".to_owned()])
        .exposed_ports(["8001/tcp".to_owned(), "9001/tcp".to_owned(), "5001/tcp".to_owned()])
        .build()?;
    Ok(Recipe {
        repository: PROGRAM,
        tag: TAG,
        architecture: Arch::default(),
        config,
        files: vec![File { path: "bimetal", bytes: binary, mode: 0o755 }],
    })
}

/// The image of the filter. It is never run; the platform is the one that Istio's agent, like
/// any puller, asks for.
fn filter_recipe(module: &[u8]) -> Result<Recipe<'_>> {
    Ok(Recipe {
        repository: FILTER,
        tag: TAG,
        architecture: Arch::Amd64,
        config: Config::default(),
        files: vec![File { path: "plugin.wasm", bytes: module, mode: 0o644 }],
    })
}

#[cfg(test)]
mod tests;
