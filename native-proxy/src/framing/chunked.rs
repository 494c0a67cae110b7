//! A chunked body (RFC 9112, 7.1).

use super::Refusal::{self, Malformed};
use super::bytes::{self, TOKEN};
use super::scan::MAX_FIELDS;

/// Longest line of a chunk's size with its extensions, in bytes: extensions are not used by
/// anybody, and without a limit they would be a way to send without end.
const MAX_SIZE_LINE: usize = 256;
/// Longest trailer section, in bytes.
const MAX_TRAILERS: usize = 8 * 1024;
/// Hexadecimal digits of a size: 2^60 bytes are enough, and fit a signed number everywhere.
const MAX_DIGITS: usize = 15;

/// Fields that a trailer must not set, because the request was framed and routed without them
/// (RFC 9110, 6.5.1).
const FORBIDDEN: [&[u8]; 4] = [b"content-length", b"transfer-encoding", b"host", b"trailer"];

/// Where in a chunked body the next byte stands.
#[derive(Debug)]
pub(super) struct Chunked {
    step: Step,
    /// So many bytes of data may still come.
    allowed: u64,
    /// Of the chunk: first its size, then what is left of it.
    size: u64,
    digits: usize,
    /// Length of the size line or of the trailer section so far.
    line: usize,
    /// Trailers so far.
    trailers: usize,
    /// The trailer's name, as far as it may be a forbidden one.
    name: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Size,
    BeforeExtension,
    ExtensionName,
    ExtensionNameRest,
    AfterName,
    ExtensionValue,
    ExtensionValueRest,
    Quoted,
    QuotedPair,
    AfterQuoted,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    End,
}

impl Chunked {
    /// A body of at most `allowed` bytes of data.
    pub(super) fn new(allowed: u64) -> Self {
        Self {
            step: Step::Size,
            allowed,
            size: 0,
            digits: 0,
            line: 0,
            trailers: 0,
            name: Vec::new(),
        }
    }

