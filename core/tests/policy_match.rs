//! Which requests a policy is for.

#![allow(clippy::panic, clippy::unwrap_used)]

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate bimetal_browser_test;

use bimetal_core::policy::{Document, Host, Match, Subject};
use bimetal_core::{Direction, Facts};
use serde_json::{Value, json};
use std::borrow::Cow;

/// A request, and nothing else that a host could know.
#[derive(Clone, Copy)]
struct Request {
    authority: &'static str,
    path: &'static str,
    method: &'static str,
    tenant: Option<&'static str>,
    direction: Direction,
}

const REQUEST: Request = Request {
    authority: "echo",
    path: "/echo",
    method: "POST",
    tenant: None,
    direction: Direction::Outbound,
};

impl Facts for Request {
    fn authority(&self) -> Option<Cow<'_, [u8]>> {
        Some(self.authority.as_bytes().into())
    }
    fn path(&self) -> Option<Cow<'_, [u8]>> {
        Some(self.path.as_bytes().into())
    }
    fn method(&self) -> Option<Cow<'_, [u8]>> {
        Some(self.method.as_bytes().into())
    }
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        assert_eq!(name, "x-tenant", "names are asked for in lower case");
        Some(self.tenant?.as_bytes().into())
    }
    fn destination(&self) -> Option<Cow<'_, [u8]>> {
        panic!("matching asks for no destination")
    }
    fn route(&self) -> Option<Cow<'_, [u8]>> {
        panic!("matching asks for no route")
    }
    fn client(&self) -> Option<Cow<'_, [u8]>> {
        panic!("matching asks for no client")
    }
    fn direction(&self) -> Direction {
        self.direction
    }
}

/// A host that must not be asked, or knows nothing.
struct Silent {
    asked: fn() -> Option<Cow<'static, [u8]>>,
}

impl Facts for Silent {
    fn authority(&self) -> Option<Cow<'_, [u8]>> {
        (self.asked)()
    }
    fn path(&self) -> Option<Cow<'_, [u8]>> {
        (self.asked)()
    }
    fn method(&self) -> Option<Cow<'_, [u8]>> {
        (self.asked)()
    }
    fn header(&self, _: &str) -> Option<Cow<'_, [u8]>> {
        (self.asked)()
    }
    fn destination(&self) -> Option<Cow<'_, [u8]>> {
        (self.asked)()
    }
    fn route(&self) -> Option<Cow<'_, [u8]>> {
        (self.asked)()
    }
    fn client(&self) -> Option<Cow<'_, [u8]>> {
        (self.asked)()
    }
}

fn matcher(fields: Value) -> Match {
    let document = json!({"policies": [{"name": "echo", "match": fields}]});
    let document = Document::parse(document.to_string().as_bytes(), Host::Wasm).unwrap();
    document.policies.first().unwrap().matcher.clone()
}

