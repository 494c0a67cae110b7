//! Reads from an answer what tells a good one from a bad one.

use crate::headers::Headers;
use crate::port::{Host, Map, Property};
use crate::registry::Worker;
use bimetal_core::Duration;
use bimetal_core::policy::Policy;

/// The header by which Envoy's router marks the upstream's answers.
const SERVICE_TIME: &str = "x-envoy-upstream-service-time";

/// How an answer says that it is complete and good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// By its end.
    Plain,
    /// By `grpc-status` in its trailers.
    Grpc,
    /// By its headers: an upgrade or an event stream, which may never end.
    Endless,
}

/// Asks the host about the answer under way. What cannot be read counts as an error and reads as
/// absent.
#[derive(Debug)]
pub struct Reader<'a, H> {
    /// The host.
    pub host: &'a H,
    /// Where errors are counted.
    pub worker: &'a Worker,
    /// Headers or trailers of the answer.
    pub headers: Headers,
}

impl<'a, H: Host> Reader<'a, H> {
    /// A reader of what came last of the answer: its headers or its trailers.
    pub fn new(host: &'a H, worker: &'a Worker, map: Map) -> Self {
        let headers = worker.ok(host.headers(map)).unwrap_or_default();
        Self { host, worker, headers }
    }

    /// `:status`; 0 where there is no proper one.
    pub fn status(&self) -> u16 {
        self.headers.get(":status").and_then(number).unwrap_or(0)
    }

    /// Whether the upstream made the answer, and not Envoy or another filter. A status cannot say
    /// so, and flags can stand beside an answer of the upstream.
    ///
    /// Envoy's router marks what the upstream answered with its service time, unless it was told
    /// not to, and overwrites what the upstream says there itself. A header costs a fraction of a
    /// property, so the code details are asked for only where the mark is missing.
    pub fn is_of_upstream(&self) -> bool {
        if self.headers.get(SERVICE_TIME).is_some() {
            return true;
        }
        let details = self.worker.ok(self.host.property(Property::ResponseDetails)).flatten();
        details.is_some_and(|details| details.starts_with(b"via_upstream"))
    }

    /// `response.flags`; see [`crate::flags`].
    pub fn flags(&self) -> u64 {
        flags(self.host, self.worker)
    }

    /// The kind of the answer under way, by its content type.
    pub fn kind(&self) -> Kind {
        match self.headers.get("content-type") {
            Some(value) if begins(value, b"application/grpc") => Kind::Grpc,
            Some(value) if begins(value, b"text/event-stream") => Kind::Endless,
            _ => Kind::Plain,
        }
    }

    /// `grpc-status` of an answer that is headers alone; the content type must say gRPC as well.
    pub fn grpc_status_alone(&self) -> Option<u32> {
        self.grpc_status().filter(|_| self.kind() == Kind::Grpc)
    }

    /// `grpc-status`. One that is no number is UNKNOWN (gRPC over HTTP2, "Responses").
    pub fn grpc_status(&self) -> Option<u32> {
        let value = self.headers.get("grpc-status")?;
        Some(number(value).map_or(2, u32::from))
    }

    /// `retry-after` in whole seconds, where the policy respects it. A date is of another
    /// machine's clock, and is left alone.
    pub fn retry_after(&self, policy: &Policy) -> Option<Duration> {
        if !policy.breaker.as_ref()?.respect_retry_after {
            return None;
        }
        let value = self.headers.get("retry-after")?;
        std::str::from_utf8(value).ok()?.trim().parse().ok().map(Duration::from_secs)
    }
}

/// `response.flags`; see [`crate::flags`].
pub fn flags(host: &impl Host, worker: &Worker) -> u64 {
    let value = worker.ok(host.property(Property::ResponseFlags)).flatten();
    let bytes = value.and_then(|value| <[u8; 8]>::try_from(value).ok());
    bytes.map_or(0, u64::from_le_bytes)
}

fn begins(value: &[u8], with: &[u8]) -> bool {
    value.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with))
}

fn number(value: &[u8]) -> Option<u16> {
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}
