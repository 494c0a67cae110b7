//! What must hold between fields that stand in different places, and the defaults that depend on
//! other fields.

use super::profile;
use super::table::DOCUMENT;
use crate::doc::check::fill;
use crate::doc::problem::quoted;
use crate::doc::table::MAX_ITEMS;
use crate::doc::{Node, Path, Problems};
use crate::time::Duration;
use alloc::format;

/// `lease` is at least this, unless the policy says otherwise.
const LEASE: Duration = Duration::from_millis(10_000);
/// `open.max`, unless `open.base` is longer.
const OPEN_MAX: Duration = Duration::from_millis(300_000);
/// `minimum_calls`, unless the window holds fewer.
const MINIMUM_CALLS: u64 = 20;

/// Headers that the host sets by the length of the body or by the connection; a policy that sets
/// them would break the framing.
const HOST_HEADERS: [&str; 8] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Completes a checked document with profiles and defaults, and finds what the table cannot say.
/// A field that the table found wrong is passed over.
pub(super) fn complete(document: &mut Node, problems: &mut Problems) {
    if let Some(Node::List(policies)) = document.get_mut("policies") {
        policies.iter_mut().filter_map(|policy| policy.get_mut("breaker")).for_each(profile::apply);
    }
    fill(document, &DOCUMENT);
    let policies = Path::ROOT.key("policies");
    if let Some(Node::List(items)) = document.get_mut("policies") {
        for (index, policy) in items.iter_mut().enumerate() {
            complete_policy(&policies.index(index), policy, problems);
        }
    }
    unique_names(&policies, document.items("policies"), problems);
}

fn complete_policy(at: &Path<'_>, policy: &mut Node, problems: &mut Problems) {
    let request = policy.get("timeout").and_then(|timeout| timeout.duration("request"));
    let breaker_at = at.key("breaker");
    if let Some(breaker) = policy.get_mut("breaker") {
        if let Some(open) = breaker.get_mut("open") {
            complete_open(&breaker_at.key("open"), open, problems);
        }
        if let Some(half_open) = breaker.get_mut("half_open") {
            complete_lease(&breaker_at.key("half_open"), half_open, request, problems);
        }
        let trip_at = breaker_at.key("trip");
        for name in ["failure_rate", "slow_rate"] {
            if let Some(rate) = breaker.get_mut("trip").and_then(|trip| trip.get_mut(name)) {
                complete_rate(&trip_at.key(name), rate, problems);
            }
        }
    }
    if let Some(fallback) = policy.get("fallback") {
        check_fallback(&at.key("fallback"), fallback, problems);
    }
}

fn complete_open(at: &Path<'_>, open: &mut Node, problems: &mut Problems) {
    let base = open.duration("base");
    match (open.text("max"), open.duration("max"), base) {
        (Some(text), Some(max), Some(base)) if max < base => {
            let base = quoted(open.text("base").unwrap_or_default());
            problems
                .add(&at.key("max"), format!("{} is shorter than open.base {base}", quoted(text)));
        }
        (None, _, Some(base)) if open.get("max").is_none() => {
            set_span(open, "max", base.max(OPEN_MAX))
        }
        _ => {}
    }
}

fn complete_lease(
    at: &Path<'_>,
    half_open: &mut Node,
    request: Option<Duration>,
    problems: &mut Problems,
) {
    match (half_open.get("lease"), half_open.duration("lease"), request) {
        (None, _, request) => set_span(half_open, "lease", request.unwrap_or_default().max(LEASE)),
        (_, Some(lease), Some(request)) if lease < request => {
            let lease = quoted(half_open.text("lease").unwrap_or_default());
            let what = format!("{lease} is shorter than timeout.request ({request})");
            problems.add(&at.key("lease"), what);
        }
        _ => {}
    }
}

fn complete_rate(at: &Path<'_>, rate: &mut Node, problems: &mut Problems) {
    let calls = rate.get("window").and_then(|window| window.integer("calls"));
    match (rate.get("minimum_calls"), rate.integer("minimum_calls"), calls) {
        (None, _, calls) => {
            let least = calls.map_or(MINIMUM_CALLS, |calls| calls.min(MINIMUM_CALLS));
            rate.set("minimum_calls", Node::Int(least as i64));
        }
        (_, Some(minimum), Some(calls)) if minimum > calls => {
            let what =
                format!("{minimum} is more than window.calls ({calls}): it would never trip");
            problems.add(&at.key("minimum_calls"), what);
        }
        _ => {}
    }
}

/// A span goes into the document as a text like every other, so that hashes and readers see one
/// form.
fn set_span(node: &mut Node, key: &str, span: Duration) {
    node.set(key, Node::Text(format!("{}ns", span.as_nanos())));
}

fn check_fallback(at: &Path<'_>, fallback: &Node, problems: &mut Problems) {
    // RFC 9110, 15.3.5, 15.3.6 and 15.4.5.
    if let Some(status @ (204 | 205 | 304)) = fallback.integer("status") {
        problems.add(&at.key("status"), format!("{status} cannot carry a body"));
    }
    let headers_at = at.key("headers");
    for (name, _) in fallback.get("headers").map_or(&[][..], Node::as_map) {
        let lower = name.to_ascii_lowercase();
        if HOST_HEADERS.contains(&lower.as_str()) || lower.starts_with("x-bimetal-") {
            problems.add(&headers_at.key(name), "set by the host; a fallback cannot change it");
        }
    }
}

fn unique_names(at: &Path<'_>, policies: &[Node], problems: &mut Problems) {
    let names = || policies.iter().take(MAX_ITEMS).map(|policy| policy.text("name"));
    for (index, name) in names().enumerate() {
        let Some(name) = name else { continue };
        if let Some(first) = names().take(index).position(|earlier| earlier == Some(name)) {
            let what = format!("{} is already the name of policies[{first}]", quoted(name));
            problems.add(&at.index(index).key("name"), what);
        }
    }
}
