//! The part of the table that describes a breaker.

use super::failure::FAILURE;
use super::{COUNT, DAY, TIME, trip};
use crate::doc::{Key, Keyword, Object, Part, Rule, TypedKind};
use crate::policy::breaker::{Growth, Judge};
use crate::policy::profile;
use crate::policy::types::Share;
use crate::time::Duration;
use alloc::string::String;

pub(crate) const PROFILE: Key<String> = Key::new(
    "profile",
    TypedKind::keywords(&[
        Keyword::new(profile::ORIGIN_STUDY.name),
        Keyword::new(profile::RESILIENCE4J.name),
        Keyword::new(profile::HYSTRIX.name),
        Keyword::new(profile::POLLY.name),
        Keyword::new(profile::GOBREAKER.name),
        Keyword::new(profile::ISTIO_OUTLIER.name),
    ]),
    "Fills in what is left out as that breaker has it. A given `trip` or `failure` replaces the profile's whole, all else leaf by leaf.",
);
pub(crate) const TRIP: Key<Part> = Key::new(
    "trip",
    TypedKind::object(&trip::TRIP),
    "When it opens; any condition alone is enough. Required without a profile.",
);
pub(crate) const OPEN: Key<Part> =
    Key::new("open", TypedKind::object(&open::OPEN), "How long it stays open.").default("{}");
pub(crate) const HALF_OPEN: Key<Part> =
    Key::new("half_open", TypedKind::object(&half_open::HALF_OPEN), "How it tries again.")
        .default("{}");
pub(crate) const RECOVERY: Key<Part> =
    Key::new("recovery", TypedKind::object(&recovery::RECOVERY), "How it comes back.")
        .default("{}");
pub(crate) const FAILURE_KEY: Key<Part> =
    Key::new("failure", TypedKind::object(&FAILURE), "What counts as a failure.").default("{}");
pub(crate) const RESPECT_RETRY_AFTER: Key<bool> = Key::new(
    "respect_retry_after",
    TypedKind::BOOL,
    "Whether the `retry-after` of the failure that opened it lengthens the open time, up to `open.max`.",
)
.default("true");
pub(crate) const SHARE: Key<Share> = Key::new(
    "share",
    TypedKind::keywords(&[
        Keyword::new(Share::None.name()),
        Keyword::new(Share::Process.name()),
        Keyword::board("mesh"),
    ]),
    "With whom evidence is shared: nobody, the workers of the process, or other processes as well, by way of the `board`.",
)
.default(r#""process""#);
pub(crate) const QUORUM: Key<u16> = Key::new(
    "quorum",
    TypedKind::<u16>::whole(1, 1_000),
    "With `share: mesh`: so many replicas that opened on what they saw themselves open the others.",
)
.computed("2 with `share: mesh`");

/// A breaker.
pub static BREAKER: Object = Object {
    doc: "The circuit breaker.",
    fields: &[
        PROFILE.field(),
        TRIP.field(),
        OPEN.field(),
        HALF_OPEN.field(),
        RECOVERY.field(),
        FAILURE_KEY.field(),
        RESPECT_RETRY_AFTER.field(),
        SHARE.field(),
        QUORUM.field(),
    ],
    rules: &[Rule::AtLeastOne(&[TRIP.name(), PROFILE.name()])],
};

pub(crate) mod open {
    use super::{Duration, Growth, Key, Keyword, Object, TIME, TypedKind};

    pub(crate) const BASE: Key<Duration> =
        Key::new("base", TIME, "Open time of the first trip.").default(r#""30s""#);
    pub(crate) const MULTIPLIER: Key<f64> = Key::new(
        "multiplier",
        TypedKind::number_but_zero(1.0, 100.0),
        "Growth with each trip that follows.",
    )
    .default("2");
    pub(crate) const GROWTH: Key<Growth> = Key::new(
        "growth",
        TypedKind::keywords(&[
            Keyword::new(Growth::Exponential.name()),
            Keyword::new(Growth::Linear.name()),
        ]),
        "How it grows: by the open time before, or `linear`, to base · (1 + (multiplier − 1) · level).",
    )
    .default(r#""exponential""#);
    pub(crate) const MAX: Key<Duration> =
        Key::new("max", TIME, "Longest open time, before jitter.")
            .computed("5m, or base where that is longer");
    pub(crate) const JITTER: Key<f64> = Key::new(
        "jitter",
        TypedKind::number(0.0, 1.0),
        "Share of the open time that is added at random.",
    )
    .default("0.1");

    pub(super) static OPEN: Object = Object {
        doc: "Open for min(base · multiplier^level, max), plus up to `jitter` of it.",
        fields: &[BASE.field(), MULTIPLIER.field(), GROWTH.field(), MAX.field(), JITTER.field()],
        rules: &[],
    };
}

pub(crate) mod half_open {
    use super::{COUNT, Duration, Judge, Key, Keyword, Object, TIME, TypedKind};

    pub(crate) const MAX_PROBES: Key<u32> =
        Key::new("max_probes", TypedKind::<u32>::whole(1, 1_000), "Most probes outstanding.")
            .default("1");
    pub(crate) const REQUIRED_SUCCESSES: Key<u32> =
        Key::new("required_successes", COUNT, "Successes that close it.").default("1");
    pub(crate) const JUDGE: Key<Judge> = Key::new(
        "judge",
        TypedKind::keywords(&[
            Keyword::new(Judge::Each.name()),
            Keyword::new(Judge::Rate.name()),
            Keyword::new(Judge::Nobody.name()),
        ]),
        "What decides: each probe, or the rates of `trip` over max_probes probes; nobody closes it unasked.",
    )
    .default(r#""each""#);
    pub(crate) const LEASE: Key<Duration> = Key::new(
        "lease",
        TIME,
        "How long a probe may wait for response headers, on the upstream's clock.",
    )
    .computed("10s, or timeout.request where that is longer");

    pub(super) static HALF_OPEN: Object = Object {
        doc: "How it tries again.",
        fields: &[MAX_PROBES.field(), REQUIRED_SUCCESSES.field(), JUDGE.field(), LEASE.field()],
        rules: &[],
    };
}

pub(crate) mod recovery {
    use super::{DAY, Duration, Key, Object, TypedKind};

    pub(crate) const RAMP: Key<Duration> = Key::new(
        "ramp",
        TypedKind::duration(Duration::ZERO, DAY),
        "After closing, a share of calls that grows over this time is admitted.",
    )
    .default(r#""0s""#);

    pub(super) static RECOVERY: Object =
        Object { doc: "How it comes back.", fields: &[RAMP.field()], rules: &[] };
}
