//! A compiled policy: checked, with every default filled in, ready to decide by.

use super::board::BoardPolicy;
use super::breaker::BreakerPolicy;
use super::fallback::Fallback;
use super::limit::LimitPolicy;
use super::matching::Match;
use crate::anomaly::AnomalyPolicy;
use crate::auto_timeout::AutoTimeoutPolicy;
use crate::concurrency::adaptive::AdaptivePolicy;
use crate::concurrency::queue::QueuePolicy;
use crate::connections::ConnectionsPolicy;
use crate::deadline::DeadlinePolicy;
use crate::outcome::FailureRules;
use crate::retry::RetryPolicy;
use crate::time::Duration;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

pub use crate::host::Host;

/// A whole policy document, compiled for one host.
#[derive(Clone, Debug)]
pub struct Document {
    /// In the order of the document: the first that matches wins.
    pub policies: Vec<Arc<Policy>>,
    /// What `unsupported: skip` left out, each as `path: why`.
    pub skipped: Vec<String>,
    /// Hash of the policies as they are in force.
    pub hash: u64,
    /// Where replicas in other processes are met, if anywhere.
    pub board: Option<BoardPolicy>,
}

/// One policy.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Unique in its document; `[A-Za-z0-9._-]`, at most 64 characters, so safe in every signal.
    pub name: Arc<str>,
    /// Which requests it is for.
    pub matcher: Match,
    /// What has a breaker of its own.
    pub scope: Scope,
    /// Bounds of the table of scopes.
    pub scopes: Scopes,
    /// Whether it acts.
    pub mode: Mode,
    /// What is counted of a call that has several tries.
    pub evidence: Evidence,
    /// The breaker, where there is one.
    pub breaker: Option<Arc<BreakerPolicy>>,
    /// What is made of the time that a caller has left.
    pub deadline: Option<DeadlinePolicy>,
    /// How many connections a client may have at work.
    pub connections: Option<ConnectionsPolicy>,
    /// How fast answers are sent.
    pub bandwidth: Option<BandwidthPolicy>,
    /// Rate limits: all must admit.
    pub rate_limits: Vec<LimitPolicy>,
    /// The limit of calls under way, where there is one.
    pub concurrency: Option<ConcurrencyPolicy>,
    /// What counts as failure, slow and neutral.
    pub failure: Arc<FailureRules>,
    /// Time limits that the host enforces.
    pub timeout: Timeouts,
    /// When failed tries are made again.
    pub retry: Option<Arc<RetryPolicy>>,
    /// The answer in place of a rejection or a failure.
    pub fallback: Option<Fallback>,
    /// What is warned of in how services call each other; none where nothing is.
    pub warnings: Option<WarningsPolicy>,
    /// What is watched of the calls; none where nothing is.
    pub anomaly: Option<AnomalyPolicy>,
    /// Whether every answer says the policy and the breaker's state: `x-bimetal-policy` and
    /// `x-bimetal-state`.
    pub debug_headers: bool,
    /// What decides whether state means the same to two policies.
    pub hashes: StateHashes,
    /// Hash of the whole policy, shown by the admin interface.
    pub hash: u64,
}

/// What is warned of in how services call each other. It changes no decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WarningsPolicy {
    /// So many calls of one upstream by one route are fine within a trace.
    pub calls_per_trace: u32,
    /// The header that says `open` while its caller holds a database transaction; in lower case.
    pub db_transaction_header: String,
}

/// How fast an answer's body is sent to its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BandwidthPolicy {
    /// So fast, on each connection.
    pub per_connection: Bandwidth,
    /// So many bytes of each answer come before that as fast as they can.
    pub after: u64,
}

/// So much in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bandwidth {
    /// So many bytes, 1 at least.
    pub bytes: u64,
}

/// Hashes of what a policy's state depends on, each with its name: policies of one name and equal hashes
/// share their state. Settings that only judge, as a list of failures does, are in none of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct StateHashes {
    /// `scope` and `scopes`: whether a key means the same scope.
    pub scopes: u64,
    /// `scopes` and the breaker, but for its failure rules.
    pub breaker: u64,
}

