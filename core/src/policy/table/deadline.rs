//! The part of the table that describes deadlines.

use crate::deadline::{DEADLINE_MS, GRPC_TIMEOUT};
use crate::doc::{FromNode, Key, Keyword, Node, Object, TypedKind};
use crate::time::Duration;
use alloc::vec::Vec;

/// A field that carries a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    GrpcTimeout,
    DeadlineMs,
}

impl FromNode for Carrier {
    fn from_node(node: &Node) -> Option<Self> {
        match node.as_text()? {
            GRPC_TIMEOUT => Some(Self::GrpcTimeout),
            DEADLINE_MS => Some(Self::DeadlineMs),
            _ => None,
        }
    }
}

const CARRIER: TypedKind<Carrier> =
    TypedKind::keywords(&[Keyword::new(GRPC_TIMEOUT), Keyword::new(DEADLINE_MS)]);

pub(crate) const ACCEPT: Key<Vec<Carrier>> = Key::new(
    "accept",
    TypedKind::list(&CARRIER, 1),
    "The fields that are read; of several the shorter time counts.",
)
.default(r#"["grpc-timeout", "x-request-deadline-ms"]"#);
pub(crate) const MARGIN: Key<Duration> = Key::new(
    "margin",
    TypedKind::duration(Duration::ZERO, Duration::from_secs(3_600)),
    "What the way back takes: the upstream has so much less, and a call that has no more left is rejected.",
)
.default(r#""5ms""#);
pub(crate) const FORWARD: Key<bool> =
    Key::new("forward", TypedKind::BOOL, "Whether the upstream is told what is left.")
        .default("true");

pub(super) static DEADLINE: Object = Object {
    doc: "Deadlines taken from requests and handed on.",
    fields: &[ACCEPT.field(), MARGIN.field(), FORWARD.field()],
    rules: &[],
};
