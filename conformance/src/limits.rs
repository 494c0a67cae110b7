//! What a host cannot see or do, in one table.
//!
//! A scenario that needs one of these is not played on that host. Tests hold the table to be
//! exact: each entry is needed by a scenario, and without the entry that scenario is red.

use crate::scenario::{Scenario, Upstream, parse_span};
use std::fmt;

/// Who plays a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostName {
    /// The core alone, in virtual time.
    Core,
    /// The native proxy.
    Native,
    /// Envoy with the filter.
    Envoy,
}

impl HostName {
    /// Every host.
    pub const ALL: [Self; 3] = [Self::Core, Self::Native, Self::Envoy];
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Core => "core",
            Self::Native => "native",
            Self::Envoy => "envoy",
        })
    }
}

/// Something that a scenario needs of its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Faults injected by the mesh.
    InjectedFaults,
    /// Answers of other filters of the mesh.
    OtherFilters,
    /// A fallback in place of failures.
    FallbackForFailures,
    /// The time in which an upstream takes nothing of an upload.
    BlockedUploads,
    /// A request timeout that goes on behind an informational head.
    TimeoutBehindInformationalHeads,
    /// Waits between tries, and the size of a body that is kept, as the policy chooses them.
    RetryWaits,
    /// Each try as evidence.
    TriesAsEvidence,
    /// An upstream's `retry-after` before another try.
    RetryAfter,
    /// Timeouts of tries apart from resets.
    TimeoutsOfTries,
    /// The time of a call's last try alone.
    LastTry,
    /// Calls that wait for a token of a rate limit.
    QueuesOfLimits,
    /// Limits of clients' connections.
    Connections,
}

/// One thing that one host cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The host.
    pub host: HostName,
    /// What it cannot.
    pub need: Need,
    /// The same for people.
    pub what: &'static str,
    /// Why.
    pub why: &'static str,
}

/// The table.
pub const LIMITS: [Limit; 12] = [
    Limit {
        host: HostName::Native,
        need: Need::InjectedFaults,
        what: "faults injected by the mesh",
        why: "it stands in no mesh, so nobody injects a fault between it and the upstream",
    },
    Limit {
        host: HostName::Native,
        need: Need::OtherFilters,
        what: "answers of other filters",
        why: "nothing stands between it and the upstream that could answer in its place",
    },
    Limit {
        host: HostName::Envoy,
        need: Need::FallbackForFailures,
        what: "a fallback in place of failures",
        why: "a filter cannot hold back an answer that has begun; the document is refused",
    },
    Limit {
        host: HostName::Envoy,
        need: Need::BlockedUploads,
        what: "the time in which an upstream takes nothing of an upload",
        why: "the router's clock, its timeout and so the filter's begin with the end of the request",
    },
    Limit {
        host: HostName::Envoy,
        need: Need::TimeoutBehindInformationalHeads,
        what: "a request timeout that goes on behind an informational head",
        why: "to the router an answer begins with any head, and its timeout per try ends there",
    },
    Limit {
        host: HostName::Envoy,
        need: Need::RetryWaits,
        what: "waits between tries, and the size of a body that is kept, as the policy chooses them",
        why: "the router has its own; the document is refused",
    },
    Limit {
        host: HostName::Envoy,
        need: Need::TriesAsEvidence,
        what: "each try as evidence",
        why: "the router makes them, and asks nobody between two tries; the document is refused",
    },
    Limit {
        host: HostName::Envoy,
        need: Need::RetryAfter,
        what: "an upstream's `retry-after` before another try",
        why: "the router waits by its own rule, whatever the upstream asks",
    },
    Limit {
        host: HostName::Envoy,
        need: Need::TimeoutsOfTries,
        what: "timeouts of tries apart from resets",
        why: "the router has one word for both, so it tries both again where the policy lists either",
    },
    Limit {
        host: HostName::Envoy,
        need: Need::LastTry,
        what: "the time of a call's last try alone",
        why: "the router's clock begins with the end of the request, and goes on over all tries",
    },
    Limit {
        host: HostName::Envoy,
        need: Need::QueuesOfLimits,
        what: "calls that wait for a token of a rate limit",
        why: "nothing but its tick would let one go on when its token comes; the document is refused",
    },
    Limit {
        host: HostName::Envoy,
        need: Need::Connections,
        what: "limits of a client's connections",
        why: "a filter sees calls and not the connections that they come on; the document is refused",
    },
];

