//! The part of the table that describes retries.

use super::{NATIVE, TIME};

use crate::doc::{Form, FromNode, Key, Keyword, Node, Object, Part, Size, Support, TypedKind};
use crate::limiter::Rate;
use crate::outcome::{AnswerSet, Transport};
use crate::policy::forms::{Answer, parse_rate, parse_status};
use crate::retry::backoff::Jitter;
use crate::retry::{IDEMPOTENT, RetriedMethods};
use crate::time::Duration;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// What is tried again, by our names, nginx's (`proxy_next_upstream`) and Envoy's (`retry_on`).
#[derive(Clone, Copy)]
pub(crate) enum Condition {
    /// One answer, or one way to have none.
    Answer(Answer),
    /// nginx's `error`: no connection, or one that broke.
    Error,
    /// Envoy's `gateway-error`.
    GatewayError,
    /// Envoy's `refused-stream`.
    RefusedStream,
    /// nginx's `non_idempotent`: it says which requests, not which answers.
    NonIdempotent,
}

impl Condition {
    fn parse(text: &str) -> Option<Self> {
        if let Some(answer) = Answer::parse(text) {
            return Some(Self::Answer(answer));
        }
        Some(match text {
            "connect-failure" => Self::Answer(Answer::Transport(Transport::Connect)),
            "invalid_header" => Self::Answer(Answer::Transport(Transport::Reset)),
            "retriable-4xx" => Self::Answer(Answer::Status(409)),
            "error" => Self::Error,
            "gateway-error" => Self::GatewayError,
            "refused-stream" => Self::RefusedStream,
            "non_idempotent" => Self::NonIdempotent,
            // Envoy writes gRPC's names with dashes.
            "deadline-exceeded" => Self::Answer(Answer::parse("deadline_exceeded")?),
            "resource-exhausted" => Self::Answer(Answer::parse("resource_exhausted")?),
            _ => Self::Answer(parse_status(text.strip_prefix("http_")?)?),
        })
    }

    /// Adds it to what is tried again.
    pub(crate) fn insert(self, set: &mut AnswerSet) {
        let connect = Answer::Transport(Transport::Connect);
        let reset = Answer::Transport(Transport::Reset);
        match self {
            Self::Answer(answer) => answer.insert(set),
            Self::Error => [connect, reset].into_iter().for_each(|answer| answer.insert(set)),
            Self::GatewayError => {
                [502, 503, 504].into_iter().for_each(|status| set.statuses.insert(status));
            }
            Self::RefusedStream | Self::NonIdempotent => {}
        }
    }
}

impl FromNode for Condition {
    fn from_node(node: &Node) -> Option<Self> {
        Self::parse(node.as_text()?)
    }
}

static CONDITION: Form = Form {
    what: "a condition",
    allowed: "a status (503, http_503), a class (5xx), a gRPC status (unavailable), connect, reset, timeout, overflow, nginx's error, invalid_header or non_idempotent, Envoy's connect-failure, gateway-error, refused-stream or retriable-4xx",
    pattern: Some("^((http_)?[1-5]([0-9][0-9]|xx)|[a-z_-]+|retriable-4xx)$"),
    longest: None,
    test: |text| Condition::parse(text).is_some(),
};

/// One item of `methods`.
pub(crate) enum Retried {
    Idempotent,
    Keyed,
    Every,
    Method(String),
}

impl Retried {
    /// Adds it to a set.
    pub(crate) fn insert(self, set: &mut RetriedMethods) {
        let mut add = |method: &str| {
            if !set.listed.iter().any(|known| **known == *method) {
                set.listed.push(method.into());
            }
        };
        match self {
            Self::Idempotent => IDEMPOTENT.iter().for_each(|method| add(method)),
            Self::Method(method) => add(&method),
            Self::Keyed => set.keyed = true,
            Self::Every => set.every = true,
        }
    }
}

impl FromNode for Retried {
    fn from_node(node: &Node) -> Option<Self> {
        Some(match node.as_text()? {
            "idempotent" => Self::Idempotent,
            "idempotency_key" => Self::Keyed,
            "all" => Self::Every,
            method => Self::Method(method.into()),
        })
    }
}

// Methods in lower case would be words of ours, and nobody has any.
static METHOD: Form = Form {
    what: "which requests may be sent twice",
    allowed: "idempotent, idempotency_key, all, or a method in capitals such as POST",
    pattern: Some("^(idempotent|idempotency_key|all|[A-Z][A-Z0-9_-]{0,31})$"),
    longest: None,
    test: |text| {
        matches!(text, "idempotent" | "idempotency_key" | "all")
            || text.len() <= 32
                && text.starts_with(|first: char| first.is_ascii_uppercase())
                && text.bytes().all(|byte| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-'))
    },
};

impl FromNode for Jitter {
    fn from_node(node: &Node) -> Option<Self> {
        node.named(&Self::ALL, Self::name)
    }
}

/// A rate that may be nothing.
#[derive(Clone, Copy)]
pub(crate) struct Floor(pub(crate) Option<Rate>);

impl Floor {
    fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix("0/") {
            Some(period) => parse_rate(&format!("1/{period}")).map(|_| Self(None)),
            None => parse_rate(text).map(|rate| Self(Some(rate))),
        }
    }
}

impl FromNode for Floor {
    fn from_node(node: &Node) -> Option<Self> {
        Self::parse(node.as_text()?)
    }
}

