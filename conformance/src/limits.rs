//! What a host cannot see or do, in one table.
//!
//! A scenario that needs one of these is not played on that host. Tests hold the table to be
//! exact: each entry is needed by a scenario, and without the entry that scenario is red.

use crate::scenario::{Scenario, StepKind, Upstream, parse_span};
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
    /// A fallback in place of failures.
    FallbackForFailures,
    /// An answer that lasts longer than the request's time, though its headers came in time.
    LongAnswers,
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
pub const LIMITS: [Limit; 3] = [
    Limit {
        host: HostName::Native,
        need: Need::InjectedFaults,
        what: "faults injected by the mesh",
        why: "it stands in no mesh, so nobody injects a fault between it and the upstream",
    },
    Limit {
        host: HostName::Envoy,
        need: Need::FallbackForFailures,
        what: "a fallback in place of failures",
        why: "a filter cannot hold back an answer that has begun; the document is refused",
    },
    Limit {
        host: HostName::Envoy,
        need: Need::LongAnswers,
        what: "a request timeout that ends with the headers",
        why: "the router's request timeout is for the whole answer; a body that lasts longer is a failure",
    },
];

/// The first limit of `host` that keeps it from playing `scenario`.
pub fn in_the_way(scenario: &Scenario, host: HostName) -> Option<&'static Limit> {
    LIMITS.iter().find(|limit| limit.host == host && limit.need.is_of(scenario))
}

impl Need {
    /// Whether `scenario` has it.
    pub fn is_of(self, scenario: &Scenario) -> bool {
        match self {
            Self::InjectedFaults => scenario.steps.iter().any(|step| match &step.kind {
                StepKind::Call(call) => matches!(call.upstream, Upstream::Injected { .. }),
                StepKind::Load(_) => false,
            }),
            Self::FallbackForFailures => {
                let policies = scenario.document["policies"].as_array();
                let failed = |policy: &serde_json::Value| {
                    let on = policy["fallback"]["on"].as_array();
                    on.is_some_and(|on| on.iter().any(|word| word == "failed"))
                };
                policies.is_some_and(|policies| policies.iter().any(failed))
            }
            Self::LongAnswers => {
                let policies = scenario.document["policies"].as_array();
                let limits = policies.into_iter().flatten();
                let limits = limits.filter_map(|policy| policy["timeout"]["request"].as_str());
                limits.filter_map(parse_span).any(|limit| {
                    scenario.calls().any(|(_, _, call)| match call.upstream {
                        Upstream::Answers(reply) => {
                            reply.after < limit && reply.after + reply.body > limit
                        }
                        _ => false,
                    })
                })
            }
        }
    }
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
