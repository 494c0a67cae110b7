//! One image as one tar file that is an OCI image layout and a `docker load` archive at once:
//! both name the same blobs.

use anyhow::{Context, Result};
use flate2::{Compression, GzBuilder};
use oci_spec::image::{
    Arch, Config, Descriptor, ImageConfigurationBuilder, ImageIndexBuilder, ImageManifestBuilder,
    MediaType, Os, RootFsBuilder, SCHEMA_VERSION, Sha256Digest,
};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::str::FromStr;

/// A file in an image.
pub(super) struct File<'a> {
    /// Path from the image's root, without a leading slash.
    pub(super) path: &'a str,
    /// Its content.
    pub(super) bytes: &'a [u8],
    /// Permission bits. The owner is root: nobody else may change it.
    pub(super) mode: u32,
}

/// What an image is made of.
pub(super) struct Recipe<'a> {
    /// Name without the tag.
    pub(super) repository: &'a str,
    /// The tag.
    pub(super) tag: &'a str,
    /// The processor it is for.
    pub(super) architecture: Arch,
    /// How it is run.
    pub(super) config: Config,
    /// All of its files; they become one layer.
    pub(super) files: Vec<File<'a>>,
}

/// Writes the image to the file `to` and returns its manifest's digest. The file is replaced only
/// when all is written.
///
/// # Errors
/// The file cannot be written.
pub(super) fn write(recipe: &Recipe<'_>, to: &Path) -> Result<String> {
    let (bytes, digest) = bytes(recipe)?;
    let draft = to.with_extension("tar.new");
    std::fs::write(&draft, bytes)
        .and_then(|()| std::fs::rename(&draft, to))
        .with_context(|| format!("cannot write {}", to.display()))?;
    Ok(digest)
}

/// The archive's content and the manifest's digest.
pub(super) fn bytes(recipe: &Recipe<'_>) -> Result<(Vec<u8>, String)> {
    let mut blobs = Blobs::default();
    let entries = recipe.files.iter().map(|file| (file.path, file.bytes, file.mode));
    let layer = tar(entries)?;
    let unpacked = format!("sha256:{}", hex(&layer));
    let layer = blobs.add(MediaType::ImageLayerGzip, gzip(&layer)?)?;
    let config = ImageConfigurationBuilder::default()
        .architecture(recipe.architecture.clone())
        .os(Os::Linux)
        .config(recipe.config.clone())
        .rootfs(RootFsBuilder::default().diff_ids([unpacked]).build()?)
        .history([])
        .build()?;
    let config = blobs.add(MediaType::ImageConfig, sorted(&config)?)?;
    let manifest = ImageManifestBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageManifest)
        .config(config.clone())
        .layers([layer.clone()])
        .build()?;
    let mut manifest = blobs.add(MediaType::ImageManifest, sorted(&manifest)?)?;
    let digest = manifest.digest().to_string();
    let name = format!("{}:{}", recipe.repository, recipe.tag);
    // The name for containerd, which wants it whole, and for all that follow the specification.
    manifest.set_annotations(Some(HashMap::from([
        ("io.containerd.image.name".to_owned(), name.clone()),
        ("org.opencontainers.image.ref.name".to_owned(), recipe.tag.to_owned()),
    ])));
    let index = ImageIndexBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageIndex)
        .manifests([manifest])
        .build()?;
    let docker = json!([{ "Config": path(&config), "Layers": [path(&layer)], "RepoTags": [name] }]);
    let layout = json!({ "imageLayoutVersion": "1.0.0" });
    let mut files = blobs.0;
    files.insert("index.json".to_owned(), sorted(&index)?);
    files.insert("manifest.json".to_owned(), sorted(&docker)?);
    files.insert("oci-layout".to_owned(), sorted(&layout)?);
    let entries = files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice(), 0o644));
    Ok((tar(entries)?, digest))
}

/// Path in the archive → content.
#[derive(Default)]
struct Blobs(BTreeMap<String, Vec<u8>>);

impl Blobs {
    fn add(&mut self, kind: MediaType, bytes: Vec<u8>) -> Result<Descriptor> {
        let size = u64::try_from(bytes.len())?;
        let descriptor = Descriptor::new(kind, size, Sha256Digest::from_str(&hex(&bytes))?);
        self.0.insert(path(&descriptor), bytes);
        Ok(descriptor)
    }
}

fn path(blob: &Descriptor) -> String {
    format!("blobs/sha256/{}", blob.digest().digest())
}

/// As JSON with sorted keys: the types keep maps in an order that changes from run to run.
fn sorted(value: &impl serde::Serialize) -> Result<Vec<u8>> {
    let value: serde_json::Value = serde_json::to_value(value)?;
    Ok(serde_json::to_vec(&value)?)
}

/// A tar of regular files that are root's and have no time.
fn tar<'a>(files: impl Iterator<Item = (&'a str, &'a [u8], u32)>) -> Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, bytes, mode) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(u64::try_from(bytes.len())?);
        header.set_mode(mode);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        builder.append_data(&mut header, path, bytes)?;
    }
    Ok(builder.into_inner()?)
}

/// Gzip without a time in its header.
fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

/// SHA-256 in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
