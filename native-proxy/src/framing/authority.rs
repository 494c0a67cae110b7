//! Hosts with or without a port: `Host`, and what stands behind the scheme of a target.

use super::bytes::{self, HOST};
use memchr::memchr;
use std::net::Ipv6Addr;

/// Whether `text` is an authority (RFC 3986, 3.2) without a user, and names a host.
pub(super) fn is_authority(text: &[u8]) -> bool {
    if !bytes::all(HOST, text) {
        return false;
    }
    let (host, port) = match text {
        [b'[', rest @ ..] => {
            let Some(end) = memchr(b']', rest) else { return false };
            let (literal, rest) = rest.split_at(end);
            if !is_literal(literal) {
                return false;
            }
            (&b"literal"[..], rest.get(1..).unwrap_or_default())
        }
        _ => text.split_at(memchr(b':', text).unwrap_or(text.len())),
    };
    !host.is_empty() && is_name(host) && is_port(port)
}

/// Whether it is one that the parser behind takes in a target: it knows no `%` in a host.
pub(super) fn is_target_authority(text: &[u8]) -> bool {
    is_authority(text) && memchr(b'%', text).is_none() && !text.starts_with(b"[v")
}

/// Nothing, or a colon and a number; RFC 3986 lets the number be missing.
fn is_port(text: &[u8]) -> bool {
    match text {
        [] => true,
        // More digits than a number can hold are none.
        [b':', digits @ ..] if digits.len() <= 5 => {
            let number = digits.iter().try_fold(0_u32, |number, digit| {
                digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0'))
            });
            number.is_some_and(|number| number <= u32::from(u16::MAX))
        }
        _ => false,
    }
}

fn is_name(host: &[u8]) -> bool {
    let mut rest = host;
    while let Some(at) = memchr(b'%', rest) {
        match rest.get(at + 1..at + 3) {
            Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => {}
            _ => return false,
        }
        rest = rest.get(at + 3..).unwrap_or_default();
    }
    !host.iter().any(|byte| matches!(byte, b'[' | b']'))
}

/// An address of IPv6, or one of a kind yet to come (`v1.x`).
fn is_literal(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    match text.strip_prefix(['v', 'V']).and_then(|rest| rest.split_once('.')) {
        Some((version, rest)) => {
            let is_hex = |byte: u8| byte.is_ascii_hexdigit();
            !version.is_empty()
                && version.bytes().all(is_hex)
                && !rest.is_empty()
                && !rest.contains(['[', '%'])
        }
        None => text.parse::<Ipv6Addr>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_what_is_none() {
        for good in [
            "a",
            "a.example:80",
            "127.0.0.1",
            "[::1]",
            "[::1]:80",
            "[::ffff:1.2.3.4]:8080",
            "a:",
            "a_b.c",
            "a%41",
            "xn--a",
            "a!$&'()*+;=~",
            "[v1.a:b]",
            "a:65535",
            "a.",
            "[::1]:",
        ] {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            ":80",
            ":",
            "a:b",
            "a:80:80",
            "::1",
            "[::1",
            "::1]",
            "[::1]80",
            "[]",
            "[a]",
            "a[::1]",
            "a]",
            "[[::1]]",
            "a%4",
            "a%zz",
            "%",
            "a@b",
            "a/b",
            "a,b",
            "a b",
            "a:65536",
            "a:000080",
            "a:-1",
            "[v.a]",
            "[v1.]",
            "[::1%25eth0]",
            "\u{e4}",
        ] {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
    }

    /// Whatever passes here is no surprise to the parser behind.
    #[test]
    fn the_parser_takes_every_target_that_passes() {
        for byte in 0x21..0x7f_u8 {
            for pattern in ["/a^b", "/^", "/?a^b", "/a?^", "/a/?b?^", "http://a/^", "http://a?^"] {
                let target = pattern.replace('^', &char::from(byte).to_string());
                let is_uri = hyper::Uri::try_from(&target).is_ok() && byte != b'#';
                assert_eq!(bytes::all_target(target.as_bytes()), is_uri, "{target}");
            }
            for pattern in ["a^", "^a", "a:^", "[::1]^", "a^:80", "[^]"] {
                let host = pattern.replace('^', &char::from(byte).to_string());
                if is_target_authority(host.as_bytes()) {
                    for target in [format!("http://{host}/"), format!("http://{host}")] {
                        assert!(hyper::Uri::try_from(&target).is_ok(), "{target}");
                    }
                    assert!(hyper::Uri::try_from(&host).is_ok(), "{host}");
                }
            }
        }
    }
}
