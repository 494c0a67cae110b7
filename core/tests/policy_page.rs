//! The user's page of the language says what is so.

#![allow(clippy::panic, clippy::unwrap_used)]

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate bimetal_browser_test;

mod policy;

use bimetal_core::doc::{Kind, Node, Object};
use bimetal_core::policy::table::DOCUMENT;
use bimetal_core::policy::{Document, Host};
use policy::{compile, problems};
use serde_json::{Value, json};

const PAGE: &str = include_str!("../../docs/policy.md");

/// The page's examples in YAML.
fn examples() -> Vec<Document> {
    let blocks = PAGE.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks
        .map(|block| {
            let node: Node = serde_saphyr::from_str(block).unwrap();
            Document::compile(&node, Host::Wasm)
                .unwrap_or_else(|problems| panic!("{block}\n{problems}"))
        })
        .collect()
}

#[test]
fn its_examples_are_fine() {
    assert_eq!(examples().len(), 4);
}

#[test]
fn the_profile_is_what_it_says() {
    let written = examples().pop().unwrap().policies.remove(0);
    let profile = json!({"policies": [
        {"name": "the-same-as-origin-study", "breaker": {"profile": "origin-study"}},
    ]});
    let profile = compile(&profile, Host::Wasm).policies.remove(0);
    assert_eq!(written.hash, profile.hash);
}

#[test]
fn its_errors_are_the_errors() {
    let document: Value = json!({"policies": [
        {
            "name": "echo",
            "breaker": {
                "trip": {"failure_rate": {"threshold": 1.5, "window": {"calls": 50}}},
                "half_opn": {}, "half_open": {"lease": "1s"}, "open": {"base": 30},
            },
            "timeout": {"request": "3s", "connect": "1s"},
            "rate_limits": [{"rate": "1/s", "share": "mesh"}],
            "retry": {},
        },
        {"name": "echo"},
    ]});
    let problems = problems(&document, Host::Wasm);
    assert_eq!(problems.len(), 8, "{problems:#?}");
    for line in problems {
        assert!(PAGE.contains(&line), "{line}");
    }
}

#[test]
fn it_names_every_field() {
    fn walk(object: &Object) {
        for field in object.fields {
            let named = |before, after| PAGE.contains(&format!("{before}{}{after}", field.name));
            assert!(
                named("`", "`")
                    || named("`", ".")
                    || named(".", "`")
                    || named("`", ":")
                    || named("`{", ":"),
                "{}",
                field.name
            );
            match field.kind {
                Kind::Object(object) => walk(object),
                Kind::List { of: Kind::Object(object), .. } => walk(object),
                _ => {}
            }
        }
    }
    walk(&DOCUMENT);
}