/// What has a breaker of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Scope {
    /// One for the whole policy.
    Policy,
    /// One per upstream.
    #[default]
    Destination,
    /// One per endpoint of an upstream.
    Endpoint,
    /// One per route.
    Route,
    /// One per authority, lower case and without a port.
    Authority,
    /// One per client address.
    Client,
    /// One per value of this header (lower case name).
    Header(String),
}

impl Scope {
    /// Whether each scope has a metric label of its own.
    pub const fn is_labelled(&self) -> bool {
        matches!(self, Self::Destination | Self::Endpoint | Self::Route | Self::Authority)
    }
}

/// Bounds of the table of scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scopes {
    /// Most scopes at once, 1–1,000,000.
    pub max: u32,
    /// What happens to one more when none is idle.
    pub when_full: WhenFull,
}

/// What happens to a new scope while the table is full of busy ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// One common overflow scope decides.
    #[default]
    Share,
    /// It passes unprotected, and is counted.
    Pass,
}

impl WhenFull {
    /// Every one, in the order of the documentation.
    pub const ALL: [Self; 2] = [Self::Share, Self::Pass];

    /// The name in a policy.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Share => "share",
            Self::Pass => "pass",
        }
    }
}

/// Whether a policy acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Decisions are applied.
    #[default]
    Enforce,
    /// Everything is decided and counted, nothing is applied.
    Shadow,
    /// The breaker rejects every call.
    ForcedOpen,
    /// The whole policy passes.
    Disabled,
}

impl Mode {
    /// Every one, in the order of the documentation.
    pub const ALL: [Self; 4] = [Self::Enforce, Self::Shadow, Self::ForcedOpen, Self::Disabled];

    /// The name in a policy.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Shadow => "shadow",
            Self::ForcedOpen => "forced_open",
            Self::Disabled => "disabled",
        }
    }
}

/// What a breaker counts of a call that has several tries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Evidence {
    /// The call: what became of its last try.
    #[default]
    Calls,
    /// Each try.
    Tries,
}

impl Evidence {
    /// Both, in the order of the documentation.
    pub const ALL: [Self; 2] = [Self::Calls, Self::Tries];

    /// The name in a policy.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Tries => "tries",
        }
    }
}

/// How many calls may be under way in a scope. It is no part of a state: a changed one holds at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConcurrencyPolicy {
    /// So many, 1 at least. Of a limit that finds itself, the most that it can be.
    pub max: u32,
    /// In which workers together.
    pub share: Share,
    /// How the limit finds itself, if it does.
    pub adaptive: Option<AdaptivePolicy>,
    /// Calls that may wait for a slot.
    pub queue: Option<QueuePolicy>,
}

impl ConcurrencyPolicy {
    /// Whether the workers of a process share the limit.
    pub fn is_shared(&self) -> bool {
        self.share != Share::None
    }
}

/// With whom a mechanism shares its state (`share`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Share {
    /// With nobody: every worker has its own.
    None,
    /// With the workers of its process.
    #[default]
    Process,
    /// With other processes as well, by way of [a store far away](crate::board::far).
    Mesh {
        /// So many replicas that opened on their own evidence open the others.
        quorum: u16,
    },
}

impl Share {
    /// Those that need no board, in the order of the documentation.
    pub const ALL: [Self; 2] = [Self::None, Self::Process];

    /// The quorum of a mesh whose policy gives none.
    pub const QUORUM: u16 = 2;

    /// The name in a policy.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Process => "process",
            Self::Mesh { .. } => "mesh",
        }
    }
}

/// Time limits that the host enforces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// From handing the call to the upstream to the end of its answer's headers; the longest, where it
    /// follows the upstream.
    pub request: Option<Duration>,
    /// How that follows the upstream's latency, where it does.
    pub auto: Option<AutoTimeoutPolicy>,
    /// For the connection (native only).
    pub connect: Option<Duration>,
    /// As `request`, for each try of a call.
    pub per_try: Option<Duration>,
    /// How long either side may send or take nothing within a body (native only).
    pub idle: Option<Duration>,
}
