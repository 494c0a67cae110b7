//! Reads from Envoy what it knows of an answer. What cannot be read counts as an error and reads as
//! absent.

use crate::headers::Headers;
use crate::port::{Host, Property};
use crate::registry::Worker;
use bimetal_core::Duration;
use bimetal_core::call::Fields;

/// Whether the upstream made the answer, and not Envoy or another filter. Only the code details say
/// so: a status can be anybody's, flags can stand beside an answer of the upstream, and
/// `x-envoy-upstream-service-time` is copied by authorisation, caches and scripts.
pub fn is_of_upstream(host: &impl Host, worker: &Worker) -> bool {
    let details = worker.ok(host.property(Property::ResponseDetails)).flatten();
    details.is_some_and(|details| details.starts_with(b"via_upstream"))
}

/// `response.flags`; see [`crate::flags`].
pub fn flags(host: &impl Host, worker: &Worker) -> u64 {
    let value = worker.ok(host.property(Property::ResponseFlags)).flatten();
    value.map_or(0, |value| integer(&value))
}

/// Whether Envoy made at least one try.
pub fn was_tried(host: &impl Host, worker: &Worker) -> bool {
    tries(host, worker).is_some_and(|tries| tries > 0)
}

/// How many tries Envoy made so far, where it says.
pub fn tries(host: &impl Host, worker: &Worker) -> Option<u64> {
    worker.ok(host.property(Property::Attempts)).flatten().map(|value| integer(&value))
}

/// `:status`; 0 where there is no proper one.
pub fn status(headers: &Headers) -> u16 {
    headers.get(":status").and_then(number).unwrap_or(0)
}

/// The router's own time from the end of the request to these headers. It writes whole
/// milliseconds, in place of what the upstream says there.
pub fn service_time(headers: &Headers) -> Option<Duration> {
    headers.get("x-envoy-upstream-service-time").and_then(number).map(Duration::from_millis)
}

impl Fields for Headers {
    fn content_type(&self) -> Option<&[u8]> {
        self.get("content-type")
    }

    fn grpc_status(&self) -> Option<&[u8]> {
        self.get("grpc-status")
    }

    fn retry_after(&self) -> Option<&[u8]> {
        self.get("retry-after")
    }
}

/// Integers of properties are little-endian, of 64 bits.
fn integer(value: &[u8]) -> u64 {
    <[u8; 8]>::try_from(value).map_or(0, u64::from_le_bytes)
}

fn number<N: std::str::FromStr>(value: &[u8]) -> Option<N> {
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}
