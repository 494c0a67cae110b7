//! A store's answer for one scope: the sum of all members.

use super::bytes::{Reader, Refused, Writer};
use crate::breaker::{Cause, State};
use crate::time::{Duration, Instant};
use crate::window::Tally;
use alloc::vec::Vec;

/// What all members together know.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Merged {
    /// When, on the store's clock: tells a newer one from an older one.
    pub at: Instant,
    /// How often the mesh changed its state.
    pub generation: u64,
    /// Whether it is open.
    pub is_open: bool,
    /// How many replicas opened on their own evidence in this generation, and are open.
    pub votes: u16,
    /// For how long those are open that made the mesh so, or would; zero where it is over.
    pub open_for: Duration,
    /// The level of that open time.
    pub level: u8,
    /// What opened them.
    pub cause: Cause,
    /// Failures since the last result of any member that was none.
    pub streak: u32,
    /// The same without those of the replica that has most of them.
    pub streak_of_others: u32,
    /// The window of failures.
    pub failures: Sum,
    /// The window of slow answers.
    pub slow: Sum,
}

/// A time window of all members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Of all.
    pub all: Tally,
    /// Without the replica that has most of the bad ones.
    pub others: Tally,
}

const KIND: u8 = b'm';
const OPEN: u8 = 1;

impl Merged {
    /// How many bytes one has.
    pub const SIZE: usize = 80;

    /// As bytes for the members, under `key`.
    pub fn encode(&self, key: &[u8]) -> Vec<u8> {
        let mut to = Writer::new(KIND, Self::SIZE);
        to.byte(if self.is_open { OPEN } else { 0 });
        to.byte(self.level);
        to.cause(self.cause);
        to.short(self.votes);
        to.long(self.at.as_nanos());
        to.long(self.generation);
        to.span(self.open_for);
        to.word(self.streak);
        to.word(self.streak_of_others);
        for Sum { all, others } in [self.failures, self.slow] {
            to.tally(all);
            to.tally(others);
        }
        to.finish(key)
    }

    /// From a store's answer for `key`.
    ///
    /// # Errors
    /// It is not a record of this version, or not one of ours.
    pub fn decode(bytes: &[u8], key: &[u8]) -> Result<Self, Refused> {
        let mut from = Reader::open(bytes, key, KIND, Self::SIZE)?;
        read(&mut from).ok_or(Refused::Foreign)
    }
}

fn read(from: &mut Reader<'_>) -> Option<Merged> {
    let is_open = from.flags(OPEN)? == OPEN;
    let (level, cause, votes) = (from.level()?, from.cause(State::Open)?, from.short()?);
    Some(Merged {
        is_open,
        level,
        cause,
        votes,
        at: Instant::from_nanos(from.long()?),
        generation: from.long()?,
        open_for: from.span()?,
        streak: from.word()?,
        streak_of_others: from.word()?,
        failures: Sum { all: from.tally()?, others: from.tally()? },
        slow: Sum { all: from.tally()?, others: from.tally()? },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sums() -> impl Strategy<Value = Sum> {
        let tally = (any::<u32>(), any::<u32>())
            .prop_map(|(one, other)| Tally { calls: one.max(other), bad: one.min(other) });
        (tally.clone(), tally).prop_map(|(all, others)| Sum { all, others })
    }

    proptest! {
        #[test]
        fn bytes_keep_the_record_and_no_other_is_believed(
            longs in prop::array::uniform3(any::<u64>()), is_open: bool, votes: u16, level in 0_u8..=63,
            streaks: (u32, u32), sums in (sums(), sums()), at in 0..Merged::SIZE, other in 1_u8..,
        ) {
            let [now, generation, open_for] = longs;
            let merged = Merged {
                at: Instant::from_nanos(now),
                generation, is_open, votes, level,
                open_for: Duration::from_nanos(open_for),
                cause: Cause::ProbesExpired,
                streak: streaks.0,
                streak_of_others: streaks.1,
                failures: sums.0,
                slow: sums.1,
            };
            let mut bytes = merged.encode(b"key");
            prop_assert_eq!(bytes.len(), Merged::SIZE);
            prop_assert_eq!(Merged::decode(&bytes, b"key"), Ok(merged));
            prop_assert_eq!(Merged::decode(&bytes, b"another"), Err(Refused::Foreign));
            bytes[at] ^= other;
            prop_assert!(Merged::decode(&bytes, b"key").is_err());
        }

        #[test]
        fn no_bytes_break_it(bytes: Vec<u8>) {
            prop_assert!(Merged::decode(&bytes, b"key").is_err());
        }
    }
}
