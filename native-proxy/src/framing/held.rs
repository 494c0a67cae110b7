//! Bytes that were read and may not all go on yet.

use tokio::io::ReadBuf;

/// A head that came in parts, waiting for its end. Empty while heads come whole.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// In the order in which they came.
    pub bytes: Vec<u8>,
    /// So many at the front may go on.
    pub ready: usize,
}

impl Held {
    /// Hands over what is ready, as much as `buf` takes.
    pub(super) fn hand_over(&mut self, buf: &mut ReadBuf<'_>) {
        let size = self.ready.min(buf.remaining());
        buf.put_slice(self.bytes.get(..size).unwrap_or_default());
        self.bytes.drain(..size);
        self.ready -= size;
        if self.bytes.is_empty() {
            // Few connections need it twice; idle ones shall not keep a head's worth each.
            self.bytes = Vec::new();
        }
    }
}
