//! The part of the table that describes rate limits.

use super::{COUNT, NATIVE, TIME};
use crate::doc::{Key, Keyword, Object, Part, TypedKind};
use crate::limiter::Rate;
use crate::limiter::escrow::WhenStoreFails;
use crate::policy::forms::{FIELD_VALUE, NETWORK, RATE as RATE_FORM, scope};
use crate::policy::limit::{Network, Pattern};
use crate::policy::types::{Scope, Share};
use crate::time::Duration;
use alloc::vec::Vec;

/// Tokens in a bucket or a burst.
const TOKENS: TypedKind<u32> = TypedKind::<u32>::whole(1, 10_000_000);
const TEXT: TypedKind<Pattern> = TypedKind::text(&FIELD_VALUE);
pub(super) const ONE_NETWORK: TypedKind<Network> = TypedKind::text(&NETWORK);
const ONE_OVERRIDE: TypedKind<Part> = TypedKind::object(&OVERRIDE);
const KEY_PART: TypedKind<Scope> = TypedKind::keywords(&[
    Keyword::new(scope::POLICY),
    Keyword::new(scope::DESTINATION),
    Keyword::new(scope::ROUTE),
    Keyword::new(scope::AUTHORITY),
    Keyword::new(scope::CLIENT),
    Keyword::new(scope::HEADER),
]);

pub(crate) const RATE: Key<Rate> = Key::new(
    "rate",
    TypedKind::text(&RATE_FORM),
    "So many calls in so much time: `100/s`, `6000/m`, `100/5s`.",
)
.required();
pub(crate) const CAPACITY: Key<u32> =
    Key::new("capacity", TOKENS, "How many calls may come at once.")
        .computed("as many as the rate has in one period");
pub(crate) const BURST: Key<Part> = Key::new(
    "burst",
    TypedKind::object(&burst::BURST),
    "Calls beyond the limit for a short while; then not again until the limit was kept for long.",
);
pub(crate) const KEY: Key<Vec<Scope>> = Key::new(
    "key",
    TypedKind::list(&KEY_PART, 1),
    "What has a limit of its own: each combination of the values of these. `policy`: all calls together.",
)
.computed("the policy's `scope`");
pub(crate) const OVERRIDES: Key<Vec<Part>> = Key::new(
    "overrides",
    TypedKind::list(&ONE_OVERRIDE, 0),
    "Other limits for keys with certain values; the first that fits.",
)
.default("[]");
pub(crate) const ALLOW: Key<Vec<Network>> = Key::new(
    "allow",
    TypedKind::list(&ONE_NETWORK, 0),
    "Networks whose clients are not limited: `10.0.0.0/8`, `2001:db8::/32`, or an address.",
)
.default("[]");
pub(crate) const ENFORCED: Key<f64> = Key::new(
    "enforced",
    TypedKind::number(0.0, 1.0),
    "The share of what it would reject that it does reject; the rest passes and is counted.",
)
.default("1");
pub(crate) const STATUS: Key<u16> =
    Key::new("status", TypedKind::<u16>::whole(400, 599), "The status of its rejections.")
        .default("429");
pub(crate) const SHARE: Key<Share> = Key::new(
    "share",
    TypedKind::keywords(&[
        Keyword::new(Share::Process.name()),
        Keyword::new(Share::None.name()),
        Keyword::board("mesh"),
    ]),
    "Whether the workers of a process share the limit, or each has its own (in Envoy workers lease from a shared one), or other processes share it as well, by way of the `board`.",
)
.default(r#""process""#);
pub(crate) const WHEN_STORE_FAILS: Key<WhenStoreFails> = Key::new(
    "when_store_fails",
    TypedKind::keywords(&[
        Keyword::new(WhenStoreFails::Local.name()),
        Keyword::new(WhenStoreFails::Allow.name()),
        Keyword::new(WhenStoreFails::Deny.name()),
    ]),
    "With `share: mesh`, while the board is silent for longer than a second: `local`: each worker has the rate divided by the workers of all processes that had the key; `allow`: every call passes; `deny`: none does.",
)
.default(r#""local""#);
pub(crate) const QUEUE: Key<Part> =
    Key::new("queue", TypedKind::object(&queue::QUEUE), "Calls that wait for tokens (proxy only).")
        .only(NATIVE);
pub(crate) const MAX_KEYS: Key<u32> = Key::new(
    "max_keys",
    COUNT,
    "Most keys at once. Further ones share one limit while no key can be forgotten.",
)
.default("100000");

/// One rate limit.
pub(crate) static LIMIT: Object = Object {
    doc: "A rate limit: a token bucket, filled continuously.",
    fields: &[
        RATE.field(),
        CAPACITY.field(),
        BURST.field(),
        KEY.field(),
        OVERRIDES.field(),
        ALLOW.field(),
        ENFORCED.field(),
        STATUS.field(),
        SHARE.field(),
        MAX_KEYS.field(),
        QUEUE.field(),
        WHEN_STORE_FAILS.field(),
    ],
    rules: &[],
};

pub(crate) const VALUES: Key<Vec<Pattern>> = Key::new(
    "values",
    TypedKind::list(&TEXT, 1),
    "A value for each part of the key, in its order; `*` fits every value, the empty text one that is not there.",
)
.required();

static OVERRIDE: Object = Object {
    doc: "What keys with certain values may.",
    fields: &[VALUES.field(), RATE.field(), CAPACITY.field(), OWN_BURST.field()],
    rules: &[],
};

const OWN_BURST: Key<Part> = Key::new(
    "burst",
    TypedKind::object(&burst::BURST),
    "Calls beyond the limit for a short while.",
)
.computed("that of the limit");

pub(crate) mod queue {
    use super::{Duration, Key, Object, TIME, TypedKind};

    pub(crate) const MAX: Key<u32> = Key::new(
        "max",
        TypedKind::<u32>::whole(1, 10_000),
        "Most calls of a key that wait at once.",
    )
    .required();
    pub(crate) const MAX_WAIT: Key<Duration> =
        Key::new("max_wait", TIME, "No call waits longer.").required();

    pub(super) static QUEUE: Object = Object {
        doc: "Calls that wait for tokens. They are served in their order, as fast as tokens come.",
        fields: &[MAX.field(), MAX_WAIT.field()],
        rules: &[],
    };
}

pub(crate) mod burst {
    use super::{Duration, Key, Object, TIME, TOKENS};

    pub(crate) const TOKEN_COUNT: Key<u32> =
        Key::new("tokens", TOKENS, "So many calls.").required();
    pub(crate) const EXPIRES: Key<Duration> =
        Key::new("expires", TIME, "What is left of it so long after its first call is void.")
            .default(r#""1s""#);
    pub(crate) const RECOVERS_AFTER: Key<Duration> = Key::new(
        "recovers_after",
        TIME,
        "It is whole again so long after the limit was last exceeded.",
    )
    .default(r#""10s""#);

    pub(super) static BURST: Object = Object {
        doc: "A budget for short peaks.",
        fields: &[TOKEN_COUNT.field(), EXPIRES.field(), RECOVERS_AFTER.field()],
        rules: &[],
    };
}
