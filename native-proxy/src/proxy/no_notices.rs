//! For systems that tell nothing of files: they are looked at.

use std::io;
use std::path::Path;

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "none of them is told here")]
pub(super) enum News {
    /// Something was written into the file.
    Written,
    /// Somebody who could write closed it.
    Closed,
    /// Another came in its place.
    Replaced,
    /// Anything may have happened.
    Lost,
}

/// Tells nothing.
#[derive(Debug)]
pub(super) struct Notices;

impl Notices {
    /// There are none.
    ///
    /// # Errors
    /// Always.
    pub(super) fn begin() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Watches nothing.
    pub(super) fn arm(&mut self, _: &Path) {}

    /// Never.
    pub(super) async fn next(&mut self) -> News {
        std::future::pending().await
    }
}
