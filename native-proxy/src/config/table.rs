//! The proxy's file as tables; the checker, the defaults and the schema are made from them. What
//! later work brings is known by name, so that it is refused as unsupported and not as a mistake.

use super::Endpoint;
use bimetal_core::Duration;
use bimetal_core::doc::table::NAME;
use bimetal_core::doc::{Field, Form, Keyword, Kind, Object, Rule};
use bimetal_core::policy::table::POLICY;
use std::net::SocketAddr;

const MILLI: Duration = Duration::from_millis(1);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The whole file.
pub static FILE: Object = Object {
    doc: "What the proxy runs by. A policy document's keys are also keys of this file.",
    fields: &[
        Field::new("version", Kind::Keywords(&[Keyword::new("v1")]), "Version of the language.")
            .default(r#""v1""#),
        Field::new(
            "unsupported",
            Kind::Keywords(&[Keyword::new("refuse"), Keyword::new("skip")]),
            "What happens to what this host cannot do: `refuse` the file, or `skip` that part and say so.",
        )
        .default(r#""refuse""#),
        Field::new("listeners", Kind::List { of: &Kind::Object(&LISTENER), min: 1 }, "Where requests come in.")
            .default(r#"[{"address": "0.0.0.0:8001"}]"#),
        Field::new("admin", Kind::Object(&ADMIN), "State and control.").default("{}"),
        Field::new("health", Kind::Object(&HEALTH), "Probes and metrics.").default("{}"),
        Field::new(
            "workers",
            Kind::Integer { min: 0, max: 1024 },
            "Threads that serve, each with its own sockets, connections and breakers; 0 = one per core.",
        )
        .default("0"),
        Field::new(
            "upstreams",
            Kind::Map { key: &NAME, of: &Kind::Object(&UPSTREAM) },
            "Where requests go, by name; the name is the `destination` of policies.",
        )
        .default("{}"),
        Field::new(
            "routes",
            Kind::List { of: &Kind::Object(&ROUTE), min: 0 },
            "Which requests go where; the first that matches wins. None: 404.",
        )
        .default("[]"),
        Field::new(
            "policies",
            Kind::List { of: &Kind::Object(&POLICY), min: 0 },
            "The policies; the first that matches a request decides.",
        )
        .default("[]"),
        Field::later("board", "Where replicas exchange evidence."),
        Field::later("telemetry", "Where traces go."),
    ],
    rules: &[],
};

static LISTENER: Object = Object {
    doc: "One listening address.",
    fields: &[
        Field::new("address", Kind::Text(&ADDRESS), "The address; port 0 takes any free port.")
            .required(),
        Field::new(
            "max_connections",
            Kind::Integer { min: 1, max: 1_000_000 },
            "Most connections at once, shared out evenly among workers; more wait to be accepted.",
        )
        .default("10000"),
        Field::new(
            "header_timeout",
            Kind::Duration { min: MILLI, max: DAY },
            "How long the head of a request may take from its first byte; the first one, from the connection's begin.",
        )
        .default(r#""10s""#),
        Field::new(
            "keep_alive",
            Kind::Duration { min: MILLI, max: DAY },
            "How long a connection may be without a request, once it had one.",
        )
        .default(r#""75s""#),
        Field::new(
            "underscores",
            Kind::Keywords(&[Keyword::new("drop"), Keyword::new("allow")]),
            "What becomes of a request's headers whose names have other bytes than letters, digits and dashes: many programs take `x_a` for `x-a`.",
        )
        .default(r#""drop""#),
        Field::new(
            "max_body",
            Kind::Size { min: 0, max: 1 << 50 },
            "Largest body of a request; a larger one is answered by 413. Without it bodies are streamed whatever their size.",
        ),
        Field::new(
            "idle",
            Kind::Duration { min: MILLI, max: DAY },
            "How long a client may send nothing of a body that is waited for, or take nothing of its answer.",
        )
        .default(r#""60s""#),
        Field::new(
            "trusted_hops",
            Kind::Integer { min: 0, max: 16 },
            "How many proxies in front are believed: the client's address is that many places from the end of x-forwarded-for.",
        )
        .default("0"),
        Field::later("tls", "Certificate and key."),
        Field::later("proxy_protocol", "Whether a balancer in front sends the client's address."),
    ],
    rules: &[],
};

static ADMIN: Object = Object {
    doc: "State and control.",
    fields: &[Field::new(
        "address",
        Kind::Text(&ADDRESS),
        "The address: loopback unless told otherwise.",
    )
    .default(r#""127.0.0.1:9000""#)],
    rules: &[],
};

static HEALTH: Object = Object {
    doc: "Probes and metrics.",
    fields: &[
        Field::new("address", Kind::Text(&ADDRESS), "The address.").default(r#""0.0.0.0:9001""#)
    ],
    rules: &[],
};

static UPSTREAM: Object = Object {
    doc: "One upstream.",
    fields: &[
        Field::new(
            "endpoints",
            Kind::List {
                of: &Kind::Text(&ENDPOINT),
                min: 1,
            },
            "Where it is: addresses or names, with port; taken in turn for new connections.",
        )
        .required(),
        Field::new(
            "protocol",
            Kind::Keywords(&[Keyword::new("http1"), Keyword::later("h2"), Keyword::later("auto")]),
            "What it speaks.",
        )
        .default(r#""http1""#),
        Field::new(
            "balance",
            Kind::Keywords(&[
                Keyword::new("round_robin"),
                Keyword::later("least_request"),
                Keyword::later("random"),
            ]),
            "How a new connection chooses its endpoint.",
        )
        .default(r#""round_robin""#),
        Field::new(
            "host",
            Kind::Keywords(&[Keyword::new("client"), Keyword::new("endpoint")]),
            "The Host header that it gets: the `client`'s own, or the first `endpoint` as written, by which a mesh routes. The client's then goes into x-forwarded-host.",
        )
        .default(r#""client""#),
        Field::new(
            "idle",
            Kind::Duration { min: MILLI, max: DAY },
            "How long the body of an answer may stand still.",
        )
        .default(r#""5m""#),
        Field::new("pool", Kind::Object(&POOL), "Bounds of its connections.").default("{}"),
        Field::later("dns", "A name that stands for all its addresses."),
        Field::later("tls", "How its certificate is checked."),
        Field::later("health", "Probes of its endpoints."),
        Field::later("outlier", "When an endpoint is left out."),
    ],
    rules: &[],
};

static POOL: Object = Object {
    doc: "Bounds of an upstream's connections, shared out evenly among workers, rounded up.",
    fields: &[
        Field::new(
            "max_connections",
            Kind::Integer { min: 1, max: 1_000_000 },
            "Most connections.",
        )
        .default("1024"),
        Field::new(
            "max_pending",
            Kind::Integer { min: 0, max: 1_000_000 },
            "Most calls that wait for one.",
        )
        .default("1024"),
        Field::new(
            "idle",
            Kind::Duration { min: MILLI, max: DAY },
            "How long a connection may wait unused.",
        )
        .default(r#""30s""#),
        Field::later(
            "max_requests_per_connection",
            "After how many requests a connection is closed.",
        ),
    ],
    rules: &[],
};

static ROUTE: Object = Object {
    doc: "Which requests go where.",
    fields: &[
        Field::new(
            "host",
            Kind::Text(&HOST),
            "Host without port: exact, `*.example.com`, or `*` for all.",
        )
        .default(r#""*""#),
        Field::new("path", Kind::Text(&PATH), "This path alone."),
        Field::new("path_prefix", Kind::Text(&PATH), "This path and all below it."),
        Field::new("upstream", Kind::Text(&NAME), "The upstream's name.").required(),
        Field::new(
            "upgrades",
            Kind::List { of: &Kind::Text(&PROTOCOL), min: 0 },
            "Protocols to which a client and the upstream may switch (`Upgrade`); a request for others goes on without it.",
        )
        .default(r#"["websocket"]"#),
    ],
    rules: &[Rule::AtMostOne(&["path", "path_prefix"])],
};

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

static HOST: Form = Form {
    what: "a host",
    allowed: r#"a host name without port, "*.example.com" or "*""#,
    pattern: None,
    longest: None,
    test: |text| {
        let name = text.strip_prefix("*.").unwrap_or(text);
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
        text == "*" || ((1..=253).contains(&name.len()) && name.bytes().all(legal))
    },
};

static PATH: Form = Form {
    what: "a path",
    allowed: "a text that begins with a slash and has no query",
    pattern: Some("^/[!\"$->@-~]*$"),
    longest: None,
    test: |text| {
        text.starts_with('/')
            && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte))
    },
};
