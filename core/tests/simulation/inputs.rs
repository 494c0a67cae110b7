//! What a host can see of a call, in a form that a history can hold.

use bimetal_core::Duration;
use bimetal_core::call::{AnsweredBy, Fields, Head, Upload};
use bimetal_core::outcome::Transport;

/// How the request of an admitted call is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// The host does nothing with it yet.
    Kept,
    /// It waits in a queue of the host.
    Queued,
    /// It is handed to the upstream at once.
    HandedOver(Upload),
}

/// One input of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    Queued,
    HandedOver(Upload),
    Upload(Upload),
    Informational,
    Headers(Reply),
    /// So many bytes of a gRPC-Web body.
    Body(usize),
    /// A piece of the body that the host could not see.
    Unseen,
    Trailers(Option<u8>),
    Ended,
    Switched,
    Broken(Transport),
    ClientGone,
    Dropped,
}

/// Response headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub status: u16,
    pub media: Media,
    pub by: By,
    pub grpc: Option<u8>,
    /// Whole seconds, as the header has them; none where zero.
    pub retry_after: u64,
    pub end: bool,
    /// Whether the host has a clock of its own for the upstream.
    pub timed: bool,
}

impl Reply {
    /// A plain answer that is whole.
    pub(crate) const fn whole(status: u16) -> Self {
        let (media, by) = (Media::Plain, By::Upstream);
        Self { status, media, by, grpc: None, retry_after: 0, end: true, timed: false }
    }

    /// Whether it is told like any other answer of a status.
    pub(crate) fn is_plain(&self) -> bool {
        self.media == Media::Plain && self.by == By::Upstream && self.status != 101
    }

    /// The same answer by an upstream that is well.
    pub(crate) fn well(self) -> Self {
        match self.by {
            By::Upstream => {
                let status = if self.status == 101 { 101 } else { 200 };
                Self { status, grpc: self.grpc.map(|_| 0), retry_after: 0, ..self }
            }
            By::Mesh | By::Other => self,
        }
    }

    /// As the core takes it. `latency` is what the host's own clock shows.
    pub(crate) fn head<'a>(&self, fields: &'a Sent, latency: Duration) -> Head<'a, Sent> {
        let by = match self.by {
            By::Upstream => AnsweredBy::Upstream,
            By::Mesh => AnsweredBy::Injected,
            By::Other => AnsweredBy::Other,
        };
        let latency = self.timed.then_some(latency);
        Head { status: self.status, by, latency, end_of_stream: self.end, fields }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Media {
    Plain,
    Grpc,
    Web,
    WebText,
    Events,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Upstream,
    Mesh,
    Other,
}

/// The headers of a reply.
pub(crate) struct Sent {
    media: Media,
    grpc: Option<Vec<u8>>,
    retry_after: Option<Vec<u8>>,
}

impl From<Reply> for Sent {
    fn from(reply: Reply) -> Self {
        let asked = (reply.retry_after > 0).then(|| reply.retry_after.to_string().into_bytes());
        Self { media: reply.media, grpc: reply.grpc.map(digits), retry_after: asked }
    }
}

impl Fields for Sent {
    fn content_type(&self) -> Option<&[u8]> {
        match self.media {
            Media::Plain => None,
            Media::Grpc => Some(b"application/grpc+proto"),
            Media::Web => Some(b"application/grpc-web"),
            Media::WebText => Some(b"application/grpc-web-text"),
            Media::Events => Some(b"text/event-stream; charset=utf-8"),
        }
    }
    fn grpc_status(&self) -> Option<&[u8]> {
        self.grpc.as_deref()
    }
    fn retry_after(&self) -> Option<&[u8]> {
        self.retry_after.as_deref()
    }
}

/// A gRPC status as a header has it.
pub(crate) fn digits(status: u8) -> Vec<u8> {
    status.to_string().into_bytes()
}

/// A gRPC-Web body: a message `abc`, then the trailers with status OK or UNAVAILABLE (14). The
/// status is known with the last byte that says something.
pub(crate) const fn web_body(media: Media, well: bool) -> Option<&'static [u8]> {
    Some(match (media, well) {
        (Media::Web, true) => b"\0\0\0\0\x03abc\x80\0\0\0\x0fgrpc-status:0\r\n",
        (Media::Web, false) => b"\0\0\0\0\x03abc\x80\0\0\0\x10grpc-status:14\r\n",
        (Media::WebText, true) => b"AAAAAANhYmM=gAAAAA9ncnBjLXN0YXR1czowDQo=",
        (Media::WebText, false) => b"AAAAAANhYmM=gAAAABBncnBjLXN0YXR1czoxNA0K",
        _ => return None,
    })
}
