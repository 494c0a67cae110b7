//! The descriptions.

use super::{Host, Kind, Metric, Unit};

use crate::time::Duration;

/// A help, where there is somebody to show it to: the filter leaves the texts out of its module.
const fn described(help: &'static str) -> &'static str {
    if cfg!(feature = "std") { help } else { "" }
}

const NATIVE: &[Host] = &[Host::Native];
const WASM: &[Host] = &[Host::Wasm];
const BOTH: &[Host] = &[Host::Native, Host::Wasm];

impl Metric {
    /// A counter of both hosts.
    const fn counter(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self {
            name,
            kind: Kind::Counter,
            unit: Unit::Count,
            labels,
            help: described(help),
            hosts: BOTH,
            bounds: &[],
        }
    }

    /// A gauge of both hosts.
    const fn gauge(
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self { kind: Kind::Gauge, ..Self::counter(name, labels, help) }
    }

    /// The metric as one that only these hosts have.
    const fn only(self, hosts: &'static [Host]) -> Self {
        Self { hosts, ..self }
    }

    /// The metric as a histogram.
    const fn histogram(self, unit: Unit, bounds: &'static [(Duration, &'static str)]) -> Self {
        Self { kind: Kind::Histogram, unit, bounds, ..self }
    }
}

/// The label for a policy's name. It stands first.
pub const POLICY: &str = "policy";
/// The label for a scope: its key, or `*` where scopes share their counts. It stands second.
pub const SCOPE: &str = "scope";

pub(super) static REQUESTS: Metric = Metric::counter(
    "bimetal_requests_total",
    &[POLICY, SCOPE, "decision"],
    "Calls by what was decided.",
);
pub(super) static OUTCOMES: Metric = Metric::counter(
    "bimetal_outcomes_total",
    &[POLICY, SCOPE, "outcome"],
    "Admitted calls by what they counted as.",
);
pub(super) static BREAKER_REPLICAS: Metric = Metric::gauge(
    "bimetal_breaker_replicas",
    &[POLICY, SCOPE, "state"],
    "Workers whose breaker is in a state.",
);
pub(super) static BREAKER_TRANSITIONS: Metric = Metric::counter(
    "bimetal_breaker_transitions_total",
    &[POLICY, SCOPE, "from", "to", "cause"],
    "Changes of breakers' states.",
);
pub(super) static SHADOW: Metric = Metric::counter(
    "bimetal_shadow_total",
    &[POLICY, SCOPE, "decision"],
    "Decisions that were not applied.",
);
pub(super) static LATE: Metric = Metric::counter(
    "bimetal_late_total",
    &[POLICY, SCOPE],
    "Results that came too late to touch the breaker.",
);
pub(super) static UNPROTECTED: Metric = Metric::counter(
    "bimetal_unprotected_total",
    &[POLICY, SCOPE],
    "Calls passed because the table of scopes was full.",
);

pub(super) static WASTED: Metric = Metric::counter(
    "bimetal_wasted_total",
    &[POLICY, SCOPE],
    "Calls that went upstream and were given up, because their caller's time was over.",
);

pub(super) static RETRIES: Metric = Metric::counter(
    "bimetal_retries_total",
    &[POLICY, SCOPE, "result"],
    "Failed tries that the policy lists, by whether they were made again and why not; `helped` are tries beyond the first that did not fail.",
);
pub(super) static RETRY_BUDGET: Metric = Metric::gauge(
    "bimetal_retry_budget",
    &[POLICY, SCOPE],
    "Retries that the budgets of all workers leave right now.",
);

/// Anomalies.
pub static ANOMALIES: Metric = Metric::counter(
    "bimetal_anomalies_total",
    &[POLICY, SCOPE, "signal"],
    "Samples unlike those before them, of policies that have `anomaly`.",
);

/// Bounds of [`REQUEST_DURATION_SECONDS`].
pub const DURATION_BOUNDS: [(Duration, &str); 15] = [
    (Duration::from_nanos(250_000), "0.00025"),
    (Duration::from_nanos(500_000), "0.0005"),
    (Duration::from_millis(1), "0.001"),
    (Duration::from_nanos(2_500_000), "0.0025"),
    (Duration::from_millis(5), "0.005"),
    (Duration::from_millis(10), "0.01"),
    (Duration::from_millis(25), "0.025"),
    (Duration::from_millis(50), "0.05"),
    (Duration::from_millis(100), "0.1"),
    (Duration::from_millis(250), "0.25"),
    (Duration::from_millis(500), "0.5"),
    (Duration::from_secs(1), "1"),
    (Duration::from_millis(2_500), "2.5"),
    (Duration::from_secs(5), "5"),
    (Duration::from_secs(10), "10"),
];

