//! The whole policy language as tables. What later work brings is known by name, so that it is
//! refused as unsupported and not as a typing mistake.
//!
//! Each part has a module with one [`Key`] for each of its fields; the readers ask by those.

pub(crate) mod anomaly;
pub(crate) mod bandwidth;
pub(crate) mod board;
pub(crate) mod breaker;
pub(crate) mod concurrency;
pub(crate) mod connections;
pub(crate) mod deadline;
pub(crate) mod failure;
pub(crate) mod fallback;
pub(crate) mod limits;
pub mod matching;
pub(crate) mod retry;
pub(crate) mod trip;
pub(crate) mod warnings;

pub use board::BOARD;
pub use breaker::BREAKER;
pub use failure::FAILURE;

use super::forms::scope;
use super::types::{Evidence, Mode, Scope, WhenFull};
use crate::doc::table::NAME as NAME_FORM;
use crate::doc::{Host, Key, Keyword, Object, Part, TypedKind, Unsupported};
use crate::time::Duration;
use alloc::string::String;
use alloc::vec::Vec;

const NATIVE: &[Host] = &[Host::Native];
const WASM: &[Host] = &[Host::Wasm];

const MS: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Times from a millisecond to a day: Envoy's timeouts know nothing finer.
pub const TIME: TypedKind<Duration> = TypedKind::duration(MS, DAY);
/// A count that is at least one, at most a million.
pub const COUNT: TypedKind<u32> = TypedKind::<u32>::whole(1, 1_000_000);

const ONE_POLICY: TypedKind<Part> = TypedKind::object(&POLICY);
const ONE_LIMIT: TypedKind<Part> = TypedKind::object(&limits::LIMIT);

