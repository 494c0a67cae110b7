//! Where things are: the repository and its target folder.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// The repository's root folder.
pub fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_path_buf()
}

/// The folder of everything built or fetched: `CARGO_TARGET_DIR`, else `target`.
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(given) => root().join(given),
        None => root().join("target"),
    }
}

/// A folder below [`target`], made if it is not there.
///
/// # Errors
/// The folder cannot be made.
pub fn made(below: &str) -> Result<PathBuf> {
    let folder = target().join(below);
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    Ok(folder)
}

/// The policy filter as [`crate::wasm`] leaves it.
pub fn filter() -> PathBuf {
    target().join("bimetal_filter.wasm")
}

/// The filter that does nothing, to compare with.
pub fn noop_filter() -> PathBuf {
    target().join("noop_filter.wasm")
}
