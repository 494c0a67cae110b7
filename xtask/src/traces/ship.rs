//! From a file that grows to a collector, as Fluent Bit's tail does it: each line that begins with a
//! brace is posted as it is.

use super::jaeger::Jaeger;
use super::spans::Span;
use super::{GLANCE, PATIENCE};
use anyhow::{Context, Result, bail, ensure};
use std::path::PathBuf;
use std::time::Instant;

/// A file, and how far it is read.
#[derive(Debug)]
pub(super) struct Tail {
    file: PathBuf,
    read: usize,
}

impl Tail {
    /// From its beginning.
    pub(super) const fn new(file: PathBuf) -> Self {
        Self { file, read: 0 }
    }

    /// Posts the next lines, `wanted` of them at least; gives their spans.
    ///
    /// # Errors
    /// They do not come, something else comes, or they are not taken.
    pub(super) fn ship(&mut self, wanted: usize, jaeger: &Jaeger) -> Result<Vec<Span>> {
        let deadline = Instant::now() + PATIENCE;
        let (mut spans, mut lines) = (Vec::new(), 0);
        loop {
            for line in self.next()? {
                ensure!(line.starts_with('{'), "standard output has no line of JSON: {line}");
                jaeger.post(&line)?;
                spans.extend(Span::written(&line)?);
                lines += 1;
            }
            if lines >= wanted {
                return Ok(spans);
            }
            if Instant::now() > deadline {
                bail!("{} has {lines} of {wanted} lines", self.file.display());
            }
            std::thread::sleep(GLANCE);
        }
    }

    /// What was added since, as far as it is whole lines.
    fn next(&mut self) -> Result<Vec<String>> {
        let text = std::fs::read_to_string(&self.file)
            .with_context(|| format!("cannot read {}", self.file.display()))?;
        let new = text.get(self.read..).unwrap_or_default();
        let whole = new.rfind('\n').map_or(0, |end| end + 1);
        self.read += whole;
        Ok(new.get(..whole).unwrap_or_default().lines().map(str::to_owned).collect())
    }
}
