//! What the filter loses of a document when it stands among Envoy's upstream filters, where each try
//! passes, in place of the listener's (`docs/filter.md`, "As an upstream filter").

use bimetal_core::policy::{Document, Policy};

/// A warning for each part that means less there.
pub(super) fn warnings(document: &Document) -> Vec<String> {
    let policies = document.policies.iter().enumerate();
    policies
        .flat_map(|(index, policy)| {
            losses(policy).map(move |(path, what)| {
                format!("policies[{index}].{path} ({}): as an upstream filter {what}", policy.name)
            })
        })
        .collect()
}

fn losses(policy: &Policy) -> impl Iterator<Item = (&'static str, &'static str)> {
    let trip = policy.breaker.as_ref().map(|breaker| &breaker.trip);
    let counts_failures =
        trip.is_some_and(|trip| trip.consecutive_failures.is_some() || trip.failure_rate.is_some());
    let transport = counts_failures.then_some((
        "breaker",
        "it sees answers alone: no refused connection, reset or time-out opens it",
    ));
    let limit = policy
        .timeout
        .request
        .is_some()
        .then_some(("timeout.request", "it limits nothing: the router has read its limits before"));
    transport.into_iter().chain(limit)
}
