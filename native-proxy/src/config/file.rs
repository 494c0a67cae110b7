//! Reading the file.

use super::Settings;
use bimetal_core::doc::node::MAX_BYTES;
use bimetal_core::doc::{Node, Path as Place, Problems};
use std::fmt;
use std::path::Path;

/// Why a file gives no settings.
#[derive(Debug)]
pub enum ConfigError {
    /// It cannot be read; the text says why.
    Unreadable(String),
    /// It is wrong.
    Wrong(Problems),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(why) => f.write_str(why),
            Self::Wrong(problems) => problems.fmt(f),
        }
    }
}

impl std::error::Error for ConfigError {}

impl From<Problems> for ConfigError {
    fn from(problems: Problems) -> Self {
        Self::Wrong(problems)
    }
}

/// Reads a file and checks it: JSON where its name ends in `.json`, else YAML.
///
/// # Errors
/// [`ConfigError`]
pub fn load(path: &Path) -> Result<Settings, ConfigError> {
    let unreadable = |why: &dyn fmt::Display| {
        ConfigError::Unreadable(format!("cannot read {}: {why}", path.display()))
    };
    let size = std::fs::metadata(path).map_err(|error| unreadable(&error))?.len();
    if size > MAX_BYTES as u64 {
        return Err(unreadable(&format_args!("{size} bytes; at most 4 MiB are read")));
    }
    let bytes = std::fs::read(path).map_err(|error| unreadable(&error))?;
    let text = String::from_utf8(bytes).map_err(|error| unreadable(&error))?;
    Ok(parse(&text, Syntax::of(path))?)
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

impl Syntax {
    /// What a file's name says of it.
    pub fn of(path: &Path) -> Self {
        match path.extension() {
            Some(kind) if kind == "json" => Self::Json,
            _ => Self::Yaml,
        }
    }
}

/// Checks the text of a file.
///
/// # Errors
/// Everything that is wrong with it, each by its path.
pub fn parse(text: &str, syntax: Syntax) -> Result<Settings, Problems> {
    let node = match syntax {
        Syntax::Json => Node::from_json(text.as_bytes())?,
        Syntax::Yaml => serde_saphyr::from_str(text).map_err(|error| {
            let mut problems = Problems::default();
            // The reader draws the place over several lines; its first says what is wrong.
            let error = error.to_string();
            let first = error.lines().next().unwrap_or_default();
            problems.add(&Place::ROOT, format!("not readable as YAML: {first}"));
            problems
        })?,
    };
    super::read::settings(&node)
}
