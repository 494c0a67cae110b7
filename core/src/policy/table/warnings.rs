//! The part of the table that describes warnings of how services call each other.

use super::COUNT;
use crate::doc::table::TOKEN;
use crate::doc::{Key, Object, TypedKind};
use alloc::string::String;

pub(crate) const CALLS_PER_TRACE: Key<u32> = Key::new(
    "calls_per_trace",
    COUNT,
    "So many calls of one upstream by one route are fine within a trace; one more is warned of.",
)
.default("10");
pub(crate) const DB_TRANSACTION_HEADER: Key<String> = Key::new(
    "db_transaction_header",
    TypedKind::text(&TOKEN),
    "The request header that says `open` while its caller holds a database transaction.",
)
.default(r#""x-db-transaction""#);

pub(super) static WARNINGS: Object = Object {
    doc: "What is warned of in how services call each other. It changes no decision.",
    fields: &[CALLS_PER_TRACE.field(), DB_TRANSACTION_HEADER.field()],
    rules: &[],
};
