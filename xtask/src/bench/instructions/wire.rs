//! Whole HTTP/1.1 messages with a length, read from a connection: all that this benchmark's client
//! and server need.

use anyhow::{Context, Result, bail, ensure};
use std::io::Read;

/// The longest head that is read.
const LONGEST: usize = 16 * 1024;

/// A message.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// The first line and the fields.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Message {
    /// The status code, if the message is an answer.
    pub fn status(&self) -> Option<u16> {
        self.head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
    }
}

/// Reads one message after the other.
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    buffer: Vec<u8>,
}

impl<R: Read> Reader<R> {
    /// Reads from `source`.
    pub const fn new(source: R) -> Self {
        Self { source, buffer: Vec::new() }
    }

    /// The next message; `None` where the other side closed the connection after one.
    ///
    /// # Errors
    /// The connection breaks, ends within a message, or holds a message without a plain length.
    pub fn next(&mut self) -> Result<Option<Message>> {
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4;
            }
            if self.buffer.len() > LONGEST {
                bail!("a head of more than {LONGEST} bytes");
            }
            if self.more()? == 0 {
                ensure!(self.buffer.is_empty(), "the connection ended within a head");
                return Ok(None);
            }
        };
        let head =
            std::str::from_utf8(&self.buffer[..end]).context("a head is no text")?.to_owned();
        let whole = end + length(&head)?;
        while self.buffer.len() < whole {
            if self.more()? == 0 {
                bail!("the connection ended within a body");
            }
        }
        let body = self.buffer[end..whole].to_vec();
        self.buffer.drain(..whole);
        Ok(Some(Message { head, body }))
    }

    fn more(&mut self) -> Result<usize> {
        let mut bytes = [0; 4096];
        let count = self.source.read(&mut bytes).context("the connection broke")?;
        self.buffer.extend_from_slice(&bytes[..count]);
        Ok(count)
    }
}

/// Bytes of the body that follows `head`.
fn length(head: &str) -> Result<usize> {
    let mut length = 0;
    for field in head.lines().skip(1) {
        let (name, value) = field.split_once(':').unwrap_or((field, ""));
        if name.eq_ignore_ascii_case("transfer-encoding") {
            bail!("a body in chunks, where one with a length was expected");
        }
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().with_context(|| format!("no length: {value}"))?;
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a byte at a time, so that a message is never there at once.
    struct Trickle(&'static [u8]);

    impl Read for Trickle {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let (now, later) = self.0.split_at(self.0.len().min(1));
            buffer[..now.len()].copy_from_slice(now);
            self.0 = later;
            Ok(now.len())
        }
    }

    const TWO: &[u8] = b"HTTP/1.1 200 OK\r\nContent-LENGTH: 2\r\n\r\nhiHTTP/1.1 503 No\r\n\r\n";

    #[test]
    fn messages_are_told_apart_however_they_come() {
        fn read(mut reader: Reader<impl Read>) {
            let first = reader.next().unwrap().unwrap();
            assert_eq!((first.status(), first.body.as_slice()), (Some(200), &b"hi"[..]));
            let second = reader.next().unwrap().unwrap();
            assert_eq!((second.status(), second.body.is_empty()), (Some(503), true));
            assert_eq!(reader.next().unwrap(), None);
        }
        read(Reader::new(TWO));
        read(Reader::new(Trickle(TWO)));
    }

    #[test]
    fn half_a_message_and_a_body_without_length_are_errors() {
        let cases: [(&[u8], &str); 4] = [
            (b"GET / HT", "within a head"),
            (b"POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\nhi", "within a body"),
            (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "in chunks"),
            (b"HTTP/1.1 200 OK\r\ncontent-length: two\r\n\r\n", "no length"),
        ];
        for (bytes, expected) in cases {
            let error = format!("{:#}", Reader::new(bytes).next().unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
    }
}
