//! A scenario file as it is written: what serde reads, before anything is understood.

use super::parse_span;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawScenario {
    pub(super) title: String,
    #[serde(default)]
    pub(super) tick: Option<Span>,
    pub(super) policies: Value,
    pub(super) steps: Vec<RawStep>,
    #[serde(default)]
    pub(super) end: Option<Span>,
    pub(super) log: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStep {
    pub(super) step: String,
    pub(super) at: Span,
    #[serde(default)]
    pub(super) times: Option<u32>,
    #[serde(default)]
    pub(super) call: Option<String>,
    #[serde(default)]
    pub(super) host: Option<String>,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) upstream: Option<RawUpstream>,
    #[serde(default)]
    pub(super) tries: Vec<RawUpstream>,
    #[serde(default)]
    pub(super) upload: Option<Span>,
    #[serde(default)]
    pub(super) abort: Option<Span>,
    #[serde(default)]
    pub(super) load: Option<Value>,
    #[serde(default)]
    pub(super) expect: Option<String>,
    #[serde(default)]
    pub(super) client: Option<RawClient>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum RawUpstream {
    Status(u16),
    Text(String),
    Reply(RawReply),
}

#[derive(Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawReply {
    pub(super) status: Option<u16>,
    pub(super) after: Option<Span>,
    pub(super) body: Option<Span>,
    pub(super) early: bool,
    pub(super) breaks: bool,
    pub(super) takes_after: Option<Span>,
    pub(super) informs_every: Option<Span>,
    pub(super) retry_after: Option<u32>,
    pub(super) media: Option<String>,
    pub(super) grpc_status: Option<u32>,
    pub(super) injected: Option<u16>,
    pub(super) denied: Option<u16>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum RawClient {
    Status(u16),
    Text(String),
}

#[derive(Clone, Copy, PartialEq)]
pub(super) struct Span(pub(super) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let bad = || serde::de::Error::custom(format!("{text} is no time such as 250ms or 1.5s"));
        parse_span(&text).map(Self).ok_or_else(bad)
    }
}
