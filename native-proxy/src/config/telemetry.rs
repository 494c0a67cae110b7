//! The file's `telemetry`: where traces go, how many, and what they look like.

use bimetal_core::doc::table::NAME;
use bimetal_core::doc::{Form, FromNode, Key, Keyword, Node, Object, Part, TypedKind, Unread};
use hyper::Uri;
use std::sync::Arc;

/// What becomes of traces. `OTEL_*` variables win over it.
#[derive(Clone, Debug, PartialEq)]
pub struct Telemetry {
    /// Where they go.
    pub exporter: Exporter,
    /// The collector, for the exporters that have one; `None`: OpenTelemetry's default on this machine.
    pub endpoint: Option<Arc<str>>,
    /// The share of traces that begin here which is recorded; for others the caller decides.
    pub sample: f64,
    /// What they look like.
    pub tree: Tree,
    /// The `service.name` that they are of.
    pub service_name: Arc<str>,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            exporter: Exporter::None,
            endpoint: None,
            sample: 1.0,
            tree: Tree::Semconv,
            service_name: Arc::from(SERVICE_NAME),
        }
    }
}

/// The `service.name` of a proxy that is given none.
const SERVICE_NAME: &str = "bimetal-proxy";

/// Where traces go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Exporter {
    /// Nowhere
    #[default]
    None,
    /// Standard output, a line of OTLP/JSON for each trace
    OtlpStdout,
    /// A collector, by OTLP over HTTP
    OtlpHttp,
    /// A collector, by OTLP over gRPC
    OtlpGrpc,
}

impl Exporter {
    /// Every one.
    pub(crate) const ALL: [Self; 4] =
        [Self::None, Self::OtlpStdout, Self::OtlpHttp, Self::OtlpGrpc];

    /// The name in the file.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::OtlpStdout => "otlp_stdout",
            Self::OtlpHttp => "otlp_http",
            Self::OtlpGrpc => "otlp_grpc",
        }
    }
}

/// What a trace of the proxy looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tree {
    /// OpenTelemetry's conventions for HTTP: a server span, and a client span for each try.
    #[default]
    Semconv,
    /// The spans of the origin study's proxy.
    OriginStudy,
}

impl Tree {
    const fn name(self) -> &'static str {
        match self {
            Self::Semconv => "semconv",
            Self::OriginStudy => "origin-study",
        }
    }
}

/// `telemetry` in the file.
pub(super) const TELEMETRY: Key<Part> = Key::new(
    "telemetry",
    TypedKind::object(&OBJECT),
    "What is told of requests beside metrics and log. Standard OTEL_* variables win.",
)
.default("{}");

const TRACES: Key<Part> =
    Key::new("traces", TypedKind::object(&TRACES_OBJECT), "Traces of requests.").default("{}");
const SERVICE: Key<String> =
    Key::new("service_name", TypedKind::text(&NAME), "The service that they are of.")
        .default(r#""bimetal-proxy""#);
const EXPORTER: Key<Exporter> = Key::new(
    "exporter",
    TypedKind::keywords(&[
        Keyword::new(Exporter::None.name()),
        Keyword::new(Exporter::OtlpStdout.name()),
        Keyword::new(Exporter::OtlpHttp.name()),
        Keyword::new(Exporter::OtlpGrpc.name()),
    ]),
    "Where they go: nowhere, to standard output as a line of OTLP/JSON each, or to a collector.",
)
.default(r#""none""#);
const ENDPOINT: Key<String> = Key::new(
    "endpoint",
    TypedKind::text(&COLLECTOR),
    "The collector, as in OTEL_EXPORTER_OTLP_ENDPOINT; without it port 4318 (HTTP) or 4317 (gRPC) of this machine.",
);
const SAMPLE: Key<f64> = Key::new(
    "sample",
    TypedKind::<f64>::number(0.0, 1.0),
    "The share that is recorded of the traces that begin here; for others their caller has decided.",
)
.default("1.0");
const TREE: Key<Tree> = Key::new(
    "tree",
    TypedKind::keywords(&[
        Keyword::new(Tree::Semconv.name()),
        Keyword::new(Tree::OriginStudy.name()),
    ]),
    "What they look like: OpenTelemetry's conventions for HTTP, or the origin study's spans.",
)
.default(r#""semconv""#);

static OBJECT: Object = Object {
    doc: "What is told of requests beside metrics and log.",
    fields: &[TRACES.field(), SERVICE.field()],
    rules: &[],
};

static TRACES_OBJECT: Object = Object {
    doc: "Traces of requests.",
    fields: &[EXPORTER.field(), ENDPOINT.field(), SAMPLE.field(), TREE.field()],
    rules: &[],
};

static COLLECTOR: Form = Form {
    what: "a collector",
    allowed: r#"a URL without TLS, such as "http://otel-collector:4318""#,
    pattern: None,
    longest: None,
    test: |text| {
        let url = text.parse::<Uri>();
        url.is_ok_and(|url| url.scheme_str() == Some("http") && url.authority().is_some())
    },
};

impl FromNode for Exporter {
    fn from_node(node: &Node) -> Option<Self> {
        node.named(&Self::ALL, Self::name)
    }
}

impl FromNode for Tree {
    fn from_node(node: &Node) -> Option<Self> {
        node.named(&[Self::Semconv, Self::OriginStudy], Self::name)
    }
}

/// What a checked file says.
pub(super) fn read(file: &Node) -> Result<Telemetry, Unread> {
    let node = TELEMETRY.part(file)?;
    let traces = TRACES.part(node)?;
    Ok(Telemetry {
        exporter: EXPORTER.read(traces)?,
        endpoint: ENDPOINT.given(traces)?.map(Arc::from),
        sample: SAMPLE.read(traces)?,
        tree: TREE.read(traces)?,
        service_name: Arc::from(SERVICE.read(node)?),
    })
}
