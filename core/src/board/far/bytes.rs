//! How records are written: little endian, of a fixed size, between a head and a checksum.
//!
//! | bytes | what |
//! |---|---|
//! | 0 | 0xB1, for all that is ours |
//! | 1 | version |
//! | 2 | kind of record |
//! | … | fields, zero where there is nothing |
//! | last 8 | checksum of the key and all before it |

use crate::breaker::record;
use crate::breaker::{Cause, State};
use crate::hash::Hash;
use crate::policy::Trip;
use crate::time::Duration;
use crate::window::Tally;
use alloc::vec::Vec;
use core::fmt;

/// The version of the records. It is part of every key: two versions share a store and never meet.
pub const VERSION: u8 = 1;

pub(super) const MAGIC: u8 = 0xB1;

/// Why a record is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// It is of another version of the records.
    Version,
    /// It is somebody else's, of another key, or damaged.
    Foreign,
    /// The store has as many members as it may have for this key.
    Full,
}

impl Refused {
    /// The name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::Foreign => "foreign",
            Self::Full => "full",
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Version => "a record of another version",
            Self::Foreign => "not a record of ours, or of another key",
            Self::Full => "too many members",
        })
    }
}

/// Writes a record.
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn new(kind: u8, size: usize) -> Self {
        let mut bytes = Vec::with_capacity(size);
        bytes.extend([MAGIC, VERSION, kind]);
        Self(bytes)
    }

    pub(super) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub(super) fn short(&mut self, number: u16) {
        self.0.extend(number.to_le_bytes());
    }

    pub(super) fn word(&mut self, number: u32) {
        self.0.extend(number.to_le_bytes());
    }

    pub(super) fn long(&mut self, number: u64) {
        self.0.extend(number.to_le_bytes());
    }

    pub(super) fn span(&mut self, span: Duration) {
        self.long(span.as_nanos());
    }

    pub(super) fn tally(&mut self, tally: Tally) {
        self.word(tally.calls);
        self.word(tally.bad);
    }

    pub(super) fn cause(&mut self, cause: Cause) {
        // Three bits.
        self.byte(record::cause_code(cause) as u8);
    }

    /// The record, closed by its checksum.
    pub(super) fn finish(mut self, key: &[u8]) -> Vec<u8> {
        self.long(checksum(key, &self.0));
        self.0
    }
}

/// Reads a record that was found to be whole. Its fields can still be such as nobody writes.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn open(
        bytes: &'a [u8],
        key: &[u8],
        kind: u8,
        size: usize,
    ) -> Result<Self, Refused> {
        match bytes {
            [MAGIC, VERSION, ..] => {}
            [MAGIC, _, ..] => return Err(Refused::Version),
            _ => return Err(Refused::Foreign),
        }
        let (body, sum) = bytes.split_last_chunk().ok_or(Refused::Foreign)?;
        match body {
            [_, _, of, fields @ ..]
                if *of == kind
                    && bytes.len() == size
                    && u64::from_le_bytes(*sum) == checksum(key, body) =>
            {
                Ok(Self(fields))
            }
            _ => Err(Refused::Foreign),
        }
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.take().map(|[byte]| byte)
    }

    pub(super) fn short(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    pub(super) fn word(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    pub(super) fn long(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    pub(super) fn span(&mut self) -> Option<Duration> {
        self.long().map(Duration::from_nanos)
    }

    pub(super) fn tally(&mut self) -> Option<Tally> {
        let tally = Tally { calls: self.word()?, bad: self.word()? };
        (tally.bad <= tally.calls).then_some(tally)
    }

    /// What led to `state`.
    pub(super) fn cause(&mut self, state: State) -> Option<Cause> {
        let code = self.byte().filter(|code| *code < 8)?;
        Some(record::cause_of(code.into(), state, &Trip::default()))
    }

    pub(super) fn level(&mut self) -> Option<u8> {
        self.byte().filter(|level| *level <= record::MAX_LEVEL)
    }

    /// Flags among those that are `known`.
    pub(super) fn flags(&mut self, known: u8) -> Option<u8> {
        self.byte().filter(|flags| flags & !known == 0)
    }
}

pub(super) fn state_code(state: State) -> u8 {
    match state {
        State::Closed => 0,
        State::HalfOpen => 1,
        State::Open => 2,
    }
}

pub(super) fn state_of(code: u8) -> Option<State> {
    State::ALL.into_iter().find(|state| state_code(*state) == code)
}

/// Tells apart what was written for this key from all else that may lie in a store. It finds each change of
/// a single byte.
fn checksum(key: &[u8], body: &[u8]) -> u64 {
    Hash::default().bytes(key).bytes(body).finish()
}
