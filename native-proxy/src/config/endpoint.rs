//! Where upstreams are.

use std::net::SocketAddr;

/// Where an upstream can be reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// An address.
    Address(SocketAddr),
    /// A name, looked up for each new connection; answers are kept for their time to live.
    Name {
        /// The host name.
        host: Box<str>,
        /// The port.
        port: u16,
    },
}

impl Endpoint {
    /// Reads `address:port`, `[v6]:port` or `name:port`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return (address.port() > 0).then_some(Self::Address(address));
        }
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port > 0)?;
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let fits = (1..=253).contains(&host.len()) && host.bytes().all(legal);
        // What looks like a number is a mistyped address, not a name (RFC 1123, 2.1).
        let label = host.trim_end_matches('.').rsplit('.').next()?;
        let numeric = label.bytes().all(|byte| byte.is_ascii_digit());
        (fits && !numeric).then(|| Self::Name { host: host.into(), port })
    }
}

/// A name each of whose addresses is an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// The host name.
    pub host: Box<str>,
    /// The port of all of them.
    pub port: u16,
}

impl Dns {
    /// Reads `name:port`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        match Endpoint::parse(text)? {
            Endpoint::Name { host, port } => Some(Self { host, port }),
            Endpoint::Address(_) => None,
        }
    }
}

impl std::fmt::Display for Dns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// How a call chooses among the endpoints of its upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// Of two that are drawn at random the one with fewer calls under way.
    #[default]
    LeastRequest,
    /// Each in turn.
    RoundRobin,
    /// Any.
    Random,
}

impl Balance {
    /// All three.
    pub const ALL: [Self; 3] = [Self::LeastRequest, Self::RoundRobin, Self::Random];

    /// The word for it in a file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LeastRequest => "least_request",
            Self::RoundRobin => "round_robin",
            Self::Random => "random",
        }
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Dns, Endpoint};

    #[test]
    fn endpoints_are_addresses_or_names() {
        for good in ["127.0.0.1:80", "[::1]:80", "echo:5001", "a.b-c.svc.cluster.local:1"] {
            assert_eq!(Endpoint::parse(good).map(|e| e.to_string()).as_deref(), Some(good));
        }
        for bad in [
            "echo",
            "echo:",
            "echo:0",
            "127.0.0.1:0",
            "[::1]:0",
            "echo:65536",
            ":80",
            "1.2.3:80",
            "1.2.3.256:80",
            "a b:1",
        ] {
            assert_eq!(Endpoint::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_address_is_no_name_to_ask_for() {
        let name = Dns { host: "echo.demo".into(), port: 80 };
        assert_eq!(Dns::parse("echo.demo:80"), Some(name));
        assert_eq!(
            ["127.0.0.1:80", "[::1]:80", "echo", "echo:0"].map(Dns::parse),
            [const { None }; 4]
        );
    }
}
