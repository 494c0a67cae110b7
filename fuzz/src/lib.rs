//! Fuzz targets: whatever bytes come, each room keeps its promises.
//!
//! A [`Target`] is a plain function over bytes that panics where a promise is broken, so any fuzzer
//! can call it. [`run`] is a driver of our own, because stable Rust has no instrumentation for the
//! usual ones: it mutates a corpus by a seed and keeps the inputs that made a target behave in a
//! new way, as the target itself says by its [`Behaviour`].

mod mutate;
pub mod run;
mod source;
mod target;

pub use target::{TARGETS, find};

use std::path::{Path, PathBuf};

/// One thing to be fuzzed.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name on the command line, and of its folder in `corpus/`.
    pub name: &'static str,
    /// Does something with the bytes; panics where a promise is broken.
    pub act: fn(&[u8]) -> Behaviour,
    /// Words that random bytes would hardly ever make.
    pub words: &'static [&'static str],
    /// Folders of inputs to begin with, from the package's own.
    pub corpus: &'static [&'static str],
}

/// What a target did with an input, as a number: equal numbers, nothing new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Behaviour(pub u64);

impl Behaviour {
    fn of(what: impl std::hash::Hash) -> Self {
        use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
        Self(BuildHasherDefault::<DefaultHasher>::default().hash_one(what))
    }
}

/// This package's folder in the repository.
pub fn home() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

impl Target {
    /// The inputs to begin with, in the order of their files' names; one empty input where there
    /// are no files.
    ///
    /// # Errors
    /// When a folder or a file cannot be read.
    pub fn corpus(&self) -> std::io::Result<Vec<Vec<u8>>> {
        let mut files: Vec<PathBuf> = Vec::new();
        for folder in self.corpus {
            for entry in std::fs::read_dir(home().join(folder))? {
                files.push(entry?.path());
            }
        }
        files.sort();
        let mut inputs: Vec<_> = files.iter().map(std::fs::read).collect::<Result<_, _>>()?;
        if inputs.is_empty() {
            inputs.push(Vec::new());
        }
        Ok(inputs)
    }
}