/// How long requests took.
pub static REQUEST_DURATION_SECONDS: Metric = Metric::counter(
    "bimetal_request_duration_seconds",
    &[POLICY, SCOPE],
    "From a request's head to the end of its answer, for calls that were not rejected.",
)
.only(NATIVE)
.histogram(Unit::Seconds, &DURATION_BOUNDS);
/// How long calls took. Envoy's histograms of Wasm hold whole numbers, and have its own bounds.
pub static REQUEST_DURATION_MS: Metric = Metric::counter(
    "bimetal_request_duration_ms",
    &[POLICY],
    "From a call's admission to its settlement.",
)
.only(WASM)
.histogram(Unit::Milliseconds, &[]);
/// Limits of calls under way.
pub static CONCURRENCY_LIMIT: Metric = Metric::gauge(
    "bimetal_concurrency_limit",
    &[POLICY, SCOPE],
    "Calls that may be under way in a scope; the highest where scopes share a label.",
)
.only(NATIVE);
/// How much of them is used.
pub static LIMIT_FILL: Metric = Metric::gauge(
    "bimetal_limit_fill",
    &[POLICY, SCOPE],
    "How much of the limit of calls under way is used, from 0 to 1; the fullest where scopes share a label.",
)
.only(NATIVE);
/// Calls that wait.
pub static QUEUE_LENGTH: Metric = Metric::gauge(
    "bimetal_queue_length",
    &[POLICY, SCOPE],
    "Calls that wait for a slot or a token.",
);
/// Decisions that failed.
pub static DECISION_ERRORS: Metric = Metric::counter(
    "bimetal_decision_errors_total",
    &[],
    "Decisions that failed; the call passed.",
);
/// Scopes in the tables.
pub static SCOPES: Metric =
    Metric::gauge("bimetal_scopes", &[], "Scopes in the tables of all workers.");
/// Keys of rate limits.
pub static LIMIT_KEYS: Metric = Metric::gauge(
    "bimetal_limit_keys",
    &[],
    "Keys in the tables of all rate limits of all workers.",
);
/// Time limits that follow their upstreams.
pub static REQUEST_TIMEOUT: Metric = Metric {
    unit: Unit::Seconds,
    ..Metric::gauge(
        "bimetal_request_timeout_seconds",
        &[POLICY, SCOPE],
        "How long the next call may take, of policies with `timeout.request.auto`; the longest of all workers.",
    )
    .only(NATIVE)
};
/// Calls under way.
pub static CALLS_OUTSTANDING: Metric =
    Metric::gauge("bimetal_calls_outstanding", &[], "Admitted calls that are not settled yet.");
/// Events that were dropped.
pub static EVENTS_LOST: Metric =
    Metric::counter("bimetal_events_lost_total", &[], "Events that nobody took in time.");
/// Spans that were dropped.
pub static SPANS_DROPPED: Metric = Metric::counter(
    "bimetal_spans_dropped_total",
    &[],
    "Spans that nobody will have: too many waited, or they could not be written or sent.",
)
.only(NATIVE);
/// Panics.
pub static PANICS: Metric =
    Metric::counter("bimetal_panics_total", &[], "Connections that ended by a panic.").only(NATIVE);
/// Requests that were refused.
pub static REFUSED: Metric = Metric::counter(
    "bimetal_refused_total",
    &["reason"],
    "Requests refused for their form or size.",
)
.only(NATIVE);
/// How requests ended.
pub static REQUESTS_ENDED: Metric =
    Metric::counter("bimetal_requests_ended_total", &["end"], "Every request, by how it ended.")
        .only(NATIVE);
/// Answers.
pub static ANSWERS: Metric =
    Metric::counter("bimetal_answers_total", &["by", "class"], "Answers given, by whose they are.")
        .only(NATIVE);
