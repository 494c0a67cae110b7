//! A bucket: the records of all scopes whose place is under one key.
//!
//! A bucket is read and replaced whole. So a scope's place is found or proved missing by one read,
//! and is claimed and freed by one compare-and-swap: no two workers can claim two places for one
//! scope, nor one place for two.
//!
//! | bytes of a value | what |
//! |---|---|
//! | 0–7 | [`HEADER`] |
//! | then for each record: 8 | its owner: a hash of the policy's state hash and the scope's key |
//! | 4 | part of the policy's state hash |
//! | 4 | the number of its words, 1–[`MOST_WORDS`] |
//! | 8 a word | the words, little-endian |
//!
//! A value that is anything else is somebody else's, and is left alone.

/// What a value of ours begins with. The last byte is the version of this table.
const HEADER: [u8; 8] = *b"bimetal\x02";

/// Most records in one bucket; twice what [`super::place`] plans for.
pub(super) const ROOM: usize = 32;

/// Most words of a record. A breaker has a word and ten for each of two windows; a limit of calls under way
/// has one for each worker.
pub(super) const MOST_WORDS: usize = 256;

/// Bytes of a record before its words.
const HEAD: usize = 16;

/// The record of one scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Whose it is.
    pub(super) owner: u64,
    /// Part of the policy's state hash.
    pub(super) policy: u32,
    /// What it says.
    pub(super) words: Vec<u64>,
}

/// Records in the order of their last change, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bucket {
    records: Vec<Record>,
}

impl Bucket {
    /// A value's records; none where it is not ours. An empty value has no records.
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        let mut records = Vec::new();
        let mut rest = match value {
            [] => value,
            value => value.strip_prefix(&HEADER)?,
        };
        while !rest.is_empty() {
            let (head, behind) = rest.split_first_chunk::<HEAD>()?;
            let head = u128::from_le_bytes(*head);
            let count = usize::try_from(head >> 96).ok()?;
            if !(1..=MOST_WORDS).contains(&count) || records.len() == ROOM {
                return None;
            }
            let (words, behind) = behind.split_at_checked(count * 8)?;
            let (words, _) = words.as_chunks::<8>();
            let words = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
            records.push(Record { owner: head as u64, policy: (head >> 64) as u32, words });
            rest = behind;
        }
        Some(Self { records })
    }

    /// The value with these records.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut value = HEADER.to_vec();
        for Record { owner, policy, words } in &self.records {
            let count = words.len().min(MOST_WORDS) as u32;
            value.extend(owner.to_le_bytes());
            value.extend(policy.to_le_bytes());
            value.extend(count.to_le_bytes());
            value.extend(words.iter().take(MOST_WORDS).flat_map(|word| word.to_le_bytes()));
        }
        value
    }

    /// Every record.
    pub(super) fn records(&self) -> &[Record] {
        &self.records
    }

    /// The words of `owner`.
    pub(super) fn find(&self, owner: u64) -> Option<&[u64]> {
        let same = self.records.iter().find(|record| record.owner == owner);
        same.map(|record| &*record.words)
    }

    /// Frees the place of `owner`, if it has one.
    pub(super) fn remove(&mut self, owner: u64) {
        self.records.retain(|record| record.owner != owner);
    }

    /// Puts a record in place of its owner's old one, or claims a place for it. Where none is free,
    /// one that has nothing to lose gives way, the longest unchanged first: one that is `at_rest`, or
    /// one of a policy that is not `record`'s own, as an update leaves them behind. Nobody has to be told:
    /// who has not seen yet that a breaker is at rest was told of that change.
    ///
    /// # Errors
    /// When every place is taken by a record of this policy that is not at rest.
    pub(super) fn put(
        &mut self,
        record: Record,
        at_rest: impl Fn(&Record) -> bool,
    ) -> Result<(), Full> {
        self.remove(record.owner);
        if self.records.len() >= ROOM {
            let foreign = |other: &Record| other.policy != record.policy;
            let at = self.records.iter().position(&at_rest);
            let at = at.or_else(|| self.records.iter().position(foreign)).ok_or(Full)?;
            self.records.remove(at);
        }
        self.records.push(record);
        Ok(())
    }
}

/// No place is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;
