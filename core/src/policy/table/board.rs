//! The part of the table that names the place where processes meet.

use super::NATIVE;
use crate::doc::table::{ANY_TEXT, NAME};
use crate::doc::{Key, Object, Part, Rule, TypedKind};
use crate::time::Duration;
use alloc::string::String;

/// `board`, of a document and of a host's file.
pub const BOARD: Key<Part> = Key::new(
    "board",
    TypedKind::object(&OBJECT),
    "Where processes meet that decide as one (`share: mesh`).",
)
.only(NATIVE);

/// `board.redis`. Whether it is an address is for the host to say, which does not repeat it: it may hold a
/// password.
pub(crate) const REDIS: Key<String> = Key::new(
    "redis",
    TypedKind::text(&ANY_TEXT),
    "A Redis or Valkey server: `redis://127.0.0.1:6379`.",
)
.only(NATIVE);
pub(crate) const PREFIX: Key<String> = Key::new(
    "prefix",
    TypedKind::text(&NAME),
    "How the keys begin there. Processes with other prefixes do not meet.",
)
.default(r#""bimetal""#);
pub(crate) const INTERVAL: Key<Duration> = Key::new(
    "interval",
    TypedKind::duration(Duration::from_millis(10), Duration::from_secs(60)),
    "Between two exchanges. A change of state is told at once.",
)
.default(r#""100ms""#);
pub(crate) const REPLICA: Key<String> = Key::new(
    "replica",
    TypedKind::text(&NAME),
    "What this process is called there. No two may have the same; one that starts again in the same place should.",
)
.computed("made of the host's name and of what it listens on");

static OBJECT: Object = Object {
    doc: "Where processes meet that decide as one.",
    fields: &[REDIS.field(), PREFIX.field(), INTERVAL.field(), REPLICA.field()],
    rules: &[Rule::AtLeastOne(&[REDIS.name()])],
};
