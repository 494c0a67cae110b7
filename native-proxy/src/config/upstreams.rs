//! An upstream in the proxy's file: its tables, and what is made of them.

use super::{Balance, Checks, Dns, Endpoint, Pool, Upstream};
use bimetal_core::Duration;
use bimetal_core::doc::{
    Field, Form, FromNode, Key, Keyword, Node, Object, Part, Rule, TypedKind, Unread,
};
use bimetal_core::ejection;
use bimetal_core::outcome::FailureRules;
use bimetal_core::policy::table::{COUNT, TIME};
use hyper::header::HeaderValue;
use hyper::http::uri::PathAndQuery;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::sync::Arc;

/// An upstream as its part of the file says.
pub(super) fn read(name: &str, node: &Node) -> Result<Arc<Upstream>, Unread> {
    let pool = upstream::POOL.part(node)?;
    let host = match upstream::HOST.read(node)?.as_str() {
        upstream::HOST_OF_ENDPOINT => {
            // As it is written: `echo:5001`, but also an address.
            let first = upstream::ENDPOINTS.node(node).and_then(|all| all.as_list().first());
            let first = first.or_else(|| upstream::DNS.node(node)).and_then(Node::as_text);
            let first = first.ok_or(upstream::ENDPOINTS.unread())?;
            Some(HeaderValue::from_str(first).map_err(|_| upstream::ENDPOINTS.unread())?)
        }
        upstream::HOST_OF_CLIENT => None,
        _ => return Err(upstream::HOST.unread()),
    };
    Ok(Arc::new(Upstream {
        name: Arc::from(name),
        endpoints: upstream::ENDPOINTS.given(node)?.unwrap_or_default(),
        dns: upstream::DNS.given(node)?,
        balance: upstream::BALANCE.read(node)?,
        host,
        idle: upstream::IDLE.read(node)?,
        pool: Pool {
            max_connections: pool::MAX_CONNECTIONS.read(pool)? as usize,
            max_pending: pool::MAX_PENDING.read(pool)? as usize,
            idle: pool::IDLE.read(pool)?,
            max_requests: some(pool::MAX_REQUESTS.read(pool)?),
            max_requests_per_connection: some(pool::MAX_REQUESTS_PER_CONNECTION.read(pool)?),
        },
        outlier: upstream::OUTLIER.node(node).map(ejection).transpose()?,
        failure: Arc::new(FailureRules::usual()),
        slow_start: upstream::SLOW_START.read(node)?,
        health: upstream::HEALTH.node(node).map(checks).transpose()?,
    }))
}

/// A limit; 0 stands for none.
fn some(limit: u32) -> Option<NonZeroUsize> {
    NonZeroUsize::new(limit as usize)
}

/// What looks like a mistake: ejections that there can never be.
pub(super) fn warning(upstream: &Upstream) -> Option<String> {
    let (settings, count) = (upstream.outlier.as_ref()?, upstream.endpoints.len());
    if upstream.dns.is_some() || settings.most(count) > 0 {
        return None;
    }
    let (name, share) = (&upstream.name, settings.max_ejection);
    let why = match count {
        1 => String::from("the only endpoint is never ejected"),
        few if few < settings.minimum_hosts => {
            format!("{few} endpoints are fewer than minimum_hosts: none is ever ejected")
        }
        _ => format!("max_ejection {share} of {count} endpoints is none: none is ever ejected"),
    };
    Some(format!("upstreams.{name}.outlier: {why}"))
}

fn checks(node: &Node) -> Result<Checks, Unread> {
    Ok(Checks {
        path: health::PATH.read(node)?.into(),
        interval: health::INTERVAL.read(node)?,
        timeout: health::TIMEOUT.read(node)?,
        healthy_after: health::HEALTHY_AFTER.read(node)?,
        unhealthy_after: health::UNHEALTHY_AFTER.read(node)?,
    })
}

fn ejection(node: &Node) -> Result<ejection::Settings, Unread> {
    Ok(ejection::Settings {
        consecutive_failures: outlier::CONSECUTIVE_FAILURES.read(node)?,
        interval: outlier::INTERVAL.read(node)?,
        base_ejection: outlier::BASE_EJECTION.read(node)?,
        longest_ejection: outlier::LONGEST_EJECTION.read(node)?,
        max_ejection: outlier::MAX_EJECTION.read(node)?,
        minimum_hosts: outlier::MINIMUM_HOSTS.read(node)? as usize,
        min_healthy: outlier::MIN_HEALTHY.read(node)?,
    })
}

pub(crate) mod upstream {
    use super::{
        Balance, DNS_NAME, Dns, Duration, ENDPOINT, Endpoint, Field, Key, Keyword, Object, Part,
        Rule, TIME, TypedKind, health, outlier, pool,
    };

    const ONE_ENDPOINT: TypedKind<Endpoint> = TypedKind::text(&ENDPOINT);

    /// Whose name the Host header of requests has.
    pub(crate) const HOST_OF_CLIENT: &str = "client";
    pub(crate) const HOST_OF_ENDPOINT: &str = "endpoint";