static FLOOR_FORM: Form = Form {
    what: "a rate",
    allowed: r#"a text such as "3/s" or "10/m", or "0/s" for none"#,
    pattern: Some("^[0-9]+/([0-9]+([.][0-9]+)?)?(s|ns|us|ms|m|h)$"),
    longest: None,
    test: |text| Floor::parse(text).is_some(),
};

const ONE_CONDITION: TypedKind<Condition> = TypedKind::token_of(&CONDITION, who_tries_again);

/// Envoy's router has words for five gRPC statuses alone, and never tries again what its own limits ended.
fn who_tries_again(text: &str) -> Support {
    const IN_ENVOY: [&str; 5] =
        ["cancelled", "deadline_exceeded", "internal", "resource_exhausted", "unavailable"];
    let mut named = AnswerSet::default();
    IN_ENVOY.iter().filter_map(|name| Answer::parse(name)).for_each(|one| one.insert(&mut named));
    let mut asked = AnswerSet::default();
    Condition::parse(text).into_iter().for_each(|one| one.insert(&mut asked));
    if asked.grpc & !named.grpc != 0 || asked.transport.contains(&Transport::Overflow) {
        return Support::Only(NATIVE);
    }
    Support::Every
}
pub(crate) const ONE_METHOD: TypedKind<Retried> = TypedKind::text(&METHOD);

pub(crate) const TRIES: Key<u32> = Key::new(
    "tries",
    TypedKind::<u32>::whole(1, 100),
    "Tries of one call in all, the first included.",
)
.default("2");
pub(crate) const ON: Key<Vec<Condition>> = Key::new(
    "on",
    TypedKind::list(&ONE_CONDITION, 1),
    "What is tried again: statuses, gRPC statuses and failures of the connection, by our names, nginx's or Envoy's.",
)
// YAML 1.1, which kubectl and helm read, takes `on` for a boolean, and it arrives as the key `true`.
.also(&["when", "true"])
.default(r#"["connect", "reset", "503"]"#);
pub(crate) const METHODS: Key<Vec<Retried>> = Key::new(
    "methods",
    TypedKind::one_or_list(&ONE_METHOD),
    "Which requests may be sent twice: `idempotent` (RFC 9110, 9.2.2), `idempotency_key` (any that carries one), methods by name, or `all`. What never left is tried again whatever its method.",
)
.default(r#"["idempotent"]"#);
pub(crate) const BACKOFF: Key<Part> = Key::new(
    "backoff",
    TypedKind::object(&backoff::BACKOFF),
    "How long to wait before the next try (proxy only).",
)
.default("{}")
.only(NATIVE);
pub(crate) const BUDGET: Key<Part> = Key::new(
    "budget",
    TypedKind::object(&budget::BUDGET),
    "How many calls may be retried; left out: any number.",
);
pub(crate) const RESPECT_RETRY_AFTER: Key<bool> = Key::new(
    "respect_retry_after",
    TypedKind::BOOL,
    "Whether an answer's `retry-after` is waited for. One beyond `backoff.max` is not: there is no other try then.",
)
.default("true");
pub(crate) const BUFFER: Key<Size> = Key::new(
    "buffer",
    TypedKind::size(0, 16 << 20),
    "Most bytes of a request's body that are kept to be sent again (proxy only). A longer one is sent once.",
)
.default(r#""64KiB""#)
.only(NATIVE);

pub(super) static RETRY: Object = Object {
    doc: "Failed tries are made again.",
    fields: &[
        TRIES.field(),
        ON.field(),
        METHODS.field(),
        BACKOFF.field(),
        BUDGET.field(),
        RESPECT_RETRY_AFTER.field(),
        BUFFER.field(),
    ],
    rules: &[],
};

pub(crate) mod backoff {
    use super::{Duration, Jitter, Key, Keyword, Object, TIME, TypedKind};

    pub(crate) const BASE: Key<Duration> = Key::new(
        "base",
        TIME,
        "The longest wait before the second try; it doubles from try to try.",
    )
    .default(r#""25ms""#);
    pub(crate) const MAX: Key<Duration> = Key::new("max", TIME, "The longest wait of all.")
        .computed("1s, or `base` where that is longer");
    pub(crate) const JITTER: Key<Jitter> = Key::new(
        "jitter",
        TypedKind::keywords(&[
            Keyword::new(Jitter::None.name()),
            Keyword::new(Jitter::Full.name()),
            Keyword::new(Jitter::Decorrelated.name()),
        ]),
        "What is drawn by lot: `none`, `full` (from nothing to the longest wait), `decorrelated` (from `base` to three times the wait before).",
    )
    .default(r#""full""#);

    pub(super) static BACKOFF: Object = Object {
        doc: "Exponential waits.",
        fields: &[BASE.field(), MAX.field(), JITTER.field()],
        rules: &[],
    };
}

pub(crate) mod budget {
    use super::{FLOOR_FORM, Floor, Key, Object, TypedKind};

    pub(crate) const SHARE: Key<f64> = Key::new(
        "share",
        TypedKind::number(0.0, 1.0),
        "Retries for each call of the last ten seconds.",
    )
    .default("0.2");
    pub(crate) const FLOOR: Key<Floor> = Key::new(
        "floor",
        TypedKind::text(&FLOOR_FORM),
        "Retries that are allowed besides, however few the calls; `0/s`: none. In each worker.",
    )
    .default(r#""0/s""#);

    pub(super) static BUDGET: Object = Object {
        doc: "A share of the calls of the scope, and a floor.",
        fields: &[SHARE.field(), FLOOR.field()],
        rules: &[],
    };
}
