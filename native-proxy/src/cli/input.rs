//! Files that a command reads: what they hold, and what kind of document that is.

use bimetal_core::doc::Node;
use bimetal_core::doc::node::MAX_BYTES;
use bimetal_core::policy::table::DOCUMENT;
use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Why a file cannot be used, and what to do about it.
#[derive(Debug)]
pub(super) enum InputError {
    Missing(PathBuf),
    Directory(PathBuf),
    Unreadable(PathBuf, io::Error),
    TooLong(PathBuf),
    NotText(PathBuf, usize),
    NotReadable(PathBuf, String),
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(file) => {
                write!(f, "{}: no such file; check the path", file.display())
            }
            Self::Directory(file) => {
                write!(f, "{}: is a directory; name a file in it", file.display())
            }
            Self::Unreadable(file, why) if why.kind() == io::ErrorKind::PermissionDenied => {
                write!(f, "{}: no permission to read it; check owner and mode", file.display())
            }
            Self::Unreadable(file, why) => write!(f, "{}: cannot be read: {why}", file.display()),
            Self::TooLong(file) => {
                write!(f, "{}: is longer than 4 MiB; is it the right file?", file.display())
            }
            Self::NotText(file, at) => {
                write!(f, "{}: byte {at} is not UTF-8; save the file as UTF-8 text", file.display())
            }
            Self::NotReadable(file, why) => write!(f, "{}: {why}", file.display()),
        }
    }
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

/// Reads a YAML or JSON document; `-` is standard input.
pub(super) fn document(file: &Path) -> Result<Node, InputError> {
    let text = text(file)?;
    let named_json = file.extension().is_some_and(|end| end.eq_ignore_ascii_case("json"));
    // YAML forbids tabs that JSON allows, so what looks like JSON is read as JSON first.
    if named_json || text.trim_start().starts_with('{') {
        match Node::from_json(text.as_bytes()) {
            Ok(node) => return Ok(node),
            Err(problems) if named_json => {
                let why = problems.iter().next().map(|problem| problem.what.to_string());
                return Err(InputError::NotReadable(file.into(), why.unwrap_or_default()));
            }
            Err(_) => {}
        }
    }
    serde_saphyr::from_str(&text).map_err(|error| {
        let error = error.to_string();
        // The rest draws the place in the text; one line an error is the rule here.
        let first = error.lines().next().unwrap_or_default().trim_start_matches("error: ");
        InputError::NotReadable(file.into(), format!("not readable as YAML: {first}"))
    })
}

fn text(file: &Path) -> Result<String, InputError> {
    let bytes = if file.as_os_str() == "-" { limited(io::stdin().lock()) } else { open(file)? };
    let bytes = bytes.map_err(|why| match why.kind() {
        io::ErrorKind::IsADirectory => InputError::Directory(file.into()),
        _ => InputError::Unreadable(file.into(), why),
    })?;
    if bytes.len() > MAX_BYTES {
        return Err(InputError::TooLong(file.into()));
    }
    String::from_utf8(bytes)
        .map_err(|error| InputError::NotText(file.into(), error.utf8_error().valid_up_to()))
}

fn open(file: &Path) -> Result<io::Result<Vec<u8>>, InputError> {
    match std::fs::File::open(file) {
        Ok(opened) => Ok(limited(opened)),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Err(InputError::Missing(file.into())),
        Err(why) => Err(InputError::Unreadable(file.into(), why)),
    }
}

/// One byte more than is allowed, so that too long can be told from long.
fn limited(from: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