/// `version`, of this language and of a host's file.
pub const VERSION: Key<String> =
    Key::new("version", TypedKind::keywords(&[Keyword::new("v1")]), "Version of the language.")
        .default(r#""v1""#);
/// `unsupported`, of a document and of a host's file.
pub const UNSUPPORTED: Key<Unsupported> = Key::new(
    "unsupported",
    TypedKind::keywords(&[
        Keyword::new(Unsupported::Refuse.name()),
        Keyword::new(Unsupported::Skip.name()),
    ]),
    "What happens to what this host cannot do: `refuse` the document, or `skip` that part and say so.",
)
.default(r#""refuse""#);
/// `policies`, of a document and of a host's file.
pub const POLICIES: Key<Vec<Part>> = Key::new(
    "policies",
    TypedKind::list(&ONE_POLICY, 0),
    "The policies; the first that matches a request decides.",
)
.default("[]");

/// A whole policy document. Its keys are also keys of the proxy's file.
pub static DOCUMENT: Object = Object {
    doc: "A policy document.",
    fields: &[VERSION.field(), UNSUPPORTED.field(), POLICIES.field(), BOARD.field()],
    rules: &[],
};

pub(crate) const NAME: Key<String> =
    Key::new("name", TypedKind::text(&NAME_FORM), "Unique name; appears in every signal.")
        .required();
pub(crate) const MATCH: Key<Part> = Key::new(
    "match",
    TypedKind::object(&matching::MATCH),
    "Which requests it is for; every part that is given must hold. Empty: all.",
)
.default("{}");
pub(crate) const SCOPE: Key<Scope> = Key::new(
    "scope",
    TypedKind::keywords(&[
        Keyword::new(scope::POLICY),
        Keyword::new(scope::DESTINATION),
        Keyword::new(scope::ROUTE),
        Keyword::new(scope::AUTHORITY),
        Keyword::new(scope::CLIENT),
        Keyword::new(scope::HEADER),
        Keyword::only(scope::ENDPOINT, &[Host::Native]),
    ]),
    "What has a breaker of its own.",
)
.default(r#""destination""#);
pub(crate) const SCOPES: Key<Part> =
    Key::new("scopes", TypedKind::object(&scopes::SCOPES), "Bounds of the table of scopes.")
        .default("{}");
pub(crate) const MODE: Key<Mode> = Key::new(
    "mode",
    TypedKind::keywords(&[
        Keyword::new(Mode::Enforce.name()),
        Keyword::new(Mode::Shadow.name()),
        Keyword::new(Mode::ForcedOpen.name()),
        Keyword::new(Mode::Disabled.name()),
    ]),
    "`enforce` acts; `shadow` decides and counts only; `forced_open` rejects every call; `disabled` passes every call.",
)
.default(r#""enforce""#);
pub(crate) const EVIDENCE: Key<Evidence> = Key::new(
    "evidence",
    TypedKind::keywords(&[
        Keyword::new(Evidence::Calls.name()),
        Keyword::only(Evidence::Tries.name(), NATIVE),
    ]),
    "What is counted: whole calls, or each try (proxy only).",
)
.default(r#""calls""#);
pub(crate) const COUNT_INJECTED: Key<bool> = Key::new(
    "count_injected",
    TypedKind::BOOL,
    "Whether faults injected by the mesh are evidence.",
)
.default("false");
pub(crate) const BREAKER_KEY: Key<Part> =
    Key::new("breaker", TypedKind::object(&BREAKER), "The circuit breaker.");
pub(crate) const DEADLINE: Key<Part> = Key::new(
    "deadline",
    TypedKind::object(&deadline::DEADLINE),
    "Deadlines taken from requests and handed on.",
);
pub(crate) const RATE_LIMITS: Key<Vec<Part>> =
    Key::new("rate_limits", TypedKind::list(&ONE_LIMIT, 0), "Rate limits; all must admit.");
pub(crate) const CONNECTIONS: Key<Part> = Key::new(
    "connections",
    TypedKind::object(&connections::CONNECTIONS),
    "Limits of clients' connections.",
)
.only(NATIVE);
pub(crate) const BANDWIDTH: Key<Part> = Key::new(
    "bandwidth",
    TypedKind::object(&bandwidth::BANDWIDTH),
    "How fast answers are sent to clients.",
)
.only(NATIVE);
pub(crate) const CONCURRENCY: Key<Part> = Key::new(
    "concurrency",
    TypedKind::object(&concurrency::CONCURRENCY),
    "Limit of calls under way at once.",
);
pub(crate) const TIMEOUT: Key<Part> = Key::new(
    "timeout",
    TypedKind::object(&timeout::TIMEOUT),
    "Time limits that the host enforces.",
);
pub(crate) const RETRY: Key<Part> =
    Key::new("retry", TypedKind::object(&retry::RETRY), "Retries and their budget.");
pub(crate) const FALLBACK: Key<Part> = Key::new(
    "fallback",
    TypedKind::object(&fallback::FALLBACK),
    "The answer in place of a rejection or a failure.",
);
pub(crate) const WARNINGS: Key<Part> = Key::new(
    "warnings",
    TypedKind::object(&warnings::WARNINGS),
    "What is warned of in how services call each other.",
)
.only(NATIVE);
pub(crate) const ANOMALY: Key<Part> = Key::new(
    "anomaly",
    TypedKind::object(&anomaly::ANOMALY),
    "What is watched of a scope's calls.",
);
pub(crate) const DEBUG_HEADERS: Key<bool> = Key::new(
    "debug_headers",
    TypedKind::BOOL,
    "Whether every answer carries `x-bimetal-state` and `x-bimetal-policy`.",
)
.default("false");

/// One policy.
pub static POLICY: Object = Object {
    doc: "One policy.",
    fields: &[
        NAME.field(),
        MATCH.field(),
        SCOPE.field(),
        SCOPES.field(),
        MODE.field(),
        EVIDENCE.field(),
        COUNT_INJECTED.field(),
        BREAKER_KEY.field(),
        DEADLINE.field(),
        CONNECTIONS.field(),
        BANDWIDTH.field(),
        RATE_LIMITS.field(),
        CONCURRENCY.field(),
        TIMEOUT.field(),
        RETRY.field(),
        FALLBACK.field(),
        WARNINGS.field(),
        ANOMALY.field(),
        DEBUG_HEADERS.field(),
    ],
    rules: &[],
};

pub(crate) mod scopes {
    use super::{COUNT, Key, Keyword, Object, TypedKind, WhenFull};

    pub(crate) const MAX: Key<u32> =
        Key::new("max", COUNT, "Most scopes at once.").default("10000");
    pub(crate) const WHEN_FULL: Key<WhenFull> = Key::new(
        "when_full",
        TypedKind::keywords(&[
            Keyword::new(WhenFull::Share.name()),
            Keyword::new(WhenFull::Pass.name()),
        ]),
        "What happens to one more when none is idle: `share` one common scope, or `pass` unprotected and counted.",
    )
    .default(r#""share""#);

    pub(in crate::policy) static SCOPES: Object = Object {
        doc: "Bounds of the table of scopes.",
        fields: &[MAX.field(), WHEN_FULL.field()],
        rules: &[],
    };
}

pub(crate) mod timeout {
    use super::{Duration, Key, NATIVE, Object, Part, TIME, TypedKind};
    use crate::auto_timeout::AutoTimeoutPolicy;
    use crate::doc::{FromNode, Node};

    /// What `request` may be.
    #[derive(Clone, Copy)]
    pub(crate) enum RequestTime {
        /// One time for all calls.
        Fixed(Duration),
        /// One that follows the upstream.
        Auto(AutoTimeoutPolicy),
    }

    impl RequestTime {
        /// The longest that a call may take.
        pub(crate) const fn longest(self) -> Duration {
            match self {
                Self::Fixed(time) => time,
                Self::Auto(auto) => auto.max,
            }
        }
    }

    impl FromNode for RequestTime {
        fn from_node(node: &Node) -> Option<Self> {
            let Some(auto) = AUTO.node(node) else {
                return Duration::from_node(node).map(Self::Fixed);
            };
            Some(Self::Auto(AutoTimeoutPolicy {
                percentile: auto::PERCENTILE.find(auto)?,
                margin: auto::MARGIN.find(auto)?,
                min: auto::MIN.find(auto)?,
                max: auto::MAX.find(auto)?,
            }))
        }
    }

    pub(crate) const AUTO: Key<Part> =
        Key::new("auto", TypedKind::object(&auto::AUTO), "It follows the upstream's latency.")
            .required();

    static MEASURED: Object =
        Object { doc: "A time that is measured.", fields: &[AUTO.field()], rules: &[] };

    pub(crate) mod auto {
        use super::{Duration, Key, Object, TIME, TypedKind};

        pub(crate) const PERCENTILE: Key<f64> = Key::new(
            "percentile",
            TypedKind::number(0.5, 0.9999),
            "The share of calls that take no longer than what is measured.",
        )
        .default("0.99");
        pub(crate) const MARGIN: Key<f64> = Key::new(
            "margin",
            TypedKind::number(0.0, 10.0),
            "What is added to that, as a share of it.",
        )
        .default("0.5");
        pub(crate) const MIN: Key<Duration> =
            Key::new("min", TIME, "It is never shorter.").required();
        pub(crate) const MAX: Key<Duration> =
            Key::new("max", TIME, "It is never longer, and this until enough calls were seen.")
                .required();

        pub(super) static AUTO: Object = Object {
            doc: "A percentile of the latencies and a margin, within bounds.",
            fields: &[PERCENTILE.field(), MARGIN.field(), MIN.field(), MAX.field()],
            rules: &[],
        };
    }

    pub(crate) const REQUEST: Key<RequestTime> = Key::new(
        "request",
        TypedKind::or_object(&TIME, &MEASURED),
        "Until the response headers, on the upstream's clock: a time, or `auto` with a percentile of the latencies.",
    );
    pub(crate) const CONNECT: Key<Duration> =
        Key::new("connect", TIME, "For the connection (proxy only).").only(NATIVE);

    pub(crate) const PER_TRY: Key<Duration> =
        Key::new("per_try", TIME, "The same for each try of a call.");

    pub(crate) const IDLE: Key<Duration> = Key::new(
        "idle",
        TIME,
        "How long either side may send or take nothing within a body (proxy only).",
    )
    .only(NATIVE);

    pub(super) static TIMEOUT: Object = Object {
        doc: "Time limits.",
        fields: &[REQUEST.field(), CONNECT.field(), PER_TRY.field(), IDLE.field()],
        rules: &[],
    };
}
