//! A request as the core asks about it: each fact is fetched once, when it is first needed.

use crate::headers::Headers;
use crate::port::{Host, HostError, Map, Property};
use bimetal_core::{Direction, Facts};
use std::borrow::Cow;
use std::cell::{Cell, OnceCell};

type Fetched = OnceCell<Option<Vec<u8>>>;

/// The facts of the request that Envoy is asking about right now.
#[derive(Debug)]
pub struct Request<'h, H> {
    host: &'h H,
    // A policy after another may ask the same; a look here is cheaper than a call into Envoy.
    headers: OnceCell<Option<Headers>>,
    destination: Fetched,
    route: Fetched,
    client: Fetched,
    direction: OnceCell<Direction>,
    failed: Cell<Option<HostError>>,
}

impl<'h, H: Host> Request<'h, H> {
    /// Nothing is fetched yet.
    pub const fn new(host: &'h H) -> Self {
        Self {
            host,
            headers: OnceCell::new(),
            destination: OnceCell::new(),
            route: OnceCell::new(),
            client: OnceCell::new(),
            direction: OnceCell::new(),
            failed: Cell::new(None),
        }
    }

    /// The last host call that failed while facts were fetched. A fact that cannot be had counts
    /// as unknown, so the request goes on.
    pub const fn failed(&self) -> Option<HostError> {
        self.failed.get()
    }

    /// The request's headers; `None` where they cannot be had.
    pub fn headers(&self) -> Option<&Headers> {
        self.headers.get_or_init(|| self.note(self.host.headers(Map::Request))).as_ref()
    }

    fn note<T>(&self, fetched: Result<T, HostError>) -> Option<T> {
        fetched.map_err(|error| self.failed.set(Some(error))).ok()
    }

    fn property(&self, path: Property) -> Option<Vec<u8>> {
        self.note(self.host.property(path)).flatten()
    }

    /// A route's name is its own only within its virtual host, and it need not have one: Istio names
    /// those of a VirtualService only where the user does. Then the cluster tells routes apart.
    fn route_key(&self) -> Option<Vec<u8>> {
        let named = |path| self.property(path).filter(|name| !name.is_empty());
        let host = named(Property::VirtualHost).unwrap_or_default();
        if let Some(route) = named(Property::Route) {
            return Some(route_key(&host, b">", &route));
        }
        let cluster = self.destination()?;
        Some(route_key(&host, b">>", &cluster))
    }

    fn property_once<'a>(&'a self, cell: &'a Fetched, path: Property) -> Option<Cow<'a, [u8]>> {
        let fetch = || self.property(path).filter(|value| !value.is_empty());
        cell.get_or_init(fetch).as_deref().map(Cow::Borrowed)
    }
}

impl<H: Host> Facts for Request<'_, H> {
    fn authority(&self) -> Option<Cow<'_, [u8]>> {
        self.header(":authority")
    }

    fn path(&self) -> Option<Cow<'_, [u8]>> {
        self.header(":path")
    }

    fn method(&self) -> Option<Cow<'_, [u8]>> {
        self.header(":method")
    }

    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        self.headers()?.get(name).map(Cow::Borrowed)
    }

    fn destination(&self) -> Option<Cow<'_, [u8]>> {
        self.property_once(&self.destination, Property::Cluster)
    }

    fn route(&self) -> Option<Cow<'_, [u8]>> {
        self.route.get_or_init(|| self.route_key()).as_deref().map(Cow::Borrowed)
    }

    fn client(&self) -> Option<Cow<'_, [u8]>> {
        let address = self.property_once(&self.client, Property::ClientAddress)?;
        Some(match address {
            Cow::Borrowed(address) => Cow::Borrowed(without_port(address)),
            Cow::Owned(address) => Cow::Owned(without_port(&address).to_vec()),
        })
    }

    fn direction(&self) -> Direction {
        *self.direction.get_or_init(|| match self.property(Property::Direction).as_deref() {
            Some(value) => direction(value),
            None => Direction::Unknown,
        })
    }
}

/// Names joined so that no other names can give the same: `>` in a name is escaped.
fn route_key(host: &[u8], between: &[u8], name: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(host.len() + between.len() + name.len());
    push_name(&mut key, host);
    key.extend(between);
    push_name(&mut key, name);
    key
}

fn push_name(key: &mut Vec<u8>, name: &[u8]) {
    for byte in name {
        match byte {
            b'%' => key.extend(b"%25"),
            b'>' => key.extend(b"%3E"),
            other => key.push(*other),
        }
    }
}

/// Envoy's `TrafficDirection`: 0 unspecified, 1 inbound, 2 outbound, as a little-endian integer.
fn direction(value: &[u8]) -> Direction {
    match value.split_first() {
        Some((1, rest)) if rest.iter().all(|byte| *byte == 0) => Direction::Inbound,
        Some((2, rest)) if rest.iter().all(|byte| *byte == 0) => Direction::Outbound,
        _ => Direction::Unknown,
    }
}

/// `10.0.0.1:80` → `10.0.0.1`, `[::1]:80` → `::1`; anything else as it is.
fn without_port(address: &[u8]) -> &[u8] {
    let Some(colon) = address.iter().rposition(|byte| *byte == b':') else {
        return address;
    };
    let (host, _) = address.split_at(colon);
    match host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")) {
        Some(inner) => inner,
        None if host.contains(&b':') => address,
        None => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_without_port() {
        for (address, host) in [
            ("10.0.0.1:80", "10.0.0.1"),
            ("[::1]:80", "::1"),
            ("::1", "::1"),
            ("10.0.0.1", "10.0.0.1"),
            ("", ""),
        ] {
            assert_eq!(without_port(address.as_bytes()), host.as_bytes(), "{address}");
        }
    }

    #[test]
    fn different_routes_have_different_keys() {
        let names = ["", "a", "a>", ">a", "a>b", "a%3Eb", "*:80", "outbound|80||echo"];
        let mut seen = std::collections::BTreeSet::new();
        for host in names {
            for name in names.into_iter().filter(|name| !name.is_empty()) {
                for between in [">", ">>"] {
                    let key = route_key(host.as_bytes(), between.as_bytes(), name.as_bytes());
                    assert!(seen.insert(key), "{host} {between} {name}");
                }
            }
        }
        assert_eq!(route_key(b"echo:80", b">", b"default"), b"echo:80>default");
    }

    #[test]
    fn direction_is_a_little_endian_integer() {
        assert_eq!(direction(&1_u64.to_le_bytes()), Direction::Inbound);
        assert_eq!(direction(&2_u64.to_le_bytes()), Direction::Outbound);
        assert_eq!(direction(&0_u64.to_le_bytes()), Direction::Unknown);
        assert_eq!(direction(&(1_u64 | 1 << 40).to_le_bytes()), Direction::Unknown);
        assert_eq!(direction(b""), Direction::Unknown);
    }
}
