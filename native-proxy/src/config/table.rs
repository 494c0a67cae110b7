//! The proxy's file as tables; the checker, the defaults, the schema and the reader are made from
//! them. What later work brings is known by name, so that it is refused as unsupported and not as a
//! mistake.
//!
//! Each part has a module with one [`Key`] for each of its fields, by which it is read.

use super::telemetry::TELEMETRY;
use super::{Balance, Dns, Endpoint, Underscores};
use bimetal_core::Duration;
use bimetal_core::doc::table::NAME;
use bimetal_core::doc::{
    Entries, Field, Form, FromNode, Key, Keyword, Node, Object, Part, Rule, Size, TypedKind,
};
use bimetal_core::policy::table::{COUNT, POLICIES, TIME, UNSUPPORTED, VERSION};
use std::net::SocketAddr;

const LISTENER: TypedKind<Part> = TypedKind::object(&listener::LISTENER);
const UPSTREAM: TypedKind<Part> = TypedKind::object(&upstream::UPSTREAM);
const ROUTE: TypedKind<Part> = TypedKind::object(&route::ROUTE);

pub(super) const LISTENERS: Key<Vec<Part>> =
    Key::new("listeners", TypedKind::list(&LISTENER, 1), "Where requests come in.")
        .default(r#"[{"address": "0.0.0.0:8001"}]"#);
pub(super) const ADMIN: Key<Part> =
    Key::new("admin", TypedKind::object(&admin::ADMIN), "State and control.").default("{}");
pub(super) const HEALTH: Key<Part> =
    Key::new("health", TypedKind::object(&health::HEALTH), "Probes and metrics.").default("{}");
pub(super) const WORKERS: Key<u32> = Key::new(
    "workers",
    TypedKind::<u32>::whole(0, 1024),
    "Threads that serve, each with its own sockets, connections and breakers; 0 = one per core.",
)
.default("0");
pub(super) const UPSTREAMS: Key<Entries<Part>> = Key::new(
    "upstreams",
    TypedKind::map(&NAME, &UPSTREAM),
    "Where requests go, by name; the name is the `destination` of policies.",
)
.default("{}");
pub(super) const ROUTES: Key<Vec<Part>> = Key::new(
    "routes",
    TypedKind::list(&ROUTE, 0),
    "Which requests go where; the first that matches wins. None: 404.",
)
.default("[]");

/// The whole file.
pub static FILE: Object = Object {
    doc: "What the proxy runs by. A policy document's keys are also keys of this file.",
    fields: &[
        VERSION.field(),
        UNSUPPORTED.field(),
        LISTENERS.field(),
        ADMIN.field(),
        HEALTH.field(),
        WORKERS.field(),
        UPSTREAMS.field(),
        ROUTES.field(),
        POLICIES.field(),
        Field::later("board", "Where replicas exchange evidence."),
        TELEMETRY.field(),
    ],
    rules: &[],
};

pub(super) mod listener {
    use super::{
        ADDRESS, Address, COUNT, Duration, Field, Key, Keyword, Object, Size, TIME, TypedKind,
        Underscores,
    };

    pub(crate) const ADDRESS_KEY: Key<Address> =
        Key::new("address", TypedKind::text(&ADDRESS), "The address; port 0 takes any free port.")
            .required();
    pub(crate) const MAX_CONNECTIONS: Key<u32> = Key::new(
        "max_connections",
        COUNT,
        "Most connections at once, shared out evenly among workers; more wait to be accepted.",
    )
    .default("10000");
    pub(crate) const HEADER_TIMEOUT: Key<Duration> = Key::new(
        "header_timeout",
        TIME,
        "How long the head of a request may take from its first byte; the first one, from the connection's begin.",
    )
    .default(r#""10s""#);
    pub(crate) const KEEP_ALIVE: Key<Duration> = Key::new(
        "keep_alive",
        TIME,
        "How long a connection may be without a request, once it had one.",
    )
    .default(r#""75s""#);
    pub(crate) const UNDERSCORES: Key<Underscores> = Key::new(
        "underscores",
        TypedKind::keywords(&[
            Keyword::new(Underscores::Drop.name()),
            Keyword::new(Underscores::Allow.name()),
        ]),
        "What becomes of a request's headers whose names have other bytes than letters, digits and dashes: many programs take `x_a` for `x-a`.",
    )
    .default(r#""drop""#);
    pub(crate) const MAX_BODY: Key<Size> = Key::new(
        "max_body",
        TypedKind::size(0, 1 << 50),
        "Largest body of a request; a larger one is answered by 413. Without it bodies are streamed whatever their size.",
    );
    pub(crate) const IDLE: Key<Duration> = Key::new(
        "idle",
        TIME,
        "How long a client may send nothing of a body that is waited for, or take nothing of its answer.",
    )
    .default(r#""60s""#);
    pub(crate) const TRUSTED_HOPS: Key<u32> = Key::new(
        "trusted_hops",
        TypedKind::<u32>::whole(0, 16),
        "How many proxies in front are believed: the client's address is that many places from the end of x-forwarded-for.",
    )
    .default("0");

    pub(super) static LISTENER: Object = Object {
        doc: "One listening address.",
        fields: &[
            ADDRESS_KEY.field(),
            MAX_CONNECTIONS.field(),
            HEADER_TIMEOUT.field(),
            KEEP_ALIVE.field(),
            UNDERSCORES.field(),
            MAX_BODY.field(),
            IDLE.field(),
            TRUSTED_HOPS.field(),
            Field::later("tls", "Certificate and key."),
            Field::later(
                "proxy_protocol",
                "Whether a balancer in front sends the client's address.",
            ),
        ],
        rules: &[],
    };
}

pub(super) mod admin {
    use super::{ADDRESS, Address, Key, Object, TypedKind};

    pub(crate) const ADDRESS_KEY: Key<Address> = Key::new(
        "address",
        TypedKind::text(&ADDRESS),
        "The address: loopback unless told otherwise.",
    )
    .default(r#""127.0.0.1:9000""#);

    pub(super) static ADMIN: Object =
        Object { doc: "State and control.", fields: &[ADDRESS_KEY.field()], rules: &[] };
}

pub(super) mod health {
    use super::{ADDRESS, Address, Key, Object, TypedKind};

    pub(crate) const ADDRESS_KEY: Key<Address> =
        Key::new("address", TypedKind::text(&ADDRESS), "The address.").default(r#""0.0.0.0:9001""#);

    pub(super) static HEALTH: Object =
        Object { doc: "Probes and metrics.", fields: &[ADDRESS_KEY.field()], rules: &[] };
}

pub(super) mod upstream {
    use super::{
        Balance, DNS_NAME, Dns, Duration, ENDPOINT, Endpoint, Field, Key, Keyword, Object, Part,
        Rule, TIME, TypedKind, pool,
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

    pub(super) static UPSTREAM: Object = Object {
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
            Field::later("health", "Probes of its endpoints."),
            Field::later("outlier", "When an endpoint is left out."),
        ],
        rules: &[Rule::ExactlyOne(&[ENDPOINTS.name(), DNS.name()])],
    };
}

pub(super) mod pool {
    use super::{COUNT, Duration, Field, Key, Object, TIME, TypedKind};

    pub(crate) const MAX_CONNECTIONS: Key<u32> =
        Key::new("max_connections", COUNT, "Most connections.").default("1024");
    pub(crate) const MAX_PENDING: Key<u32> = Key::new(
        "max_pending",
        TypedKind::<u32>::whole(0, 1_000_000),
        "Most calls that wait for one.",
    )
    .default("1024");
    pub(crate) const IDLE: Key<Duration> =
        Key::new("idle", TIME, "How long a connection may wait unused.").default(r#""30s""#);

    pub(super) static POOL: Object = Object {
        doc: "Bounds of an upstream's connections, shared out evenly among workers, rounded up.",
        fields: &[
            MAX_CONNECTIONS.field(),
            MAX_PENDING.field(),
            IDLE.field(),
            Field::later(
                "max_requests_per_connection",
                "After how many requests a connection is closed.",
            ),
        ],
        rules: &[],
    };
}

/// A route is a policy's `match`, with the same fields and the same reader, and where it leads.
pub(super) mod route {
    use super::{Key, NAME, Object, PROTOCOL, Rule, TypedKind};
    use bimetal_core::policy::HostPattern;
    use bimetal_core::policy::table::matching;

    const ONE_PROTOCOL: TypedKind<String> = TypedKind::text(&PROTOCOL);

    pub(crate) const HOST: Key<HostPattern> =
        Key::new("host", matching::HOST, "One host, in place of a list of `hosts`.")
            .computed("`*`, unless `hosts` says otherwise");
    pub(crate) const UPSTREAM: Key<String> =
        Key::new("upstream", TypedKind::text(&NAME), "The upstream's name.").required();
    pub(crate) const UPGRADES: Key<Vec<String>> = Key::new(
        "upgrades",
        TypedKind::list(&ONE_PROTOCOL, 0),
        "Protocols to which a client and the upstream may switch (`Upgrade`); a request for others goes on without it.",
    )
    .default(r#"["websocket"]"#);

    pub(in crate::config) static ROUTE: Object = Object {
        doc: "Which requests go where.",
        fields: &[
            HOST.field(),
            matching::HOSTS.field(),
            matching::PATH_PREFIX.field(),
            matching::PATH.field(),
            matching::METHODS.field(),
            matching::HEADERS.field(),
            matching::DIRECTION.field(),
            UPSTREAM.field(),
            UPGRADES.field(),
        ],
        rules: &[matching::ONE_PATH, Rule::AtMostOne(&[HOST.name(), matching::HOSTS.name()])],
    };
}

/// An address that a listener has.
#[derive(Clone, Copy)]
pub(super) struct Address(pub(super) SocketAddr);

impl FromNode for Address {
    fn from_node(node: &Node) -> Option<Self> {
        node.as_text()?.parse().ok().map(Self)
    }
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

impl FromNode for Underscores {
    fn from_node(node: &Node) -> Option<Self> {
        node.named(&Self::ALL, Self::name)
    }
}

/// HTTP/2 and TLS would carry calls past routes and breakers.
static PROTOCOL: Form = Form {
    what: "a protocol",
    allowed: r#"a protocol's name as in `Upgrade`, such as "websocket" or "tcp"; neither HTTP nor TLS"#,
    pattern: None,
    longest: None,
    test: |text| {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/".contains(&byte);
        let name = text.split('/').next().unwrap_or_default().to_ascii_lowercase();
        let hidden = ["h2", "h2c", "h3", "http", "https", "tls"];
        !name.is_empty() && text.bytes().all(legal) && !hidden.contains(&name.as_str())
    },
};

static ADDRESS: Form = Form {
    what: "an address",
    allowed: r#"an IP address and a port, such as "0.0.0.0:8001" or "[::1]:8001""#,
    pattern: None,
    longest: None,
    test: |text| text.parse::<SocketAddr>().is_ok(),
};

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
