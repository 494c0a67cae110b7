//! What a host sees of a call.

use bimetal_core::Duration;
use bimetal_core::call::{AnsweredBy, Fields, Upload};
use bimetal_core::outcome::Transport;

/// One thing that a host sees.
#[derive(Clone, Debug)]
pub(super) enum Sighting {
    /// The call goes to the upstream; how far its request is.
    HandedOver(Upload),
    /// The request got further, or stopped.
    Upload(Upload),
    /// An informational head.
    Informational,
    /// Response headers.
    Headers(ResponseHead),
    /// A piece of the answer's body.
    Body(Vec<u8>),
    /// The answer's trailers, which end it, with their `grpc-status`.
    Trailers(u32),
    /// The answer's end.
    Ended,
    /// The upstream did not answer, or broke off.
    Broken(Transport),
    /// The client went away.
    ClientGone,
    /// The host itself gave the call up.
    Dropped,
}

/// Response headers as they arrive.
#[derive(Clone, Debug)]
pub(super) struct ResponseHead {
    pub(super) status: u16,
    pub(super) by: AnsweredBy,
    /// Whether nothing follows.
    pub(super) whole: bool,
    /// The upstream's time, where the host knows it by itself.
    pub(super) latency: Option<Duration>,
    pub(super) content_type: Option<&'static str>,
    pub(super) grpc_status: Option<String>,
    pub(super) retry_after: Option<String>,
}

impl ResponseHead {
    /// A whole answer that is its status alone.
    pub(super) const fn bare(status: u16, by: AnsweredBy) -> Self {
        let (content_type, grpc_status, retry_after) = (None, None, None);
        Self { status, by, whole: true, latency: None, content_type, grpc_status, retry_after }
    }
}

impl Fields for ResponseHead {
    fn content_type(&self) -> Option<&[u8]> {
        self.content_type.map(str::as_bytes)
    }

    fn grpc_status(&self) -> Option<&[u8]> {
        self.grpc_status.as_deref().map(str::as_bytes)
    }

    fn retry_after(&self) -> Option<&[u8]> {
        self.retry_after.as_deref().map(str::as_bytes)
    }
}
