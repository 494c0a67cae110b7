//! What a member and a store say to each other in one exchange, as bytes. The hosts carry them: by HTTP between
//! the filter and `bimetal board`.
//!
//! | bytes of a question | what |
//! |---|---|
//! | 3 | 0xB1, version, `q` |
//! | 8, 2, 8 | replica, worker and number of the exchange |
//! | 8, 8 | the store of the last answer, and the last change that it told of; zeros before the first |
//! | 4 | how many records; then each with its key: 2 bytes of length, the key, 2 bytes of length, the record |
//!
//! An answer has `a`, the store, the last change that it tells of, whether there is more (one byte), and its
//! records in the same way.

use super::bytes::{MAGIC, Refused, VERSION};
use super::{Member, Merged};
use crate::engine::{Exchange, KeyedDelta};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// The most records of a message.
pub const MAX_TOLD: usize = crate::engine::MAX_DELTAS;

/// The most bytes that a message can have: that many records with their keys.
pub const MAX_MESSAGE: usize = 64 + MAX_TOLD * 512;

/// A key and a record of it.
pub type KeyedRecord = (Box<[u8]>, Vec<u8>);

/// Where a member stands with a store: of which one it heard what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// The store's number; 0 before the first answer.
    pub store: u64,
    /// The last change that it told of.
    pub change: u64,
}

/// What a member asks: it tells what it knows, and wants to hear what changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// What it tells.
    pub exchange: Exchange,
    /// What it heard before.
    pub heard: Heard,
}

/// What a store answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// What the member has heard now.
    pub heard: Heard,
    /// Whether there is more to hear at once.
    pub has_more: bool,
    /// Keys and what all members together say of them, for [`Engine::merge`](crate::Engine::merge).
    pub merged: Vec<KeyedRecord>,
}

const QUESTION: u8 = b'q';
const ANSWER: u8 = b'a';

impl Question {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let Self { exchange: Exchange { member, sequence, deltas }, heard } = self;
        let mut to = Vec::with_capacity(64 + deltas.len() * 384);
        to.extend([MAGIC, VERSION, QUESTION]);
        to.extend(member.replica.to_le_bytes());
        to.extend(member.worker.to_le_bytes());
        for number in [*sequence, heard.store, heard.change] {
            to.extend(number.to_le_bytes());
        }
        let records = deltas.iter().map(|delta| (&*delta.key, &*delta.record));
        write(&mut to, records);
        to
    }

    /// From bytes.
    ///
    /// # Errors
    /// It is not a question of this version, or not one at all. Its records are not looked at.
    pub fn decode(bytes: &[u8]) -> Result<Self, Refused> {
        let from = &mut body(bytes, QUESTION)?;
        let question = (|| {
            let member = Member { replica: long(from)?, worker: short(from)? };
            let sequence = long(from)?;
            let heard = Heard { store: long(from)?, change: long(from)? };
            let deltas = read(from)?;
            let deltas = deltas.into_iter().map(|(key, record)| KeyedDelta { key, record });
            let exchange = Exchange { member, sequence, deltas: deltas.collect() };
            Some(Self { exchange, heard })
        })();
        question.ok_or(Refused::Foreign)
    }
}

impl Answer {
    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Vec::with_capacity(64 + self.merged.len() * (Merged::SIZE + 64));
        to.extend([MAGIC, VERSION, ANSWER]);
        for number in [self.heard.store, self.heard.change] {
            to.extend(number.to_le_bytes());
        }
        to.push(u8::from(self.has_more));
        write(&mut to, self.merged.iter().map(|(key, record)| (&**key, &**record)));
        to
    }

    /// From bytes.
    ///
    /// # Errors
    /// It is not an answer of this version, or not one at all. Its records are not looked at.
    pub fn decode(bytes: &[u8]) -> Result<Self, Refused> {
        let from = &mut body(bytes, ANSWER)?;
        let answer = (|| {
            let heard = Heard { store: long(from)?, change: long(from)? };
            let has_more = match take(from)? {
                [0] => false,
                [1] => true,
                _ => return None,
            };
            Some(Self { heard, has_more, merged: read(from)? })
        })();
        answer.ok_or(Refused::Foreign)
    }
}

fn body(bytes: &[u8], kind: u8) -> Result<&[u8], Refused> {
    match bytes {
        [MAGIC, VERSION, of, rest @ ..] if *of == kind => Ok(rest),
        [MAGIC, version, ..] if *version != VERSION => Err(Refused::Version),
        _ => Err(Refused::Foreign),
    }
}

