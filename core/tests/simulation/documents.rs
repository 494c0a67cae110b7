//! The documents that come into force in a history, and the requests that they are for.

use bimetal_core::Facts;
use bimetal_core::policy::{Document, Host};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::OnceLock;

/// The documents that come into force: shared and not, streak and rate, one probe and several, each judge.
pub(crate) const DOCUMENTS: [&str; 6] = [
    r#"{"policies": [{"name": "p", "scope": "header:x-tenant", "timeout": {"request": "1500ms"},
        "breaker": {"trip": {"consecutive_failures": 3},
        "open": {"base": "1s", "max": "8s", "jitter": 0.1}, "failure": {"ignore": [404]},
        "half_open": {"max_probes": 2, "required_successes": 2, "lease": "2s"}}}]}"#,
    r#"{"policies": [{"name": "p", "scope": "header:x-tenant", "scopes": {"max": 3}, "breaker": {
        "trip": {"failure_rate": {"threshold": 0.5, "window": {"time": "5s"}, "minimum_calls": 4}},
        "open": {"base": "2s"}, "half_open": {"max_probes": 2, "lease": "3s"},
        "recovery": {"ramp": "3s"}}}]}"#,
    r#"{"policies": [{"name": "p", "scope": "policy", "breaker": {
        "trip": {"consecutive_failures": 2, "slow_rate": {"threshold": 0.5, "slower_than": "1s",
        "window": {"calls": 6}, "minimum_calls": 3}}, "failure": {"ignore": [404]},
        "open": {"base": "500ms", "multiplier": 3, "max": "10s"}, "half_open": {"lease": "1s"}}}]}"#,
    r#"{"policies": [{"name": "p", "scope": "header:x-tenant", "breaker": {"share": "none",
        "trip": {"consecutive_failures": 1}, "open": {"base": "1s"}}}]}"#,
    r#"{"policies": [{"name": "p", "scope": "header:x-tenant", "breaker": {
        "trip": {"failure_rate": {"threshold": 0.5, "window": {"calls": 4}, "minimum_calls": 3}},
        "open": {"base": "1s"}, "half_open": {"max_probes": 4, "judge": "rate", "lease": "2s"}}}]}"#,
    r#"{"policies": [{"name": "p", "scope": "header:x-tenant", "breaker": {
        "trip": {"consecutive_failures": 2}, "open": {"base": "1s", "growth": "linear"},
        "half_open": {"judge": "nobody"}}}]}"#,
];

/// In which form the documents are in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Documents {
    /// As they stand above.
    Drawn,
    /// As a scenario file tells them: [`told_policies`].
    Told,
}

/// The policies of a document as a scenario can play them: without jitter, which no two hosts draw
/// alike, without the host's own time limit, and with a status that is no evidence, for results that
/// are none.
pub(crate) fn told_policies(index: usize) -> Value {
    let mut document: Value = serde_json::from_str(DOCUMENTS[index]).unwrap();
    let policy = document["policies"][0].as_object_mut().unwrap();
    policy.remove("timeout");
    policy["breaker"]["open"]["jitter"] = json!(0);
    policy["breaker"]["failure"] = json!({"statuses": ["5xx"], "ignore": [404]});
    document["policies"].take()
}

pub(super) fn documents(form: Documents) -> &'static [Document] {
    static DRAWN: OnceLock<Vec<Document>> = OnceLock::new();
    static TOLD: OnceLock<Vec<Document>> = OnceLock::new();
    let parse = |text: &str| Document::parse(text.as_bytes(), Host::Native).unwrap();
    match form {
        Documents::Drawn => DRAWN.get_or_init(|| DOCUMENTS.map(parse).into()),
        Documents::Told => TOLD.get_or_init(|| {
            let told = |index| json!({"policies": told_policies(index)}).to_string();
            (0..DOCUMENTS.len()).map(|index| parse(&told(index))).collect()
        }),
    }
}

/// A request of one tenant.
pub(super) struct Request(pub usize);

pub(super) const NAMES: [&[u8]; super::KEYS] = [b"k0", b"k1", b"k2", b"k3"];

impl Facts for Request {
    fn header(&self, _: &str) -> Option<Cow<'_, [u8]>> {
        NAMES.get(self.0).map(|name| Cow::Borrowed(*name))
    }
}
