//! Parts of a policy that work against each other: each means what it says, and together they do not do
//! what anybody wants.

use super::{Route, Target, Upstream};
use bimetal_core::Duration;
use bimetal_core::outcome::Transport;
use bimetal_core::policy::{Document, Fallback, Policy};
use bimetal_core::retry::RetryPolicy;
use std::sync::Arc;

/// So many calls in a row run into a limit that follows an upstream which takes ten times as long at once.
const FOLLOWED: u32 = 20;

/// A warning for each such part.
pub(crate) fn policies(document: &Document) -> Vec<String> {
    let policies = document.policies.iter().enumerate();
    policies
        .flat_map(|(index, policy)| {
            let told =
                move |(path, what)| format!("policies[{index}].{path} ({}): {what}", policy.name);
            of_policy(policy).into_iter().map(told)
        })
        .collect()
}

/// A warning for each policy whose calls all go already to the upstream that is to stand in.
pub(crate) fn fallbacks(
    document: &Document,
    routes: &[Route],
    upstreams: &[Arc<Upstream>],
) -> Vec<String> {
    let leads_to = |route: &Route, name: &str| {
        let (Target::Upstream(place) | Target::TestFailure(place)) = route.target;
        upstreams.get(place).is_some_and(|upstream| *upstream.name == *name)
    };
    let policies = document.policies.iter().enumerate();
    let told = policies.filter_map(|(index, policy)| {
        let named = policy.fallback.as_ref()?.upstream.as_ref()?;
        let is_vain = !routes.is_empty() && routes.iter().all(|one| leads_to(one, &named.name));
        is_vain.then(|| {
            format!(
                "policies[{index}].fallback.upstream ({}): all routes lead to \"{}\" already: it never stands in for itself",
                policy.name, named.name
            )
        })
    });
    told.collect()
}

/// Paths and what is said of them.
fn of_policy(policy: &Policy) -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    let (request, per_try) = (policy.timeout.request, policy.timeout.per_try);
    if let (Some(request), Some(per_try)) = (request, per_try)
        && per_try > request
    {
        let what =
            format!("{per_try} is longer than timeout.request ({request}): no try has so much");
        all.push(("timeout.per_try", what));
    }
    if policy.timeout.auto.is_some() && policy.retry.as_ref().is_some_and(|retry| retry.tries > 1) {
        let what = "a try is measured, and all tries of a call have that time together";
        all.push(("timeout.request.auto", what.into()));
    }
    let trip = policy.breaker.as_ref().and_then(|breaker| breaker.trip.consecutive_failures);
    if let (Some(_), Some(few)) = (&policy.timeout.auto, trip.filter(|count| *count < FOLLOWED)) {
        let what = format!(
            "an upstream that is slower all at once is followed after some {FOLLOWED} calls that ran into the limit, and breaker.trip.consecutive_failures ({few}) is fewer"
        );
        all.push(("timeout.request.auto", what));
    }
    if let Some(retry) = &policy.retry {
        of_retry(retry, request, per_try, &mut all);
    }
    if let Some(fallback) = &policy.fallback {
        of_fallback(policy, fallback, &mut all);
    }
    all
}

