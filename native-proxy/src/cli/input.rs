//! Files that a command reads: what they hold, and what kind of document that is.

use crate::config::{self, ReadError, Source, Syntax};
use bimetal_core::doc::{Node, Problems};
use bimetal_core::policy::table::DOCUMENT;
use std::fmt;
use std::path::{Path, PathBuf};

/// Why a document cannot be looked at. Each line names the file.
#[derive(Debug)]
pub(super) enum InputError {
    File(ReadError),
    Text(PathBuf, Problems),
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => error.fmt(f),
            // That it is the whole document goes without saying.
            Self::Text(file, problems) => problems
                .iter()
                .try_for_each(|problem| write!(f, "{}: {}", file.display(), problem.what)),
        }
    }
}

/// A document, before anything is known of its meaning.
pub(super) struct Input {
    pub(super) node: Node,
    /// What kubectl and helm would read otherwise.
    pub(super) read_otherwise: Problems,
}

/// What a document is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Policies alone.
    Policy,
    /// A whole proxy file.
    Proxy,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Policy => "policy document",
            Self::Proxy => "proxy file",
        }
    }

    /// Of what kind `document` is: one key that only a proxy file has makes it one.
    pub(super) fn of(document: &Node) -> Self {
        let only_in_proxy_files =
            |key: &str| DOCUMENT.field(key).is_none() && crate::config::FILE.field(key).is_some();
        if document.as_map().iter().any(|(key, _)| only_in_proxy_files(key)) {
            Self::Proxy
        } else {
            Self::Policy
        }
    }
}

/// Reads a YAML or JSON document as the proxy does; `-` is standard input.
pub(super) fn document(file: &Path) -> Result<Input, InputError> {
    let source = Source::read(file).map_err(InputError::File)?;
    let syntax = Syntax::of(file);
    let node = config::tree(&source.text, syntax)
        .map_err(|problems| InputError::Text(file.into(), problems))?;
    let is_yaml = syntax == Syntax::Yaml && Node::from_json(source.text.as_bytes()).is_err();
    let read_otherwise =
        if is_yaml { config::read_otherwise(&source.text) } else { Problems::default() };
    Ok(Input { node, read_otherwise })
}
