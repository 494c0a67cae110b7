//! `bandwidth`: what it means, and what is refused.

#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate bimetal_browser_test;

mod policy;

use bimetal_core::policy::{Bandwidth, BandwidthPolicy};
use policy::{of_policy, policy};
use serde_json::json;

#[test]
fn sizes_are_read_by_their_units() {
    for (text, bytes) in [("10MiB/s", 10 << 20), ("1.5kB/s", 1_500), ("1024B/s", 1_024)] {
        let read = policy(json!({"bandwidth": {"per_connection": text}})).bandwidth;
        let per_connection = Bandwidth { bytes };
        assert_eq!(read, Some(BandwidthPolicy { per_connection, after: 0 }), "{text}");
    }
    let read = policy(json!({"bandwidth": {"per_connection": "1GB/s", "after": "1MiB"}}));
    assert_eq!(read.bandwidth.unwrap().after, 1 << 20);
}

#[test]
fn only_a_policy_that_acts_has_it_applied() {
    let applied = |mode: &str| {
        let fields = json!({"mode": mode, "bandwidth": {"per_connection": "1MiB/s"}});
        policy(fields).bandwidth_applied().is_some()
    };
    assert_eq!(["enforce", "shadow", "disabled"].map(applied), [true, false, false]);
}

#[test]
fn wrong_values_are_refused_with_their_path() {
    let texts = ["10MiB", "10/s", "0B/s", "1023B/s", "1025GiB/s", "-1MiB/s", "1MiB/m", "x/s", ""];
    for text in texts {
        let told = of_policy(json!({"bandwidth": {"per_connection": text}}));
        let path = "policies[0].bandwidth.per_connection: ";
        assert!(told.len() == 1 && told[0].starts_with(path), "{text}: {told:?}");
    }
    let told = of_policy(json!({"bandwidth": {"after": "1025GiB"}}));
    assert_eq!(told.len(), 2, "{told:?}");
}
