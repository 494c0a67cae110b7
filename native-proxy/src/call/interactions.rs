//! What a call tells of how its caller works.

use super::{Client, RequestFacts};
use crate::account::RequestAccount;
use crate::interactions::Kind;
use crate::telemetry;
use crate::worker::Route;
use bimetal_core::deadline::{DEADLINE_MS, DeadlinePolicy, GRPC_TIMEOUT};
use bimetal_core::policy::{Policy, WarningsPolicy};
use bimetal_core::{Duration, Facts};
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

/// The word of a caller that holds a transaction.
const OPEN: &[u8] = b"open";

/// How deadlines are read where the policy keeps none.
const ANY_DEADLINE: DeadlinePolicy = DeadlinePolicy {
    accepts_grpc_timeout: true,
    accepts_deadline_ms: true,
    margin: Duration::ZERO,
    forwards: false,
};

/// What a caller says that it waits.
pub(super) fn patience(headers: &HeaderMap) -> Option<Duration> {
    let field = |name: &str| headers.get(name).map(HeaderValue::as_bytes);
    ANY_DEADLINE.left(field(GRPC_TIMEOUT), field(DEADLINE_MS))
}

/// Looks at a call that goes upstream.
pub(super) fn notice(
    client: &Client,
    policy: &Policy,
    warnings: &WarningsPolicy,
    facts: &RequestFacts<'_>,
    route: &Route,
    account: &mut RequestAccount,
) {
    let (upstream, path) = (&route.destination, &route.name);
    if let Some(trace) = telemetry::trace_of(facts.headers) {
        let calls = client.worker.interactions.calls.called(&trace, upstream, path);
        // Once a trace: what comes after says nothing new.
        if calls == warnings.calls_per_trace.saturating_add(1) {
            let trace = u128::from_be_bytes(trace);
            let what = format_args!(
                "call {calls} of upstream {upstream} by route {path} within trace {trace:032x}"
            );
            account.warns(policy, Kind::CallsPerTrace, what);
        }
    }
    if holds_transaction(warnings, facts) {
        let what = format_args!(
            "upstream {upstream} is called by route {path} within an open database transaction"
        );
        account.warns(policy, Kind::DbTransaction, what);
    }
    let deadline = policy.deadline.as_ref().unwrap_or(&ANY_DEADLINE);
    if let Some(left) = deadline.left_of(facts as &dyn Facts) {
        account.caller_leaves_at(account.begun() + left);
    }
}

/// Whether the caller says that it holds a database transaction.
fn holds_transaction(warnings: &WarningsPolicy, facts: &RequestFacts<'_>) -> bool {
    let name = HeaderName::from_bytes(warnings.db_transaction_header.as_bytes());
    let Ok(name) = name else { return false };
    let mut values = facts.headers.get_all(name).iter();
    values.any(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(OPEN))
}