    pub(crate) const ENDPOINTS: Key<Vec<Endpoint>> = Key::new(
        "endpoints",
        TypedKind::list(&ONE_ENDPOINT, 1),
        "Where it is: addresses or names, with port. Each is one endpoint; a name may have several addresses.",
    );
    pub(crate) const DNS: Key<Dns> = Key::new(
        "dns",
        TypedKind::text(&DNS_NAME),
        "A name, with port, each of whose addresses is an endpoint; asked for again as its answers get old.",
    );
    // Nobody asks for it: the one way that is supported is the way of all.
    const PROTOCOL: Key<String> = Key::new(
        "protocol",
        TypedKind::keywords(&[Keyword::new("http1"), Keyword::later("h2"), Keyword::later("auto")]),
        "What it speaks.",
    )
    .default(r#""http1""#);
    pub(crate) const BALANCE: Key<Balance> = Key::new(
        "balance",
        TypedKind::keywords(&[
            Keyword::new(Balance::LeastRequest.name()),
            Keyword::new(Balance::RoundRobin.name()),
            Keyword::new(Balance::Random.name()),
        ]),
        "How a call chooses among the endpoints: of two at random the one with fewer calls under way, each in turn, or any.",
    )
    .default(r#""least_request""#);
    pub(crate) const HOST: Key<String> = Key::new(
        "host",
        TypedKind::keywords(&[Keyword::new(HOST_OF_CLIENT), Keyword::new(HOST_OF_ENDPOINT)]),
        "The Host header that it gets: the `client`'s own, or the first `endpoint` (or `dns`) as written, by which a mesh routes. The client's then goes into x-forwarded-host.",
    )
    .default(r#""client""#);
    pub(crate) const IDLE: Key<Duration> =
        Key::new("idle", TIME, "How long the body of an answer may stand still.")
            .default(r#""5m""#);
    pub(crate) const POOL: Key<Part> =
        Key::new("pool", TypedKind::object(&pool::POOL), "Bounds of its connections.")
            .default("{}");

    pub(crate) const OUTLIER: Key<Part> = Key::new(
        "outlier",
        TypedKind::object(&outlier::OUTLIER),
        "When an endpoint whose calls fail is left out for a while.",
    );
    pub(crate) const HEALTH: Key<Part> = Key::new(
        "health",
        TypedKind::object(&health::HEALTH),
        "How its endpoints are checked, whether or not there are calls.",
    );
    pub(crate) const SLOW_START: Key<Duration> = Key::new(
        "slow_start",
        TypedKind::duration(Duration::ZERO, Duration::from_secs(3_600)),
        "Over which time an endpoint that was left out, or is new, comes from a tenth to all of its calls.",
    )
    .default(r#""10s""#);

    pub(in crate::config) static UPSTREAM: Object = Object {
        doc: "One upstream.",
        fields: &[
            ENDPOINTS.field(),
            DNS.field(),
            PROTOCOL.field(),
            BALANCE.field(),
            HOST.field(),
            IDLE.field(),
            POOL.field(),
            Field::later("tls", "How its certificate is checked."),
            HEALTH.field(),
            OUTLIER.field(),
            SLOW_START.field(),
        ],
        rules: &[Rule::ExactlyOne(&[ENDPOINTS.name(), DNS.name()])],
    };
}

pub(crate) mod pool {
    use super::{COUNT, Duration, Key, Object, TIME, TypedKind};

    const OR_NONE: TypedKind<u32> = TypedKind::<u32>::whole(0, 1_000_000);

    pub(crate) const MAX_CONNECTIONS: Key<u32> =
        Key::new("max_connections", COUNT, "Most connections.").default("1024");
    pub(crate) const MAX_PENDING: Key<u32> =
        Key::new("max_pending", OR_NONE, "Most calls that wait for one.").default("1024");
    pub(crate) const IDLE: Key<Duration> =
        Key::new("idle", TIME, "How long a connection may wait unused.").default(r#""30s""#);
    pub(crate) const MAX_REQUESTS: Key<u32> = Key::new(
        "max_requests",
        OR_NONE,
        "Most calls under way at once; more are refused at once, and do not wait. 0: no such limit.",
    )
    .default("0");
    pub(crate) const MAX_REQUESTS_PER_CONNECTION: Key<u32> = Key::new(
        "max_requests_per_connection",
        OR_NONE,
        "After so many requests a connection is closed. 0: after none.",
    )
    .default("0");

    pub(in crate::config) static POOL: Object = Object {
        doc: "Bounds of an upstream's connections, shared out evenly among workers, rounded up.",
        fields: &[
            MAX_CONNECTIONS.field(),
            MAX_PENDING.field(),
            IDLE.field(),
            MAX_REQUESTS.field(),
            MAX_REQUESTS_PER_CONNECTION.field(),
        ],
        rules: &[],
    };
}

pub(crate) mod health {
    use super::{COUNT, Duration, Key, Object, TARGET, TIME, TypedKind};

    pub(crate) const PATH: Key<String> =
        Key::new("path", TypedKind::text(&TARGET), "What is asked for, by GET.").required();
    pub(crate) const INTERVAL: Key<Duration> =
        Key::new("interval", TIME, "Between two checks of an endpoint, give or take a tenth.")
            .default(r#""2s""#);
    pub(crate) const TIMEOUT: Key<Duration> =
        Key::new("timeout", TIME, "How long a check may take, with its connection.")
            .default(r#""500ms""#);
    pub(crate) const HEALTHY_AFTER: Key<u32> = Key::new(
        "healthy_after",
        COUNT,
        "So many checks in a row that pass make an unhealthy endpoint healthy.",
    )
    .default("2");
    pub(crate) const UNHEALTHY_AFTER: Key<u32> = Key::new(
        "unhealthy_after",
        COUNT,
        "So many checks in a row that fail make a healthy endpoint unhealthy.",
    )
    .default("3");

    pub(in crate::config) static HEALTH: Object = Object {
        doc: "How endpoints are checked.",
        fields: &[
            PATH.field(),
            INTERVAL.field(),
            TIMEOUT.field(),
            HEALTHY_AFTER.field(),
            UNHEALTHY_AFTER.field(),
        ],
        rules: &[],
    };
}

pub(crate) mod outlier {
    use super::{COUNT, Duration, Key, Object, TIME, TypedKind};

    const SHARE: TypedKind<f64> = TypedKind::<f64>::number(0.0, 1.0);

    pub(crate) const CONSECUTIVE_FAILURES: Key<u32> = Key::new(
        "consecutive_failures",
        COUNT,
        "After so many failures without a success between them an endpoint is ejected.",
    )
    .default("3");
    pub(crate) const INTERVAL: Key<Duration> = Key::new(
        "interval",
        TIME,
        "For each of these that an endpoint was in since its last ejection, one ejection less weighs on it.",
    )
    .default(r#""10s""#);
    pub(crate) const BASE_EJECTION: Key<Duration> = Key::new(
        "base_ejection",
        TIME,
        "How long the first ejection lasts; the second lasts twice, the third three times as long.",
    )
    .default(r#""30s""#);
    pub(crate) const LONGEST_EJECTION: Key<Duration> = Key::new(
        "longest_ejection",
        TIME,
        "The longest that an ejection lasts; never less than `base_ejection`.",
    )
    .default(r#""5m""#);
    pub(crate) const MAX_EJECTION: Key<f64> = Key::new(
        "max_ejection",
        SHARE,
        "At most this share of the endpoints is out at once, rounded down; the last one never is.",
    )
    .default("0.5");
    pub(crate) const MINIMUM_HOSTS: Key<u32> =
        Key::new("minimum_hosts", COUNT, "Where there are fewer endpoints, none is ejected.")
            .default("2");
    pub(crate) const MIN_HEALTHY: Key<f64> = Key::new(
        "min_healthy",
        SHARE,
        "Where a smaller share of the endpoints is in, ejections do not count.",
    )
    .default("0.5");

    pub(in crate::config) static OUTLIER: Object = Object {
        doc: "When an endpoint whose calls fail is left out for a while.",
        fields: &[
            CONSECUTIVE_FAILURES.field(),
            INTERVAL.field(),
            BASE_EJECTION.field(),
            LONGEST_EJECTION.field(),
            MAX_EJECTION.field(),
            MINIMUM_HOSTS.field(),
            MIN_HEALTHY.field(),
        ],
        rules: &[],
    };
}

impl FromNode for Endpoint {
    fn from_node(node: &Node) -> Option<Self> {
        Self::parse(node.as_text()?)
    }
}

impl FromNode for Dns {
    fn from_node(node: &Node) -> Option<Self> {
        Self::parse(node.as_text()?)
    }
}

impl FromNode for Balance {
    fn from_node(node: &Node) -> Option<Self> {
        node.named(&Self::ALL, Self::name)
    }
}

static ENDPOINT: Form = Form {
    what: "an endpoint",
    allowed: r#"an IP address or a name, and a port from 1 on, such as "127.0.0.1:5001" or "echo:5001""#,
    pattern: None,
    longest: None,
    test: |text| Endpoint::parse(text).is_some(),
};

static DNS_NAME: Form = Form {
    what: "a name with a port",
    allowed: r#"a name, and a port from 1 on, such as "echo.demo.svc.cluster.local:5001"; an address is one of `endpoints`"#,
    pattern: None,
    longest: None,
    test: |text| Dns::parse(text).is_some(),
};

static TARGET: Form = Form {
    what: "a path",
    allowed: r#"a path of a URL, also with a query, such as "/healthz" or "/ready?full=1""#,
    pattern: None,
    longest: Some(2_048),
    test: |text| {
        text.starts_with('/') && text.len() <= 2_048 && PathAndQuery::from_str(text).is_ok()
    },
};
