//! A rejection as the client sees it.

use crate::port::Reply;
use bimetal_core::Rejected;
use bimetal_core::event::Json;

/// The answer to a rejected request: the rule's status or the policy's fallback, and always the
/// headers that say which rule and why.
pub fn of(rejected: &Rejected) -> Reply {
    let Rejected { policy, rejection } = rejected;
    let reason = rejection.reason.to_string();
    let rule = rejection.rule.name();
    let mut headers = vec![
        ("x-bimetal-rule".to_owned(), format!("{}/{rule}", policy.name)),
        ("x-bimetal-reason".to_owned(), reason.clone()),
    ];
    if let Some(left) = rejection.retry_after() {
        // Zero would say "at once" to a client that was just turned away.
        headers.push(("retry-after".to_owned(), left.as_secs_ceil().max(1).to_string()));
    }
    let fallback = policy.fallback_when_rejected();
    let given = fallback.map_or(&[][..], |fallback| &fallback.headers);
    if !given.iter().any(|(name, _)| name == "content-type") {
        headers.push(("content-type".to_owned(), "application/json".to_owned()));
    }
    // What explains the rejection stays ours, whatever the policy lists.
    let ours = |name: &str| headers.iter().any(|(taken, _)| taken == name);
    let extra: Vec<_> = given.iter().filter(|(name, _)| !ours(name)).cloned().collect();
    headers.extend(extra);
    let body = fallback.and_then(|fallback| fallback.body.clone());
    Reply {
        status: fallback.and_then(|f| f.status).unwrap_or_else(|| rejection.rule.status()),
        details: format!("bimetal_{}_{rule}", policy.name),
        headers,
        body: body.unwrap_or_else(|| {
            format!(r#"{{"error":{}}}"#, Json(&format!("circuit breaker: {reason}")))
        }),
    }
}
