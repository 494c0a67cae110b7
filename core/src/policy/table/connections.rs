//! The part of the table that describes limits of clients' connections.

use super::limits::ONE_NETWORK;
use super::{COUNT, Key, Object, TypedKind, Vec};
use crate::policy::limit::Network;

pub(crate) const PER_CLIENT: Key<u32> = Key::new(
    "per_client",
    COUNT,
    "So many connections of one client may have a call of this policy under way. A client is an IPv4 address, or the first 64 bits of an IPv6 address.",
)
.required();
pub(crate) const ALLOW: Key<Vec<Network>> = Key::new(
    "allow",
    TypedKind::list(&ONE_NETWORK, 0),
    "Networks whose clients are not limited: `10.0.0.0/8`, `2001:db8::/32`, or an address.",
)
.default("[]");
pub(crate) const STATUS: Key<u16> =
    Key::new("status", TypedKind::<u16>::whole(400, 599), "The status of its rejections.")
        .default("429");

pub(super) static CONNECTIONS: Object = Object {
    doc: "Limits of clients' connections.",
    fields: &[PER_CLIENT.field(), ALLOW.field(), STATUS.field()],
    rules: &[],
};
