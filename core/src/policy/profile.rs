//! Profiles: breakers that people know, written as the part of a policy that they stand for.

use super::table::breaker::{FAILURE_KEY, PROFILE, TRIP};
use crate::doc::Node;

/// A breaker that people know.
pub(super) struct Profile {
    /// Its name in the policy language.
    pub(super) name: &'static str,
    /// The fields that it fills in.
    leaves: &'static str,
}

/// The intended behaviour of the origin study's breaker: any three failures in a row open it for
/// 30 s, one probe decides. Its library knows neither gRPC nor `retry-after`, and every exception
/// of the client counts, so every transport failure is one. `open.max` is left to its default:
/// with a multiplier of 1 it never acts, and it must not refuse a longer `open.base` given beside
/// the profile.
pub(super) const ORIGIN_STUDY: Profile = Profile {
    name: "origin-study",
    leaves: r#"{
        "trip": {"consecutive_failures": 3},
        "open": {"base": "30s", "multiplier": 1, "jitter": 0},
        "half_open": {"max_probes": 1, "required_successes": 1},
        "failure": {
            "statuses": ["4xx", "5xx"], "grpc": [],
            "transport": ["connect", "reset", "timeout", "overflow"], "ignore": []
        },
        "respect_retry_after": false
    }"#,
};

/// `CircuitBreakerConfig.ofDefaults()` of Resilience4j 2.4.0. What an exception is, its user decides;
/// here that is left to the language's own `failure`.
pub(super) const RESILIENCE4J: Profile = Profile {
    name: "resilience4j",
    leaves: r#"{
        "trip": {
            "failure_rate": {"threshold": 0.5, "window": {"calls": 100}, "minimum_calls": 100},
            "slow_rate": {
                "threshold": 1, "slower_than": "60s", "window": {"calls": 100}, "minimum_calls": 100
            }
        },
        "open": {"base": "60s", "multiplier": 1, "jitter": 0},
        "half_open": {"max_probes": 10, "judge": "rate"},
        "respect_retry_after": false
    }"#,
};

/// `HystrixCommandProperties` of Hystrix 1.5.18: errorThresholdPercentage, requestVolumeThreshold,
/// sleepWindowInMilliseconds and the rolling statistics' 10 s.
pub(super) const HYSTRIX: Profile = Profile {
    name: "hystrix",
    leaves: r#"{
        "trip": {"failure_rate": {"threshold": 0.5, "window": {"time": "10s"}, "minimum_calls": 20}},
        "open": {"base": "5s", "multiplier": 1, "jitter": 0},
        "half_open": {"max_probes": 1, "required_successes": 1},
        "respect_retry_after": false
    }"#,
};

/// `CircuitBreakerStrategyOptions` of Polly 8: FailureRatio, MinimumThroughput, SamplingDuration and
/// BreakDuration.
pub(super) const POLLY: Profile = Profile {
    name: "polly",
    leaves: r#"{
        "trip": {"failure_rate": {"threshold": 0.1, "window": {"time": "30s"}, "minimum_calls": 100}},
        "open": {"base": "5s", "multiplier": 1, "jitter": 0},
        "half_open": {"max_probes": 1, "required_successes": 1},
        "respect_retry_after": false
    }"#,
};

/// `gobreaker.Settings{}` of sony/gobreaker 2: it trips on more than five failures in a row, and
/// `Interval: 0` never forgets them.
pub(super) const GOBREAKER: Profile = Profile {
    name: "gobreaker",
    leaves: r#"{
        "trip": {"consecutive_failures": 6},
        "open": {"base": "60s", "multiplier": 1, "jitter": 0},
        "half_open": {"max_probes": 1, "required_successes": 1},
        "respect_retry_after": false
    }"#,
};

/// A DestinationRule's `outlierDetection: {}` of Istio 1.2x, as Envoy carries it out: a host returns
/// unasked after base · number of ejections, 300 s at most.
pub(super) const ISTIO_OUTLIER: Profile = Profile {
    name: "istio-outlier",
    leaves: r#"{
        "trip": {"consecutive_failures": 5},
        "open": {"base": "30s", "multiplier": 2, "growth": "linear", "jitter": 0},
        "half_open": {"judge": "nobody"},
        "failure": {
            "statuses": ["5xx"], "grpc": [], "transport": ["connect", "reset", "timeout"], "ignore": []
        },
        "respect_retry_after": false
    }"#,
};

const ALL: [&Profile; 6] =
    [&ORIGIN_STUDY, &RESILIENCE4J, &HYSTRIX, &POLLY, &GOBREAKER, &ISTIO_OUTLIER];

/// Fields that a given value replaces whole: half of one list of conditions and half of another
/// would be nobody's breaker.
const WHOLE: [&str; 2] = [TRIP.name(), FAILURE_KEY.name()];

/// Fills in what the profile of `breaker` says and the document does not.
pub(super) fn apply(breaker: &mut Node) {
    let Some(name) = PROFILE.text(breaker) else {
        return;
    };
    let Some(profile) = ALL.into_iter().find(|profile| profile.name == name) else {
        return;
    };
    if let Ok(profile) = Node::from_json(profile.leaves.as_bytes()) {
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