fn write<'a>(to: &mut Vec<u8>, records: impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])>) {
    to.extend(u32::try_from(records.len()).unwrap_or(u32::MAX).to_le_bytes());
    for (key, record) in records {
        for part in [key, record] {
            to.extend(u16::try_from(part.len()).unwrap_or(u16::MAX).to_le_bytes());
            to.extend_from_slice(part);
        }
    }
}

/// All records up to the end; none where there are more, fewer or too many.
fn read(from: &mut &[u8]) -> Option<Vec<KeyedRecord>> {
    let count = usize::try_from(u32::from_le_bytes(take(from)?)).ok()?;
    // Each has four bytes at least: a number alone makes no room.
    if count > MAX_TOLD || count.checked_mul(4)? > from.len() {
        return None;
    }
    let mut records = Vec::with_capacity(count);
    for _ in 0..count {
        records.push((part(from)?.into(), part(from)?.to_vec()));
    }
    from.is_empty().then_some(records)
}

fn part<'a>(from: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = short(from)?.into();
    let (part, rest) = from.split_at_checked(length)?;
    *from = rest;
    Some(part)
}

fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(*first)
}

fn short(from: &mut &[u8]) -> Option<u16> {
    take(from).map(u16::from_le_bytes)
}

fn long(from: &mut &[u8]) -> Option<u64> {
    take(from).map(u64::from_le_bytes)
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;
    use alloc::vec as many;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn records() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
        vec((vec(any::<u8>(), 0..140), vec(any::<u8>(), 0..300)), 0..8)
    }

    proptest! {
        #[test]
        fn bytes_keep_a_question(replica: u64, worker: u16, numbers: (u64, u64, u64), records in records()) {
            let delta = |(key, record): (Vec<u8>, Vec<u8>)| KeyedDelta { key: key.into(), record };
            let exchange = Exchange {
                member: Member { replica, worker },
                sequence: numbers.0,
                deltas: records.into_iter().map(delta).collect(),
            };
            let heard = Heard { store: numbers.1, change: numbers.2 };
            let question = Question { exchange, heard };
            let bytes = question.encode();
            prop_assert_eq!(Question::decode(&bytes), Ok(question));
            prop_assert_eq!(Question::decode(&bytes[..bytes.len() - 1]), Err(Refused::Foreign));
            prop_assert_eq!(Question::decode(&[&bytes[..], &[0]].concat()), Err(Refused::Foreign));
            prop_assert_eq!(Answer::decode(&bytes), Err(Refused::Foreign));
        }

        #[test]
        fn bytes_keep_an_answer(numbers: (u64, u64), has_more: bool, records in records()) {
            let merged = records.into_iter().map(|(key, record)| (key.into(), record)).collect();
            let heard = Heard { store: numbers.0, change: numbers.1 };
            let answer = Answer { heard, has_more, merged };
            let bytes = answer.encode();
            prop_assert_eq!(Answer::decode(&bytes), Ok(answer));
            prop_assert_eq!(Answer::decode(&bytes[..bytes.len() - 1]), Err(Refused::Foreign));
            prop_assert_eq!(Question::decode(&bytes), Err(Refused::Foreign));
            let other = [&[MAGIC, VERSION + 1][..], &bytes[2..]].concat();
            prop_assert_eq!(Answer::decode(&other), Err(Refused::Version));
        }

        #[test]
        fn no_bytes_break_it(bytes in vec(any::<u8>(), 0..200), kind: bool) {
            let kind = if kind { QUESTION } else { ANSWER };
            let ours = [&[MAGIC, VERSION, kind][..], &bytes].concat();
            for bytes in [bytes, ours] {
                drop(Question::decode(&bytes));
                drop(Answer::decode(&bytes));
            }
        }
    }

    #[test]
    fn a_number_alone_makes_no_room() {
        let mut bytes = Answer::default().encode();
        let end = bytes.len();
        bytes[end - 4..].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(Answer::decode(&bytes), Err(Refused::Foreign));
        let many = Answer {
            merged: many![(Box::from(&b""[..]), Vec::new()); MAX_TOLD + 1],
            ..Answer::default()
        };
        assert_eq!(Answer::decode(&many.encode()), Err(Refused::Foreign));
        let most = Answer {
            merged: many![(Box::from(&b""[..]), Vec::new()); MAX_TOLD],
            ..Answer::default()
        };
        assert_eq!(Answer::decode(&most.encode()), Ok(most));
    }
}
