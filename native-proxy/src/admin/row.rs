//! One breaker as `/breakers` shows it, and the path by which it is controlled.

use crate::worker::BreakerRow;
use serde_json::{Value, json};
use std::fmt::Write;

/// A worker's breaker.
pub(super) fn breaker(row: &BreakerRow) -> Value {
    let (view, now) = (&row.view, row.at);
    json!({
        "policy": row.policy,
        "scope": String::from_utf8_lossy(&row.scope),
        "worker": row.worker,
        "state": view.state.name(),
        "since_s": now.since(view.since).as_secs_f64(),
        "cause": view.cause.map(|cause| cause.name()),
        "generation": view.generation,
        "level": view.level,
        "window": {
            "calls": view.calls,
            "failures": view.failures,
            "slow": view.slow,
        },
        "next_probe_s": view.next_probe.map(|at| at.since(now).as_secs_f64()),
        "held": view.held.map(|held| held.name()),
        "path": path(&row.policy, &row.scope),
    })
}

/// The path of a breaker; what is not plain in its names is escaped.
pub(super) fn path(policy: &str, scope: &[u8]) -> String {
    let mut path = String::from("/breakers/");
    escape(policy.as_bytes(), &mut path);
    path.push('/');
    escape(scope, &mut path);
    path
}

fn escape(text: &[u8], path: &mut String) {
    // A segment of dots alone would be taken for a way up.
    let is_dots = text == b"." || text == b"..";
    for byte in text {
        match byte {
            b'.' if is_dots => path.push_str("%2E"),
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                path.push(char::from(*byte));
            }
            // Writing to a string cannot fail.
            byte => drop(write!(path, "%{byte:02X}")),
        }
    }
}

/// The policy and the scope that a path names. A scope may have slashes in it as they are.
pub(super) fn named(path: &str) -> Option<(String, Vec<u8>)> {
    let (policy, scope) = path.strip_prefix("/breakers/")?.split_once('/')?;
    let policy = String::from_utf8(unescape(policy)?).ok()?;
    Some((policy, unescape(scope)?))
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            plain.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        plain.push(u8::try_from(high * 16 + low).ok()?);
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_path_is_readable_where_its_names_are() {
        assert_eq!(path("echo", b"policy"), "/breakers/echo/policy");
        assert_eq!(path("a b", b"*/x"), "/breakers/a%20b/%2A%2Fx");
        assert_eq!(path("p", b".."), "/breakers/p/%2E%2E");
        assert_eq!(named("/breakers/echo/*/x"), Some(("echo".into(), b"*/x".to_vec())));
        assert_eq!(named("/breakers/echo/"), Some(("echo".into(), Vec::new())));
        for wrong in [
            "/breakers/echo",
            "/breakers/",
            "/other/a/b",
            "/breakers/a/%",
            "/breakers/a/%4",
            "/breakers/a/%zz",
            "/breakers/%ff/a",
        ] {
            assert_eq!(named(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn every_name_comes_back(policy in "[a-zA-Z0-9._-]{1,64}", scope: Vec<u8>) {
            let path = path(&policy, &scope);
            prop_assert!(path.bytes().all(|byte| byte.is_ascii_graphic()));
            prop_assert_eq!(named(&path), Some((policy, scope)));
        }
    }
}
