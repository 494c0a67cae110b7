//! The part of the table that describes the limit of calls under way.

use super::{COUNT, TIME};
use crate::concurrency::adaptive::Algorithm;
use crate::doc::{Key, Keyword, Object, Part, Rule, TypedKind};
use crate::policy::types::Share;
use crate::time::Duration;

pub(crate) const MAX: Key<u32> = Key::new("max", COUNT, "Most calls at once.");
pub(crate) const ADAPTIVE: Key<Part> = Key::new(
    "adaptive",
    TypedKind::object(&adaptive::ADAPTIVE),
    "A limit that finds itself: it follows the upstream's latency.",
);
pub(crate) const SHARE: Key<Share> = Key::new(
    "share",
    TypedKind::keywords(&[Keyword::new(Share::Process.name()), Keyword::new(Share::None.name())]),
    "Whether the workers of a process share the limit, or each has its own. In Envoy workers lease from a shared one.",
)
.default(r#""process""#);
pub(crate) const QUEUE: Key<Part> =
    Key::new("queue", TypedKind::object(&queue::QUEUE), "Calls that wait for one to end.");

pub(super) static CONCURRENCY: Object = Object {
    doc: "How many calls may be under way in a scope; one more is rejected.",
    fields: &[MAX.field(), ADAPTIVE.field(), SHARE.field(), QUEUE.field()],
    rules: &[Rule::ExactlyOne(&[MAX.name(), ADAPTIVE.name()])],
};

pub(crate) mod adaptive {
    use super::{Algorithm, COUNT, Key, Keyword, Object, TypedKind};

    // Both defaults are those of Envoy's adaptive concurrency filter.
    pub(crate) const MIN: Key<u32> =
        Key::new("min", COUNT, "It begins at this, and never falls below it.").default("3");
    pub(crate) const MAX: Key<u32> =
        Key::new("max", COUNT, "It never rises above this.").default("1000");
    pub(crate) const ALGORITHM: Key<Algorithm> = Key::new(
        "algorithm",
        TypedKind::keywords(&[
            Keyword::new(Algorithm::Gradient.name()),
            Keyword::new(Algorithm::Aimd.name()),
        ]),
        "`gradient`: by how far the latency is from its floor. `aimd`: one up, or a tenth down.",
    )
    .default(r#""gradient""#);

    pub(super) static ADAPTIVE: Object = Object {
        doc: "A limit that finds itself.",
        fields: &[MIN.field(), MAX.field(), ALGORITHM.field()],
        rules: &[],
    };
}

pub(crate) mod queue {
    use super::{Duration, Key, Object, TIME, TypedKind};

    pub(crate) const MAX: Key<u32> =
        Key::new("max", TypedKind::<u32>::whole(1, 100_000), "Most calls that wait at once.")
            .required();
    pub(crate) const MAX_WAIT: Key<Duration> =
        Key::new("max_wait", TIME, "No call waits longer.").required();

    pub(super) static QUEUE: Object = Object {
        doc: "Calls that wait. Under overload the newest is served first and the oldest is dropped.",
        fields: &[MAX.field(), MAX_WAIT.field()],
        rules: &[],
    };
}