fn paths(fields: Value, cases: &[(&'static str, bool)]) {
    let matcher = matcher(fields);
    for (path, wanted) in cases {
        assert_eq!(matcher.matches(&Request { path, ..REQUEST }), *wanted, "{path}");
    }
}

#[test]
fn an_empty_match_takes_everything_and_asks_nothing() {
    let silent = Silent { asked: || panic!("asked") };
    assert!(matcher(json!({})).matches(&silent));
    assert!(matcher(json!({"hosts": ["*"], "direction": "any"})).matches(&silent));
}

#[test]
fn what_a_host_does_not_know_does_not_match() {
    let unknown = Silent { asked: || None };
    for fields in [
        json!({"hosts": ["echo"]}),
        json!({"path": "/"}),
        json!({"path_prefix": "/"}),
        json!({"methods": ["GET"]}),
        json!({"headers": {"x-tenant": "*"}}),
        json!({"direction": "inbound"}),
        json!({"direction": "outbound"}),
    ] {
        assert!(!matcher(fields.clone()).matches(&unknown), "{fields}");
    }
}

#[test]
fn prefixes_end_with_a_segment() {
    let cases = [
        ("/echo", true),
        ("/echo/", true),
        ("/echo/a", true),
        ("/echo?x=/", true),
        ("/echo/a?x", true),
        ("/echoes", false),
        ("/ech", false),
        ("/Echo", false),
        ("/a/echo", false),
        ("", false),
        ("?/echo", false),
    ];
    paths(json!({"path_prefix": "/echo"}), &cases);
    paths(json!({"path_prefix": "/echo/"}), &cases);
    paths(json!({"path_prefix": "/"}), &[("/", true), ("/x", true), ("/?a", true), ("*", false)]);
}

#[test]
fn every_spelling_of_a_path_is_that_path() {
    let spellings = [
        "/admin",
        "//admin",
        "/./admin",
        "/%61dmin",
        "/x/../admin",
        "/%2e/admin",
        "/../admin",
        "/x/%2E%2e//admin",
        "/x//../admin",
        "/admin?x",
        "/%61%64min#x",
    ];
    for path in spellings {
        paths(json!({"path": "/admin"}), &[(path, true)]);
        paths(json!({"path_prefix": "/admin"}), &[(path, true)]);
        paths(json!({"path_prefix": "/x"}), &[(path, false)]);
    }
    // Escapes of reserved characters mean something else, in either case of their digits.
    paths(
        json!({"path": "/a%2fb"}),
        &[("/a%2fb", true), ("/a%2Fb", true), ("/a/b", false), ("/a%252fb", false)],
    );
    paths(json!({"path": "/%C3%A9"}), &[("/%c3%a9", true), ("/\u{e9}", true)]);
    // How the document spells it does not matter either.
    for path in ["//admin", "/./%61dmin", "/x/../admin"] {
        paths(json!({"path": path}), &[("/admin", true), ("/x/admin", false)]);
        paths(json!({"path_prefix": path}), &[("/admin/a", true), ("/administrator", false)]);
    }
    paths(json!({"path_prefix": "/x/.."}), &[("/", true), ("/a", true)]);
}

#[test]
fn a_path_is_asked_for_once() {
    let facts = Counted(std::cell::Cell::new(0));
    let subject = Subject::new(&facts);
    for path in ["/a", "/b", "/c"] {
        assert_eq!(matcher(json!({"path": path})).holds(&subject), path == "/c");
    }
    assert_eq!(facts.0.get(), 1);
}

/// Counts how often its path is asked for.
struct Counted(std::cell::Cell<u32>);

impl Facts for Counted {
    fn path(&self) -> Option<Cow<'_, [u8]>> {
        self.0.set(self.0.get() + 1);
        Some(b"/x/../c"[..].into())
    }
}

#[test]
fn exact_paths() {
    paths(
        json!({"path": "/echo"}),
        &[("/echo", true), ("/echo?a=b", true), ("/echo/", false), ("/echo/a", false)],
    );
}

#[test]
fn hosts() {
    let matcher = matcher(json!({"hosts": ["Echo", "*.Example.com", "[::1]"]}));
    for (authority, wanted) in [
        ("echo", true),
        ("ECHO:8080", true),
        ("echo.", false),
        ("echo2", false),
        ("a.example.com", true),
        ("A.B.EXAMPLE.COM:443", true),
        ("example.com", false),
        (".example.com", false),
        ("aexample.com", false),
        ("a.example.com.evil", false),
        ("[::1]", true),
        ("[::1]:80", true),
        ("[::2]:80", false),
        ("", false),
        (":80", false),
    ] {
        assert_eq!(matcher.matches(&Request { authority, ..REQUEST }), wanted, "{authority}");
    }
}

#[test]
fn methods_and_headers() {
    let one = matcher(json!({"methods": ["GET", "POST"]}));
    assert!(one.matches(&REQUEST));
    assert!(!one.matches(&Request { method: "post", ..REQUEST }));
    assert!(!one.matches(&Request { method: "PUT", ..REQUEST }));

    let gold = Request { tenant: Some("gold"), ..REQUEST };
    let exact = matcher(json!({"headers": {"X-Tenant": "gold"}}));
    assert!(exact.matches(&gold));
    assert!(!exact.matches(&Request { tenant: Some("Gold"), ..REQUEST }));
    assert!(!exact.matches(&REQUEST));
    let present = matcher(json!({"headers": {"x-tenant": "*"}}));
    assert!(present.matches(&gold));
    assert!(present.matches(&Request { tenant: Some(""), ..REQUEST }));
    assert!(!present.matches(&REQUEST));
}

#[test]
fn directions() {
    for (word, inbound, outbound) in
        [("any", true, true), ("inbound", true, false), ("outbound", false, true)]
    {
        let matcher = matcher(json!({"direction": word}));
        let matches = |direction| matcher.matches(&Request { direction, ..REQUEST });
        assert_eq!(matches(Direction::Inbound), inbound, "{word}");
        assert_eq!(matches(Direction::Outbound), outbound, "{word}");
    }
}

#[test]
fn every_part_must_hold() {
    let matcher = matcher(json!({"hosts": ["echo"], "path": "/echo", "methods": ["POST"]}));
    assert!(matcher.matches(&REQUEST));
    assert!(!matcher.matches(&Request { authority: "other", ..REQUEST }));
    assert!(!matcher.matches(&Request { path: "/", ..REQUEST }));
    assert!(!matcher.matches(&Request { method: "GET", ..REQUEST }));
}
