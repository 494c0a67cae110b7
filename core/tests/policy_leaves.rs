//! Every leaf of the table is read: a document in which that leaf alone is another compiles to
//! another policy, also when the hashes are left out, which the table alone makes.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate bimetal_browser_test;

mod leaves;
mod policy;

use bimetal_core::policy::table::{DOCUMENT, POLICY};
use bimetal_core::policy::{Host, Policy, StateHashes};
use leaves::Walk;
use policy::compile;
use serde_json::json;

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
    let judges = ["rate_limits.0.allow", "rate_limits.0.enforced", "rate_limits.0.status"];
    leaf == "name" || leaf.starts_with("rate_limits.") && !judges.contains(&leaf)
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
            let values = walk.values(&leaf);
            if values.len() < 2 {
                only_one.push(leaf.name());
                continue;
            }
            count += 1;
            let policies = values.into_iter().map(|value| {
                let policy = walk.document(&POLICY, &leaf, value);
                compile(&json!({"policies": [policy]}), host).policies.remove(0)
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
/// one value.
#[test]
fn a_document_has_no_other_leaves() {
    let names: Vec<_> = DOCUMENT.fields.iter().map(|field| field.name).collect();
    assert_eq!(names, ["version", "unsupported", "policies"]);
}

/// What is compiled, without the hashes.
fn blanked(policy: &Policy) -> String {
    let mut policy = Policy { hash: 0, hashes: StateHashes::default(), ..policy.clone() };
    policy.rate_limits.iter_mut().for_each(|limit| limit.hash = 0);
    format!("{policy:?}")
}
