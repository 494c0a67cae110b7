//! The part of the table that says what counts as a failure.

use crate::doc::{Key, Keyword, Object, TypedKind};
use crate::outcome::Transport;
use crate::policy::forms::{ANSWER, Answer, GRPC as GRPC_FORM, STATUS as STATUS_FORM};
use alloc::vec::Vec;

const STATUS: TypedKind<Answer> = TypedKind::token(&STATUS_FORM);
const GRPC_STATUS: TypedKind<Answer> = TypedKind::text(&GRPC_FORM);
const HOW: TypedKind<Answer> = TypedKind::keywords(&[
    Keyword::new(Transport::Connect.name()),
    Keyword::new(Transport::Reset.name()),
    Keyword::new(Transport::Timeout.name()),
    Keyword::new(Transport::Overflow.name()),
]);
const ANY: TypedKind<Answer> = TypedKind::token(&ANSWER);

pub(crate) const STATUSES: Key<Vec<Answer>> =
    Key::new("statuses", TypedKind::list(&STATUS, 0), "HTTP statuses, or classes of them.")
        .default(r#"["5xx"]"#);
pub(crate) const GRPC: Key<Vec<Answer>> =
    Key::new("grpc", TypedKind::list(&GRPC_STATUS, 0), "gRPC statuses.")
        .default(r#"["unavailable","deadline_exceeded","internal"]"#);
pub(crate) const TRANSPORT: Key<Vec<Answer>> = Key::new(
    "transport",
    TypedKind::list(&HOW, 0),
    "No connection, a broken one, no answer in time, or the host's own limit (`overflow`).",
)
.default(r#"["connect","reset","timeout"]"#);
pub(crate) const IGNORE: Key<Vec<Answer>> = Key::new(
    "ignore",
    TypedKind::list(&ANY, 0),
    "What is no evidence at all, whatever the other lists say: any of their words.",
)
.default("[]");

/// What counts as a failure.
pub static FAILURE: Object = Object {
    doc: "What counts as a failure.",
    fields: &[STATUSES.field(), GRPC.field(), TRANSPORT.field(), IGNORE.field()],
    rules: &[],
};
