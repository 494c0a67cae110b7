//! Why a request is refused.

use hyper::StatusCode;
use std::cell::Cell;
use std::fmt;

/// Why the bytes of a request do not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// Not what RFC 9112 allows, or allowed and ambiguous; the text says what.
    Malformed(&'static str),
    /// The request line is longer than [`MAX_REQUEST_LINE`](super::scan::MAX_REQUEST_LINE).
    TargetTooLong,
    /// More than [`MAX_HEAD`](super::scan::MAX_HEAD) bytes or
    /// [`MAX_FIELDS`](super::scan::MAX_FIELDS) header lines.
    HeadTooLarge,
    /// A version of HTTP other than 1.0 and 1.1.
    Version,
    /// An `Expect` other than `100-continue`.
    Expectation,
    /// A body larger than the listener's `max_body`.
    BodyTooLarge,
    /// The client sent nothing of its body for the listener's `idle`.
    Stalled,
    /// The first byte of TLS, on a listener without it.
    Tls,
    /// The request has been here before: its `Via` names this process.
    Loop,
    /// A connection that begins without a header of the PROXY protocol, on a listener that expects one. It
    /// is closed without an answer.
    ProxyHeader,
}

impl Refusal {
    /// The status that tells the client.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Malformed(_) | Self::Tls | Self::ProxyHeader => StatusCode::BAD_REQUEST,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Stalled => StatusCode::REQUEST_TIMEOUT,
            Self::Loop => StatusCode::LOOP_DETECTED,
        }
    }

    /// Every [`reason`](Self::reason), in the order of [`Refusals::counts`].
    pub const REASONS: [&'static str; 10] = [
        "malformed",
        "target_too_long",
        "head_too_large",
        "version",
        "expectation",
        "body_too_large",
        "stalled",
        "tls",
        "loop",
        "proxy_header",
    ];

    /// Its kind, as metrics name it.
    pub const fn reason(self) -> &'static str {
        Self::REASONS[self.place()]
    }

    const fn place(self) -> usize {
        match self {
            Self::Malformed(_) => 0,
            Self::TargetTooLong => 1,
            Self::HeadTooLarge => 2,
            Self::Version => 3,
            Self::Expectation => 4,
            Self::BodyTooLarge => 5,
            Self::Stalled => 6,
            Self::Tls => 7,
            Self::Loop => 8,
            Self::ProxyHeader => 9,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed(what) => what,
            Self::TargetTooLong => "the request line is too long",
            Self::HeadTooLarge => "the header is too large",
            Self::Version => "the version of HTTP is neither 1.0 nor 1.1",
            Self::Expectation => "nothing is known of this expectation",
            Self::BodyTooLarge => "the body is too large",
            Self::Stalled => "the body did not come in time",
            Self::Tls => "this port speaks HTTP without TLS",
            Self::Loop => "the request has been here before: the upstream leads back to this proxy",
            Self::ProxyHeader => "the connection begins without a header of the PROXY protocol",
        })
    }
}

impl std::error::Error for Refusal {}

/// How many requests were refused, by reason.
#[derive(Debug, Default)]
pub struct Refusals {
    counts: [Cell<u64>; Refusal::REASONS.len()],
}

impl Refusals {
    /// The counts, in the order of [`Refusal::REASONS`].
    pub fn counts(&self) -> [u64; Refusal::REASONS.len()] {
        self.counts.each_ref().map(Cell::get)
    }

    pub(crate) fn count(&self, why: Refusal) {
        if let Some(count) = self.counts.get(why.place()) {
            count.set(count.get() + 1);
        }
    }
}
