//! Container images, written without a container engine: the program `bimetal` (proxy and echo
//! server in one), and the filter as Istio loads it from a registry.
//!
//! The same inputs give the same bytes: no times, no user names, sorted entries.

mod archive;
mod others;
mod program;
mod sbom;

pub use others::{of_module, of_program, study};

use crate::{place, say, wasm};
use anyhow::{Context, Result, bail};
use archive::{File, Recipe};
use oci_spec::image::{Arch, ConfigBuilder};
use std::collections::HashMap;
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

/// The largest that a program may be in an image: what a node keeps and a pull writes.
const LARGEST: u64 = 20_000_000;

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

/// Builds program and filter and writes both images to `target/images`, one line on stdout each, and beside each what
/// it is made of (`bimetal.cdx.json`, `filter.cdx.json`).
/// `profile` is the Cargo profile of the program, such as `release`. The variable
/// `BIMETAL_FILTER` may name a filter that is built already.
///
/// # Errors
/// A build fails, or a file cannot be read or written.
pub fn images(profile: &str) -> Result<Images> {
    let since = Instant::now();
    let program = program::build("bimetal-proxy", "bimetal", profile)?;
    let filter = match std::env::var_os("BIMETAL_FILTER") {
        Some(given) => PathBuf::from(given),
        None => {
            wasm::build()?;
            place::filter()
        }
    };
    let folder = place::made("images")?;
    let program_bill = sbom::of("bimetal-proxy", &sbom::host()?)?;
    let filter_bill = sbom::of("bimetal-filter", "wasm32-wasip1")?;
    for (bill, name) in [(&program_bill, "bimetal"), (&filter_bill, "filter")] {
        let file = folder.join(name).with_extension("cdx.json");
        std::fs::write(&file, bill).with_context(|| format!("cannot write {}", file.display()))?;
    }
    let program = read(&program)?;
    judge_size(u64::try_from(program.len())?, profile)?;
    let program = program_recipe(&program, &program_bill)?;
    let filter = read(&filter)?;
    let filter = filter_recipe(&filter, &filter_bill)?;
    let images = Images {
        program: write(&program, &folder.join("bimetal.tar"))?,
        filter: write(&filter, &folder.join("filter.tar"))?,
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

/// Whether the program may go into an image. One that is built for tests may be of any size.
fn judge_size(bytes: u64, profile: &str) -> Result<()> {
    if profile == "release" && bytes > LARGEST {
        bail!("the program has {bytes} bytes, and may have {LARGEST}");
    }
    Ok(())
}

/// What an image says of itself: the names are those of the OCI's image specification, and the digest of
/// the bill of materials that lies beside the image.
fn labels(title: &str, about: &str, bill: &[u8]) -> HashMap<String, String> {
    let standard = [
        ("title", title),
        ("description", about),
        ("version", TAG),
        ("licenses", env!("CARGO_PKG_LICENSE")),
    ];
    let standard = standard.into_iter();
    let mut labels: HashMap<_, _> = standard
        .map(|(name, value)| (format!("org.opencontainers.image.{name}"), value.to_owned()))
        .collect();
    labels.insert("bimetal.sbom".to_owned(), format!("sha256:{}", archive::hex(bill)));
    labels
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
fn program_recipe<'a>(binary: &'a [u8], bill: &[u8]) -> Result<Recipe<'a>> {
    let about = "Circuit breaking, limits and retries: the proxy, its services and its tools in one program";
    let config = ConfigBuilder::default()
        .labels(labels("bimetal", about, bill))
        .user(USER)
        .entrypoint(["/bimetal".to_owned()])
        .cmd(["proxy".to_owned()])
        .exposed_ports(["8001/tcp".to_owned(), "9001/tcp".to_owned(), "5001/tcp".to_owned()])
        .working_dir("/".to_owned())
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
fn filter_recipe<'a>(module: &'a [u8], bill: &[u8]) -> Result<Recipe<'a>> {
    let about = "Circuit breaking, limits and retries as a WebAssembly filter for Envoy and Istio";
    let labels = labels("bimetal filter", about, bill);
    Ok(Recipe {
        repository: FILTER,
        tag: TAG,
        architecture: Arch::Amd64,
        config: ConfigBuilder::default().labels(labels).build()?,
        files: vec![File { path: "plugin.wasm", bytes: module, mode: 0o644 }],
    })
}

#[cfg(test)]
mod tests;
