//! Whatever a balancer sends before the first request: what is read does not depend on how it was cut, and
//! is what the text of the protocol says (HAProxy's `proxy-protocol.txt`, 2.1 and 2.2).

use crate::Behaviour;
use bimetal_proxy::framing::proxy_header::{Begins, begins};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Words of both versions.
pub(super) const WORDS: &[&str] = &[
    "PROXY ",
    "TCP4 ",
    "TCP6 ",
    "UNKNOWN",
    "192.0.2.7 ",
    "2001:db8::9 ",
    "::ffff:1.2.3.4 ",
    "257 ",
    "65535",
    "65536",
    "00080",
    "+80",
    "\r\n",
    "\n",
    "\r\n\r\n\0\r\nQUIT\n",
    "\u{21}\u{11}\0\u{c}",
    "\u{21}\u{21}\0\u{24}",
    "\u{20}\0\0\0",
    "GET / HTTP/1.1\r\n",
];

/// The first bytes of a connection.
pub(super) fn connection(bytes: &[u8]) -> Behaviour {
    let whole = begins(bytes);
    // A reader that is handed one byte more each time comes to the same, and decides once.
    let first =
        (0..=bytes.len()).map(|end| begins(&bytes[..end])).find(|seen| *seen != Begins::Unfinished);
    assert_eq!(first.unwrap_or(Begins::Unfinished), whole, "it depends on cuts");
    match whole {
        Begins::Unfinished => Behaviour::of(("unfinished", bytes.len().min(40))),
        Begins::Wrong => Behaviour::of(("wrong", bytes.len().min(20))),
        Begins::Header { client, length } => {
            assert!(length <= bytes.len() && length > 0);
            let header = &bytes[..length];
            assert_eq!(begins(header), whole, "it depends on what is behind");
            let told = if header.starts_with(b"PROXY") { line(header) } else { binary(header) };
            assert_eq!(told, Some(client), "{}", header.escape_ascii());
            Behaviour::of((client.map(|client| client.is_ipv4()), header.len().min(64), header[0]))
        }
    }
}

/// Version 1: the client's address; none for what is no such line.
fn line(header: &[u8]) -> Option<Option<IpAddr>> {
    let line = String::from_utf8_lossy(header);
    let line = line.strip_suffix("\r\n")?;
    if header.len() > 107 || line.contains(['\r', '\n']) {
        return None;
    }
    let mut words = line.split(' ');
    assert_eq!(words.next(), Some("PROXY"));
    let family = words.next()?;
    // "The receiver must ignore anything presented before the CRLF is found."
    if family.starts_with("UNKNOWN") {
        return Some(None);
    }
    let client = words.next()?;
    Some(match family {
        "TCP4" => Some(client.parse::<Ipv4Addr>().ok()?.into()),
        "TCP6" => Some(client.parse::<Ipv6Addr>().ok()?.into()),
        _ => return None,
    })
}

/// Version 2.
fn binary(header: &[u8]) -> Option<Option<IpAddr>> {
    let rest = header.strip_prefix(b"\r\n\r\n\0\r\nQUIT\n")?;
    let [command, family, high, low, rest @ ..] = rest else {
        return None;
    };
    if usize::from(u16::from_be_bytes([*high, *low])) != rest.len() {
        return None;
    }
    match (command, family) {
        (0x20, _) => Some(None),
        (0x21, 0x11 | 0x12) => Some(Some(<[u8; 4]>::try_from(rest.get(..4)?).ok()?.into())),
        (0x21, 0x21 | 0x22) => Some(Some(<[u8; 16]>::try_from(rest.get(..16)?).ok()?.into())),
        (0x21, _) => Some(None),
        _ => None,
    }
}