/// Why tries failed.
pub static UPSTREAM_FAILURES: Metric = Metric::counter(
    "bimetal_upstream_failures_total",
    &["upstream", "reason"],
    "Tries without a whole answer, and answers that broke off, by what went wrong.",
)
.only(NATIVE);
/// Warnings of how services call each other.
pub static WARNINGS: Metric = Metric::counter(
    "bimetal_warnings_total",
    &[POLICY, SCOPE, "kind"],
    "What was noticed in how services call each other: of policies that have `warnings`.",
)
.only(NATIVE);
/// Fallbacks.
pub static FALLBACKS: Metric = Metric::counter(
    "bimetal_fallbacks_total",
    &[POLICY, SCOPE, "kind"],
    "Answers in place of a rejection or a failure, by whose they are: of policies that have a `fallback`.",
);
/// Connections from clients.
pub static CONNECTIONS: Metric =
    Metric::gauge("bimetal_connections", &[], "Connections from clients.").only(NATIVE);
/// Connections to upstreams.
pub static UPSTREAM_CONNECTIONS: Metric =
    Metric::gauge("bimetal_upstream_connections", &["upstream"], "Connections to upstreams.")
        .only(NATIVE);
/// Endpoints.
pub static ENDPOINTS: Metric = Metric::gauge(
    "bimetal_endpoints",
    &["upstream", "state"],
    "Endpoints of upstreams, by what is known of them.",
)
.only(NATIVE);
/// Ejections.
pub static EJECTIONS: Metric = Metric::counter(
    "bimetal_ejections_total",
    &["upstream"],
    "How often an endpoint was left out for a while, because calls to it failed.",
)
.only(NATIVE);
/// Configurations.
pub static RELOADS: Metric = Metric::counter(
    "bimetal_reloads_total",
    &["result"],
    "Configurations that came after the first.",
)
.only(NATIVE);
/// What was skipped.
pub static UNSUPPORTED_SKIPPED: Metric = Metric::gauge(
    "bimetal_unsupported_skipped",
    &[],
    "Parts of the configuration that were left out.",
);
/// Workers.
pub static WORKERS: Metric = Metric::gauge("bimetal_workers", &[], "Workers.").only(NATIVE);
/// Changes that the workers told each other. A gauge: an operator can set all counters to zero, and
/// a number that climbs again comes by one that a worker has seen.
pub static BOARD_CHANGES: Metric = Metric::gauge(
    "bimetal_board_changes",
    &[],
    "Changes of breakers that the workers told each other since Envoy began.",
)
.only(WASM);
/// Scopes without a place on the board.
pub static UNSHARED: Metric = Metric::counter(
    "bimetal_unshared_total",
    &[],
    "How often a scope found no place on the board, and was decided by one worker alone from then on.",
)
.only(WASM);

/// Exchanges with the board that failed, and what was found there that is not believed.
pub static BOARD_ERRORS: Metric = Metric::counter(
    "bimetal_board_errors_total",
    &["reason"],
    "Exchanges with other processes that failed, and records that were not believed.",
)
.only(NATIVE);
/// How long exchanges took.
pub static BOARD_EXCHANGE_SECONDS: Metric = Metric::counter(
    "bimetal_board_exchange_seconds",
    &[],
    "How long exchanges with other processes took that went well.",
)
.only(NATIVE)
.histogram(Unit::Seconds, &DURATION_BOUNDS);

/// Every metric, in the order of the proxy's page.
pub static ALL: [&Metric; 41] = [
    &REQUESTS,
    &OUTCOMES,
    &BREAKER_REPLICAS,
    &BREAKER_TRANSITIONS,
    &SHADOW,
    &RETRIES,
    &RETRY_BUDGET,
    &ANOMALIES,
    &LATE,
    &UNPROTECTED,
    &WASTED,
    &REQUEST_DURATION_SECONDS,
    &REQUEST_DURATION_MS,
    &CONCURRENCY_LIMIT,
    &LIMIT_FILL,
    &QUEUE_LENGTH,
    &REQUEST_TIMEOUT,
    &DECISION_ERRORS,
    &SCOPES,
    &LIMIT_KEYS,
    &CALLS_OUTSTANDING,
    &EVENTS_LOST,
    &SPANS_DROPPED,
    &PANICS,
    &REFUSED,
    &REQUESTS_ENDED,
    &ANSWERS,
    &UPSTREAM_FAILURES,
    &WARNINGS,
    &FALLBACKS,
    &CONNECTIONS,
    &UPSTREAM_CONNECTIONS,
    &ENDPOINTS,
    &EJECTIONS,
    &RELOADS,
    &UNSUPPORTED_SKIPPED,
    &WORKERS,
    &BOARD_ERRORS,
    &BOARD_EXCHANGE_SECONDS,
    &BOARD_CHANGES,
    &UNSHARED,
];
