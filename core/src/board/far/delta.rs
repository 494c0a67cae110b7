//! What one member of a mesh knows of one scope by itself.

use super::bytes::{Reader, Refused, Writer, state_code, state_of};
use crate::breaker::{Cause, State};
use crate::time::Duration;
use crate::window::{BUCKETS, Tally};
use alloc::vec::Vec;

/// A member of a mesh: one worker of one replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    /// The replica, a process. Its workers stand for it together: a quorum counts replicas. A process
    /// that starts again in the same place should have the same number, so that it is not two.
    pub replica: u64,
    /// The worker.
    pub worker: u16,
}

/// All that a member knows of one scope by itself. Ages count back from when it was taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Delta {
    /// Whose it is.
    pub member: Member,
    /// Later ones of the same member have higher ones.
    pub sequence: u64,
    /// The state of the member's own breaker.
    pub state: State,
    /// How long it will be open; zero where it is not.
    pub open_for: Duration,
    /// The level of its open time.
    pub level: u8,
    /// What changed it last.
    pub cause: Cause,
    /// How often the mesh changed its state, as far as the member knows.
    pub generation: u64,
    /// Whether the mesh is open in that generation.
    pub is_mesh_open: bool,
    /// Whether the member's breaker opened on its own evidence in that generation.
    pub is_vote: bool,
    /// Its last failures.
    pub streak: Streak,
    /// Its share of the window of failures.
    pub failures: Buckets,
    /// Its share of the window of slow answers.
    pub slow: Buckets,
}

/// Failures since the last result that was none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streak {
    /// How many.
    pub failures: u32,
    /// How long ago the first of them was.
    pub first: Duration,
    /// How long ago the last of them was.
    pub last: Duration,
    /// How long ago the last result was that was no failure; the longest span where none is known.
    pub good: Duration,
}

/// Counts of a time window in buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Buckets {
    /// How long a bucket is; zero where there is no window.
    pub width: Duration,
    /// How long ago the newest one began.
    pub newest: Duration,
    /// Counts, the newest first.
    pub counts: [Tally; BUCKETS],
}

const KIND: u8 = b'd';
const MESH_OPEN: u8 = 4;
const VOTE: u8 = 8;

impl Delta {
    /// How many bytes one has.
    pub const SIZE: usize = 268;

    /// As bytes for the store, under `key`.
    pub fn encode(&self, key: &[u8]) -> Vec<u8> {
        let mut to = Writer::new(KIND, Self::SIZE);
        let mesh_open = if self.is_mesh_open { MESH_OPEN } else { 0 };
        let vote = if self.is_vote { VOTE } else { 0 };
        to.byte(state_code(self.state) | mesh_open | vote);
        to.byte(self.level);
        to.cause(self.cause);
        to.short(self.member.worker);
        to.long(self.member.replica);
        to.long(self.sequence);
        to.long(self.generation);
        to.span(self.open_for);
        to.word(self.streak.failures);
        [self.streak.first, self.streak.last, self.streak.good]
            .into_iter()
            .for_each(|age| to.span(age));
        for Buckets { width, newest, counts } in [self.failures, self.slow] {
            to.span(width);
            to.span(newest);
            counts.into_iter().for_each(|tally| to.tally(tally));
        }
        to.finish(key)
    }

    /// From what lies in a store under `key`.
    ///
    /// # Errors
    /// It is not a record of this version, or not one of ours.
    pub fn decode(bytes: &[u8], key: &[u8]) -> Result<Self, Refused> {
        let mut from = Reader::open(bytes, key, KIND, Self::SIZE)?;
        read(&mut from).ok_or(Refused::Foreign)
    }
}

fn read(from: &mut Reader<'_>) -> Option<Delta> {
    let flags = from.flags(3 | MESH_OPEN | VOTE)?;
    let state = state_of(flags & 3)?;
    let (level, cause) = (from.level()?, from.cause(state)?);
    let worker = from.short()?;
    Some(Delta {
        state,
        is_mesh_open: flags & MESH_OPEN != 0,
        is_vote: flags & VOTE != 0,
        level,
        cause,
        member: Member { worker, replica: from.long()? },
        sequence: from.long()?,
        generation: from.long()?,
        open_for: from.span()?,
        streak: Streak {
            failures: from.word()?,
            first: from.span()?,
            last: from.span()?,
            good: from.span()?,
        },
        failures: buckets(from)?,
        slow: buckets(from)?,
    })
}

