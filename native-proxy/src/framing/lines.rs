//! The lines of a head.

use super::Refusal::{self, Malformed};
use memchr::memchr;

/// How far a head was read. Offsets count from its first byte, so that one which comes byte by byte
/// is still read once.
#[derive(Debug, Default)]
pub(super) struct Lines {
    start: usize,
    /// No line feed before this.
    searched: usize,
}

impl Lines {
    /// The next line without its end, or nothing while it is incomplete. `fits` judges where it
    /// begins and ends, or will end at the earliest: alike whether or not its end is here yet.
    #[inline]
    pub(super) fn next<'a>(
        &mut self,
        bytes: &'a [u8],
        fits: impl Fn(usize, usize) -> Result<(), Refusal>,
    ) -> Result<Option<&'a [u8]>, Refusal> {
        let unread = bytes.get(self.searched..).unwrap_or_default();
        let Some(at) = memchr(b'\n', unread) else {
            self.searched = bytes.len();
            fits(self.start, bytes.len())?;
            return Ok(None);
        };
        let end = self.searched + at;
        fits(self.start, end)?;
        let line = bytes.get(self.start..end).unwrap_or_default();
        let Some(line) = line.strip_suffix(b"\r") else {
            return Err(Malformed("a line ends without CR"));
        };
        self.start = end + 1;
        self.searched = end + 1;
        Ok(Some(line))
    }

    /// Length of the lines so far, with their ends.
    pub(super) const fn length(&self) -> usize {
        self.start
    }
}
