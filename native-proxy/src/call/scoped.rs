//! Admission where each endpoint has a breaker of its own: an endpoint is chosen before anybody is asked, and
//! another one where that one's breaker says no.

use super::RequestFacts;
use crate::upstream::{Endpoint, Upstream};
use crate::worker::Worker;
use bimetal_core::decision::Rule;
use bimetal_core::engine::Policies;
use bimetal_core::policy::Scope;
use bimetal_core::{Instant, Verdict};
use std::rc::Rc;

/// So many endpoints are asked at most: with more of them open, one more says little.
const MOST_ASKED: usize = 8;

/// Asks the engine for a call to `upstream`. `facts` say then which endpoint the answer is for.
pub(super) fn admit<'p>(
    worker: &Worker,
    now: Instant,
    policies: &'p Policies,
    facts: &mut RequestFacts<'_>,
    upstream: &Upstream,
) -> Verdict<'p> {
    let mut asked: Vec<Rc<Endpoint>> = Vec::new();
    facts.endpoint = upstream.choose(&asked);
    loop {
        let verdict = worker.admit(now, policies, facts);
        let next = match (&facts.endpoint, moves_on(&verdict)) {
            (Some(endpoint), true) if asked.len() + 1 < MOST_ASKED => {
                asked.push(endpoint.clone());
                upstream.choose(&asked)
            }
            _ => None,
        };
        // Where all were asked, one of them is chosen again.
        match next.filter(|next| !asked.iter().any(|one| Rc::ptr_eq(one, next))) {
            Some(next) => facts.endpoint = Some(next),
            None => return verdict,
        }
    }
}

/// Whether another endpoint may say otherwise: not of a limit that counts the calls of all.
fn moves_on(verdict: &Verdict<'_>) -> bool {
    let Verdict::Reject(refusal) = verdict else {
        return false;
    };
    refusal.policy.scope == Scope::Endpoint
        && matches!(refusal.rejection.rule(), Rule::Breaker | Rule::Concurrency)
}
