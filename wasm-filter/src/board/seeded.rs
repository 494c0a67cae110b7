//! Hashing with a number that clients do not know. The standard library's own asks the host for random
//! bytes, and panics where Envoy withholds them.

use std::hash::{BuildHasher, DefaultHasher, Hasher};

/// Hashes that differ with its number.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seeded(pub(super) u64);

impl BuildHasher for Seeded {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.0);
        hasher
    }
}
