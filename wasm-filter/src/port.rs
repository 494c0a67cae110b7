//! What the filter needs of its host, as a trait.
//!
//! Everything but `host.rs` is written against it, so one request's life can be tested on any
//! machine, in every order of events, with every call failing.

use crate::board::WorkerBoard;
use crate::headers::Headers;
use bimetal_core::Instant;
pub use bimetal_core::metric::Kind as MetricKind;
use std::fmt;
use std::sync::Arc;

/// Host calls of Envoy, or of a test.
///
/// Text from the network is bytes: a client chooses it. No call panics; what fails is an `Err`.
/// A host is a handle: its clones are the same host.
pub trait Host: Clone + 'static {
    /// A monotonic clock, comparable between workers of one process.
    ///
    /// # Errors
    /// As every call: when the host refuses it.
    fn now(&self) -> Result<Instant, HostError>;

    /// A random number.
    ///
    /// # Errors
    /// When the host gives none: Envoy can withhold it (`capability_restriction_config`).
    fn random(&self) -> Result<u64, HostError>;

    /// All headers or trailers of a map.
    ///
    /// # Errors
    /// When the map does not exist in this phase.
    fn headers(&self, map: Map) -> Result<Headers, HostError>;

    /// Sets a header, in place of all its values.
    ///
    /// # Errors
    /// As [`Host::headers`].
    fn set_header(&self, map: Map, name: &str, value: &str) -> Result<(), HostError>;

    /// Removes a header, if it is there.
    ///
    /// # Errors
    /// As [`Host::headers`].
    fn remove_header(&self, map: Map, name: &str) -> Result<(), HostError>;

    /// A property of the request or plugin; `None` where Envoy does not know it (yet).
    ///
    /// # Errors
    /// When the host cannot express the value.
    fn property(&self, path: Property) -> Result<Option<Vec<u8>>, HostError>;

    /// The configuration of the plugin.
    ///
    /// # Errors
    /// When there is none in this phase.
    fn configuration(&self) -> Result<Vec<u8>, HostError>;

    /// The first `size` bytes of the part of the answer's body that is shown now.
    ///
    /// # Errors
    /// When no part is shown in this phase.
    fn response_body(&self, size: usize) -> Result<Vec<u8>, HostError>;

    /// Answers the request in place of the upstream.
    ///
    /// # Errors
    /// When an answer is under way already.
    fn reply(&self, reply: &Reply) -> Result<(), HostError>;

    /// Has the host go on with a request that it holds, once it is asked no more.
    ///
    /// # Errors
    /// As every call.
    fn go_on(&self) -> Result<(), HostError>;

    /// Makes the host calls that follow those of the request of this context.
    ///
    /// # Errors
    /// When the host knows no such context (any more).
    fn enter(&self, context: u32) -> Result<(), HostError>;

    /// Makes them those of the context that the host called again.
    ///
    /// # Errors
    /// As every call.
    fn leave(&self) -> Result<(), HostError>;

    /// Asks for ticks.
    ///
    /// # Errors
    /// When the host has no timer.
    fn tick_every(&self, millis: u32) -> Result<(), HostError>;

    /// The id of a metric, made where there is none of that name. Each call costs the host memory.
    ///
    /// # Errors
    /// When the name is taken by a metric of another kind.
    fn define_metric(&self, kind: MetricKind, name: &str) -> Result<u32, HostError>;

    /// Adds to a counter or gauge; `by` is never zero, and not negative for a counter.
    ///
    /// # Errors
    /// When there is no such metric.
    fn add_to_metric(&self, id: u32, by: i64) -> Result<(), HostError>;

    /// Records a value in a histogram, or sets a gauge for all workers.
    ///
    /// # Errors
    /// When there is no such metric.
    fn record(&self, id: u32, value: u64) -> Result<(), HostError>;

    /// Where the workers' breakers of the plugin of this name meet; `None` where workers share
    /// nothing. No client may know `seed`.
    ///
    /// # Errors
    /// When the host cannot count the changes to it.
    fn board(&self, plugin: &[u8], seed: u64) -> Result<Option<Arc<dyn WorkerBoard>>, HostError>;

    /// Writes a line to the host's log. There is nowhere to report a failure to.
    fn log(&self, level: Level, line: &str);

    /// Whether the host's log takes lines of this level.
    fn logs(&self, level: Level) -> bool;
}

/// A host call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostError {
    /// Which call.
    pub call: &'static str,
    /// The host's status (proxy-wasm's `proxy_status_t`, or a WASI errno for the clock and random
    /// numbers).
    pub status: u32,
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host call {} failed with status {}", self.call, self.status)
    }
}

/// A map of headers or trailers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Map {
    /// Request headers.
    Request,
    /// Response headers.
    Response,
    /// Response trailers.
    Trailers,
}

/// A property that the filter reads. Envoy's names are in [`Property::path`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Property {
    /// Name of the plugin in Envoy's configuration.
    PluginName,
    /// The cluster that the route chose.
    Cluster,
    /// The name of the virtual host that the route belongs to.
    VirtualHost,
    /// The route's name.
    Route,
    /// Which way a sidecar's listener points.
    Direction,
    /// The client's address with its port.
    ClientAddress,
    /// Bits that say what happened to the request; see [`crate::flags`].
    ResponseFlags,
    /// Who made the answer, and why.
    ResponseDetails,
    /// How many tries the router made.
    Attempts,
}

impl Property {
    /// Envoy's path, its parts ended by NUL as the ABI wants them (the last one is not).
    ///
    /// `xds` because the plain `cluster_name` and `route_name` are gone since Envoy 1.33.
    pub const fn path(self) -> &'static str {
        match self {
            Self::PluginName => "plugin_name",
            Self::Cluster => "xds\0cluster_name",
            Self::VirtualHost => "xds\0virtual_host_name",
            Self::Route => "xds\0route_name",
            Self::Direction => "xds\0listener_direction",
            Self::ClientAddress => "source\0address",
            Self::ResponseFlags => "response\0flags",
            Self::ResponseDetails => "response\0code_details",
            Self::Attempts => "upstream\0request_attempt_count",
        }
    }
}

/// Levels of the host's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Events.
    Debug,
    /// What was put in force.
    Info,
    /// What was left out, and host calls that failed.
    Warn,
    /// Configuration that was refused.
    Error,
}

/// An answer in place of the upstream's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Envoy's `response_code_details`: names the rule in access logs.
    pub details: String,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: String,
}
