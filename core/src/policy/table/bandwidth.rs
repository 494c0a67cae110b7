//! The part of the table that describes limits of bandwidth.

use super::{Key, Object, TypedKind};
use crate::doc::Size;
use crate::policy::forms::BANDWIDTH as BANDWIDTH_FORM;
use crate::policy::types::Bandwidth;

pub(crate) const PER_CONNECTION: Key<Bandwidth> = Key::new(
    "per_connection",
    TypedKind::text(&BANDWIDTH_FORM),
    "So much of an answer's body is sent in a second: `10MiB/s`, 1KiB/s to 1024GiB/s.",
)
.required();
pub(crate) const AFTER: Key<Size> = Key::new(
    "after",
    TypedKind::size(0, 1 << 40),
    "So much of each answer comes before, unlimited.",
)
.default(r#""0B""#);

pub(super) static BANDWIDTH: Object = Object {
    doc: "How fast answers are sent to clients.",
    fields: &[PER_CONNECTION.field(), AFTER.field()],
    rules: &[],
};
