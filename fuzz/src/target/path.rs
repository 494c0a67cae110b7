//! Whatever a client writes as its target: what goes upstream has no dot segments for anybody, and an
//! upstream that normalises makes of it what was matched.

use crate::Behaviour;
use bimetal_core::path::{NormalPath, forwarded};
use std::borrow::Cow;

/// Pieces of paths that mean something.
pub(super) const WORDS: &[&str] = &[
    "/",
    "//",
    "/./",
    "/../",
    "/.",
    "/..",
    "%2e",
    "%2E%2e",
    "%2F",
    "%2f",
    "%5C",
    "%5c",
    "\\",
    ";",
    "..;",
    ".;a=b",
    "%",
    "%%",
    "%6",
    "%61",
    "%25",
    "%252e",
    "%00",
    "%7E",
    "%C3%A9",
    "\u{e9}",
    "?",
    "#",
    "*",
    "admin",
    "http://a/",
];

fn normal(target: &[u8]) -> Vec<u8> {
    NormalPath::of(Cow::Borrowed(target)).as_bytes().to_vec()
}

/// The target as it came.
pub(super) fn spelled(target: &[u8]) -> Behaviour {
    let matched = normal(target);
    assert_eq!(normal(&matched), matched, "again it is another");
    let is_path = target.first() == Some(&b'/');
    if is_path {
        assert!(matched.is_ascii() && !matched.contains(&b'?') && !matched.contains(&b'#'));
        assert!(!matched.windows(2).any(|two| two == b"//"), "slashes are doubled");
        assert!(!has_dots(&matched));
    }
    let path = target.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or_default();
    let sent = match forwarded(path) {
        Ok(sent) => sent,
        Err(_) => return Behaviour::of(("refused", path.len().min(4))),
    };
    assert!(sent.len() <= path.len(), "it grew");
    let again = forwarded(&sent).expect("what was sent may be sent");
    assert_eq!(again, sent, "again it is another");
    if is_path {
        let seen = split(&sent);
        assert!(!has_dots(&seen), "{}", sent.escape_ascii());
        assert!(!has_dots(&without_parameters(&seen)), "{}", sent.escape_ascii());
        assert_eq!(sent.first(), Some(&b'/'));
        // Merging and resolving in any order make the same of it.
        let segments = sent.split(|byte| *byte == b'/').filter(|segment| !segment.is_empty());
        let merged: Vec<u8> = segments.flat_map(|one| [b"/", one].concat()).collect();
        let end = if sent.ends_with(b"/") { &b"/"[..] } else { b"" };
        assert_eq!(normal(&[&merged, end].concat()), normal(&sent));
    } else {
        assert_eq!(sent, path, "no path is left alone");
    }
    Behaviour::of((
        is_path,
        sent == path,
        matched == path,
        matched == *sent,
        path.len() == target.len(),
        matched.iter().filter(|byte| **byte == b'/').count().min(4),
        matched.iter().filter(|byte| **byte == b'%').count().min(3),
    ))
}

/// As an upstream sees it that takes encoded slashes and backslashes for slashes.
fn split(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = path;
    while let [first, behind @ ..] = rest {
        rest = behind;
        match (first, behind) {
            (b'\\', _) => out.push(b'/'),
            (b'%', [b'2', b'f' | b'F', more @ ..] | [b'5', b'c' | b'C', more @ ..]) => {
                out.push(b'/');
                rest = more;
            }
            _ => out.push(*first),
        }
    }
    out
}

/// Whether there is a dot segment.
fn has_dots(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').any(|segment| matches!(segment, b"." | b".."))
}

/// The path without parameters, as servlet containers see it.
fn without_parameters(path: &[u8]) -> Vec<u8> {
    let names = path
        .split(|byte| *byte == b'/')
        .map(|segment| segment.split(|byte| *byte == b';').next().unwrap_or_default());
    names.collect::<Vec<_>>().join(&b'/')
}
