//! Keys of scopes: bytes that a client may have chosen.

use crate::policy::Scope;
use crate::series::SHARED_LABEL;
use alloc::string::String;
use core::hash::BuildHasher;
use foldhash::quality::FixedState;

/// The longest key that is kept, in bytes.
pub(super) const LONGEST: usize = 128;
const KEPT: usize = LONGEST - 16;

/// `key` itself, or for a longer one its beginning and 128 bits of hash: a table of 10,000 keys of
/// 64 KiB each would be the outage.
pub(super) fn shorten<'a>(
    key: &'a [u8],
    short: &'a mut [u8; LONGEST],
    hasher: &FixedState,
) -> &'a [u8] {
    if key.len() <= LONGEST {
        return key;
    }
    let halves = [hasher.hash_one((0_u8, key)), hasher.hash_one((1_u8, key))];
    let tail = halves.into_iter().flat_map(u64::to_le_bytes);
    let bytes = key.iter().copied().take(KEPT).chain(tail);
    short.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    short
}

/// The label of a scope in metrics and events: printable ASCII, at most 100 characters, and the
/// same for all scopes whose keys come from clients.
pub fn label(scope: &Scope, key: &[u8]) -> String {
    match scope {
        Scope::Policy => "policy".into(),
        Scope::Client | Scope::Header(_) => SHARED_LABEL.into(),
        Scope::Destination | Scope::Route | Scope::Authority if key.is_empty() => "unknown".into(),
        Scope::Destination | Scope::Route | Scope::Authority => printable(key),
    }
}

/// `key` with everything beyond printable ASCII, and quotes, as `_`.
pub(crate) fn printable(key: &[u8]) -> String {
    let shown = key.iter().take(100).map(|byte| match byte {
        b'"' | b'\\' => '_',
        b' '..=b'~' => char::from(*byte),
        _ => '_',
    });
    shown.collect()
}
