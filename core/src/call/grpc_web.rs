//! The status of a gRPC-Web answer, which stands in the last frame of its body.
//!
//! A frame is one byte of flags, four of length (big-endian), then its bytes. The trailers are the
//! frame with flag 0x80: lines of `name: value` (gRPC-Web, "Protocol differences vs gRPC over
//! HTTP2"). The form `-text` is the same in base64, each part padded by itself. Nothing is kept but
//! a few bytes of state: pieces may be cut anywhere, and lengths may lie.

use super::answer::UNKNOWN;

const TRAILERS: u8 = 0x80;
const NAME: &[u8] = b"grpc-status";
const PREFIX: u8 = 5;

/// Looks for `grpc-status` in a body that passes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StatusScanner {
    base64: Option<Base64>,
    frame: Frame,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Frame {
    /// Within the five bytes before a frame.
    Prefix { read: u8, flags: u8, size: u32 },
    /// Within a frame that says nothing; so many bytes are left.
    Skipped { left: u32 },
    /// Within the trailers; so many bytes are left.
    Trailers { left: u32, line: Line },
    /// The status was given out, or the body cannot be read.
    Over,
}

const START: Frame = Frame::Prefix { read: 0, flags: 0, size: 0 };

/// Where a line of the trailers stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// So many bytes of the name were as they should be.
    Name(u8),
    /// Behind the name and before its colon, or behind the colon and before the value.
    Gap,
    /// Within the value.
    Value(u32),
    /// Behind the value, where only blanks may stand.
    Behind(u32),
    /// The value is no number.
    NoNumber,
    /// Another name.
    Other,
}

impl StatusScanner {
    /// For frames as they are.
    pub(super) const fn binary() -> Self {
        Self { base64: None, frame: START }
    }

    /// For frames in base64.
    pub(super) const fn text() -> Self {
        Self { base64: Some(Base64 { bits: 0, count: 0 }), frame: START }
    }

    /// Reads no more: something of the body was missed.
    pub(super) fn give_up(&mut self) {
        self.frame = Frame::Over;
    }

    /// Reads the next piece of the body. The status, once it is known.
    pub(super) fn read(&mut self, mut piece: &[u8]) -> Option<u32> {
        while let Some((byte, rest)) = piece.split_first() {
            piece = rest;
            let byte = match &mut self.base64 {
                None => {
                    // Messages can be long: what says nothing is passed over at once.
                    if let Frame::Skipped { left } = &mut self.frame {
                        let most = rest.len().min((*left as usize).saturating_sub(1));
                        piece = rest.get(most..).unwrap_or_default();
                        *left -= u32::try_from(most).unwrap_or(*left);
                    }
                    *byte
                }
                Some(base64) => match base64.take(*byte) {
                    Symbol::Byte(byte) => byte,
                    Symbol::Nothing => continue,
                    Symbol::Wrong => {
                        self.frame = Frame::Over;
                        return None;
                    }
                },
            };
            if let Some(status) = self.take(byte) {
                self.frame = Frame::Over;
                return Some(status);
            }
        }
        None
    }

    fn take(&mut self, byte: u8) -> Option<u32> {
        match &mut self.frame {
            Frame::Prefix { read: 0, flags, .. } => {
                *flags = byte;
                self.prefix_goes_on()
            }
            Frame::Prefix { size, .. } => {
                *size = *size << 8 | u32::from(byte);
                self.prefix_goes_on()
            }
            Frame::Skipped { left } => {
                *left -= 1;
                if *left == 0 {
                    self.frame = START;
                }
                None
            }
            Frame::Trailers { left, line } => {
                *left -= 1;
                let is_last = *left == 0;
                let status = line.take(byte).or_else(|| is_last.then(|| line.ends()).flatten());
                if is_last && status.is_none() {
                    self.frame = START;
                }
                status
            }
            Frame::Over => None,
        }
    }

    fn prefix_goes_on(&mut self) -> Option<u32> {
        if let Frame::Prefix { read, flags, size } = &mut self.frame {
            *read += 1;
            if *read == PREFIX {
                self.frame = match (*flags, *size) {
                    (_, 0) => START,
                    (TRAILERS, left) => Frame::Trailers { left, line: Line::Name(0) },
                    // Messages, and trailers that are compressed: their status is not seen.
                    (_, left) => Frame::Skipped { left },
                };
            }
        }
        None
    }
}

impl Line {
    /// The next byte; the status at the end of its line.
    fn take(&mut self, byte: u8) -> Option<u32> {
        if byte == b'\n' {
            let status = self.ends();
            *self = Self::Name(0);
            return status;
        }
        *self = match *self {
            Self::Name(read) => match NAME.get(usize::from(read)) {
                Some(wanted) if byte.eq_ignore_ascii_case(wanted) => Self::Name(read + 1),
                None if byte == b':' => Self::Gap,
                _ => Self::Other,
            },
            Self::Gap if byte == b' ' || byte == b'\t' => Self::Gap,
            Self::Gap => Self::digit(0, byte),
            Self::Value(value) | Self::Behind(value) if matches!(byte, b'\r' | b' ' | b'\t') => {
                Self::Behind(value)
            }
            Self::Value(value) => Self::digit(value, byte),
            Self::Behind(_) => Self::NoNumber,
            other @ (Self::NoNumber | Self::Other) => other,
        };
        None
    }

    fn digit(before: u32, byte: u8) -> Self {
        let digit = byte.wrapping_sub(b'0');
        let value = before.checked_mul(10).and_then(|value| value.checked_add(u32::from(digit)));
        match value {
            Some(value) if digit < 10 => Self::Value(value),
            _ => Self::NoNumber,
        }
    }

    /// The status that the line gave, if it was its line.
    const fn ends(&self) -> Option<u32> {
        match self {
            Self::Value(value) | Self::Behind(value) => Some(*value),
            Self::NoNumber | Self::Gap => Some(UNKNOWN),
            Self::Name(_) | Self::Other => None,
        }
    }
}

/// Base64 (RFC 4648, 4), one symbol at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Base64 {
    bits: u32,
    count: u8,
}

enum Symbol {
    Byte(u8),
    Nothing,
    Wrong,
}

impl Base64 {
    fn take(&mut self, symbol: u8) -> Symbol {
        let six = match symbol {
            b'A'..=b'Z' => symbol - b'A',
            b'a'..=b'z' => symbol - b'a' + 26,
            b'0'..=b'9' => symbol - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            // The end of a part: what is left over is padding.
            b'=' => {
                *self = Self { bits: 0, count: 0 };
                return Symbol::Nothing;
            }
            b'\r' | b'\n' => return Symbol::Nothing,
            _ => return Symbol::Wrong,
        };
        self.bits = self.bits << 6 | u32::from(six);
        self.count += 6;
        if self.count < 8 {
            return Symbol::Nothing;
        }
        self.count -= 8;
        let byte = (self.bits >> self.count) as u8;
        self.bits &= (1 << self.count) - 1;
        Symbol::Byte(byte)
    }
}
