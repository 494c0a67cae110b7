//! What members of a mesh claim of one key of a rate limit, and what all of them claim together: see
//! [`limiter::escrow`](crate::limiter::escrow).

use super::Member;
use super::bytes::{Reader, Refused, Writer};
use crate::time::{Duration, Instant};
use alloc::vec::Vec;

/// What a member claims of one key of a limit, and what it was asked for there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// Whose it is.
    pub member: Member,
    /// Later ones of the same member have higher ones.
    pub sequence: u64,
    /// The share of the rate that it takes or asks for, of [`WHOLE`](crate::limiter::escrow::WHOLE). Zero: it
    /// gave everything back.
    pub share: u32,
    /// Calls that came there, as a share of the rate: one that is offered three times the rate says three
    /// times the whole.
    pub offered: u64,
    /// Calls that it admitted, likewise.
    pub admitted: u64,
    /// For how long the claim holds, if nobody renews it.
    pub lease: Duration,
}

/// The claims of all members that hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// When, on the store's clock: tells a newer one from an older one.
    pub at: Instant,
    /// For how long the store has had claims of this key without a gap. One that forgot all has not for long.
    pub age: Duration,
    /// One of each member, in the members' order.
    pub of: Vec<Claim>,
}

const KIND: u8 = b'c';
const KIND_OF_ALL: u8 = b'l';
/// Head and checksum.
const AROUND: usize = 3 + 8;
const FIELDS: usize = 46;
/// What stands before the claims of all.
const HEAD: usize = 8 + 8 + 2;

impl Claim {
    /// How many bytes one has.
    pub const SIZE: usize = AROUND + FIELDS;

    /// As bytes for the store, under `key`.
    pub fn encode(&self, key: &[u8]) -> Vec<u8> {
        let mut to = Writer::new(KIND, Self::SIZE);
        self.write(&mut to);
        to.finish(key)
    }

    /// From what lies in a store under `key`.
    ///
    /// # Errors
    /// It is not a record of this version, or not one of ours.
    pub fn decode(bytes: &[u8], key: &[u8]) -> Result<Self, Refused> {
        let mut from = Reader::open(bytes, key, KIND, Self::SIZE)?;
        Self::read(&mut from).ok_or(Refused::Foreign)
    }

    /// Whether a record says that it is one of these. Whether it is tells [`Claim::decode`].
    pub(super) fn is_kind(bytes: &[u8]) -> bool {
        bytes.get(2) == Some(&KIND)
    }

    fn write(&self, to: &mut Writer) {
        to.short(self.member.worker);
        to.long(self.member.replica);
        to.long(self.sequence);
        to.word(self.share);
        to.long(self.offered);
        to.long(self.admitted);
        to.span(self.lease);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            member: Member { worker: from.short()?, replica: from.long()? },
            sequence: from.long()?,
            share: from.word()?,
            offered: from.long()?,
            admitted: from.long()?,
            lease: from.span()?,
        })
    }
}

impl Claims {
    /// As bytes for the members, under `key`.
    pub fn encode(&self, key: &[u8]) -> Vec<u8> {
        let mut to = Writer::new(KIND_OF_ALL, AROUND + HEAD + FIELDS * self.of.len());
        to.long(self.at.as_nanos());
        to.span(self.age);
        to.short(u16::try_from(self.of.len()).unwrap_or(u16::MAX));
        self.of.iter().take(usize::from(u16::MAX)).for_each(|claim| claim.write(&mut to));
        to.finish(key)
    }

    /// From a store's answer for `key`.
    ///
    /// # Errors
    /// It is not a record of this version, or not one of ours.
    pub fn decode(bytes: &[u8], key: &[u8]) -> Result<Self, Refused> {
        // As long as its count says, which is found to be whole first.
        let mut from = Reader::open(bytes, key, KIND_OF_ALL, bytes.len())?;
        let read = |from: &mut Reader<'_>| {
            let (at, age) = (Instant::from_nanos(from.long()?), from.span()?);
            let count = from.short()?;
            let of: Option<Vec<_>> = (0..count).map(|_| Claim::read(from)).collect();
            (bytes.len() == AROUND + HEAD + FIELDS * usize::from(count)).then_some(())?;
            Some(Self { at, age, of: of? })
        };
        read(&mut from).ok_or(Refused::Foreign)
    }

    /// Whether a record says that it is one of these. Whether it is tells [`Claims::decode`].
    pub(crate) fn is_kind(bytes: &[u8]) -> bool {
        bytes.get(2) == Some(&KIND_OF_ALL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn claims() -> impl Strategy<Value = Claim> {
        (any::<(u64, u16)>(), any::<(u64, u32, u64, u64, u64)>()).prop_map(
            |((replica, worker), (sequence, share, offered, admitted, lease))| Claim {
                member: Member { replica, worker },
                sequence,
                share,
                offered,
                admitted,
                lease: Duration::from_nanos(lease),
            },
        )
    }

    proptest! {
        #[test]
        fn bytes_keep_the_record_and_no_other_byte_is_believed(
            claim in claims(), key: Vec<u8>, at in 0..Claim::SIZE, other in 1_u8..,
        ) {
            let mut bytes = claim.encode(&key);
            prop_assert_eq!(bytes.len(), Claim::SIZE);
            prop_assert_eq!(Claim::decode(&bytes, &key), Ok(claim));
            bytes[at] ^= other;
            prop_assert!(Claim::decode(&bytes, &key).is_err());
        }

        #[test]
        fn all_of_them_are_kept_and_no_more_are_read(
            of in prop::collection::vec(claims(), 0..5), nanos: u64, at: prop::sample::Index, other in 1_u8..,
        ) {
            let (at_store, age) = (Instant::from_nanos(nanos), Duration::from_nanos(!nanos));
            let all = Claims { at: at_store, age, of };
            let bytes = all.encode(b"key");
            prop_assert_eq!(Claims::decode(&bytes, b"key"), Ok(all));
            prop_assert_eq!(Claims::decode(&bytes, b"other"), Err(Refused::Foreign));
            prop_assert!(Claims::decode(&bytes[..bytes.len() - 1], b"key").is_err());
            let mut broken = bytes;
            let at = at.index(broken.len());
            broken[at] ^= other;
            prop_assert!(Claims::decode(&broken, b"key").is_err());
        }

        #[test]
        fn no_bytes_break_it(bytes: Vec<u8>) {
            prop_assert!(Claim::decode(&bytes, b"key").is_err());
            prop_assert!(Claims::decode(&bytes, b"key").is_err());
        }

        /// A count that is none of the record's is refused, also behind a checksum that is right.
        #[test]
        fn a_wrong_count_is_refused(count: u16, len in 0_usize..4) {
            let mut to = Writer::new(KIND_OF_ALL, 0);
            to.long(1);
            to.long(1);
            to.short(count);
            (0..len).for_each(|_| Claim::default().write(&mut to));
            let read = Claims::decode(&to.finish(b"key"), b"key");
            prop_assert_eq!(read.is_ok(), usize::from(count) == len);
        }
    }
}
