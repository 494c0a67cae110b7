//! Every leaf of the table is read: a document in which that leaf alone is another compiles to
//! another policy, also when the hashes are left out, which the table alone makes.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate bimetal_browser_test;

mod leaves;
mod policy;

use bimetal_core::Duration;
use bimetal_core::policy::table::{DOCUMENT, POLICY};
use bimetal_core::policy::{Host, Policy, Share, StateHashes};
use leaves::Walk;
use policy::compile;
use serde_json::{Value, json};

const CHOSEN: &[(&str, &[&str])] = &[
    ("breaker.open.max", &[r#""1h""#, r#""2h""#]),
    ("retry.backoff.max", &[r#""1h""#, r#""2h""#]),
    (
        "retry.methods",
        &[r#""idempotent""#, r#""all""#, r#"["idempotency_key"]"#, r#"["POST", "GET"]"#],
    ),
    ("fallback.methods", &[r#""idempotent""#, r#""all""#, r#""POST""#]),
    ("stale.max_bytes", &[r#""1B""#, r#""2B""#]),
    ("stale.max_total", &[r#""1GiB""#, r#""2GiB""#]),
    // Within what a window lets a score reach.
    ("anomaly.window", &["50", "60"]),
    ("anomaly.threshold", &["1.0", "2.0"]),
    ("breaker.half_open.lease", &[r#""1h""#, r#""2h""#]),
    // Not below `adaptive.min`.
    ("adaptive.max", &["100", "200"]),
    // More calls than `minimum_calls` asks for.
    ("window.calls", &["100", "200"]),
    // An override has as many values as the key has parts.
    ("rate_limits.0.key", &[r#"["client"]"#, r#"["policy"]"#, r#"["header:x"]"#]),
    ("overrides.0.values", &[r#"["a"]"#, r#"["b"]"#, r#"["*"]"#]),
];

/// Leaves for which a host can do one thing alone, so that nothing could be read another way.
fn alone(host: Host) -> &'static [&'static str] {
    match host {
        Host::Native => &["match.direction"],
        Host::Wasm => &["evidence", "fallback.when"],
    }
}

/// Whether what a breaker's state means depends on a leaf.
fn is_of_the_state(leaf: &str) -> bool {
    let begins = |start: &str| leaf.starts_with(start);
    let is_of_its_table = leaf == "name" || leaf == "scope" || begins("scopes.");
    // What counts as a failure each judges for itself.
    is_of_its_table || begins("breaker.") && !begins("breaker.failure.")
}

/// Whether what a rate limit's state means depends on a leaf.
fn is_of_a_limit(leaf: &str) -> bool {
    let judges = ["allow", "enforced", "status", "when_store_fails"];
    let is_judge = |field: &str| judges.contains(&field);
    let of_limit = leaf.strip_prefix("rate_limits.");
    leaf == "name" || of_limit.is_some_and(|field| !is_judge(field.trim_start_matches("0.")))
}

#[test]
fn each_leaf_changes_the_policy_and_its_state_where_it_is_of_it() {
    for host in [Host::Native, Host::Wasm] {
        let walk = Walk { host, chosen: CHOSEN, elsewhere: &[] };
        let mut only_one = Vec::new();
        let mut count = 0;
        for leaf in walk.leaves(&POLICY) {
            // Envoy's workers share no limit, whatever is asked for: docs/host-limits.md.
            let shares = ["concurrency.share", "rate_limits.0.share"];
            if host == Host::Wasm && shares.contains(&&*leaf.name()) {
                continue;
            }
            // It fills in what is left out, and here nothing is: core/tests/profiles.rs.
            if leaf.name() == "breaker.profile" {
                continue;
            }
            // It says nothing where `share` is not `mesh`, as it is not here.
            if leaf.name() == "breaker.quorum" {
                continue;
            }
            let mut values = walk.values(&leaf);
            // Neither stands beside a limit of a mesh: core/tests/policy_limits.rs.
            if leaf.name() == "rate_limits.0.share" {
                values.retain(|value| *value != "mesh");
            }
            if values.len() < 2 {
                only_one.push(leaf.name());
                continue;
            }
            count += 1;
            let policies = values.into_iter().map(|value| {
                let policy = walk.document(&POLICY, &leaf, value);
                let mut document = json!({"policies": [policy]});
                if host == Host::Native {
                    document["board"] = json!({"redis": "redis://a"});
                }
                compile(&document, host).policies.remove(0)
            });
            let policies: Vec<_> = policies.collect();
            for (index, one) in policies.iter().enumerate() {
                for other in &policies[..index] {
                    let about = format!("{} for {}", leaf.name(), host.name());
                    assert_ne!(blanked(one), blanked(other), "{about} is not read");
                    assert_ne!(one.hash, other.hash, "{about} is not in the hash");
                    assert_eq!(
                        one.hashes != other.hashes,
                        is_of_the_state(&leaf.name()),
                        "{about}: the state's hash"
                    );
                    assert_eq!(
                        one.rate_limits[0].hash != other.rate_limits[0].hash,
                        is_of_a_limit(&leaf.name()),
                        "{about}: the limit's hash"
                    );
                }
            }
        }
        assert_eq!(only_one, alone(host), "{}", host.name());
        assert!(count >= 48, "{count} leaves");
    }
}

/// The keys around the policies are not of a policy: one is read before the check, the others have
/// one value, but for those of the board.
#[test]
fn a_document_has_no_other_leaves() {
    let names: Vec<_> = DOCUMENT.fields.iter().map(|field| field.name).collect();
    assert_eq!(names, ["version", "unsupported", "policies", "board"]);
}

#[test]
fn each_leaf_of_the_board_is_read() {
    let board = |more: Value| {
        let mut board = json!({"redis": "redis://a"});
        board.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        compile(&json!({"board": board}), Host::Native).board.unwrap()
    };
    let plain = board(json!({}));
    assert_eq!(plain.redis.as_deref(), Some("redis://a"));
    assert_eq!((&*plain.prefix, plain.interval), ("bimetal", Duration::from_millis(100)));
    assert_eq!(plain.replica, None);
    assert_eq!(board(json!({"redis": "redis://b"})).redis.as_deref(), Some("redis://b"));
    assert_eq!(&*board(json!({"prefix": "b"})).prefix, "b");
    assert_eq!(board(json!({"interval": "1s"})).interval, Duration::from_secs(1));
    assert_eq!(board(json!({"replica": "b"})).replica.as_deref(), Some("b"));
    // It may hold a password.
    assert!(!format!("{plain:?}").contains("redis://a"), "{plain:?}");
}

#[test]
fn a_mesh_has_a_quorum_and_other_states_with_another() {
    let policy = |more: Value| {
        let mut breaker = json!({"profile": "polly", "share": "mesh"});
        breaker.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let document = json!({
            "policies": [{"name": "a", "breaker": breaker}],
            "board": {"redis": "redis://a"},
        });
        compile(&document, Host::Native).policies.remove(0)
    };
    let share = |more| policy(more).breaker.as_ref().unwrap().share;
    assert_eq!(share(json!({})), Share::Mesh { quorum: 2 });
    assert_eq!(share(json!({"quorum": 3})), Share::Mesh { quorum: 3 });
    assert_eq!(share(json!({"quorum": 3, "share": "process"})), Share::Process);
    let [two, three] = [2, 3].map(|quorum| policy(json!({"quorum": quorum})).hashes);
    assert_eq!(policy(json!({})).hashes, two);
    assert_ne!(two, three);
    assert!(policy(json!({})).is_mesh() && !policy(json!({"share": "process"})).is_mesh());
}

/// What is compiled, without the hashes.
fn blanked(policy: &Policy) -> String {
    let mut policy = Policy { hash: 0, hashes: StateHashes::default(), ..policy.clone() };
    policy.rate_limits.iter_mut().for_each(|limit| limit.hash = 0);
    format!("{policy:?}")
}
