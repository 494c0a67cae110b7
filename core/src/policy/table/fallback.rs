//! The part of the table that describes a fallback.

use super::NATIVE;
use super::retry::{ONE_METHOD, Retried};
use crate::doc::table::{ANY_TEXT, NAME, TOKEN};
use crate::doc::{Entries, Field, FromNode, Key, Keyword, Node, Object, TypedKind};
use crate::policy::forms::FIELD_VALUE;
use alloc::string::String;
use alloc::vec::Vec;

/// When a fallback is given.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occasion {
    Rejected,
    Failed,
}

impl Occasion {
    const ALL: [Self; 2] = [Self::Rejected, Self::Failed];

    const fn name(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Failed => "failed",
        }
    }
}

impl FromNode for Occasion {
    fn from_node(node: &Node) -> Option<Self> {
        node.named(&Self::ALL, Self::name)
    }
}

const OCCASION: TypedKind<Occasion> = TypedKind::keywords(&[
    Keyword::new(Occasion::Rejected.name()),
    Keyword::only(Occasion::Failed.name(), NATIVE),
]);

const VALUE: TypedKind<String> = TypedKind::text(&FIELD_VALUE);

pub(crate) const WHEN: Key<Vec<Occasion>> = Key::new(
    "when",
    TypedKind::list(&OCCASION, 1),
    "When it is given: in place of rejections, of upstream failures (proxy only).",
)
// `on` is its first name. YAML 1.1, which kubectl and helm read, takes that for a boolean, and it
// arrives as the key `true`.
.also(&["on", "true"])
.default(r#"["rejected"]"#);
pub(crate) const STATUS: Key<u16> =
    Key::new("status", TypedKind::<u16>::whole(200, 599), "Its status; left out: the rule's own.");
pub(crate) const HEADERS: Key<Entries<String>> =
    Key::new("headers", TypedKind::map(&TOKEN, &VALUE), "Its headers.").default("{}");
pub(crate) const BODY: Key<String> =
    Key::new("body", TypedKind::text(&ANY_TEXT), "Its body; left out: `{\"error\": …}`.");
/// An upstream of the file that the policy stands in.
pub(crate) const UPSTREAM: Key<String> = Key::new(
    "upstream",
    TypedKind::text(&NAME),
    "Another upstream of the file, whose answer is given; the fixed one where that has none (proxy only).",
)
.only(NATIVE);
pub(crate) const METHODS: Key<Vec<Retried>> = Key::new(
    "methods",
    TypedKind::one_or_list(&ONE_METHOD),
    "Which requests go to that other upstream after one has failed them: as `retry.methods`; left out: `idempotent`. What never left goes there whatever its method (proxy only).",
)
.only(NATIVE);

pub(super) static FALLBACK: Object = Object {
    doc: "A fixed answer, or another upstream's.",
    fields: &[
        WHEN.field(),
        STATUS.field(),
        HEADERS.field(),
        BODY.field(),
        Field::later("stale", "An older answer."),
        UPSTREAM.field(),
        METHODS.field(),
    ],
    rules: &[],
};
