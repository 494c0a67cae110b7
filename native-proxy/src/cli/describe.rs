//! Descriptions of compiled policies for people.

use bimetal_core::auto_timeout::AutoTimeoutPolicy;
use bimetal_core::concurrency::adaptive::AdaptivePolicy;
use bimetal_core::connections::ConnectionsPolicy;
use bimetal_core::deadline::DeadlinePolicy;
use bimetal_core::doc::units::{SIZE_UNITS, with_unit};
use bimetal_core::limiter::{Rate, RateLimitPolicy};
use bimetal_core::policy::{
    BandwidthPolicy, BreakerPolicy, ConcurrencyPolicy, LimitPolicy, Policy, RateCondition, Scope,
    WindowSize,
};
use bimetal_core::retry::RetryPolicy;

/// What has a breaker of its own.
pub(super) fn scope(scope: &Scope) -> String {
    match scope {
        Scope::Policy => "policy".to_owned(),
        Scope::Destination => "destination".to_owned(),
        Scope::Endpoint => "endpoint".to_owned(),
        Scope::Route => "route".to_owned(),
        Scope::Authority => "authority".to_owned(),
        Scope::Client => "client".to_owned(),
        Scope::Header(name) => format!("header:{name}"),
    }
}

/// What a breaker goes by, a sentence each.
pub(super) fn breaker(breaker: &BreakerPolicy) -> Vec<String> {
    let mut told = Vec::new();
    if let Some(count) = breaker.trip.consecutive_failures {
        told.push(match count {
            1 => "trips after 1 failure".to_owned(),
            count => format!("trips after {count} failures without a success between them"),
        });
    }
    if let Some(wanted) = &breaker.trip.failure_rate {
        told.push(rate("failures", wanted));
    }
    if let Some(wanted) = &breaker.trip.slow_rate {
        told.push(rate("slow answers", wanted));
    }
    let open = &breaker.open;
    told.push(if open.multiplier > 1.0 {
        format!(
            "stays open for {}, each time {} times as long, at most {}",
            open.base, open.multiplier, open.max
        )
    } else {
        format!("stays open for {}", open.base)
    });
    let half = &breaker.half_open;
    told.push(format!(
        "then lets {} through at a time and closes after {}; a probe may take {}",
        counted(half.max_probes, "call", "calls"),
        counted(half.required_successes, "success", "successes"),
        half.lease
    ));
    if !breaker.ramp.is_zero() {
        told.push(format!("after closing, admits a growing share for {}", breaker.ramp));
    }
    if breaker.respect_retry_after {
        told.push("a failure's retry-after lengthens the open time".to_owned());
    }
    told
}

/// What is made of the time that a caller has left.
pub(super) fn deadline(policy: &DeadlinePolicy) -> String {
    let fields = match (policy.accepts_grpc_timeout, policy.accepts_deadline_ms) {
        (true, true) => "grpc-timeout and x-request-deadline-ms",
        (true, false) => "grpc-timeout",
        (false, _) => "x-request-deadline-ms",
    };
    let told = if policy.forwards { ", and told to the upstream" } else { "" };
    format!("that of {fields}, less {}, is kept{told}", policy.margin)
}

/// How often failed tries are made again.
pub(super) fn retry(policy: &RetryPolicy) -> String {
    let tries = policy.tries;
    let budget = match &policy.budget {
        None => "without a budget".to_owned(),
        Some(budget) => {
            let floor = budget.floor.map_or_else(String::new, |rate| {
                format!(" and {} per {}", rate.tokens, rate.period)
            });
            format!("for {} of the calls{floor}", budget.share)
        }
    };
    format!("up to {tries} tries of a call, {budget}, never into a breaker that is not closed")
}

/// How many connections a client may have at work.
pub(super) fn connections(policy: &ConnectionsPolicy) -> String {
    let count = counted(policy.per_client, "connection", "connections");
    format!("at most {count} of a client with a call under way{}", but_for(policy.allow.len()))
}

/// How fast answers are sent.
pub(super) fn bandwidth(policy: &BandwidthPolicy) -> String {
    let size = |bytes| {
        let (count, unit) = with_unit(bytes, &SIZE_UNITS);
        format!("{count}{unit}")
    };
    let rate = size(policy.per_connection.bytes);
    match policy.after {
        0 => format!("{rate} of an answer in a second"),
        after => format!("{rate} of an answer in a second, after the first {}", size(after)),
    }
}

fn but_for(networks: usize) -> String {
    match networks {
        0 => String::new(),
        1 => ", but for those of 1 network".to_owned(),
        networks => format!(", but for those of {networks} networks"),
    }
}

