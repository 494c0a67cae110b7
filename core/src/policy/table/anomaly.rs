//! The part of the table that describes what is watched of calls.

use super::COUNT;
use crate::anomaly::{Judging, Signal};
use crate::doc::{FromNode, Key, Keyword, Node, Object, TypedKind};
use crate::time::Duration;
use alloc::vec::Vec;

impl FromNode for Signal {
    fn from_node(node: &Node) -> Option<Self> {
        node.named(&Self::ALL, Self::name)
    }
}

impl FromNode for Judging {
    fn from_node(node: &Node) -> Option<Self> {
        node.named(&Self::ALL, Self::name)
    }
}

const SIGNAL: TypedKind<Signal> = TypedKind::keywords(&[
    Keyword::new(Signal::Rate.name()),
    Keyword::new(Signal::Latency.name()),
    Keyword::new(Signal::Errors.name()),
]);

pub(crate) const SIGNALS: Key<Vec<Signal>> = Key::new(
    "signals",
    TypedKind::list(&SIGNAL, 1),
    "What is watched: `rate` (calls in a second), `latency` (its mean), `errors` (the share of failures).",
)
.default(r#"["rate", "latency", "errors"]"#);
pub(crate) const DETECTOR: Key<Judging> = Key::new(
    "detector",
    TypedKind::keywords(&[
        Keyword::new(Judging::ZScore.name()),
        Keyword::new(Judging::Robust.name()),
    ]),
    "`zscore`: deviations from the mean of the window; `robust`: median distances from a line through it.",
)
.default(r#""zscore""#);
pub(crate) const WINDOW: Key<u32> = Key::new(
    "window",
    TypedKind::<u32>::whole(5, 300),
    "Samples that one is judged against; of `robust` always 50. Nothing is told before there are so many.",
)
.default("50");
pub(crate) const THRESHOLD: Key<f64> = Key::new(
    "threshold",
    TypedKind::number_but_zero(0.0, 1_000.0),
    "A score beyond this, on either side, is an anomaly.",
)
.computed("2, or 5 of `robust`");
pub(crate) const INTERVAL: Key<Duration> = Key::new(
    "interval",
    TypedKind::duration(Duration::from_millis(100), Duration::from_secs(3_600)),
    "The time of one sample.",
)
.default(r#""1s""#);
pub(crate) const MINIMUM_CALLS: Key<u32> = Key::new(
    "minimum_calls",
    COUNT,
    "With fewer settled calls an interval says nothing of latency and errors.",
)
.default("1");

pub(super) static ANOMALY: Object = Object {
    doc: "What is watched of a scope's calls. It changes no decision.",
    fields: &[
        SIGNALS.field(),
        DETECTOR.field(),
        WINDOW.field(),
        THRESHOLD.field(),
        INTERVAL.field(),
        MINIMUM_CALLS.field(),
    ],
    rules: &[],
};
