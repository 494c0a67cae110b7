//! Where the programs are that a real host needs.

use crate::envoy::Config;
use std::io::{self, Error};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Paths of programs and of the filter.
#[derive(Clone, Debug)]
pub struct Tools {
    bimetal: PathBuf,
    /// Given to the proxy's environment.
    variable: Option<(&'static str, String)>,
    /// Changes Envoy's configuration.
    tamper: Option<fn(&mut Config)>,
}

impl Tools {
    /// Looks for the `bimetal` binary: `BIMETAL`, else it is built.
    ///
    /// # Errors
    /// When it has to be built and cannot be.
    pub fn find() -> io::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let bimetal = match given("BIMETAL") {
            Some(path) => path,
            None => build(&root, "bimetal", None)?,
        };
        Ok(Self { bimetal, variable: None, tamper: None })
    }

    /// Another binary in the place of `bimetal`, with a variable in its environment.
    pub fn replaced(bimetal: PathBuf, name: &'static str, value: &str) -> Self {
        Self { bimetal, variable: Some((name, value.to_owned())), tamper: None }
    }

    /// The same tools, with an Envoy that is configured wrongly: for tests that want to see it red.
    pub fn tampered(self, tamper: fn(&mut Config)) -> Self {
        Self { tamper: Some(tamper), ..self }
    }

    /// The `bimetal` binary.
    pub fn bimetal(&self) -> &Path {
        &self.bimetal
    }

    pub(super) fn tamper_with(&self, config: &mut Config) {
        if let Some(tamper) = self.tamper {
            tamper(config);
        }
    }

    pub(super) const fn variable(&self) -> Option<&(&'static str, String)> {
        self.variable.as_ref()
    }
}

/// Envoy and the compiled filter: `ENVOY`, else `envoy` on the `PATH`; `BIMETAL_FILTER`, else the
/// filter that `cargo xtask wasm` left in `target`.
///
/// # Errors
/// Which of them is missing and how to give it.
pub fn envoy() -> io::Result<(PathBuf, PathBuf)> {
    let missing = |what: &str| Error::new(io::ErrorKind::NotFound, what.to_owned());
    let envoy = given("ENVOY").or_else(|| on_path("envoy"));
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bimetal_filter.wasm");
    let filter = given("BIMETAL_FILTER").or_else(|| built.is_file().then_some(built));
    Ok((
        envoy.ok_or_else(|| missing("no Envoy: set ENVOY to its path"))?,
        filter.ok_or_else(|| missing("no filter: run cargo xtask wasm or set BIMETAL_FILTER"))?,
    ))
}

fn given(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Builds a binary of the proxy of the workspace in `root` and asks cargo where it is. Cargo works
/// in `target`, or where it does anyway.
///
/// # Errors
/// When it cannot be built; cargo has said why on standard error.
pub fn build(root: &Path, binary: &str, target: Option<&Path>) -> io::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(root)
        .envs(target.map(|folder| ("CARGO_TARGET_DIR", folder)))
        .args(["build", "--quiet", "-p", "bimetal-proxy", "--bin", binary])
        .args(["--message-format", "json"])
        .stderr(std::process::Stdio::inherit())
        .output()?;
    let messages = String::from_utf8_lossy(&output.stdout);
    let found = messages.lines().rev().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        message["executable"].as_str().map(PathBuf::from)
    });
    match (output.status.success(), found) {
        (true, Some(path)) => Ok(path),
        _ => Err(Error::other(format!("{binary} could not be built"))),
    }
}
