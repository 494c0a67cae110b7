//! The head of an upstream's answer.

use super::Refusal::{self, HeadTooLarge, Malformed};
use super::bytes;
use super::head::field;
use super::lengths::{Lengths, Minor, Told};
use super::lines::Lines;
use super::scan::{MAX_FIELDS, MAX_HEAD};

/// What was asked of the upstream, as far as its answer's framing depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A request whose answer has no body, whatever its head says.
    Head,
    /// A request to switch protocols, which the answer may grant.
    Upgrade,
    /// Any other.
    Plain,
}

/// What follows an answer's head (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// Another head: this one was informational.
    Head,
    /// Nothing.
    Nothing,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
    /// Whatever comes until the connection closes.
    Close,
    /// Another protocol.
    Switched,
}

/// What is known of an answer's head so far.
#[derive(Debug, Default)]
pub(super) struct Reply {
    lines: Lines,
    status: Option<(Minor, u16)>,
    fields: usize,
    lengths: Lengths,
}

impl Reply {
    /// Reads on in `bytes`, which begin where the head begins: its length and what follows it, or
    /// nothing while it is incomplete.
    pub(super) fn advance(
        &mut self,
        bytes: &[u8],
        ask: Ask,
    ) -> Result<Option<(usize, After)>, Refusal> {
        loop {
            let fits = |_, end| if end > MAX_HEAD { Err(HeadTooLarge) } else { Ok(()) };
            let Some(line) = self.lines.next(bytes, fits)? else {
                return Ok(None);
            };
            match (self.status, line.is_empty()) {
                (None, _) => self.status = Some(status_line(line)?),
                (Some(_), false) => self.field(line)?,
                (Some((minor, status)), true) => {
                    return Ok(Some((self.lines.length(), self.finish(minor, status, ask)?)));
                }
            }
        }
    }

    fn field(&mut self, line: &[u8]) -> Result<(), Refusal> {
        self.fields += 1;
        if self.fields > MAX_FIELDS {
            return Err(HeadTooLarge);
        }
        let (name, value) = field(line)?;
        match name.len() {
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                self.lengths.content_length(value)
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.lengths.coding(value),
            _ => Ok(()),
        }
    }

    fn finish(&self, minor: Minor, status: u16, ask: Ask) -> Result<After, Refusal> {
        let told = self.lengths.told(minor)?;
        let bare = matches!(told, Told::Nothing | Told::Length(0));
        Ok(match (status, ask, told) {
            // They have no body; whoever announces one is not to be trusted with what follows.
            (100..=199 | 204, _, _) if !bare => {
                return Err(Malformed("a length where there is no body"));
            }
            (101, Ask::Upgrade, _) => After::Switched,
            (101, ..) => return Err(Malformed("a switch of protocols that nobody asked for")),
            (100..=199, ..) => After::Head,
            (204 | 304, ..) | (_, Ask::Head, _) => After::Nothing,
            (_, _, Told::Length(0)) => After::Nothing,
            (_, _, Told::Length(length)) => After::Length(length),
            (_, _, Told::Chunked) => After::Chunked,
            (_, _, Told::Nothing) => After::Close,
        })
    }
}

/// `HTTP/1.x 200 reason`. The space before an empty reason may be missing: many leave it out.
fn status_line(line: &[u8]) -> Result<(Minor, u16), Refusal> {
    let (minor, rest) = match line.split_at_checked(9) {
        Some((b"HTTP/1.1 ", rest)) => (Minor::One, rest),
        Some((b"HTTP/1.0 ", rest)) => (Minor::Zero, rest),
        _ => return Err(Malformed("the status line begins with no version")),
    };
    let Some((code, reason)) = rest.split_at_checked(3) else {
        return Err(Malformed("the status has not three digits"));
    };
    let code = code.iter().try_fold(0_u16, |code, byte| {
        byte.is_ascii_digit().then(|| code * 10 + u16::from(byte - b'0'))
    });
    let is_reason = reason.is_empty() || (reason.starts_with(b" ") && bytes::all_value(reason));
    match code {
        Some(code @ 100..=599) if is_reason => Ok((minor, code)),
        Some(100..=599) => Err(Malformed("the reason is no text")),
        // RFC 9110, 15: outside of this range they are invalid.
        _ => Err(Malformed("the status is none of HTTP")),
    }
}
