//! The part of the table that says which requests something is for: a policy by its `match`, and a
//! host's route by the same fields. Whoever lists them reads them by
//! [`Match::read`](crate::policy::Match::read).

use super::WASM;
use crate::doc::table::TOKEN;
use crate::doc::{Entries, Key, Keyword, Object, Rule, TypedKind};
use crate::policy::forms::{FIELD_VALUE, HOST as HOST_FORM, PATH as PATH_FORM};
use crate::policy::matching::{DirectionMatch, HeaderMatch, HostPattern};
use alloc::string::String;
use alloc::vec::Vec;

/// A host without port, or a pattern of them.
pub const HOST: TypedKind<HostPattern> = TypedKind::text(&HOST_FORM);

const METHOD: TypedKind<String> = TypedKind::text(&TOKEN);
const VALUE: TypedKind<HeaderMatch> = TypedKind::text(&FIELD_VALUE);

/// Hosts, one of which it has to be.
pub const HOSTS: Key<Vec<HostPattern>> = Key::new(
    "hosts",
    TypedKind::list(&HOST, 1),
    "Hosts without port, in any case: `echo`, `*.example.com` (not `example.com`), `*`.",
);
/// A path and all below it.
pub const PATH_PREFIX: Key<String> = Key::new(
    "path_prefix",
    TypedKind::text(&PATH_FORM),
    "A path and all below it, by whole segments: `/echo` takes `/echo` and `/echo/a`, not `/echoes`.",
);
/// A path alone.
pub const PATH: Key<String> =
    Key::new("path", TypedKind::text(&PATH_FORM), "This path alone, compared without the query.");
/// Methods, one of which it has to be.
pub const METHODS: Key<Vec<String>> =
    Key::new("methods", TypedKind::list(&METHOD, 1), "Methods, case matters.");
/// Headers, each of which has to be there.
pub const HEADERS: Key<Entries<HeaderMatch>> = Key::new(
    "headers",
    TypedKind::map(&TOKEN, &VALUE),
    "Headers and their exact values; `*` = present.",
);
/// Which way it goes through a sidecar.
pub const DIRECTION: Key<DirectionMatch> = Key::new(
    "direction",
    TypedKind::keywords(&[
        Keyword::new(DirectionMatch::Any.name()),
        Keyword::only(DirectionMatch::Inbound.name(), WASM),
        Keyword::only(DirectionMatch::Outbound.name(), WASM),
    ]),
    "Which way a request travels through a sidecar (Envoy only).",
)
.default(r#""any""#);
/// What must hold between them.
pub const ONE_PATH: Rule = Rule::AtMostOne(&[PATH.name(), PATH_PREFIX.name()]);

pub(super) static MATCH: Object = Object {
    doc: "Which requests a policy is for.",
    fields: &[
        HOSTS.field(),
        PATH_PREFIX.field(),
        PATH.field(),
        METHODS.field(),
        HEADERS.field(),
        DIRECTION.field(),
    ],
    rules: &[ONE_PATH],
};