/// The first limit of `host` that keeps it from playing `scenario`.
pub fn in_the_way(scenario: &Scenario, host: HostName) -> Option<&'static Limit> {
    LIMITS.iter().find(|limit| limit.host == host && limit.need.is_of(scenario))
}

impl Need {
    /// Whether `scenario` has it.
    pub fn is_of(self, scenario: &Scenario) -> bool {
        let any = |wanted: fn(&Upstream) -> bool| {
            scenario.calls().any(|(_, _, call)| wanted(&call.upstream))
        };
        match self {
            Self::InjectedFaults => any(|upstream| matches!(upstream, Upstream::Injected { .. })),
            Self::OtherFilters => any(|upstream| matches!(upstream, Upstream::Denied { .. })),
            Self::RetryWaits => retries(scenario, |policy| {
                ["backoff", "buffer"].iter().any(|field| !policy["retry"][field].is_null())
            }),
            Self::TriesAsEvidence => retries(scenario, |policy| policy["evidence"] == "tries"),
            Self::RetryAfter => {
                let asks = |upstream: &Upstream| match upstream {
                    Upstream::Answers(reply) => reply.retry_after.is_some(),
                    _ => false,
                };
                names(scenario, "retry") && any(asks)
            }
            Self::TimeoutsOfTries => retries(scenario, |policy| {
                let on = policy["retry"]["on"].as_array();
                let has = |word: &str| on.is_some_and(|on| on.iter().any(|listed| listed == word));
                !policy["timeout"]["per_try"].is_null() && has("reset") != has("timeout")
            }),
            Self::LastTry => {
                let waits = |upstream: &Upstream| match upstream {
                    Upstream::Answers(reply) => !reply.after.is_zero(),
                    _ => false,
                };
                let is_slow = scenario.document.to_string().contains("slower_than");
                is_slow && scenario.calls().any(|(_, _, call)| call.earlier.iter().any(waits))
            }
            Self::Connections => names(scenario, "connections"),
            Self::QueuesOfLimits => {
                let policies = scenario.document["policies"].as_array();
                let waits = |policy: &serde_json::Value| {
                    let limits = policy["rate_limits"].as_array();
                    limits.is_some_and(|all| all.iter().any(|one| !one["queue"].is_null()))
                };
                policies.is_some_and(|all| all.iter().any(waits))
            }
            Self::FallbackForFailures => {
                let policies = scenario.document["policies"].as_array();
                let failed = |policy: &serde_json::Value| {
                    let when = policy["fallback"]["when"].as_array();
                    when.is_some_and(|when| when.iter().any(|word| word == "failed"))
                };
                policies.is_some_and(|policies| policies.iter().any(failed))
            }
            Self::BlockedUploads => any(|upstream| !upstream.takes_after().is_zero()),
            Self::TimeoutBehindInformationalHeads => {
                let policies = scenario.document["policies"].as_array();
                let limits = policies.into_iter().flatten();
                let limits = limits.filter_map(|policy| policy["timeout"]["request"].as_str());
                limits.filter_map(parse_span).any(|limit| {
                    scenario.calls().any(|(_, _, call)| match call.upstream {
                        Upstream::Answers(reply) => {
                            reply.informs_every.is_some_and(|every| every < limit)
                                && reply.after > limit
                        }
                        _ => false,
                    })
                })
            }
        }
    }
}

/// Whether a policy that tries again is like that.
fn retries(scenario: &Scenario, is_so: impl Fn(&serde_json::Value) -> bool) -> bool {
    let policies = scenario.document["policies"].as_array();
    policies.is_some_and(|all| all.iter().any(|policy| !policy["retry"].is_null() && is_so(policy)))
}

/// Whether a policy has this field.
fn names(scenario: &Scenario, field: &str) -> bool {
    let policies = scenario.document["policies"].as_array();
    policies.is_some_and(|all| all.iter().any(|policy| !policy[field].is_null()))
}

/// The table as the documentation shows it.
pub fn as_markdown() -> String {
    let rows = LIMITS.iter().map(|limit| {
        let Limit { host, what, why, .. } = limit;
        format!("| {host} | {what} | {why} |\n")
    });
    ["| host | cannot see or do | why |\n| --- | --- | --- |\n".to_owned()]
        .into_iter()
        .chain(rows)
        .collect()
}
