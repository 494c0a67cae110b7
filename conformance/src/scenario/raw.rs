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

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawReply {
    #[serde(default)]
    pub(super) status: Option<u16>,
    #[serde(default)]
    pub(super) after: Option<Span>,
    #[serde(default)]
    pub(super) body: Option<Span>,
    #[serde(default)]
    pub(super) retry_after: Option<u32>,
    #[serde(default)]
    pub(super) grpc_status: Option<u32>,
    #[serde(default)]
    pub(super) injected: Option<u16>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum RawClient {
    Status(u16),
    Text(String),
}

#[derive(Clone, Copy)]
pub(super) struct Span(pub(super) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let bad = || serde::de::Error::custom(format!("{text} is no time such as 250ms or 1.5s"));
        parse_span(&text).map(Self).ok_or_else(bad)
    }
}
