//! Spellings of one path: what goes upstream, what is compared, and that both mean the same to an
//! upstream that normalises.

#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate bimetal_browser_test;

use bimetal_core::path::{HiddenDots, NormalPath, forwarded};
use proptest::prelude::*;
use std::borrow::Cow;

fn normal(target: &[u8]) -> Vec<u8> {
    NormalPath::of(target.into()).as_bytes().to_vec()
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// A target as it came; what goes upstream, where something does; what is compared.
type Row<'a> = (&'a str, Result<&'a str, HiddenDots>, &'a str);

#[test]
fn spellings() {
    let long = format!("/{}", "a/../".repeat(10_000));
    let rows: &[Row<'_>] = &[
        ("/", Ok("/"), "/"),
        ("/echo", Ok("/echo"), "/echo"),
        ("/echo/", Ok("/echo/"), "/echo/"),
        // RFC 3986, 5.2.4 and 5.4.
        ("/a/b/c/./../../g", Ok("/a/g"), "/a/g"),
        ("/.", Ok("/"), "/"),
        ("/./", Ok("/"), "/"),
        ("/..", Ok("/"), "/"),
        ("/../", Ok("/"), "/"),
        ("/../../../g", Ok("/g"), "/g"),
        ("/a/.", Ok("/a/"), "/a/"),
        ("/a/..", Ok("/"), "/"),
        ("/a/b/..", Ok("/a/"), "/a/"),
        ("/a/b/../", Ok("/a/"), "/a/"),
        ("/a/./b", Ok("/a/b"), "/a/b"),
        (&long, Ok("/"), "/"),
        // Names that begin with dots.
        ("/.well-known/acme", Ok("/.well-known/acme"), "/.well-known/acme"),
        ("/...", Ok("/..."), "/..."),
        ("/a/..b/.c/d..", Ok("/a/..b/.c/d.."), "/a/..b/.c/d.."),
        // Escapes of unreserved characters, and no other.
        ("/%61dmin", Ok("/admin"), "/admin"),
        ("/%41%5a%30%2D%5F%7e", Ok("/AZ0-_~"), "/AZ0-_~"),
        ("/a/%2e%2E/b", Ok("/b"), "/b"),
        ("/a/.%2e/b", Ok("/b"), "/b"),
        ("/%2e/b", Ok("/b"), "/b"),
        ("/a%20b%3f%23%00", Ok("/a%20b%3f%23%00"), "/a%20b%3F%23%00"),
        ("/%40a@b%3a:", Ok("/%40a@b%3a:"), "/%40a@b%3A:"),
        ("/%c3%a9", Ok("/%c3%a9"), "/%C3%A9"),
        ("/\u{e9}", Ok("/\u{e9}"), "/%C3%A9"),
        // Once: what was escaped twice stays so.
        ("/%2561", Ok("/%2561"), "/%2561"),
        ("/%252e%252e/a", Ok("/%252e%252e/a"), "/%252e%252e/a"),
        ("/%252e%252e%252fa", Ok("/%252e%252e%252fa"), "/%252e%252e%252fa"),
        // No escapes: they stay, and become none.
        ("/%", Ok("/%"), "/%"),
        ("/%6", Ok("/%6"), "/%6"),
        ("/%zz%6g", Ok("/%zz%6g"), "/%zz%6g"),
        ("/%%361", Ok("/%%361"), "/%%361"),
        ("/%6%31", Ok("/%6%31"), "/%6%31"),
        ("/%6%2d%6%6", Ok("/%6-%6%6"), "/%6-%6%6"),
        // Slashes: merged where they are compared, untouched on their way.
        ("//", Ok("//"), "/"),
        ("//admin", Ok("//admin"), "/admin"),
        ("/a//b///", Ok("/a//b///"), "/a/b/"),
        ("/path/https://host/x", Ok("/path/https://host/x"), "/path/https:/host/x"),
        // An empty segment is a segment to the RFC, and none to upstreams that merge first.
        ("/a//../b", Ok("/a/b"), "/b"),
        // Encoded slashes are ordinary characters...
        ("/projects/group%2Fname", Ok("/projects/group%2Fname"), "/projects/group%2Fname"),
        ("/queues/%2f/name", Ok("/queues/%2f/name"), "/queues/%2F/name"),
        ("/@scope%2fname..", Ok("/@scope%2fname.."), "/@scope%2Fname.."),
        ("/a%5Cb\\c", Ok("/a%5Cb\\c"), "/a%5Cb\\c"),
        ("/a%2F.b", Ok("/a%2F.b"), "/a%2F.b"),
        // ... unless they hide a dot segment.
        ("/public/..%2Fadmin", Err(HiddenDots), "/public/..%2Fadmin"),
        ("/public/%2e%2e%2fadmin", Err(HiddenDots), "/public/..%2Fadmin"),
        ("/public/x%2f..%2F..", Err(HiddenDots), "/public/x%2F..%2F.."),
        ("/a%2F.", Err(HiddenDots), "/a%2F."),
        ("/a%5c..", Err(HiddenDots), "/a%5C.."),
        ("/..%5Cadmin", Err(HiddenDots), "/..%5Cadmin"),
        ("/..\\admin", Err(HiddenDots), "/..\\admin"),
        ("/a\\.\\b", Err(HiddenDots), "/a\\.\\b"),
        // Parameters are ordinary characters too, but for what servlet containers make of dots.
        ("/a;v=1/b;", Ok("/a;v=1/b;"), "/a;v=1/b;"),
        ("/a;..;/b", Ok("/a;..;/b"), "/a;..;/b"),
        ("/public/..;/admin", Err(HiddenDots), "/public/..;/admin"),
        ("/public/.;a=b/x", Err(HiddenDots), "/public/.;a=b/x"),
        ("/public/%2e%2E;/admin", Err(HiddenDots), "/public/..;/admin"),
        // No path at all.
        ("", Ok(""), ""),
        ("*", Ok("*"), "*"),
        ("admin", Ok("admin"), "admin"),
        ("../%61", Ok("../%61"), "../%61"),
        ("host:443", Ok("host:443"), "host:443"),
    ];
    for (came, goes, compared) in rows {
        let sent = forwarded(came.as_bytes()).map(Cow::into_owned);
        assert_eq!(sent, goes.map(|path| path.as_bytes().to_vec()), "{came}");
        assert_eq!(shown(&normal(came.as_bytes())), shown(compared.as_bytes()), "{came}");
    }
}

