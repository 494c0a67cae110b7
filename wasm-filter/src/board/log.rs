//! The log of changes: which scopes' records were changed last, by any worker.
//!
//! It is one value. Whoever changes a record appends its owner; a worker that has read the log up to
//! some number reads what was appended since, and nothing else. The log keeps the last [`LENGTH`]
//! entries: a worker that is further behind takes all its copies for old.
//!
//! | bytes | what |
//! |---|---|
//! | 0–7 | [`HEADER`] |
//! | 8–15 | the secret by which scopes are spread over buckets, chosen by the first worker |
//! | 16–23 | the head: how many entries were ever appended |
//! | 8 an entry | the owner of the record that changed; the newest is the last |

/// What the log begins with. The last byte is the version of this table.
const HEADER: [u8; 8] = *b"bimelog\x02";

/// Entries that the log keeps: it is read whole whenever something changed, and so many take 4 KiB.
pub(super) const LENGTH: usize = 512;

/// The log as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Log {
    /// What only the workers of this process know.
    pub(super) secret: u64,
    /// How many entries were ever appended.
    pub(super) head: u64,
    entries: Vec<u64>,
}

impl Log {
    /// A log without an entry.
    pub(super) const fn new(secret: u64) -> Self {
        Self { secret, head: 0, entries: Vec::new() }
    }

    /// None where the value is not ours.
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        let (numbers, rest) = value.strip_prefix(&HEADER)?.as_chunks::<8>();
        let mut numbers = numbers.iter().map(|number| u64::from_le_bytes(*number));
        let (secret, head) = (numbers.next()?, numbers.next()?);
        let entries: Vec<u64> = numbers.collect();
        let wanted = usize::try_from(head).unwrap_or(LENGTH).min(LENGTH);
        (rest.is_empty() && entries.len() == wanted).then_some(Self { secret, head, entries })
    }

    /// The value of it.
    pub(super) fn encode(&self) -> Vec<u8> {
        let numbers = [self.secret, self.head].into_iter().chain(self.entries.iter().copied());
        HEADER.into_iter().chain(numbers.flat_map(u64::to_le_bytes)).collect()
    }

    /// Appends an entry, and forgets the oldest one.
    pub(super) fn append(&mut self, owner: u64) {
        self.head = self.head.wrapping_add(1);
        self.entries.push(owner);
        self.entries.drain(..self.entries.len().saturating_sub(LENGTH));
    }

    /// What was appended since `position`; none where the log does not reach back so far, or is not
    /// the log that it was.
    pub(super) fn since(&self, position: u64) -> Option<&[u64]> {
        let behind = usize::try_from(self.head.checked_sub(position)?).ok()?;
        self.entries.get(self.entries.len().checked_sub(behind)?..)
    }
}