    /// Reads on: how many bytes are good, and whether the body ended with them.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> (usize, Result<bool, Refusal>) {
        let mut used = 0;
        while let Some(byte) = bytes.get(used) {
            if self.step == Step::Data {
                let here = usize::try_from(self.size).unwrap_or(usize::MAX).min(bytes.len() - used);
                used += here;
                self.size -= here as u64;
                if self.size == 0 {
                    self.step = Step::DataCr;
                }
                continue;
            }
            match self.next(*byte) {
                Ok(step) => self.step = step,
                Err(why) => return (used, Err(why)),
            }
            used += 1;
            if self.step == Step::End {
                return (used, Ok(true));
            }
        }
        (used, Ok(false))
    }

    fn next(&mut self, byte: u8) -> Result<Step, Refusal> {
        let is_token = bytes::is(TOKEN, byte);
        let is_value = bytes::is_value(byte);
        // Before and behind `;` and `=` it means nothing (RFC 9110, 5.6.3), and nowhere else may it be.
        let is_blank = matches!(byte, b' ' | b'\t');
        let step = match (self.step, byte) {
            (Step::Size, _) if byte.is_ascii_hexdigit() => self.digit(byte)?,
            (Step::Size, b';' | b'\r') if self.digits == 0 => {
                return Err(Malformed("a chunk without size"));
            }
            (Step::Size | Step::ExtensionValueRest | Step::AfterQuoted, _)
                if is_blank && self.digits > 0 =>
            {
                Step::BeforeExtension
            }
            (Step::ExtensionNameRest, _) if is_blank => Step::AfterName,
            (
                Step::BeforeExtension
                | Step::ExtensionName
                | Step::AfterName
                | Step::ExtensionValue,
                _,
            ) if is_blank => self.step,
            (Step::ExtensionName, _) if is_token => Step::ExtensionNameRest,
            (Step::ExtensionNameRest, _) if is_token => Step::ExtensionNameRest,
            (Step::ExtensionNameRest | Step::AfterName, b'=') => Step::ExtensionValue,
            (Step::ExtensionValue, b'"') => Step::Quoted,
            (Step::ExtensionValue | Step::ExtensionValueRest, _) if is_token => {
                Step::ExtensionValueRest
            }
            (Step::Quoted, b'"') => Step::AfterQuoted,
            (Step::Quoted, b'\\') => Step::QuotedPair,
            (Step::Quoted | Step::QuotedPair, _) if is_value => Step::Quoted,
            (
                Step::Size
                | Step::BeforeExtension
                | Step::ExtensionNameRest
                | Step::AfterName
                | Step::ExtensionValueRest
                | Step::AfterQuoted,
                b';',
            ) => Step::ExtensionName,
            (
                Step::Size | Step::ExtensionNameRest | Step::ExtensionValueRest | Step::AfterQuoted,
                b'\r',
            ) => Step::SizeLf,
            (Step::SizeLf, b'\n') => return self.sized(),
            (Step::DataCr, b'\r') => Step::DataLf,
            (Step::DataLf, b'\n') => return Ok(self.begin(Step::Size)),
            (Step::TrailerStart, b'\r') => Step::EndLf,
            (Step::TrailerStart | Step::TrailerName, _) if is_token => self.trailer_name(byte),
            (Step::TrailerName, b':') => self.trailer_named()?,
            (Step::TrailerValue, _) if is_value => Step::TrailerValue,
            (Step::TrailerValue, b'\r') => Step::TrailerLf,
            (Step::TrailerLf, b'\n') => Step::TrailerStart,
            (Step::EndLf, b'\n') => Step::End,
            (step, _) => return Err(Malformed(complaint(step))),
        };
        self.count(step)?;
        Ok(step)
    }

    fn digit(&mut self, digit: u8) -> Result<Step, Refusal> {
        self.digits += 1;
        if self.digits > MAX_DIGITS {
            return Err(Malformed("a chunk size with too many digits"));
        }
        let value = char::from(digit).to_digit(16).unwrap_or_default();
        self.size = self.size << 4 | u64::from(value);
        Ok(Step::Size)
    }

    fn sized(&mut self) -> Result<Step, Refusal> {
        let Some(allowed) = self.allowed.checked_sub(self.size) else {
            return Err(Refusal::BodyTooLarge);
        };
        self.allowed = allowed;
        Ok(match self.size {
            0 => self.begin(Step::TrailerStart),
            _ => Step::Data,
        })
    }

    /// Begins a line's or a section's count.
    fn begin(&mut self, step: Step) -> Step {
        (self.size, self.digits, self.line) = (0, 0, 0);
        step
    }

    fn count(&mut self, step: Step) -> Result<(), Refusal> {
        self.line += 1;
        match step {
            Step::TrailerStart
            | Step::TrailerName
            | Step::TrailerValue
            | Step::TrailerLf
            | Step::EndLf
                if self.line > MAX_TRAILERS =>
            {
                Err(Malformed("too long a trailer section"))
            }
            Step::Size
            | Step::BeforeExtension
            | Step::ExtensionName
            | Step::ExtensionNameRest
            | Step::AfterName
            | Step::ExtensionValue
            | Step::ExtensionValueRest
            | Step::Quoted
            | Step::QuotedPair
            | Step::AfterQuoted
            | Step::SizeLf
                if self.line > MAX_SIZE_LINE =>
            {
                Err(Malformed("too long a chunk extension"))
            }
            _ => Ok(()),
        }
    }

    fn trailer_name(&mut self, byte: u8) -> Step {
        if self.step == Step::TrailerStart {
            self.name.clear();
        }
        // One byte beyond the longest that matters tells a longer name from it.
        if self.name.len() <= FORBIDDEN[1].len() {
            self.name.push(byte.to_ascii_lowercase());
        }
        Step::TrailerName
    }

    fn trailer_named(&mut self) -> Result<Step, Refusal> {
        // The parser behind takes no more, and would break off a call that is under way.
        self.trailers += 1;
        if self.trailers > MAX_FIELDS {
            return Err(Malformed("too many trailers"));
        }
        if FORBIDDEN.contains(&self.name.as_slice()) {
            Err(Malformed("a trailer that changes the framing or the route"))
        } else {
            Ok(Step::TrailerValue)
        }
    }
}

const fn complaint(step: Step) -> &'static str {
    match step {
        Step::Size => "a chunk size is no hexadecimal number",
        Step::BeforeExtension
        | Step::ExtensionName
        | Step::ExtensionNameRest
        | Step::AfterName
        | Step::ExtensionValue
        | Step::ExtensionValueRest
        | Step::Quoted
        | Step::QuotedPair
        | Step::AfterQuoted => "a chunk extension is malformed",
        Step::SizeLf | Step::DataCr | Step::DataLf => "a chunk ends without CR LF",
        Step::TrailerStart | Step::TrailerName | Step::TrailerValue => "a trailer is malformed",
        Step::TrailerLf | Step::EndLf | Step::Data | Step::End => "a trailer line ends without LF",
    }
}