fn of_fallback(policy: &Policy, fallback: &Fallback, all: &mut Vec<(&'static str, String)>) {
    if fallback.stale.is_some() && !reads(policy) {
        let what = "only answers to GET and HEAD are kept, and the policy matches neither";
        all.push(("fallback.stale", what.into()));
    }
    let Some(named) = &fallback.upstream else { return };
    if fallback.on.rejected && !policy.rate_limits.is_empty() {
        let what = format!(
            "what `rate_limits` turn away goes to \"{}\", which they do not protect",
            named.name
        );
        all.push(("fallback.upstream", what));
    }
    if fallback.on.failed && policy.timeout.request.is_none() && policy.timeout.per_try.is_none() {
        let what = format!(
            "without timeout.request an upstream that hangs never fails, and \"{}\" is not asked",
            named.name
        );
        all.push(("fallback.upstream", what));
    }
}

/// Whether it is for calls whose answers can be kept.
fn reads(policy: &Policy) -> bool {
    let methods = &policy.matcher.methods;
    methods.is_empty() || methods.iter().any(|method| matches!(&**method, b"GET" | b"HEAD"))
}

fn of_retry(
    retry: &RetryPolicy,
    request: Option<Duration>,
    per_try: Option<Duration>,
    all: &mut Vec<(&'static str, String)>,
) {
    let mut add = |path, what: String| all.push((path, what));
    let tries = retry.tries;
    if tries == 1 {
        add("retry.tries", "1 counts the first try: nothing is tried again".into());
        return;
    }
    if retry.budget.is_none() {
        let what = format!("no budget: an upstream that fails gets {tries} times the calls");
        add("retry", what);
    }
    if let (Some(request), Some(per_try)) = (request, per_try)
        && per_try <= request
        && per_try.as_nanos().saturating_mul(tries.into()) > request.as_nanos()
    {
        let what = format!(
            "{tries} tries of timeout.per_try ({per_try}) do not fit into timeout.request ({request})"
        );
        add("retry.tries", what);
    }
    let on_timeout = retry.on.transport.contains(&Transport::Timeout);
    match (request, per_try) {
        (_, Some(_)) if !on_timeout => {
            let what = "without `timeout` a try that ran into timeout.per_try is not made again";
            add("retry.on", what.into());
        }
        (Some(_), None) if on_timeout => {
            let what =
                "`timeout` without timeout.per_try: the first try may use all of timeout.request";
            add("retry.on", what.into());
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bimetal_core::policy::Host;

    fn warnings(parts: &str) -> Vec<String> {
        let json = format!(r#"{{"policies": [{{"name": "a", {parts}}}]}}"#);
        let document = Document::parse(json.as_bytes(), Host::Native).unwrap();
        policies(&document)
    }

    #[test]
    fn what_fits_together_is_no_warning() {
        for parts in [
            r#""timeout": {"request": "1s"}"#,
            r#""timeout": {"request": {"auto": {"min": "1ms", "max": "1s"}}}"#,
            r#""retry": {"budget": {}}"#,
            r#""retry": {"tries": 3, "budget": {}, "on": ["timeout"]},
               "timeout": {"request": "3s", "per_try": "1s"}"#,
            r#""timeout": {"request": "1s", "per_try": "1s"}"#,
            r#""fallback": {"when": ["rejected"], "upstream": "spare"}"#,
            r#""match": {"methods": ["GET"]}, "fallback": {"stale": {"max_age": "1m"}}"#,
        ] {
            assert_eq!(warnings(parts), [""; 0], "{parts}");
        }
    }

    #[test]
    fn what_works_against_itself_is_named_with_its_path() {
        for (parts, told) in [
            (
                r#""retry": {"tries": 4}"#,
                "policies[0].retry (a): no budget: an upstream that fails gets 4 times the calls",
            ),
            (
                r#""retry": {"tries": 1}"#,
                "policies[0].retry.tries (a): 1 counts the first try: nothing is tried again",
            ),
            (
                r#""timeout": {"request": "1s", "per_try": "2s"}"#,
                "policies[0].timeout.per_try (a): 2s is longer than timeout.request (1s): no try has so much",
            ),
            (
                r#""retry": {"tries": 4, "budget": {}, "on": ["timeout"]},
                   "timeout": {"request": "3s", "per_try": "1s"}"#,
                "policies[0].retry.tries (a): 4 tries of timeout.per_try (1s) do not fit into timeout.request (3s)",
            ),
            (
                r#""retry": {"budget": {}}, "timeout": {"per_try": "1s"}"#,
                "policies[0].retry.on (a): without `timeout` a try that ran into timeout.per_try is not made again",
            ),
            (
                r#""retry": {"budget": {}, "on": ["timeout"]}, "timeout": {"request": "1s"}"#,
                "policies[0].retry.on (a): `timeout` without timeout.per_try: the first try may use all of timeout.request",
            ),
            (
                r#""rate_limits": [{"rate": "1/s"}], "fallback": {"upstream": "spare"}"#,
                "policies[0].fallback.upstream (a): what `rate_limits` turn away goes to \"spare\", which they do not protect",
            ),
            (
                r#""timeout": {"request": {"auto": {"min": "1ms", "max": "1s"}}}, "retry": {"budget": {}}"#,
                "policies[0].timeout.request.auto (a): a try is measured, and all tries of a call have that time together",
            ),
            (
                r#""timeout": {"request": {"auto": {"min": "1ms", "max": "1s"}}}, "breaker": {"trip": {"consecutive_failures": 5}}"#,
                "policies[0].timeout.request.auto (a): an upstream that is slower all at once is followed after some 20 calls that ran into the limit, and breaker.trip.consecutive_failures (5) is fewer",
            ),
            (
                r#""match": {"methods": ["POST"]}, "fallback": {"stale": {"max_age": "1m"}}"#,
                "policies[0].fallback.stale (a): only answers to GET and HEAD are kept, and the policy matches neither",
            ),
            (
                r#""fallback": {"when": ["failed"], "upstream": "spare"}"#,
                "policies[0].fallback.upstream (a): without timeout.request an upstream that hangs never fails, and \"spare\" is not asked",
            ),
        ] {
            assert_eq!(warnings(parts), [told], "{parts}");
        }
    }
}