#[test]
fn a_query_is_no_part_of_it() {
    for (target, wanted) in [
        ("/a?b=/../c", "/a"),
        ("/a/..?b", "/"),
        ("/%61?%61//", "/a"),
        ("/a//?b//", "/a/"),
        ("/a#/../b", "/a"),
        ("?/a", ""),
        ("*?a", "*"),
        ("/a%3Fb?c", "/a%3Fb"),
    ] {
        assert_eq!(shown(&normal(target.as_bytes())), wanted, "{target}");
        assert_eq!(NormalPath::of(target.as_bytes().to_vec().into()).as_bytes(), wanted.as_bytes());
    }
}

#[test]
fn an_ordinary_path_costs_no_memory() {
    for target in
        ["/", "/echo", "/api/v1/users/42?sort=%61", "/.well-known/acme", "/a%2Fb/%C3%A9?x", "*"]
    {
        let counted = allocation_counter::measure(|| {
            let plain = !target.contains(['%']) && !target.contains("/.");
            if plain {
                drop(NormalPath::of(target.as_bytes().into()));
                let _ = forwarded(target.split('?').next().unwrap().as_bytes());
            }
        });
        assert_eq!(counted.count_total, 0, "{target}");
        let path = target.split('?').next().unwrap().as_bytes();
        assert!(matches!(forwarded(path), Ok(Cow::Borrowed(_))), "{target}");
    }
}

/// Another way to say it: a list of segments.
mod upstream {
    /// Decodes the unreserved, as any upstream does.
    fn decoded(path: &str) -> String {
        let mut text = String::new();
        let mut rest = path;
        while let Some(at) = rest.find('%') {
            let (before, escape) = rest.split_at(at);
            text.push_str(before);
            let byte = escape.get(1..3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
            let unreserved = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
            match byte.filter(unreserved).filter(|_| !escape[1..].starts_with('+')) {
                Some(byte) => {
                    text.push(char::from(byte));
                    rest = &escape[3..];
                }
                None => {
                    text.push('%');
                    rest = &escape[1..];
                }
            }
        }
        text + rest
    }

    /// Whether an escape stands within what is none (`%%61`, `%6%61`). Decoding it would make a new
    /// one, so it stays; upstreams refuse it, or read it each in its own way.
    pub(super) fn cannot_know(path: &str) -> bool {
        let bytes = path.as_bytes();
        (0..bytes.len()).any(|at| match &bytes[at..] {
            [b'%', b'%', ..] => true,
            [b'%', digit, b'%', ..] => digit.is_ascii_hexdigit(),
            _ => false,
        })
    }

    /// Merges slashes, then resolves dots: nginx, Go, Python, Java's `URI`, Tomcat.
    pub(super) fn merges_first(path: &str) -> String {
        ends(&decoded(path), |segments, segment| match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            name => segments.push(name.into()),
        })
    }

