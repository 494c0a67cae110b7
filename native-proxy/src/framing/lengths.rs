//! What the fields of a head say of the body's length.

use super::Refusal::{self, Malformed};

/// `Content-Length` and `Transfer-Encoding` as far as they were read.
#[derive(Debug, Default)]
pub(super) struct Lengths {
    length: Option<u64>,
    is_chunked: bool,
}

/// What they say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Nothing,
    Length(u64),
    Chunked,
}

impl Lengths {
    /// One number, once. RFC 9112, 6.3 would let equal repetitions pass; whoever sends them wants
    /// to see who reads which.
    pub(super) fn content_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Err(Malformed("Content-Length is no number"));
        }
        let number = value.iter().try_fold(0_u64, |number, digit| {
            number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
        });
        // Beyond it, a signed number elsewhere would turn negative.
        let number = number.filter(|number| i64::try_from(*number).is_ok());
        let Some(number) = number else {
            return Err(Malformed("Content-Length is too large"));
        };
        match self.length.replace(number) {
            None => Ok(()),
            Some(_) => Err(Malformed("more than one Content-Length")),
        }
    }

    /// `chunked` alone, once.
    pub(super) fn coding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Malformed("Transfer-Encoding is not chunked alone"));
        }
        if std::mem::replace(&mut self.is_chunked, true) {
            return Err(Malformed("more than one Transfer-Encoding"));
        }
        Ok(())
    }

    /// Both together, in a message of this version.
    pub(super) fn told(&self, minor: Minor) -> Result<Told, Refusal> {
        match (self.is_chunked, self.length) {
            (true, Some(_)) => Err(Malformed("Content-Length beside Transfer-Encoding")),
            // Whoever knows HTTP/1.0 alone does not see the chunks (RFC 9112, 6.1).
            (true, None) if minor == Minor::Zero => Err(Malformed("Transfer-Encoding in HTTP/1.0")),
            (true, None) => Ok(Told::Chunked),
            (false, Some(length)) => Ok(Told::Length(length)),
            (false, None) => Ok(Told::Nothing),
        }
    }
}

/// The minor version of HTTP/1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Minor {
    Zero,
    One,
}