/// What a rate limit allows, a sentence each.
pub(super) fn limit(limit: &LimitPolicy) -> Vec<String> {
    let parts: Vec<_> = limit.key.iter().map(scope).collect();
    let whose = match &parts[..] {
        [one] if one == "policy" => "all calls together".to_owned(),
        parts => format!("each {}", parts.join(" and ")),
    };
    let mut told = vec![format!("{}, for {whose}", bucket(&limit.limit))];
    for one in &limit.overrides {
        let values = one.values.iter().map(|value| match value {
            Some(value) => format!("{:?}", String::from_utf8_lossy(value)),
            None => "any".to_owned(),
        });
        let values: Vec<_> = values.collect();
        told.push(format!("{}, for {}", bucket(&one.limit), values.join(" and ")));
    }
    if let Some(queue) = &limit.queue {
        told.push(format!(
            "{} wait for tokens in their order, none longer than {}",
            counted(queue.max, "call may", "calls may"),
            queue.max_wait
        ));
    }
    if !limit.allow.is_empty() {
        told.push(format!(
            "clients of {} are not limited",
            counted(u32::try_from(limit.allow.len()).unwrap_or(u32::MAX), "network", "networks")
        ));
    }
    if limit.enforced < 1.0 {
        told.push(format!("{}% of what it would reject is rejected", limit.enforced * 100.0));
    }
    told
}

fn bucket(limit: &RateLimitPolicy) -> String {
    let Rate { tokens, period } = limit.rate;
    let mut text = format!(
        "{} in {period}, {} at once",
        counted(tokens, "call", "calls"),
        counted(limit.capacity, "call", "calls")
    );
    if let Some(burst) = &limit.burst {
        let calls = counted(burst.tokens, "call", "calls");
        text += &format!(
            ", {calls} more within {}, and again {} after the limit was last exceeded",
            burst.expires, burst.recovers_after
        );
    }
    text
}

/// How many calls may be under way, a sentence each.
pub(super) fn concurrency(limit: &ConcurrencyPolicy) -> Vec<String> {
    let whose = if limit.is_shared() { "over all workers" } else { "in each worker" };
    let mut told = vec![match &limit.adaptive {
        None => format!("at most {} under way {whose}", counted(limit.max, "call", "calls")),
        Some(AdaptivePolicy { min, max, algorithm }) => format!(
            "a limit that finds itself between {min} and {} under way {whose}, by {}",
            counted(*max, "call", "calls"),
            algorithm.name()
        ),
    }];
    if let Some(queue) = &limit.queue {
        told.push(format!(
            "{} wait in each worker, none longer than {}; under overload the newest is served first",
            counted(queue.max, "call may", "calls may"),
            queue.max_wait
        ));
    }
    told
}

/// How a time limit follows the upstream.
pub(super) fn auto_timeout(policy: &AutoTimeoutPolicy) -> String {
    format!(
        "the {}th percentile and {}% of it, from {} to {}; {} until {} calls were seen, in each worker and scope",
        policy.percentile * 100.0,
        policy.margin * 100.0,
        policy.min,
        policy.max,
        policy.max,
        policy.needed()
    )
}

/// The answer to a rejected request.
pub(super) fn rejection(policy: &Policy) -> String {
    let rule = bimetal_core::decision::Rule::Breaker;
    let fallback = policy.fallback_when_rejected();
    let status = fallback.and_then(|fallback| fallback.status).unwrap_or(rule.status());
    let body = match fallback.and_then(|fallback| fallback.body.as_ref()) {
        Some(_) => "the fallback's body",
        None => r#"body {"error": …}"#,
    };
    let kept = match fallback.and_then(|fallback| fallback.stale) {
        Some(stale) => {
            format!("one of before, at most {} old; where none is kept: ", stale.max_age)
        }
        None => String::new(),
    };
    let first = match fallback.and_then(|fallback| fallback.upstream.as_ref()) {
        Some(named) => format!("upstream {}'s; where it has none: ", named.name),
        None => String::new(),
    };
    format!("{first}{kept}status {status}, x-bimetal-rule: {}/{}, {body}", policy.name, rule.name())
}

fn rate(of: &str, rate: &RateCondition) -> String {
    let window = match rate.window {
        WindowSize::Calls(count) => format!("the last {}", counted(count, "call", "calls")),
        WindowSize::Time(span) => format!("the last {span}"),
    };
    let sure = if rate.z_squared > 0.0 { ", statistically sure" } else { "" };
    format!(
        "trips at {}% {of} in {window}, from {} on{sure}",
        rate.threshold * 100.0,
        counted(rate.minimum_calls, "call", "calls")
    )
}

fn counted(count: u32, one: &str, many: &str) -> String {
    match count {
        1 => format!("1 {one}"),
        count => format!("{count} {many}"),
    }
}
