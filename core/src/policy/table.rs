//! The whole policy language as tables. What later work brings is known by name, so that it is
//! refused as unsupported and not as a typing mistake.

use super::forms::{ANSWER, FIELD_VALUE, GRPC, HOST, PATH, STATUS};
use super::types::Host;
use crate::doc::table::{ANY_TEXT, NAME, TOKEN};
use crate::doc::{Field, Kind, Object, Rule, Word, Zero};
use crate::time::Duration;

const NATIVE: &[Host] = &[Host::Native];
const WASM: &[Host] = &[Host::Wasm];

const MS: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Times from a millisecond to a day: Envoy's timeouts know nothing finer.
const TIME: Kind = Kind::Duration { min: MS, max: DAY };
/// A count that is at least one.
const COUNT: Kind = Kind::Integer {
    min: 1,
    max: 1_000_000,
};

/// A whole policy document. Its keys are also keys of the proxy's file.
pub static DOCUMENT: Object = Object {
    doc: "A policy document.",
    fields: &[
        Field::new("version", Kind::Words(&[Word::new("v1")]), "Version of the language.")
            .default(r#""v1""#),
        Field::new(
            "unsupported",
            Kind::Words(&[Word::new("refuse"), Word::new("skip")]),
            "What happens to what this host cannot do: `refuse` the document, or `skip` that part and say so.",
        )
        .default(r#""refuse""#),
        Field::new(
            "policies",
            Kind::List { of: &Kind::Object(&POLICY), min: 0 },
            "The policies; the first that matches a request decides.",
        )
        .default("[]"),
    ],
    rules: &[],
};

/// One policy.
pub static POLICY: Object = Object {
    doc: "One policy.",
    fields: &[
        Field::new("name", Kind::Text(&NAME), "Unique name; appears in every signal.").required(),
        Field::new(
            "match",
            Kind::Object(&MATCH),
            "Which requests it is for; every part that is given must hold. Empty: all.",
        )
        .default("{}"),
        Field::new(
            "scope",
            Kind::Words(&[
                Word::new("policy"),
                Word::new("destination"),
                Word::new("route"),
                Word::new("authority"),
                Word::new("client"),
                Word::new("header:"),
                Word::later("endpoint"),
            ]),
            "What has a breaker of its own.",
        )
        .default(r#""destination""#),
        Field::new("scopes", Kind::Object(&SCOPES), "Bounds of the table of scopes.").default("{}"),
        Field::new(
            "mode",
            Kind::Words(&[
                Word::new("enforce"),
                Word::new("shadow"),
                Word::new("forced_open"),
                Word::new("disabled"),
            ]),
            "`enforce` acts; `shadow` decides and counts only; `forced_open` rejects every call; `disabled` passes every call.",
        )
        .default(r#""enforce""#),
        Field::new(
            "evidence",
            Kind::Words(&[Word::new("calls"), Word::later("tries")]),
            "What is counted: whole calls, or each try.",
        )
        .default(r#""calls""#),
        Field::new("count_injected", Kind::Bool, "Whether faults injected by the mesh are evidence.")
            .default("false"),
        Field::new("breaker", Kind::Object(&BREAKER), "The circuit breaker."),
        Field::new("timeout", Kind::Object(&TIMEOUT), "Time limits that the host enforces."),
        Field::new(
            "fallback",
            Kind::Object(&FALLBACK),
            "The answer in place of a rejection or a failure.",
        ),
        Field::new(
            "debug_headers",
            Kind::Bool,
            "Whether every answer carries `x-bimetal-state` and `x-bimetal-policy`.",
        )
        .default("false"),
        Field::later("rate_limits", "Rate limits; all must admit."),
        Field::later("connections", "Limits of connections."),
        Field::later("bandwidth", "Limits of bandwidth."),
        Field::later("concurrency", "Limit of calls under way."),
        Field::later("deadline", "Deadlines taken from requests and handed on."),
        Field::later("retry", "Retries and their budget."),
        Field::later("anomaly", "Anomaly detection."),
    ],
    rules: &[],
};

static MATCH: Object = Object {
    doc: "Which requests a policy is for.",
    fields: &[
        Field::new(
            "hosts",
            Kind::List {
                of: &Kind::Text(&HOST),
                min: 1,
            },
            "Hosts without port, in any case: `echo`, `*.example.com` (not `example.com`), `*`.",
        ),
        Field::new(
            "path_prefix",
            Kind::Text(&PATH),
            "A path and all below it, by whole segments: `/echo` takes `/echo` and `/echo/a`, not `/echoes`.",
        ),
        Field::new(
            "path",
            Kind::Text(&PATH),
            "This path alone, compared without the query.",
        ),
        Field::new(
            "methods",
            Kind::List {
                of: &Kind::Text(&TOKEN),
                min: 1,
            },
            "Methods, case matters.",
        ),
        Field::new(
            "headers",
            Kind::Map {
                key: &TOKEN,
                of: &Kind::Text(&FIELD_VALUE),
            },
            "Headers and their exact values; `*` = present.",
        ),
        Field::new(
            "direction",
            Kind::Words(&[
                Word::new("any"),
                Word::only("inbound", WASM),
                Word::only("outbound", WASM),
            ]),
            "Which way a request travels through a sidecar (Envoy only).",
        )
        .default(r#""any""#),
    ],
    rules: &[Rule::AtMostOne(&["path", "path_prefix"])],
};

static SCOPES: Object = Object {
    doc: "Bounds of the table of scopes.",
    fields: &[
        Field::new("max", COUNT, "Most scopes at once.").default("10000"),
        Field::new(
            "when_full",
            Kind::Words(&[Word::new("share"), Word::new("pass")]),
            "What happens to one more when none is idle: `share` one common scope, or `pass` unprotected and counted.",
        )
        .default(r#""share""#),
    ],
    rules: &[],
};

/// A breaker.
pub static BREAKER: Object = Object {
    doc: "The circuit breaker.",
    fields: &[
        Field::new(
            "profile",
            Kind::Words(&[
                Word::new("origin-study"),
                Word::later("resilience4j"),
                Word::later("hystrix"),
                Word::later("polly"),
                Word::later("gobreaker"),
                Word::later("istio-outlier"),
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
            Kind::Words(&[Word::new("none"), Word::later("process"), Word::later("mesh")]),
            "With whom evidence is shared.",
        )
        .default(r#""none""#),
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
        Field::new(
            "failure_rate",
            Kind::Object(&FAILURE_RATE),
            "Too large a share of failures.",
        ),
        Field::new(
            "slow_rate",
            Kind::Object(&SLOW_RATE),
            "Too large a share of slow answers.",
        ),
    ],
    rules: &[Rule::AtLeastOne(&[
        "consecutive_failures",
        "failure_rate",
        "slow_rate",
    ])],
};

const THRESHOLD: Field = Field::new(
    "threshold",
    Kind::Number {
        min: 0.0,
        max: 1.0,
        zero: Zero::Refused,
    },
    "Trips at or above this share.",
)
.required();
const WINDOW_FIELD: Field =
    Field::new("window", Kind::Object(&WINDOW), "Where calls are counted.").required();
const MINIMUM_CALLS: Field = Field::new(
    "minimum_calls",
    COUNT,
    "Below this many calls in the window nothing trips.",
)
.computed("20, or window.calls where that is less");
const CONFIDENCE: Field = Field::new(
    "confidence",
    Kind::Number {
        min: 0.5,
        max: 0.999999,
        zero: Zero::Refused,
    },
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
            "An answer whose headers take longer is slow.",
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
            Kind::Duration {
                min: Duration::from_millis(10),
                max: DAY,
            },
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
            Kind::Number {
                min: 1.0,
                max: 100.0,
                zero: Zero::Refused,
            },
            "Growth with each trip that follows.",
        )
        .default("2"),
        Field::new("max", TIME, "Longest open time, before jitter.")
            .computed("5m, or base where that is longer"),
        Field::new(
            "jitter",
            Kind::Number {
                min: 0.0,
                max: 1.0,
                zero: Zero::Allowed,
            },
            "Share of the open time that is added at random.",
        )
        .default("0.1"),
    ],
    rules: &[],
};

static HALF_OPEN: Object = Object {
    doc: "How it tries again.",
    fields: &[
        Field::new(
            "max_probes",
            Kind::Integer { min: 1, max: 1_000 },
            "Most probes outstanding.",
        )
        .default("1"),
        Field::new("required_successes", COUNT, "Successes that close it.").default("1"),
        Field::new(
            "lease",
            TIME,
            "How long a probe may wait for response headers.",
        )
        .computed("10s, or timeout.request where that is longer"),
    ],
    rules: &[],
};

static RECOVERY: Object = Object {
    doc: "How it comes back.",
    fields: &[Field::new(
        "ramp",
        Kind::Duration {
            min: Duration::ZERO,
            max: DAY,
        },
        "After closing, a share of calls that grows over this time is admitted.",
    )
    .default(r#""0s""#)],
    rules: &[],
};

const TRANSPORT: Kind = Kind::Words(&[
    Word::new("connect"),
    Word::new("reset"),
    Word::new("timeout"),
    Word::new("overflow"),
]);

pub(super) static FAILURE: Object = Object {
    doc: "What counts as a failure.",
    fields: &[
        Field::new(
            "statuses",
            Kind::List {
                of: &Kind::Token(&STATUS),
                min: 0,
            },
            "HTTP statuses, or classes of them.",
        )
        .default(r#"["5xx"]"#),
        Field::new(
            "grpc",
            Kind::List {
                of: &Kind::Text(&GRPC),
                min: 0,
            },
            "gRPC statuses.",
        )
        .default(r#"["unavailable","deadline_exceeded","internal"]"#),
        Field::new(
            "transport",
            Kind::List {
                of: &TRANSPORT,
                min: 0,
            },
            "No connection, a broken one, no answer in time, or the host's own limit (`overflow`).",
        )
        .default(r#"["connect","reset","timeout"]"#),
        Field::new(
            "ignore",
            Kind::List {
                of: &Kind::Token(&ANSWER),
                min: 0,
            },
            "What is no evidence at all, whatever the other lists say: any of their words.",
        )
        .default("[]"),
    ],
    rules: &[],
};

static TIMEOUT: Object = Object {
    doc: "Time limits.",
    fields: &[
        Field::new(
            "request",
            Kind::OrObject {
                plain: &TIME,
                object: None,
            },
            "From handing the call to the upstream until its response headers.",
        ),
        Field::new("connect", TIME, "For the connection (proxy only).").only(NATIVE),
        Field::later("per_try", "For each try."),
        Field::later("idle", "Between two pieces of a body."),
    ],
    rules: &[],
};

static FALLBACK: Object = Object {
    doc: "A fixed answer.",
    fields: &[
        Field::new(
            "on",
            Kind::List {
                of: &Kind::Words(&[Word::new("rejected"), Word::only("failed", NATIVE)]),
                min: 1,
            },
            "When it is given: in place of rejections, of upstream failures (proxy only).",
        )
        .default(r#"["rejected"]"#),
        Field::new(
            "status",
            Kind::Integer { min: 200, max: 599 },
            "Its status; left out: the rule's own.",
        ),
        Field::new(
            "headers",
            Kind::Map {
                key: &TOKEN,
                of: &Kind::Text(&FIELD_VALUE),
            },
            "Its headers.",
        )
        .default("{}"),
        Field::new(
            "body",
            Kind::Text(&ANY_TEXT),
            "Its body; left out: `{\"error\": …}`.",
        ),
        Field::later("stale", "An older answer."),
        Field::later("upstream", "Another upstream's answer."),
    ],
    rules: &[],
};
