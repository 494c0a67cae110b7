//! Why a request is refused.

use hyper::StatusCode;
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
}

impl Refusal {
    /// The status that tells the client.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
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
        })
    }
}

impl std::error::Error for Refusal {}
