//! The proxy's file as tables; the checker, the defaults, the schema and the reader are made from
//! them. What later work brings is known by name, so that it is refused as unsupported and not as a
//! mistake.
//!
//! Each part has a module with one [`Key`] for each of its fields, by which it is read.

use super::Underscores;
use super::telemetry::TELEMETRY;
use super::upstreams::upstream;
use bimetal_core::Duration;
use bimetal_core::doc::table::NAME;
use bimetal_core::doc::{
    Entries, Field, Form, FromNode, Key, Keyword, Node, Object, Part, Rule, Size, TypedKind,
};
use bimetal_core::policy::table::{BOARD, COUNT, POLICIES, TIME, UNSUPPORTED, VERSION};
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
    "Threads that serve, each with its own sockets and connections; their breakers decide as one. 0 = one per core.",
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
        BOARD.field(),
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

    pub(crate) const PROXY_PROTOCOL: Key<bool> = Key::new(
        "proxy_protocol",
        TypedKind::BOOL,
        "Whether each connection begins with a header of the PROXY protocol, version 1 or 2, that tells the client's address.",
    )
    .default("false");

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
            PROXY_PROTOCOL.field(),
            Field::later("tls", "Certificate and key."),
        ],
        rules: &[],
    };
}

pub(super) mod admin {
    use super::{ADDRESS, Address, HOST_NAME, Key, NAME, Object, PATH, Part, Rule, TypedKind};

    const ONE_HOST: TypedKind<String> = TypedKind::text(&HOST_NAME);
    const WATCHED: TypedKind<Part> = TypedKind::object(&watched::WATCHED);

    pub(crate) const ADDRESS_KEY: Key<Address> = Key::new(
        "address",
        TypedKind::text(&ADDRESS),
        "The address: loopback unless told otherwise.",
    )
    .default(r#""127.0.0.1:9000""#);
    pub(crate) const TOKEN_FILE: Key<String> = Key::new(
        "token_file",
        TypedKind::text(&PATH),
        "A file with the token that whoever controls breakers has to know, read anew each time; without it nobody does.",
    );
    pub(crate) const HOSTS: Key<Vec<String>> = Key::new(
        "hosts",
        TypedKind::list(&ONE_HOST, 0),
        "Names under which people open the dashboard, beside addresses, localhost and names without a dot. A page that comes under another name may be a stranger's.",
    )
    .default("[]");
    pub(crate) const WATCH: Key<Vec<Part>> = Key::new(
        "watch",
        TypedKind::list(&WATCHED, 0),
        "Others that the dashboard shows beside this proxy.",
    )
    .default("[]");

    pub(super) static ADMIN: Object = Object {
        doc: "State and control.",
        fields: &[ADDRESS_KEY.field(), TOKEN_FILE.field(), HOSTS.field(), WATCH.field()],
        rules: &[],
    };

    pub(in crate::config) mod watched {
        use super::{ADDRESS, Address, Key, NAME, Object, Rule, TypedKind};

        pub(crate) const NAME_KEY: Key<String> =
            Key::new("name", TypedKind::text(&NAME), "What it is called on the dashboard.")
                .required();
        pub(crate) const PROXY: Key<Address> = Key::new(
            "proxy",
            TypedKind::text(&ADDRESS),
            "The admin address of another proxy of ours.",
        );
        pub(crate) const ENVOY: Key<Address> = Key::new(
            "envoy",
            TypedKind::text(&ADDRESS),
            "The admin address of an Envoy that runs the filter.",
        );

        pub(super) static WATCHED: Object = Object {
            doc: "Another proxy, or an Envoy with the filter.",
            fields: &[NAME_KEY.field(), PROXY.field(), ENVOY.field()],
            rules: &[Rule::ExactlyOne(&[PROXY.name(), ENVOY.name()])],
        };
    }
}

pub(super) mod health {
    use super::{ADDRESS, Address, Key, Object, TypedKind};

    pub(crate) const ADDRESS_KEY: Key<Address> =
        Key::new("address", TypedKind::text(&ADDRESS), "The address.").default(r#""0.0.0.0:9001""#);

    pub(super) static HEALTH: Object =
        Object { doc: "Probes and metrics.", fields: &[ADDRESS_KEY.field()], rules: &[] };
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

static PATH: Form = Form {
    what: "a path",
    allowed: "the path of a file",
    pattern: None,
    longest: Some(4096),
    test: |text| !text.is_empty() && !text.contains('\0'),
};

static HOST_NAME: Form = Form {
    what: "a host's name",
    allowed: r#"a name as in `Host`, without a port, such as "bimetal.example.com""#,
    pattern: None,
    longest: Some(253),
    test: |text| {
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        !text.is_empty() && text.bytes().all(legal)
    },
};

static ADDRESS: Form = Form {
    what: "an address",
    allowed: r#"an IP address and a port, such as "0.0.0.0:8001" or "[::1]:8001""#,
    pattern: None,
    longest: None,
    test: |text| text.parse::<SocketAddr>().is_ok(),
};
