//! A hash that is the same in every build and every process, so that what was written by one is found
//! by another.

/// 64-bit FNV-1a. Not for hostile input: equal hashes only ever keep the state of breakers that
/// belong to whoever writes the document.
#[derive(Clone, Copy, Debug)]
pub struct Hash(u64);

impl Default for Hash {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hash {
    /// Adds bytes. Their length goes in too, so that neighbours cannot run into each other.
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        bytes.iter().fold(self.number(bytes.len() as u64), |hash, byte| hash.byte(*byte))
    }

    /// Adds a number.
    #[must_use]
    pub fn number(self, number: u64) -> Self {
        number.to_le_bytes().iter().fold(self, |hash, byte| hash.byte(*byte))
    }

    /// The hash.
    pub const fn finish(self) -> u64 {
        self.0
    }

    pub(crate) const fn byte(self, byte: u8) -> Self {
        Self((self.0 ^ byte as u64).wrapping_mul(0x0000_0100_0000_01b3))
    }
}
