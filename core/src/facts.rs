//! What a host knows of a request when it asks for admission.

use crate::path::NormalPath;
use alloc::borrow::Cow;
use core::net::IpAddr;

/// Which way a request travels through an Envoy sidecar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The host cannot tell, or has no directions (the native proxy).
    #[default]
    Unknown,
    /// Towards the workload beside the sidecar.
    Inbound,
    /// Away from it.
    Outbound,
}

/// The facts of one request, asked for only as far as a policy needs them: in Envoy each of these
/// is a call into the host.
///
/// Values are bytes, not text: a client chooses them. What a host does not know it leaves out: the answer
/// is `None` then.
pub trait Facts {
    /// `Host` or `:authority` as sent, port included.
    fn authority(&self) -> Option<Cow<'_, [u8]>> {
        None
    }
    /// Path and query as they go upstream: as sent, or where the host rewrites them, as
    /// [`path::forwarded`](crate::path::forwarded) made them. Their normal form is the core's matter.
    fn path(&self) -> Option<Cow<'_, [u8]>> {
        None
    }
    /// The path in its normal form. A host in which more than one asks for it keeps it.
    fn normal_path(&self) -> Option<NormalPath<'_>> {
        self.path().map(NormalPath::of)
    }
    /// The method.
    fn method(&self) -> Option<Cow<'_, [u8]>> {
        None
    }
    /// The first value of a header; `name` is lower case.
    fn header(&self, _name: &str) -> Option<Cow<'_, [u8]>> {
        None
    }
    /// The upstream's name: the proxy's `upstreams` key, Envoy's cluster.
    fn destination(&self) -> Option<Cow<'_, [u8]>> {
        None
    }
    /// The upstream's endpoint that the call is to go to, where a host chooses it before it asks.
    fn endpoint(&self) -> Option<Cow<'_, [u8]>> {
        None
    }
    /// The route's name.
    fn route(&self) -> Option<Cow<'_, [u8]>> {
        None
    }
    /// The client's address without a port.
    fn client(&self) -> Option<Cow<'_, [u8]>> {
        None
    }
    /// The client's address as one; none where it is none.
    fn client_address(&self) -> Option<IpAddr> {
        core::str::from_utf8(&self.client()?).ok()?.parse().ok()
    }
    /// Which way the request travels.
    fn direction(&self) -> Direction {
        Direction::Unknown
    }
}

/// `host` of `host:port`; the colons of an IPv6 literal in brackets are its own (RFC 3986, 3.2.2).
pub(crate) fn without_port(authority: &[u8]) -> &[u8] {
    let port = authority.iter().rposition(|byte| *byte == b':');
    let bracket = authority.iter().rposition(|byte| *byte == b']');
    match (port, bracket) {
        (Some(port), bracket) if bracket.is_none_or(|bracket| bracket < port) => {
            authority.split_at(port).0
        }
        _ => authority,
    }
}
