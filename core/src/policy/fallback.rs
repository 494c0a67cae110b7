//! A compiled fallback.

use crate::retry::RetriedMethods;
use crate::time::Duration;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// The answer in place of a rejection or a failure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fallback {
    /// When it is given.
    pub on: FallbackOn,
    /// Its status; none = the rule's own (503 for a breaker, and for a failure).
    pub status: Option<u16>,
    /// Its headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body; none = `{"error": …}`.
    pub body: Option<String>,
    /// Whose answer is given before all that (native only).
    pub upstream: Option<FallbackUpstream>,
    /// The upstream's own answers of before, which are given before the fixed one (native only).
    pub stale: Option<StalePolicy>,
}

impl Fallback {
    /// Whether a fixed answer is given: it says one, or there is nothing else that it could give.
    pub const fn is_fixed(&self) -> bool {
        self.upstream.is_none() && self.stale.is_none()
            || self.status.is_some()
            || self.body.is_some()
            || !self.headers.is_empty()
    }
}

/// Another upstream, whose answer is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FallbackUpstream {
    /// Its name in the host's file.
    pub name: Arc<str>,
    /// Which requests go there after another upstream has failed them.
    pub methods: RetriedMethods,
    /// Most bytes of a request's body that are kept for it: as many as retries keep.
    pub buffer: u64,
}

/// When a fallback is given. At least one is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FallbackOn {
    /// In place of our rejections.
    pub rejected: bool,
    /// In place of upstream failures (native only: the filter cannot hold a body back).
    pub failed: bool,
}

/// Which answers of before are kept and given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StalePolicy {
    /// The oldest that is given.
    pub max_age: Duration,
    /// The longest body that is kept.
    pub max_bytes: u64,
    /// How many bytes are kept in all.
    pub max_total: u64,
    /// How many answers are kept.
    pub max_entries: u32,
}
