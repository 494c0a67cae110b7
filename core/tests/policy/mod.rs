//! What the tests of the policy language share.

#![allow(dead_code, clippy::panic, clippy::unwrap_used, unreachable_pub)]

use bimetal_core::policy::{Document, Host, Policy};
use serde_json::{Value, json};
use std::sync::Arc;

/// Every field of the language once.
pub const FULL: &str = include_str!("full.yaml");

/// A document that must be fine.
#[track_caller]
pub fn compile(document: &Value, host: Host) -> Document {
    Document::parse(document.to_string().as_bytes(), host)
        .unwrap_or_else(|problems| panic!("{problems}"))
}

/// One policy with these fields beside its name, compiled for the proxy.
#[track_caller]
pub fn policy(fields: Value) -> Arc<Policy> {
    compile(&named(fields), Host::Native).policies.remove(0)
}

/// A document of one policy with these fields beside its name.
pub fn named(fields: Value) -> Value {
    let mut policy = json!({"name": "echo"});
    policy.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    json!({"version": "v1", "policies": [policy]})
}

/// The problems of a document, as lines.
pub fn problems(document: &Value, host: Host) -> Vec<String> {
    match Document::parse(document.to_string().as_bytes(), host) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.to_string().lines().map(String::from).collect(),
    }
}

/// Both in one order: `json!` sorts keys, so a document's own order is not kept.
#[track_caller]
pub fn assert_same<T: Into<String>>(actual: Vec<String>, expected: impl IntoIterator<Item = T>) {
    let mut actual = actual;
    let mut expected: Vec<String> = expected.into_iter().map(Into::into).collect();
    actual.sort_unstable();
    expected.sort_unstable();
    assert_eq!(actual, expected);
}

/// The problems of one policy with these fields beside its name.
pub fn of_policy(fields: Value) -> Vec<String> {
    let mut policy = json!({"name": "echo"});
    policy.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    problems(&json!({"version": "v1", "policies": [policy]}), Host::Native)
}
