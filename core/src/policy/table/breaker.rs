//! The part of the table that describes a breaker.

use super::{COUNT, DAY, TIME};
use crate::doc::{Field, Keyword, Kind, Object, Rule};
use crate::policy::forms::{ANSWER, GRPC, STATUS};
use crate::time::Duration;

/// A breaker.
pub static BREAKER: Object = Object {
    doc: "The circuit breaker.",
    fields: &[
        Field::new(
            "profile",
            Kind::Keywords(&[
                Keyword::new("origin-study"),
                Keyword::later("resilience4j"),
                Keyword::later("hystrix"),
                Keyword::later("polly"),
                Keyword::later("gobreaker"),
                Keyword::later("istio-outlier"),
            ]),
            "Fills in what is left out as that breaker has it. A given `trip` or `failure` replaces the profile's whole, all else leaf by leaf.",
        ),
        Field::new(
            "trip",
            Kind::Object(&TRIP),
            "When it opens; any condition alone is enough. Required without a profile.",
        ),
        Field::new("open", Kind::Object(&OPEN), "How long it stays open.").default("{}"),
        Field::new("half_open", Kind::Object(&HALF_OPEN), "How it tries again.").default("{}"),
        Field::new("recovery", Kind::Object(&RECOVERY), "How it comes back.").default("{}"),
        Field::new("failure", Kind::Object(&FAILURE), "What counts as a failure.").default("{}"),
        Field::new(
            "respect_retry_after",
            Kind::Bool,
            "Whether the `retry-after` of the failure that opened it lengthens the open time, up to `open.max`.",
        )
        .default("true"),
        Field::new(
            "share",
            Kind::Keywords(&[Keyword::new("none"), Keyword::new("process"), Keyword::later("mesh")]),
            "With whom evidence is shared.",
        )
        .default(r#""process""#),
        Field::later("quorum", "Open replicas needed before others follow without own evidence."),
    ],
    rules: &[Rule::AtLeastOne(&["trip", "profile"])],
};

static TRIP: Object = Object {
    doc: "Trip conditions.",
    fields: &[
        Field::new(
            "consecutive_failures",
            COUNT,
            "This many failures without a success between them.",
        ),
        Field::new("failure_rate", Kind::Object(&FAILURE_RATE), "Too large a share of failures."),
        Field::new("slow_rate", Kind::Object(&SLOW_RATE), "Too large a share of slow answers."),
    ],
    rules: &[Rule::AtLeastOne(&["consecutive_failures", "failure_rate", "slow_rate"])],
};

const THRESHOLD: Field = Field::new(
    "threshold",
    Kind::Number { min: 0.0, max: 1.0, zero_allowed: false },
    "Trips at or above this share.",
)
.required();
const WINDOW_FIELD: Field =
    Field::new("window", Kind::Object(&WINDOW), "Where calls are counted.").required();
const MINIMUM_CALLS: Field =
    Field::new("minimum_calls", COUNT, "Below this many calls in the window nothing trips.")
        .computed("20, or window.calls where that is less");
const CONFIDENCE: Field = Field::new(
    "confidence",
    Kind::Number { min: 0.5, max: 0.999999, zero_allowed: false },
    "Trips only when the share is over the threshold with this confidence (lower Wilson bound, one-sided).",
);

static FAILURE_RATE: Object = Object {
    doc: "A share of failures in a window.",
    fields: &[THRESHOLD, WINDOW_FIELD, MINIMUM_CALLS, CONFIDENCE],
    rules: &[],
};

static SLOW_RATE: Object = Object {
    doc: "A share of slow answers in a window.",
    fields: &[
        THRESHOLD,
        Field::new(
            "slower_than",
            TIME,
            "An answer whose headers take longer on the upstream's clock is slow.",
        )
        .required(),
        WINDOW_FIELD,
        MINIMUM_CALLS,
        CONFIDENCE,
    ],
    rules: &[],
};

static WINDOW: Object = Object {
    doc: "The last calls, or the last while.",
    fields: &[
        Field::new(
            "time",
            Kind::Duration { min: Duration::from_millis(10), max: DAY },
            "The last while.",
        ),
        Field::new("calls", COUNT, "The last calls."),
    ],
    rules: &[Rule::ExactlyOne(&["time", "calls"])],
};

static OPEN: Object = Object {
    doc: "Open for min(base · multiplier^level, max), plus up to `jitter` of it.",
    fields: &[
        Field::new("base", TIME, "Open time of the first trip.").default(r#""30s""#),
        Field::new(
            "multiplier",
            Kind::Number { min: 1.0, max: 100.0, zero_allowed: false },
            "Growth with each trip that follows.",
        )
        .default("2"),
        Field::new("max", TIME, "Longest open time, before jitter.")
            .computed("5m, or base where that is longer"),
        Field::new(
            "jitter",
            Kind::Number { min: 0.0, max: 1.0, zero_allowed: true },
            "Share of the open time that is added at random.",
        )
        .default("0.1"),
    ],
    rules: &[],
};

static HALF_OPEN: Object = Object {
    doc: "How it tries again.",
    fields: &[
        Field::new("max_probes", Kind::Integer { min: 1, max: 1_000 }, "Most probes outstanding.")
            .default("1"),
        Field::new("required_successes", COUNT, "Successes that close it.").default("1"),
        Field::new(
            "lease",
            TIME,
            "How long a probe may wait for response headers, on the upstream's clock.",
        )
        .computed("10s, or timeout.request where that is longer"),
    ],
    rules: &[],
};

static RECOVERY: Object = Object {
    doc: "How it comes back.",
    fields: &[Field::new(
        "ramp",
        Kind::Duration { min: Duration::ZERO, max: DAY },
        "After closing, a share of calls that grows over this time is admitted.",
    )
    .default(r#""0s""#)],
    rules: &[],
};

const TRANSPORT: Kind = Kind::Keywords(&[
    Keyword::new("connect"),
    Keyword::new("reset"),
    Keyword::new("timeout"),
    Keyword::new("overflow"),
]);

/// What counts as a failure.
pub static FAILURE: Object = Object {
    doc: "What counts as a failure.",
    fields: &[
        Field::new(
            "statuses",
            Kind::List { of: &Kind::Token(&STATUS), min: 0 },
            "HTTP statuses, or classes of them.",
        )
        .default(r#"["5xx"]"#),
        Field::new("grpc", Kind::List { of: &Kind::Text(&GRPC), min: 0 }, "gRPC statuses.")
            .default(r#"["unavailable","deadline_exceeded","internal"]"#),
        Field::new(
            "transport",
            Kind::List { of: &TRANSPORT, min: 0 },
            "No connection, a broken one, no answer in time, or the host's own limit (`overflow`).",
        )
        .default(r#"["connect","reset","timeout"]"#),
        Field::new(
            "ignore",
            Kind::List { of: &Kind::Token(&ANSWER), min: 0 },
            "What is no evidence at all, whatever the other lists say: any of their words.",
        )
        .default("[]"),
    ],
    rules: &[],
};
