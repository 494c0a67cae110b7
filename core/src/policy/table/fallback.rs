//! The part of the table that describes a fallback.

use super::retry::{ONE_METHOD, Retried};
use super::{COUNT, DAY, NATIVE};
use crate::doc::table::{ANY_TEXT, NAME, TOKEN};
use crate::doc::{Entries, FromNode, Key, Keyword, Node, Object, Part, Size, TypedKind};
use crate::policy::forms::FIELD_VALUE;
use crate::time::Duration;
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
/// Answers that are kept.
pub(crate) const STALE: Key<Part> = Key::new(
    "stale",
    TypedKind::object(&stale::STALE),
    "The upstream's own answer of before, by the rules of RFC 9111; given before the fixed one, and after that of another upstream (proxy only).",
)
.only(NATIVE);

pub(super) static FALLBACK: Object = Object {
    doc: "A fixed answer, another upstream's, or one of before.",
    fields: &[
        WHEN.field(),
        STATUS.field(),
        HEADERS.field(),
        BODY.field(),
        STALE.field(),
        UPSTREAM.field(),
        METHODS.field(),
    ],
    rules: &[],
};

pub(crate) mod stale {
    use super::{COUNT, DAY, Duration, Key, Object, Size, TypedKind};

    pub(crate) const MAX_AGE: Key<Duration> = Key::new(
        "max_age",
        TypedKind::duration(Duration::from_secs(1), DAY),
        "The oldest answer that is given.",
    )
    .required();
    pub(crate) const MAX_BYTES: Key<Size> =
        Key::new("max_bytes", TypedKind::size(1, 64 << 20), "The longest body that is kept.")
            .default(r#""1MiB""#);
    pub(crate) const MAX_TOTAL: Key<Size> = Key::new(
        "max_total",
        TypedKind::size(1, 4 << 30),
        "How much is kept in all, heads and keys included; the oldest goes first.",
    )
    .default(r#""16MiB""#);
    pub(crate) const MAX_ENTRIES: Key<u32> =
        Key::new("max_entries", COUNT, "How many answers are kept.").default("1000");

    pub(super) static STALE: Object = Object {
        doc: "Answers of before.",
        fields: &[MAX_AGE.field(), MAX_BYTES.field(), MAX_TOTAL.field(), MAX_ENTRIES.field()],
        rules: &[],
    };
}
