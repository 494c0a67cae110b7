//! What the board needs of the host: proxy-wasm's shared data, and a number that all workers see.

use crate::port::HostError;
use std::fmt::Debug;

/// A compare-and-swap token that is never given out: with it, a write makes a missing key and
/// leaves an existing one alone.
pub const ONLY_IF_ABSENT: u32 = u32::MAX;

/// proxy-wasm's shared data, and a number that all workers see.
pub trait SharedData: Send + Sync + Debug + 'static {
    /// A value and its compare-and-swap token.
    ///
    /// # Errors
    /// When the host refuses.
    fn get(&self, key: &str) -> Result<Option<(Vec<u8>, u32)>, HostError>;

    /// Replaces the value whose token is `token`. A missing key is made, whatever the token. False
    /// where somebody else wrote since the token was read.
    ///
    /// # Errors
    /// When the host refuses.
    fn set(&self, key: &str, value: &[u8], token: u32) -> Result<bool, HostError>;

    /// How many changes all workers have told so far.
    ///
    /// # Errors
    /// When the host refuses.
    fn told(&self) -> Result<u64, HostError>;

    /// Tells all workers of `changes`, at least one.
    ///
    /// # Errors
    /// When the host refuses.
    fn tell(&self, changes: u32) -> Result<(), HostError>;

    /// Nanoseconds on a clock that never goes back.
    ///
    /// # Errors
    /// When the host refuses.
    fn nanos(&self) -> Result<u64, HostError>;
}
