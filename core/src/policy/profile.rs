//! Profiles: breakers that people know, written as the part of a policy that they stand for.

use super::table::breaker::{FAILURE_KEY, PROFILE, TRIP};
use crate::doc::Node;

/// The name of the origin study's breaker.
pub(super) const ORIGIN_STUDY: &str = "origin-study";

/// The intended behaviour of the origin study's breaker: any three failures in a row open it for
/// 30 s, one probe decides. Its library knows neither gRPC nor `retry-after`, and every exception
/// of the client counts, so every transport failure is one. `open.max` is left to its default:
/// with a multiplier of 1 it never acts, and it must not refuse a longer `open.base` given beside
/// the profile.
const ORIGIN_STUDY_LEAVES: &str = r#"{
    "trip": {"consecutive_failures": 3},
    "open": {"base": "30s", "multiplier": 1, "jitter": 0},
    "half_open": {"max_probes": 1, "required_successes": 1},
    "failure": {
        "statuses": ["4xx", "5xx"], "grpc": [],
        "transport": ["connect", "reset", "timeout", "overflow"], "ignore": []
    },
    "respect_retry_after": false
}"#;

/// Fields that a given value replaces whole: half of one list of conditions and half of another
/// would be nobody's breaker.
const WHOLE: [&str; 2] = [TRIP.name(), FAILURE_KEY.name()];

/// Fills in what the profile of `breaker` says and the document does not.
pub(super) fn apply(breaker: &mut Node) {
    let profile = match PROFILE.text(breaker) {
        Some(ORIGIN_STUDY) => ORIGIN_STUDY_LEAVES,
        _ => return,
    };
    if let Ok(profile) = Node::from_json(profile.as_bytes()) {
        for (key, value) in profile.as_map() {
            match breaker.get_mut(key) {
                Some(_) if WHOLE.contains(&key.as_str()) => {}
                Some(given) => merge(given, value),
                None => breaker.set(key, value.clone()),
            }
        }
    }
}

/// Adds those leaves of `under` that `given` lacks.
fn merge(given: &mut Node, under: &Node) {
    for (key, value) in under.as_map() {
        match given.get_mut(key) {
            Some(inner) => merge(inner, value),
            None => given.set(key, value.clone()),
        }
    }
}
