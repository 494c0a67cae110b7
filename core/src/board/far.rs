//! The contract of a store far away, by which replicas in different processes decide as one
//! (`share: mesh`). Nothing in here waits or performs: a host carries bytes between
//! [`Engine::take_deltas`](crate::Engine::take_deltas), the store, and
//! [`Engine::merge`](crate::Engine::merge), once per interval, and never on a request's path.
//!
//! ```text
//!   replica                              store
//!   take_deltas(now) ── key, Delta ────▶ Gathered::add(its now, Delta)   one entry a member
//!   merge(now, …)    ◀── key, Merged ─── Gathered::merged(its now)       the sum of all entries
//! ```
//!
//! - **A delta is a state, not an increment.** A [`Delta`] carries all that its member has in its
//!   windows. The store keeps the newest of each member, by sequence. So what is repeated, reordered or
//!   given back and sent again counts once, what is lost is made good by the next one, and a store that
//!   forgot everything learns it again (a join of delta states: Almeida, Shoker and Baquero 2018).
//! - **Clocks need not agree.** Records carry ages and durations, never instants. The store lays them on
//!   its own clock when they arrive.
//! - **Nothing is believed that is not ours.** A record has a version, a fixed size, and a checksum of its
//!   key and its bytes; one that has not is refused and counted. The checksum finds accidents. It is no
//!   signature: whoever can write to the store decides.
//! - **A store may be dumb.** One that cannot run [`Gathered`] keeps each member's bytes and when they
//!   came; whoever reads them adds them up, in [`Records`].
//!
//! Of a breaker a member tells a [`Delta`], and learns the sum of all, [`Merged`]. Of a key of a rate limit it tells
//! a [`Claim`], and learns the [`Claims`] of all.
//!
//! What replicas do with what they learn is in [`breaker::mesh`](crate::breaker::mesh) and in
//! [`limiter::escrow`](crate::limiter::escrow).

mod bytes;
mod claim;
mod claimed;
mod delta;
mod gathered;
mod merged;
mod message;
mod records;

pub use bytes::{Refused, VERSION};
pub use claim::{Claim, Claims};
pub use delta::{Buckets, Delta, Member, Streak};
pub use gathered::{Gathered, KEPT, MAX_MEMBERS};
pub use merged::{Merged, Sum};
pub use message::{Answer, Heard, KeyedRecord, MAX_MESSAGE, MAX_TOLD, Question};
pub use records::{MAX_RECORDS, Records};

use alloc::boxed::Box;

/// What a scope is called in a store: the version of the records, so that two never meet; the hash of
/// what its state means; its key.
pub(crate) fn name(hash: u64, key: &[u8]) -> Box<[u8]> {
    [&[VERSION], &hash.to_le_bytes()[..], key].concat().into()
}

/// Hash and key of a name; none where it is not one of ours.
pub(crate) fn parts(name: &[u8]) -> Option<(u64, &[u8])> {
    let (version, rest) = name.split_first()?;
    let (hash, key) = rest.split_first_chunk()?;
    (*version == VERSION).then_some((u64::from_le_bytes(*hash), key))
}
