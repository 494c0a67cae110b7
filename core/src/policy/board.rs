//! Where the processes of a mesh meet.

use super::types::{Policy, Share};
use crate::time::Duration;
use alloc::sync::Arc;
use core::fmt;

/// Where the processes of a mesh exchange what they know (`board`).
#[derive(Clone, PartialEq, Eq)]
pub struct BoardPolicy {
    /// The server, as an address that may hold a password.
    pub redis: Option<Arc<str>>,
    /// How its keys begin there.
    pub prefix: Arc<str>,
    /// Between two exchanges.
    pub interval: Duration,
    /// What this process is called there; none: what the host finds.
    pub replica: Option<Arc<str>>,
}

impl fmt::Debug for BoardPolicy {
    /// Without the address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { redis: _, prefix, interval, replica } = self;
        let mut told = f.debug_struct("BoardPolicy");
        told.field("prefix", prefix).field("interval", interval).field("replica", replica);
        told.finish_non_exhaustive()
    }
}

impl Policy {
    /// Whether it shares anything with other processes.
    pub fn is_mesh(&self) -> bool {
        let breaker = self.breaker.iter().map(|breaker| breaker.share);
        let mut all = breaker.chain(self.rate_limits.iter().map(|limit| limit.share));
        all.any(|share| matches!(share, Share::Mesh { .. }))
    }
}
