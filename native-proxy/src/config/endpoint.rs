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
    use super::Endpoint;

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
}
