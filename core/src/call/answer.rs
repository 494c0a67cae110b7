//! What an answer says of itself: its media type, its gRPC status, its `retry-after`.

use super::grpc_web::StatusScanner;
use crate::outcome::Observation;
use crate::time::Duration;

/// The head of an answer, as a host saw it.
#[derive(Debug)]
pub struct Head<'a, F> {
    /// HTTP status, 100–599.
    pub status: u16,
    /// Who made the answer.
    pub by: AnsweredBy,
    /// The upstream's time for the request, where the host knows it better than this call's clock.
    pub latency: Option<Duration>,
    /// Whether nothing follows the headers.
    pub end_of_stream: bool,
    /// Its headers.
    pub fields: &'a F,
}

/// Who made an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AnsweredBy {
    /// The upstream.
    Upstream,
    /// The mesh, which injected a fault: evidence only where the policy counts it.
    Injected,
    /// Somebody else: the host, another filter, a cache, a direct response.
    Other,
}

/// The headers that say what an answer is. Each is asked for only where it matters; values are
/// bytes as they came.
pub trait Fields {
    /// `content-type`.
    fn content_type(&self) -> Option<&[u8]>;
    /// `grpc-status`.
    fn grpc_status(&self) -> Option<&[u8]>;
    /// `retry-after`.
    fn retry_after(&self) -> Option<&[u8]>;
}

/// Response headers that arrived.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) latency: Duration,
    pub(super) media: Media,
}

impl Answer {
    pub(super) const fn seen(&self, grpc: Option<u32>) -> Observation {
        Observation::Answer { status: self.status, grpc, latency: self.latency }
    }
}

/// How an answer tells its end, by its media type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Media {
    /// By its end.
    Plain,
    /// By `grpc-status`, in headers or trailers (gRPC over HTTP/2).
    Grpc,
    /// By `grpc-status` in the last frame of its body (gRPC-Web).
    GrpcWeb(StatusScanner),
    /// Not at all: a stream of events may never end.
    Events,
}

impl Media {
    /// The kind of an answer with these headers.
    #[inline]
    pub(super) fn of(fields: &impl Fields) -> Self {
        fields.content_type().map_or(Self::Plain, Self::named)
    }

    /// The gRPC status in its headers, where it is of a kind that has one.
    #[inline]
    pub(super) fn status_in(&self, fields: &impl Fields) -> Option<u32> {
        let value = if self.has_grpc_status() { fields.grpc_status() } else { None };
        value.map(grpc_status)
    }

    /// The kind that a `content-type` names.
    pub(super) fn named(content_type: &[u8]) -> Self {
        let essence = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
        let essence = essence.trim_ascii();
        if essence.eq_ignore_ascii_case(b"text/event-stream") {
            return Self::Events;
        }
        // `+proto`, `+json` and the like name the format of the messages.
        let name = essence.split(|byte| *byte == b'+').next().unwrap_or_default();
        if name.eq_ignore_ascii_case(b"application/grpc") {
            Self::Grpc
        } else if name.eq_ignore_ascii_case(b"application/grpc-web") {
            Self::GrpcWeb(StatusScanner::binary())
        } else if name.eq_ignore_ascii_case(b"application/grpc-web-text") {
            Self::GrpcWeb(StatusScanner::text())
        } else {
            Self::Plain
        }
    }

    /// Whether the answer carries a gRPC status.
    pub(super) const fn has_grpc_status(&self) -> bool {
        matches!(self, Self::Grpc | Self::GrpcWeb(_))
    }

    /// Whether the status is in the body.
    pub(super) const fn is_read(&self) -> bool {
        matches!(self, Self::GrpcWeb(_))
    }

    /// Reads a piece of the body; gives the status once it is there. Behind a piece that was not seen
    /// nothing can be read.
    pub(super) fn read(&mut self, piece: Option<&[u8]>) -> Option<u32> {
        match (self, piece) {
            (Self::GrpcWeb(scanner), Some(piece)) => scanner.read(piece),
            (Self::GrpcWeb(scanner), None) => {
                scanner.give_up();
                None
            }
            _ => None,
        }
    }
}

/// UNKNOWN: what a status is that is no number (gRPC over HTTP/2, "Responses").
pub(super) const UNKNOWN: u32 = 2;

/// The value of `grpc-status`.
pub(super) fn grpc_status(value: &[u8]) -> u32 {
    number(value).unwrap_or(UNKNOWN)
}

/// `retry-after` in whole seconds; more than can be counted is for ever. A date is of another machine's
/// clock, and is left alone.
pub fn retry_after(value: &[u8]) -> Option<Duration> {
    let digits = value.trim_ascii();
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| number(digits).map_or(Duration::MAX, Duration::from_secs))
}

/// Digits alone: `+7` is no number here.
fn number<N: core::str::FromStr>(value: &[u8]) -> Option<N> {
    let digits = value.trim_ascii();
    let text = core::str::from_utf8(digits).ok()?;
    digits.iter().all(u8::is_ascii_digit).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types() {
        let web = Media::GrpcWeb(StatusScanner::binary());
        let text = Media::GrpcWeb(StatusScanner::text());
        for (name, media) in [
            ("application/grpc", &Media::Grpc),
            ("application/grpc+proto", &Media::Grpc),
            ("Application/gRPC;x=1", &Media::Grpc),
            ("application/grpcx", &Media::Plain),
            ("application/grpc-web", &web),
            ("application/grpc-web+json; charset=utf-8", &web),
            ("application/grpc-web-text", &text),
            ("Application/Grpc-Web-Text+proto", &text),
            ("application/grpc-webx", &Media::Plain),
            ("", &Media::Plain),
            ("text/event-stream; charset=utf-8", &Media::Events),
            ("text/event-streams", &Media::Plain),
        ] {
            assert_eq!(&Media::named(name.as_bytes()), media, "{name}");
        }
    }

    #[test]
    fn numbers_in_fields() {
        for (value, status) in [("0", 0), (" 14 ", 14), ("-1", 2), ("x", 2), ("99999999999", 2)] {
            assert_eq!(grpc_status(value.as_bytes()), status, "{value}");
        }
        assert_eq!(retry_after(b" 7"), Some(Duration::from_secs(7)));
        assert_eq!(retry_after(b"99999999999999999999"), Some(Duration::MAX));
        assert_eq!(retry_after(b" "), None);
        assert_eq!(retry_after(b"Wed, 21 Oct 2026 07:28:00 GMT"), None);
        assert_eq!(retry_after(b"\xff"), None);
    }
}
