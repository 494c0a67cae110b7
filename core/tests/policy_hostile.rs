//! Whatever bytes come as a policy: an answer, never a panic.

#![allow(clippy::expect_used, clippy::panic)]

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate bimetal_browser_test;

mod policy;

use bimetal_core::doc::Node;
use bimetal_core::policy::{Document, Host};
use proptest::prelude::*;
use std::sync::LazyLock;

/// Keys and values of the language, so that random trees get deep into it.
const KEYS: &[&str] = &[
    "version",
    "unsupported",
    "policies",
    "name",
    "match",
    "hosts",
    "path",
    "path_prefix",
    "methods",
    "headers",
    "direction",
    "scope",
    "scopes",
    "max",
    "when_full",
    "mode",
    "evidence",
    "count_injected",
    "breaker",
    "profile",
    "trip",
    "consecutive_failures",
    "failure_rate",
    "slow_rate",
    "threshold",
    "window",
    "time",
    "calls",
    "minimum_calls",
    "confidence",
    "slower_than",
    "open",
    "base",
    "multiplier",
    "jitter",
    "half_open",
    "max_probes",
    "lease",
    "recovery",
    "ramp",
    "failure",
    "statuses",
    "grpc",
    "transport",
    "ignore",
    "share",
    "quorum",
    "timeout",
    "request",
    "connect",
    "fallback",
    "on",
    "status",
    "body",
    "retry",
];
const TEXTS: &[&str] = &[
    "v1",
    "skip",
    "refuse",
    "echo",
    "*",
    "*.a",
    "/echo",
    "POST",
    "outbound",
    "client",
    "header:x",
    "pass",
    "shadow",
    "tries",
    "origin-study",
    "hystrix",
    "10s",
    "0s",
    "1h",
    "5xx",
    "404",
    "internal",
    "reset",
    "mesh",
    "rejected",
    "failed",
    "",
    "é\u{0}\n\"",
];

fn trees() -> impl Strategy<Value = Node> {
    let leaf = prop_oneof![
        Just(Node::Null),
        any::<bool>().prop_map(Node::Bool),
        any::<i64>().prop_map(Node::Int),
        (0i64..1_000).prop_map(Node::Int),
        any::<f64>().prop_map(Node::Float),
        (0.0f64..=1.0).prop_map(Node::Float),
        prop::sample::select(TEXTS).prop_map(|text| Node::Text(text.into())),
        ".{0,20}".prop_map(Node::Text),
    ];
    leaf.prop_recursive(8, 128, 8, |inner| {
        let key = prop_oneof![
            9 => prop::sample::select(KEYS).prop_map(String::from),
            1 => ".{0,20}",
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Node::List),
            prop::collection::vec((key, inner), 0..8).prop_map(Node::Map),
        ]
    })
}

/// A tree that is a document at its top, so that its policies are looked at.
fn documents() -> impl Strategy<Value = Node> {
    let entry = (prop::sample::select(KEYS), trees());
    let policy = prop::collection::vec(entry, 0..8).prop_map(|entries| {
        let mut policy = Node::Map(vec![("name".into(), Node::Text("a".into()))]);
        for (key, value) in entries {
            policy.set(key, value);
        }
        policy
    });
    (prop::collection::vec(policy, 0..3), any::<bool>()).prop_map(|(policies, skip)| {
        let unsupported = if skip { "skip" } else { "refuse" };
        Node::Map(vec![
            ("unsupported".into(), Node::Text(unsupported.into())),
            ("policies".into(), Node::List(policies)),
        ])
    })
}

/// Compiles it for both hosts; a refusal says why, in printable lines.
fn compile(node: &Node) {
    for host in [Host::Native, Host::Wasm] {
        if let Err(problems) = Document::compile(node, host) {
            assert!(!problems.is_empty());
            for problem in problems.iter() {
                let line = problem.to_string();
                assert!(!line.chars().any(char::is_control), "{line:?}");
                assert!(problem.what.len() < 1_000, "{line}");
            }
        }
    }
}

static FULL: LazyLock<Node> =
    LazyLock::new(|| serde_saphyr::from_str(policy::FULL).expect("the full language"));

/// Puts `value` at the `place`-th value of a tree, counted from the root.
fn replace(tree: &mut Node, place: &mut usize, value: Node) -> Option<Node> {
    if *place == 0 {
        *tree = value;
        return None;
    }
    *place -= 1;
    let inner: Vec<&mut Node> = match tree {
        Node::List(items) => items.iter_mut().collect(),
        Node::Map(entries) => entries.iter_mut().map(|(_, value)| value).collect(),
        _ => return Some(value),
    };
    inner.into_iter().try_fold(value, |value, node| replace(node, place, value))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let _ = Document::parse(&bytes, Host::Wasm);
    }

    #[test]
    fn any_text_in_a_document(text in ".{0,64}") {
        let json = format!(r#"{{"policies":[{{"name":{text}}}]}}"#);
        let _ = Document::parse(json.as_bytes(), Host::Wasm);
    }

    #[test]
    fn any_tree(tree in trees()) {
        compile(&tree);
    }

    #[test]
    fn any_policies(tree in documents()) {
        compile(&tree);
    }

    #[test]
    fn the_full_language_with_one_value_changed(place in 0usize..150, value in trees()) {
        let mut tree = FULL.clone();
        replace(&mut tree, &mut { place }, value);
        compile(&tree);
    }

    #[test]
    fn numbers_are_shown_as_they_are(millionths in -1_000_000_000_000i64..1_000_000_000_000) {
        let value = millionths as f64 / 1e6;
        let shown = bimetal_core::doc::problem::decimal(value);
        let read: f64 = shown.parse().expect("a number");
        prop_assert!((read - value).abs() < 1e-6, "{value} {shown}");
    }
}
