//! The JSON Schema says what the checker says, as far as a schema can.

#![allow(clippy::panic, clippy::unwrap_used)]

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate bimetal_browser_test;

mod policy;

use bimetal_core::policy::{Document, Host, schema};
use jsonschema::Validator;
use serde_json::{Value, json};

fn validator() -> Validator {
    jsonschema::draft202012::new(&schema()).unwrap()
}

#[test]
fn the_schema_is_a_schema() {
    assert!(jsonschema::draft202012::meta::is_valid(&schema()));
}

#[test]
fn the_full_language_is_valid() {
    let full: Value = serde_saphyr::from_str(policy::FULL).unwrap();
    let errors: Vec<_> = validator().iter_errors(&full).map(|error| error.to_string()).collect();
    assert_eq!(errors, [""; 0]);
}

#[test]
fn schema_and_checker_agree() {
    let validator = validator();
    let policy = |fields: Value| {
        let mut policy = json!({"name": "echo"});
        policy.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        json!({"version": "v1", "policies": [policy]})
    };
    let rate = |fields: Value| {
        let mut rate = json!({"threshold": 0.5, "window": {"calls": 100}});
        rate.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        policy(json!({"breaker": {"trip": {"failure_rate": rate}}}))
    };
    for (fine, document) in [
        (true, json!({})),
        (true, policy(json!({}))),
        (true, policy(json!({"breaker": {"profile": "origin-study"}}))),
        (true, policy(json!({"scope": "header:x-tenant"}))),
        (true, policy(json!({"match": {"path": "/a", "headers": {"x": "*"}}}))),
        (true, policy(json!({"fallback": {"when": ["rejected"], "status": 503, "body": ""}}))),
        (true, policy(json!({"fallback": {"on": ["failed"]}}))),
        (true, policy(json!({"fallback": {"true": ["failed"]}}))),
        (false, policy(json!({"fallback": {"on": ["failed"], "true": ["failed"]}}))),
        (false, policy(json!({"fallback": {"when": ["failed"], "on": ["rejected"]}}))),
        (false, policy(json!({"fallback": {"true": []}}))),
        (true, policy(json!({"match": {"path": format!("/{}", "a".repeat(2047))}}))),
        (false, policy(json!({"match": {"path": format!("/{}", "a".repeat(2048))}}))),
        (false, policy(json!({"match": {"path": "/\u{e9}"}}))),
        (false, policy(json!({"match": {"path": "/a?b"}}))),
        (true, policy(json!({"match": {"headers": {"x": "a".repeat(4096)}}}))),
        (false, policy(json!({"match": {"headers": {"x": "a".repeat(4097)}}}))),
        (false, policy(json!({"match": {"headers": {"x": "a "}}}))),
        (true, rate(json!({"confidence": 0.95, "minimum_calls": 1}))),
        (true, rate(json!({"window": {"time": "1.5s"}}))),
        (
            true,
            policy(json!({"breaker": {"profile": "origin-study",
            "failure": {"statuses": [503, "4xx"], "ignore": [404, "not_found", "reset"]}}})),
        ),
        (false, json!({"version": "v2"})),
        (false, json!({"policies": [{}]})),
        (false, json!({"policies": {}})),
        (false, policy(json!({"nmae": "x"}))),
        (false, policy(json!({"name": "a b"}))),
        (false, policy(json!({"scope": "header:"}))),
        (false, policy(json!({"mode": "off"}))),
        (false, policy(json!({"breaker": {}}))),
        (false, policy(json!({"breaker": {"trip": {}}}))),
        (false, policy(json!({"breaker": {"profile": "origin-study", "open": {"base": "30"}}}))),
        (false, policy(json!({"breaker": {"profile": "origin-study", "open": {"base": 30}}}))),
        (false, policy(json!({"match": {"path": "/a", "path_prefix": "/b"}}))),
        (false, policy(json!({"match": {"methods": []}}))),
        (false, policy(json!({"fallback": {"status": 99}}))),
        (false, rate(json!({"threshold": 1.5}))),
        (false, rate(json!({"threshold": 0}))),
        (false, rate(json!({"window": {}}))),
        (false, rate(json!({"window": {"calls": 1, "time": "1s"}}))),
        (false, rate(json!({"window": {"calls": 0}}))),
        (false, rate(json!({"confidence": 1}))),
        (
            false,
            policy(json!({"breaker": {"profile": "origin-study",
            "failure": {"statuses": ["6xx"]}}})),
        ),
    ] {
        let parsed = Document::parse(document.to_string().as_bytes(), Host::Native);
        assert_eq!(parsed.is_ok(), fine, "checker: {document}");
        assert_eq!(validator.is_valid(&document), fine, "schema: {document}");
    }
}

#[test]
fn every_field_is_described() {
    fn walk(at: &str, schema: &Value) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let at = format!("{at}.{name}");
            assert!(field["description"].as_str().is_some_and(|text| text.ends_with('.')), "{at}");
            walk(&at, field);
            walk(&at, &field["items"]);
        }
    }
    walk("", &schema());
}
