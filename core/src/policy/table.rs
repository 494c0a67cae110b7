//! The whole policy language as tables. What later work brings is known by name, so that it is
//! refused as unsupported and not as a typing mistake.

mod breaker;

pub use breaker::{BREAKER, FAILURE};

use super::forms::{FIELD_VALUE, HOST, PATH};
use super::types::Host;
use crate::doc::table::{ANY_TEXT, NAME, TOKEN};
use crate::doc::{Field, Keyword, Kind, Object, Rule};
use crate::time::Duration;

const NATIVE: &[Host] = &[Host::Native];
const WASM: &[Host] = &[Host::Wasm];

const MS: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Times from a millisecond to a day: Envoy's timeouts know nothing finer.
const TIME: Kind = Kind::Duration { min: MS, max: DAY };
/// A count that is at least one.
const COUNT: Kind = Kind::Integer { min: 1, max: 1_000_000 };

/// A whole policy document. Its keys are also keys of the proxy's file.
pub static DOCUMENT: Object = Object {
    doc: "A policy document.",
    fields: &[
        Field::new("version", Kind::Keywords(&[Keyword::new("v1")]), "Version of the language.")
            .default(r#""v1""#),
        Field::new(
            "unsupported",
            Kind::Keywords(&[Keyword::new("refuse"), Keyword::new("skip")]),
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
            Kind::Keywords(&[
                Keyword::new("policy"),
                Keyword::new("destination"),
                Keyword::new("route"),
                Keyword::new("authority"),
                Keyword::new("client"),
                Keyword::new("header:"),
                Keyword::later("endpoint"),
            ]),
            "What has a breaker of its own.",
        )
        .default(r#""destination""#),
        Field::new("scopes", Kind::Object(&SCOPES), "Bounds of the table of scopes.").default("{}"),
        Field::new(
            "mode",
            Kind::Keywords(&[
                Keyword::new("enforce"),
                Keyword::new("shadow"),
                Keyword::new("forced_open"),
                Keyword::new("disabled"),
            ]),
            "`enforce` acts; `shadow` decides and counts only; `forced_open` rejects every call; `disabled` passes every call.",
        )
        .default(r#""enforce""#),
        Field::new(
            "evidence",
            Kind::Keywords(&[Keyword::new("calls"), Keyword::later("tries")]),
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
            Kind::List { of: &Kind::Text(&HOST), min: 1 },
            "Hosts without port, in any case: `echo`, `*.example.com` (not `example.com`), `*`.",
        ),
        Field::new(
            "path_prefix",
            Kind::Text(&PATH),
            "A path and all below it, by whole segments: `/echo` takes `/echo` and `/echo/a`, not `/echoes`.",
        ),
        Field::new("path", Kind::Text(&PATH), "This path alone, compared without the query."),
        Field::new(
            "methods",
            Kind::List { of: &Kind::Text(&TOKEN), min: 1 },
            "Methods, case matters.",
        ),
        Field::new(
            "headers",
            Kind::Map { key: &TOKEN, of: &Kind::Text(&FIELD_VALUE) },
            "Headers and their exact values; `*` = present.",
        ),
        Field::new(
            "direction",
            Kind::Keywords(&[
                Keyword::new("any"),
                Keyword::only("inbound", WASM),
                Keyword::only("outbound", WASM),
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
            Kind::Keywords(&[Keyword::new("share"), Keyword::new("pass")]),
            "What happens to one more when none is idle: `share` one common scope, or `pass` unprotected and counted.",
        )
        .default(r#""share""#),
    ],
    rules: &[],
};

static TIMEOUT: Object = Object {
    doc: "Time limits.",
    fields: &[
        Field::new(
            "request",
            Kind::OrObject { plain: &TIME, object: None },
            "Until the response headers, on the upstream's clock.",
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
            "when",
            Kind::List {
                of: &Kind::Keywords(&[Keyword::new("rejected"), Keyword::only("failed", NATIVE)]),
                min: 1,
            },
            "When it is given: in place of rejections, of upstream failures (proxy only).",
        )
        // `on` is its first name. YAML 1.1, which kubectl and helm read, takes that for a boolean,
        // and it arrives as the key `true`.
        .also(&["on", "true"])
        .default(r#"["rejected"]"#),
        Field::new(
            "status",
            Kind::Integer { min: 200, max: 599 },
            "Its status; left out: the rule's own.",
        ),
        Field::new(
            "headers",
            Kind::Map { key: &TOKEN, of: &Kind::Text(&FIELD_VALUE) },
            "Its headers.",
        )
        .default("{}"),
        Field::new("body", Kind::Text(&ANY_TEXT), "Its body; left out: `{\"error\": …}`."),
        Field::later("stale", "An older answer."),
        Field::later("upstream", "Another upstream's answer."),
    ],
    rules: &[],
};