    /// Resolves dots, then merges slashes: Envoy.
    pub(super) fn merges_last(path: &str) -> String {
        let path = ends(&decoded(path), |segments, segment| match segment {
            "." => {}
            ".." => drop(segments.pop()),
            name => segments.push(name.into()),
        });
        merges_first(&path)
    }

    fn ends(path: &str, add: impl Fn(&mut Vec<String>, &str)) -> String {
        let mut segments = Vec::new();
        path.split('/').skip(1).for_each(|segment| add(&mut segments, segment));
        let joined: String = segments.iter().map(|segment| format!("/{segment}")).collect();
        let last = path.rsplit('/').next().unwrap_or_default();
        if matches!(last, "" | "." | "..") && !joined.ends_with('/') {
            joined + "/"
        } else {
            joined
        }
    }
}

/// Paths of pieces that mean something, now and then of anything.
fn paths() -> impl Strategy<Value = String> {
    let pieces = [
        "/", "/", "/", "//", ".", "..", "%2e", "%2E%2e", "a", "admin", "%61", "b;c", "..;", "%2F",
        "%2f", "%5C", "\\", "%", "%6", "1", "%31", "%25", "%252e", "%00", "~", "@", ":",
    ];
    let piece = prop_oneof![
        9 => prop::sample::select(pieces.to_vec()).prop_map(str::to_owned),
        1 => "[!-\"$->@-~]",
    ];
    prop::collection::vec(piece, 0..16).prop_map(|pieces| format!("/{}", pieces.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn what_was_matched_is_what_an_upstream_makes_of_what_is_forwarded(path in paths()) {
        prop_assume!(!upstream::cannot_know(&path));
        if let Ok(sent) = forwarded(path.as_bytes()) {
            let sent = std::str::from_utf8(&sent).unwrap();
            let matched = normal(sent.as_bytes());
            for made in [upstream::merges_first(sent), upstream::merges_last(sent)] {
                // Digits of an escape are the same in either case.
                prop_assert_eq!(shown(&normal(made.as_bytes())), shown(&matched));
                prop_assert!(made.eq_ignore_ascii_case(std::str::from_utf8(&matched).unwrap()),
                    "{} is {} upstream and {} here", path, made, shown(&matched));
            }
            // No part of it can be taken for a dot segment.
            let split = sent.to_ascii_lowercase().replace("%2f", "/").replace("%5c", "/").replace('\\', "/");
            for segment in split.split('/') {
                let name = segment.split(';').next().unwrap();
                prop_assert!(!matches!(name, "." | ".."), "{}", sent);
            }
        }
    }

    #[test]
    fn the_filter_compares_what_an_upstream_makes_of_the_path_as_it_came(path in paths()) {
        let made = upstream::merges_first(&path);
        prop_assume!(!upstream::cannot_know(&path));
        prop_assert!(
            made.eq_ignore_ascii_case(std::str::from_utf8(&normal(path.as_bytes())).unwrap()),
            "{} is {} upstream", path, made
        );
    }

    #[test]
    fn again_changes_nothing(path in paths(), bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        for target in [path.as_bytes(), &[b"/", &*bytes].concat(), &bytes] {
            let once = normal(target);
            prop_assert!(!once.contains(&b'?') || target.first() != Some(&b'/'));
            prop_assert_eq!(shown(&normal(&once)), shown(&once));
            let path = target.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap();
            if let Ok(sent) = forwarded(path) {
                let again = forwarded(&sent).map(Cow::into_owned);
                prop_assert_eq!(again.map(|path| shown(&path)), Ok(shown(&sent)));
                prop_assert!(sent.len() <= path.len());
            }
        }
    }
}