fn buckets(from: &mut Reader<'_>) -> Option<Buckets> {
    let (width, newest) = (from.span()?, from.span()?);
    let mut counts = [Tally::default(); BUCKETS];
    for tally in &mut counts {
        *tally = from.tally()?;
    }
    Some(Buckets { width, newest, counts })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spans() -> impl Strategy<Value = Duration> {
        any::<u64>().prop_map(Duration::from_nanos)
    }

    fn windows() -> impl Strategy<Value = Buckets> {
        let tally = (any::<u32>(), any::<u32>())
            .prop_map(|(one, other)| Tally { calls: one.max(other), bad: one.min(other) });
        (spans(), spans(), prop::array::uniform10(tally))
            .prop_map(|(width, newest, counts)| Buckets { width, newest, counts })
    }

    prop_compose! {
        fn deltas()(
            who: (u64, u16), sequence: u64, state in prop::sample::select(&State::ALL[..]),
            open_for in spans(), level in 0_u8..=63, generation: u64, flags: (bool, bool),
            failures: u32, ages in prop::array::uniform3(spans()), windows in (windows(), windows()),
        ) -> Delta {
            Delta {
                member: Member { replica: who.0, worker: who.1 },
                sequence, state, open_for, level, generation,
                cause: Cause::ProbeSlow,
                is_mesh_open: flags.0,
                is_vote: flags.1,
                streak: Streak { failures, first: ages[0], last: ages[1], good: ages[2] },
                failures: windows.0,
                slow: windows.1,
            }
        }
    }

    proptest! {
        #[test]
        fn bytes_keep_the_record(delta in deltas(), key: Vec<u8>) {
            let bytes = delta.encode(&key);
            prop_assert_eq!(bytes.len(), Delta::SIZE);
            prop_assert_eq!(Delta::decode(&bytes, &key), Ok(delta));
        }

        #[test]
        fn no_other_byte_is_believed(delta in deltas(), at in 0..Delta::SIZE, other in 1_u8..) {
            let mut bytes = delta.encode(b"key");
            bytes[at] ^= other;
            let refused = if at == 1 { Refused::Version } else { Refused::Foreign };
            prop_assert_eq!(Delta::decode(&bytes, b"key"), Err(refused));
        }

        #[test]
        fn no_bytes_break_it(bytes: Vec<u8>) {
            prop_assert!(Delta::decode(&bytes, b"key").is_err());
        }

        /// A checksum that is right does not make a record: its fields have to be such as are written.
        #[test]
        fn a_body_of_anything_is_read_or_refused(body in prop::collection::vec(any::<u8>(), Delta::SIZE - 11)) {
            let mut to = Writer::new(KIND, Delta::SIZE);
            body.iter().for_each(|byte| to.byte(*byte));
            let bytes = to.finish(b"key");
            if let Ok(delta) = Delta::decode(&bytes, b"key") {
                prop_assert_eq!(delta.encode(b"key"), bytes);
            }
        }
    }

    #[test]
    fn a_record_is_of_its_key_and_of_its_size() {
        let delta = Delta {
            member: Member::default(),
            sequence: 1,
            state: State::Closed,
            open_for: Duration::ZERO,
            level: 0,
            cause: Cause::ProbesSucceeded,
            generation: 0,
            is_mesh_open: false,
            is_vote: false,
            streak: Streak::default(),
            failures: Buckets::default(),
            slow: Buckets::default(),
        };
        let bytes = delta.encode(b"one");
        assert_eq!(Delta::decode(&bytes, b"other"), Err(Refused::Foreign));
        assert_eq!(Delta::decode(&bytes[..Delta::SIZE - 1], b"one"), Err(Refused::Foreign));
        assert_eq!(Delta::decode(&[&bytes[..], &[0]].concat(), b"one"), Err(Refused::Foreign));
        assert_eq!(Delta::decode(b"-ERR unknown command", b"one"), Err(Refused::Foreign));
        assert_eq!(Delta::decode(b"", b"one"), Err(Refused::Foreign));
    }
}
