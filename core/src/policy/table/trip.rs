//! The part of the table that says when a breaker trips.

use super::{COUNT, DAY, TIME};
use crate::doc::{Key, Object, Part, Rule, TypedKind};
use crate::time::Duration;

pub(crate) const CONSECUTIVE_FAILURES: Key<u32> =
    Key::new("consecutive_failures", COUNT, "This many failures without a success between them.");
pub(crate) const FAILURE_RATE: Key<Part> = Key::new(
    "failure_rate",
    TypedKind::object(&rate::FAILURE_RATE),
    "Too large a share of failures.",
);
pub(crate) const SLOW_RATE: Key<Part> = Key::new(
    "slow_rate",
    TypedKind::object(&rate::SLOW_RATE),
    "Too large a share of slow answers.",
);

pub(super) static TRIP: Object = Object {
    doc: "Trip conditions.",
    fields: &[CONSECUTIVE_FAILURES.field(), FAILURE_RATE.field(), SLOW_RATE.field()],
    rules: &[Rule::AtLeastOne(&[
        CONSECUTIVE_FAILURES.name(),
        FAILURE_RATE.name(),
        SLOW_RATE.name(),
    ])],
};

/// A share of calls in a window: of failures, or of slow answers.
pub(crate) mod rate {
    use super::{COUNT, Duration, Key, Object, Part, TIME, TypedKind, window};

    pub(crate) const THRESHOLD: Key<f64> = Key::new(
        "threshold",
        TypedKind::number_but_zero(0.0, 1.0),
        "Trips at or above this share.",
    )
    .required();
    pub(crate) const SLOWER_THAN: Key<Duration> = Key::new(
        "slower_than",
        TIME,
        "An answer whose headers take longer on the upstream's clock is slow.",
    )
    .required();
    pub(crate) const WINDOW: Key<Part> =
        Key::new("window", TypedKind::object(&window::WINDOW), "Where calls are counted.")
            .required();
    pub(crate) const MINIMUM_CALLS: Key<u32> =
        Key::new("minimum_calls", COUNT, "Below this many calls in the window nothing trips.")
            .computed("20, or window.calls where that is less");
    pub(crate) const CONFIDENCE: Key<f64> = Key::new(
        "confidence",
        TypedKind::number_but_zero(0.5, 0.999999),
        "Trips only when the share is over the threshold with this confidence (lower Wilson bound, one-sided).",
    );

    pub(super) static FAILURE_RATE: Object = Object {
        doc: "A share of failures in a window.",
        fields: &[THRESHOLD.field(), WINDOW.field(), MINIMUM_CALLS.field(), CONFIDENCE.field()],
        rules: &[],
    };

    pub(super) static SLOW_RATE: Object = Object {
        doc: "A share of slow answers in a window.",
        fields: &[
            THRESHOLD.field(),
            SLOWER_THAN.field(),
            WINDOW.field(),
            MINIMUM_CALLS.field(),
            CONFIDENCE.field(),
        ],
        rules: &[],
    };
}

pub(crate) mod window {
    use super::{COUNT, DAY, Duration, Key, Object, Rule, TypedKind};

    pub(crate) const TIME: Key<Duration> =
        Key::new("time", TypedKind::duration(Duration::from_millis(10), DAY), "The last while.");
    pub(crate) const CALLS: Key<u32> = Key::new("calls", COUNT, "The last calls.");

    pub(super) static WINDOW: Object = Object {
        doc: "The last calls, or the last while.",
        fields: &[TIME.field(), CALLS.field()],
        rules: &[Rule::ExactlyOne(&[TIME.name(), CALLS.name()])],
    };
}
