//! What is fuzzed: one file for each room's promises.

mod answers;
mod call;
mod deadline;
mod engine;
mod filter;
mod filter_host;
mod framing;
mod path;
mod policy;
mod proxy_header;
mod scenario;

use crate::Target;

/// Every target.
pub const TARGETS: [Target; 11] = [
    Target {
        name: "policy-json",
        act: policy::json,
        words: policy::WORDS,
        corpus: &["corpus/policy-json"],
    },
    Target {
        name: "policy-yaml",
        act: policy::yaml,
        words: policy::WORDS,
        corpus: &["corpus/policy-yaml"],
    },
    Target {
        name: "scenario",
        act: scenario::read,
        words: scenario::WORDS,
        corpus: &["../conformance/scenarios", "corpus/scenario"],
    },
    Target {
        name: "framing",
        act: framing::requests,
        words: framing::WORDS,
        corpus: &["corpus/framing"],
    },
    Target {
        name: "answers",
        act: answers::one,
        words: answers::WORDS,
        corpus: &["corpus/answers"],
    },
    Target {
        name: "proxy-header",
        act: proxy_header::connection,
        words: proxy_header::WORDS,
        corpus: &["corpus/proxy-header"],
    },
    Target {
        name: "deadline",
        act: deadline::fields,
        words: deadline::WORDS,
        corpus: &["corpus/deadline"],
    },
    Target { name: "path", act: path::spelled, words: path::WORDS, corpus: &["corpus/path"] },
    Target { name: "filter", act: filter::host_calls, words: &[], corpus: &["corpus/filter"] },
    Target { name: "call", act: call::inputs, words: call::WORDS, corpus: &["corpus/call"] },
    Target { name: "engine", act: engine::verbs, words: &[], corpus: &["corpus/engine"] },
];

/// The target of this name.
pub fn find(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}
