//! Fields behind a body (RFC 9110, 6.5).
//!
//! The HTTP library sends none that `Trailer` does not announce, so what is to stay here is taken
//! from the announcement or from the fields themselves.

use super::hop::{self, CLAIMS, HOP_BY_HOP};
use crate::config::Underscores;
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue, TRAILER};

/// Announces none of `named` any more: what `Connection` names is for one hop, also as a trailer
/// (RFC 9110, 7.6.1).
pub(super) fn withdraw(headers: &mut HeaderMap, named: &[HeaderName]) {
    if named.is_empty() || !headers.contains_key(TRAILER) {
        return;
    }
    let announced = headers.get_all(TRAILER).iter().flat_map(hop::options);
    let left: Vec<HeaderName> = announced
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .filter(|name| !named.contains(name))
        .collect();
    headers.remove(TRAILER);
    for name in left {
        headers.append(TRAILER, HeaderValue::from(name));
    }
}

/// Leaves of a request's trailers what may come after a body: nothing of where it comes from, and
/// nothing for one hop.
pub(crate) fn clean_request(trailers: &mut HeaderMap, underscores: Underscores) {
    let drops = underscores == Underscores::Drop;
    hop::remove(trailers, |name| {
        CLAIMS.contains(name) || HOP_BY_HOP.contains(name) || (drops && hop::is_odd(name))
    });
}

/// Leaves of an answer's trailers nothing for one hop.
pub(super) fn clean_answer(trailers: &mut HeaderMap) {
    hop::remove(trailers, |name| HOP_BY_HOP.contains(name));
}
