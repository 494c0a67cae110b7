//! Where a scope's record lies: which bucket of which policy's table.
//!
//! A policy's table has twice as many places as the policy may have scopes, in buckets of
//! [`PLANNED`]. Buckets do not fill evenly, so each has room for twice that. The spread is by a secret
//! that clients do not know: who may choose a scope's key cannot choose whose bucket it fills.
//!
//! Tables belong to a policy's name, not to what it says: Envoy never frees a key, and a policy that
//! is changed often must not leave a table behind each time. Records say whose they are, so those
//! of an older document do no harm.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};

/// Records that a bucket holds when every place of the table is taken.
pub(super) const PLANNED: u32 = 16;

/// How many scopes are planned for where nobody said it: the language's default.
const DEFAULT_SCOPES: u32 = 10_000;

/// Alike in all workers, unlike the hash of a map.
pub(super) fn hash(of: impl Hash) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(of)
}

/// What a scope's record is known by: the scope's key, of this plugin.
pub(super) fn owner(plugin: u64, key: &[u8]) -> u64 {
    hash((plugin, key))
}

/// The table of one policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    /// What the keys of its buckets begin with.
    prefix: String,
    /// How many buckets it has.
    pub(super) buckets: u64,
    /// Part of the policy's state hash.
    pub(super) policy: u32,
}

impl Table {
    /// The table of the policy of this name and state hash, which has at most `scopes` scopes.
    pub(super) fn new(plugin: u64, name: &str, state_hash: u64, scopes: u32) -> Self {
        // Istio puts all plugins into one table.
        let prefix = format!("{ROOT}/{plugin:016x}/{:016x}/", hash(name));
        let buckets = u64::from(scopes).saturating_mul(2).div_ceil(u64::from(PLANNED)).max(1);
        Self { prefix, buckets, policy: state_hash as u32 }
    }

    /// The table of a policy that is known by its state hash alone.
    pub(super) fn unknown(plugin: u64, state_hash: u64) -> Self {
        Self::new(plugin, &format!("{state_hash:016x}"), state_hash, DEFAULT_SCOPES)
    }

    /// The bucket of a scope.
    pub(super) fn bucket(&self, secret: u64, owner: u64) -> u64 {
        hash((secret, owner)) % self.buckets
    }

    /// A bucket's key in shared data.
    pub(super) fn key(&self, bucket: u64) -> String {
        format!("{}{bucket}", self.prefix)
    }
}

/// The log's key in shared data. There is one for all plugins, as there is one count of changes: a
/// count that is ahead of the log means changes that were not logged.
pub(super) fn log_key() -> String {
    format!("{ROOT}/log")
}

/// What all keys begin with. The number is the version of what lies under them; workers of another
/// version, as an update of the image brings them, meet elsewhere.
const ROOT: &str = "bimetal/2";
