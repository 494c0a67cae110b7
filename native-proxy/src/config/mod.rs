//! The proxy's settings: what a configuration file says, checked and with every default filled in.

pub(crate) mod against;
mod builtin;
mod endpoint;
mod file;
pub(crate) mod hidden;
mod operators;
mod read;
mod source;
mod table;
mod telemetry;
mod upstreams;
mod words;

pub use builtin::builtin;
pub use endpoint::{Balance, Dns, Endpoint};
pub use file::{ConfigError, Syntax, load, parse};
pub(crate) use file::{in_file, tree, understand};
pub(crate) use read::collide;
pub use read::settings;
pub use source::ReadError;
pub(crate) use source::{Look, Source};
pub use table::FILE;
pub use telemetry::{Exporter, Telemetry, Tree};
pub(crate) use words::read_otherwise;

use bimetal_core::Duration;
use bimetal_core::ejection;
use bimetal_core::outcome::FailureRules;
use bimetal_core::policy::{Document, Match};
use hyper::header::HeaderValue;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

/// Everything a proxy runs by.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where requests come in; at least one.
    pub listeners: Vec<Listener>,
    /// Where state and control are: loopback unless told otherwise.
    pub admin: SocketAddr,
    /// Who may control, and whom the dashboard watches.
    pub operators: Operators,
    /// Where probes and metrics are.
    pub health: SocketAddr,
    /// Which of the two addresses stand in the file; the others are defaults.
    pub given: OwnAddresses,
    /// Threads that serve, at least 1.
    pub workers: usize,
    /// Upstreams, in the order of the file.
    pub upstreams: Vec<Arc<Upstream>>,
    /// Routes; the first that matches wins.
    pub routes: Vec<Route>,
    /// What becomes of traces.
    pub telemetry: Telemetry,
    /// The policies.
    pub document: Document,
    /// The policies as they were written, as JSON, for the admin interface.
    pub policies: serde_json::Value,
    /// What `unsupported: skip` left out, each as `path: why`.
    pub skipped: Vec<String>,
    /// What is good and yet looks like a mistake, each as `path: what`.
    pub warnings: Vec<String>,
}

/// Who may control a proxy, how its dashboard is opened, and whom that watches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Operators {
    /// The file that has the token for control; none: nobody controls.
    pub token_file: Option<PathBuf>,
    /// Names under which the admin listener is asked, in lower case.
    pub hosts: Vec<String>,
    /// Whom the dashboard shows beside this proxy.
    pub watch: Vec<Watched>,
}

/// Another that the dashboard shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// What it is called.
    pub name: Arc<str>,
    /// Its admin address.
    pub address: SocketAddr,
    /// What it is.
    pub metal: Metal,
}

/// Which of both metals something is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metal {
    /// The native proxy.
    Proxy,
    /// An Envoy that runs the filter.
    Envoy,
}

/// Which addresses of its own a file gives to a proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnAddresses {
    /// That of the admin listener.
    pub admin: bool,
    /// That of the health listener.
    pub health: bool,
}

/// One listening address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The address; port 0 takes any free port.
    pub address: SocketAddr,
    /// Most connections at once over all workers; more wait to be accepted.
    pub max_connections: usize,
    /// How long a head may take from its first byte; the first one, from the connection's begin.
    pub header_timeout: Duration,
    /// How long a connection may be without a request, once it had one.
    pub keep_alive: Duration,
    /// What becomes of headers whose names others may take for other names.
    pub underscores: Underscores,
    /// Most bytes of a request's body; `None`: bodies are streamed whatever their size.
    pub max_body: Option<u64>,
    /// How long a client may send nothing of a body that is waited for, or take nothing of its
    /// answer.
    pub idle: Duration,
    /// How many proxies in front are believed.
    pub trusted_hops: usize,
    /// Whether connections begin with a header of the PROXY protocol.
    pub proxy_protocol: bool,
}

/// What becomes of headers with other bytes in their names than letters, digits and dashes. To CGI
/// and WSGI programs, and to some servers, `x_a` and `x-a` are one header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Underscores {
    /// They are dropped.
    #[default]
    Drop,
    /// They go on.
    Allow,
}

impl Underscores {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Drop, Self::Allow];

    /// The word for it in a file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Allow => "allow",
        }
    }
}

/// One upstream.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    /// Its name: the `destination` of policies.
    pub name: Arc<str>,
    /// Where it is; none where `dns` says so.
    pub endpoints: Vec<Endpoint>,
    /// The name whose addresses are its endpoints.
    pub dns: Option<Dns>,
    /// How a call chooses among them.
    pub balance: Balance,
    /// The Host header of its requests; `None`: the client's own.
    pub host: Option<HeaderValue>,
    /// How long an answer's body may stand still.
    pub idle: Duration,
    /// Bounds of its connections.
    pub pool: Pool,
    /// When an endpoint that fails is left out; none: never.
    pub outlier: Option<ejection::Settings>,
    /// By which rules the outcomes of calls are judged that no policy judges.
    pub failure: Arc<FailureRules>,
    /// How its endpoints are checked; none: they are not.
    pub health: Option<Checks>,
    /// Over which time an endpoint that returns, or is new, comes to all of its calls.
    pub slow_start: Duration,
}

/// How the endpoints of an upstream are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checks {
    /// What is asked for.
    pub path: Box<str>,
    /// Between two checks of an endpoint.
    pub interval: Duration,
    /// How long one may take.
    pub timeout: Duration,
    /// So many passes in a row make an unhealthy endpoint healthy.
    pub healthy_after: u32,
    /// So many failures in a row make a healthy one unhealthy.
    pub unhealthy_after: u32,
}

/// Bounds of an upstream's connections, over all workers: each worker has its share, rounded up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Most connections.
    pub max_connections: usize,
    /// Most calls that wait for one.
    pub max_pending: usize,
    /// How long a connection may wait unused.
    pub idle: Duration,
    /// Most calls under way.
    pub max_requests: Option<NonZeroUsize>,
    /// After so many requests a connection closes.
    pub max_requests_per_connection: Option<NonZeroUsize>,
}

/// Which requests go where.
#[derive(Clone, Debug)]
pub struct Route {
    /// The `route` of policies: host and path as they were written.
    pub name: Arc<str>,
    /// Its path alone, as it was written: the `http.route` of spans.
    pub path: Arc<str>,
    /// Which requests.
    pub matcher: Match,
    /// Where they go.
    pub target: Target,
    /// Protocols to which a client and the upstream may switch.
    pub upgrades: Arc<[Box<str>]>,
}

/// Where a route leads. The numbers are places in [`Settings::upstreams`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// To an upstream.
    Upstream(usize),
    /// Nowhere: the call is admitted as if it went to the upstream, and fails. Only the embedded
    /// default has it, as the study's `POST /test-failure`.
    TestFailure(usize),
}
