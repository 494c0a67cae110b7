//! A scenario: a policy, what happens when, and the log that must come of it.
//!
//! The file format is taught in the README of this room; [`read`] turns a file into a
//! [`Scenario`] and refuses what could not be judged.

mod call;
mod content;
mod raw;
pub mod read;
mod times;

pub use content::Content;
pub use read::{ReadError, read_all, read_file, read_text};
pub use times::{parse_span, show_span};

use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// A whole scenario file.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The file's name without `.yaml`.
    pub name: String,
    /// One sentence: what must hold.
    pub title: String,
    /// How exactly real clocks can be expected to keep the times; steps are at least five apart.
    pub tick: Duration,
    /// The policy document in force at the start.
    pub document: Value,
    /// What happens, in order of time.
    pub steps: Vec<Step>,
    /// When it is over, from the start.
    pub end: Duration,
    /// The log that must come of it, written by hand.
    pub log: Vec<String>,
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its name in the log.
    pub name: String,
    /// When, from the start.
    pub at: Duration,
    /// What it does.
    pub kind: StepKind,
}

/// What a step does.
#[derive(Clone, Debug)]
pub enum StepKind {
    /// A client makes a call, or several one after the other.
    Call(Box<Call>),
    /// The host gets another policy document.
    Load(Value),
}

/// A call, and what the upstream does with it.
#[derive(Clone, Debug)]
pub struct Call {
    /// How often, each after the answer of the one before.
    pub times: u32,
    /// Method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// `Host` as sent.
    pub host: String,
    /// More headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// From the call to the end of its body. Zero: it is sent whole, at once.
    pub upload: Duration,
    /// What the upstream does with the tries before the last one.
    pub earlier: Vec<Upstream>,
    /// What the upstream does with the only try, or the last one.
    pub upstream: Upstream,
    /// When the client goes away, from its call.
    pub abort: Option<Duration>,
    /// What the client sees of it.
    pub expect: Answer,
    /// Whether the upstream must see the call.
    pub reaches_upstream: bool,
}

impl Call {
    /// The call as its try of this number sees it, from 0; behind the last one it is the last one's.
    pub fn of_try(&self, number: usize) -> Self {
        let upstream = self.earlier.get(number).unwrap_or(&self.upstream);
        Self { earlier: Vec::new(), upstream: *upstream, ..self.clone() }
    }
}

/// What the upstream does with a call, or others in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// It answers.
    Answers(Reply),
    /// Nobody listens at its address.
    Refuses,
    /// It takes the call and never answers.
    Hangs,
    /// It takes the connection and the head, and nothing of the body, for ever.
    TakesNothing,
    /// It breaks the connection instead of answering.
    Resets {
        /// Whether it does so before it has the whole request.
        early: bool,
    },
    /// The mesh injects a fault in its place.
    Injected {
        /// With this status.
        status: u16,
    },
    /// Another filter of the mesh answers in its place: authorisation, a cache, a script.
    Denied {
        /// With this status.
        status: u16,
    },
}

impl Upstream {
    /// Whether it gets to see the call.
    pub const fn sees_the_call(&self) -> bool {
        !matches!(self, Self::Refuses | Self::Injected { .. } | Self::Denied { .. })
    }

    /// How long it takes nothing of the request's body; zero where it reads as it comes. A body that
    /// is to fill every buffer on its way has to be long.
    pub const fn takes_after(&self) -> Duration {
        match self {
            Self::TakesNothing => Duration::MAX,
            Self::Answers(reply) => reply.takes_after,
            _ => Duration::ZERO,
        }
    }
}

/// An upstream's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// From the end of the request to the headers; from its beginning where the answer is `early`.
    pub after: Duration,
    /// From the headers to the end of the body.
    pub body: Duration,
    /// Whether it answers without waiting for the end of the request.
    pub early: bool,
    /// Whether the connection breaks in place of the answer's end.
    pub breaks: bool,
    /// For so long it takes nothing of the request's body.
    pub takes_after: Duration,
    /// How often an informational head (103) is sent until the headers.
    pub informs_every: Option<Duration>,
    /// Its `retry-after`, in whole seconds.
    pub retry_after: Option<u32>,
    /// How it tells its end.
    pub media: Media,
    /// Its `grpc-status`; where that stands, `media` says.
    pub grpc_status: Option<u32>,
}

/// How an answer tells its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Media {
    /// By the end of its body.
    #[default]
    Plain,
    /// gRPC whose answer is headers alone, with the status in them.
    GrpcHeaders,
    /// gRPC, by a status in the trailers behind its body.
    Grpc,
    /// gRPC-Web, by a status in the last frame of its body.
    GrpcWeb,
    /// Not at all: a stream of events.
    Events,
}

/// What a client got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A whole answer that no rule made.
    Status(u16),
    /// A whole answer that says it comes from a rule.
    Rejected {
        /// Its status.
        status: u16,
        /// Its `x-bimetal-rule`.
        rule: String,
    },
    /// An answer of the host's own that names no rule: 502, 503 or 504, by the host's custom.
    Error,
    /// The headers came, the body broke off.
    Broken,
    /// Nothing: the client had gone.
    Gone,
    /// Nothing yet: the scenario ends while the client waits.
    Waiting,
    /// Nothing, though the client waited. Never expected.
    Nothing(String),
}

impl Scenario {
    /// Every call in order with its name in the log: `2`, or `2.1`, `2.2` where a step has several.
    pub fn calls(&self) -> impl Iterator<Item = (String, &Step, &Call)> {
        self.steps.iter().flat_map(|step| {
            let call = match &step.kind {
                StepKind::Call(call) => Some(&**call),
                StepKind::Load(_) => None,
            };
            call.into_iter().flat_map(move |call| {
                (1..=call.times).map(move |nth| (call_name(step, call, nth), step, call))
            })
        })
    }

    /// What the clients and the upstream must see, one line a call.
    pub fn expected_answers(&self) -> Vec<String> {
        self.calls()
            .map(|(name, _, call)| {
                let tries = call.earlier.iter().chain([&call.upstream]);
                let seen = tries.filter(|upstream| upstream.sees_the_call()).count();
                let count = if call.reaches_upstream { seen } else { 0 };
                answer_line(&name, &call.expect, count)
            })
            .collect()
    }
}

/// The name of the `nth` call of a step (from 1).
pub fn call_name(step: &Step, call: &Call, nth: u32) -> String {
    match call.times {
        1 => step.name.clone(),
        _ => format!("{}.{nth}", step.name),
    }
}

/// What a client got and how often the upstream saw the call, as one line.
pub fn answer_line(name: &str, answer: &Answer, received: usize) -> String {
    let got = match answer {
        Answer::Status(status) => format!("{status}"),
        Answer::Rejected { status, rule } => format!("{status} by {rule}"),
        Answer::Error => "an error of the host".to_owned(),
        Answer::Broken => "a broken answer".to_owned(),
        Answer::Gone => "nothing, it had gone".to_owned(),
        Answer::Waiting => "nothing yet".to_owned(),
        Answer::Nothing(why) => format!("nothing: {why}"),
    };
    let reached = match received {
        0 => "the upstream does not see it".to_owned(),
        1 => "the upstream sees it".to_owned(),
        many => format!("the upstream sees it {many} times"),
    };
    format!("{name}: the client gets {got}; {reached}")
}
