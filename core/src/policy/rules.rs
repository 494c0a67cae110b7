//! What must hold between fields that stand in different places, and the defaults that depend on
//! other fields.

use super::breaker::Judge;
use super::table::anomaly;
use super::table::breaker::{self, half_open, open};
use super::table::concurrency::{self, adaptive};
use super::table::fallback::stale;
use super::table::timeout::RequestTime;
use super::table::trip::{self, rate, window};
use super::table::{
    ANOMALY, BREAKER_KEY, CONCURRENCY, DOCUMENT, FALLBACK, NAME, POLICIES, SCOPE, TIMEOUT,
    fallback, timeout,
};
use super::types::Share;
use super::{profile, read_limits, read_retry};
use crate::anomaly::{AnomalyPolicy, Judging, Outlier, ZScore};
use crate::breaker::record::MAX_TRIAL;
use crate::doc::check::fill;
use crate::doc::problem::{decimal, quoted};
use crate::doc::table::MAX_ITEMS;
use crate::doc::{Node, Path, Problems};
use crate::time::Duration;
use alloc::format;

/// `lease` is at least this, unless the policy says otherwise.
const LEASE: Duration = Duration::from_millis(10_000);
/// `open.max`, unless `open.base` is longer.
const OPEN_MAX: Duration = Duration::from_millis(300_000);
/// `minimum_calls`, unless the window holds fewer.
const MINIMUM_CALLS: u32 = 20;

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
    if let Some(Node::List(policies)) = POLICIES.node_mut(document) {
        let breakers = policies.iter_mut().filter_map(|policy| BREAKER_KEY.node_mut(policy));
        breakers.for_each(profile::apply);
    }
    fill(document, &DOCUMENT);
    let policies = Path::ROOT.key(POLICIES.name());
    if let Some(Node::List(items)) = POLICIES.node_mut(document) {
        for (index, policy) in items.iter_mut().enumerate() {
            complete_policy(&policies.index(index), policy, problems);
        }
    }
    unique_names(&policies, POLICIES.parts(document), problems);
}

fn complete_policy(at: &Path<'_>, policy: &mut Node, problems: &mut Problems) {
    let limits = TIMEOUT.node(policy);
    let request = limits.and_then(|timeout| timeout::REQUEST.find(timeout));
    if let Some(RequestTime::Auto(auto)) = request
        && auto.min > auto.max
    {
        let at = at.key(TIMEOUT.name());
        let at = at.key(timeout::REQUEST.name());
        let at = at.key(timeout::AUTO.name());
        let what = format!("{} is longer than max ({})", auto.min, auto.max);
        problems.add(&at.key(timeout::auto::MIN.name()), what);
    }
    let request = request.map(RequestTime::longest);
    let per_try = limits.and_then(|timeout| timeout::PER_TRY.find(timeout));
    let breaker_at = at.key(BREAKER_KEY.name());
    if let Some(breaker) = BREAKER_KEY.node_mut(policy) {
        if let Some(open) = breaker::OPEN.node_mut(breaker) {
            complete_open(&breaker_at.key(breaker::OPEN.name()), open, problems);
        }
        if let Some(half_open) = breaker::HALF_OPEN.node_mut(breaker) {
            let at = breaker_at.key(breaker::HALF_OPEN.name());
            complete_lease(&at, half_open, (request, per_try), problems);
        }
        check_trial(&breaker_at, breaker, problems);
        complete_quorum(breaker);
        let trip_at = breaker_at.key(breaker::TRIP.name());
        for key in [trip::FAILURE_RATE, trip::SLOW_RATE] {
            let trip = breaker::TRIP.node_mut(breaker);
            if let Some(rate) = trip.and_then(|trip| key.node_mut(trip)) {
                complete_rate(&trip_at.key(key.name()), rate, problems);
            }
        }
    }
    let scope = SCOPE.node(policy).cloned();
    read_limits::complete(at, scope, policy, problems);
    read_retry::complete(at, policy, problems);
    let limit = CONCURRENCY.node(policy).and_then(|limit| concurrency::ADAPTIVE.node(limit));
    if let Some(limit) = limit {
        let at = at.key(CONCURRENCY.name());
        check_adaptive(&at.key(concurrency::ADAPTIVE.name()), limit, problems);
    }
    if let Some(watched) = ANOMALY.node_mut(policy) {
        complete_anomaly(&at.key(ANOMALY.name()), watched, problems);
    }
    if let Some(fallback) = FALLBACK.node(policy) {
        check_fallback(&at.key(FALLBACK.name()), fallback, problems);
    }
}

fn complete_open(at: &Path<'_>, node: &mut Node, problems: &mut Problems) {
    let base = open::BASE.find(node);
    match (open::MAX.text(node), open::MAX.find(node), base) {
        (Some(text), Some(max), Some(base)) if max < base => {
            let base = quoted(open::BASE.text(node).unwrap_or_default());
            let what = format!("{} is shorter than open.base {base}", quoted(text));
            problems.add(&at.key(open::MAX.name()), what);
        }
        (None, _, Some(base)) if open::MAX.node(node).is_none() => {
            open::MAX.set(node, base.max(OPEN_MAX));
        }
        _ => {}
    }
}

fn complete_lease(
    at: &Path<'_>,
    node: &mut Node,
    (request, per_try): (Option<Duration>, Option<Duration>),
    problems: &mut Problems,
) {
    match (half_open::LEASE.node(node), half_open::LEASE.find(node), request) {
        (None, _, request) => {
            half_open::LEASE.set(node, request.or(per_try).unwrap_or_default().max(LEASE));
        }
        (_, Some(lease), Some(request)) if lease < request => {
            let lease = quoted(half_open::LEASE.text(node).unwrap_or_default());
            let what = format!("{lease} is shorter than timeout.request ({request})");
            problems.add(&at.key(half_open::LEASE.name()), what);
        }
        _ => {}
    }
}

/// A trial is judged by rates, and its counts have to fit into the record.
fn check_trial(at: &Path<'_>, breaker: &Node, problems: &mut Problems) {
    let (Some(half_open), trip) = (breaker::HALF_OPEN.node(breaker), breaker::TRIP.node(breaker))
    else {
        return;
    };
    if half_open::JUDGE.find(half_open) != Some(Judge::Rate) {
        return;
    }
    let at = at.key(breaker::HALF_OPEN.name());
    let rates = [trip::FAILURE_RATE, trip::SLOW_RATE];
    if !trip.is_some_and(|trip| rates.iter().any(|rate| rate.node(trip).is_some())) {
        let what = "\"rate\" judges by a rate, and `trip` has neither failure_rate nor slow_rate";
        problems.add(&at.key(half_open::JUDGE.name()), what);
    }
    let probes = half_open::MAX_PROBES.find(half_open).filter(|probes| *probes > MAX_TRIAL);
    if let Some(probes) = probes {
        let what = format!("{probes} is more than {MAX_TRIAL}, the most that are judged together");
        problems.add(&at.key(half_open::MAX_PROBES.name()), what);
    }
}

fn complete_quorum(node: &mut Node) {
    let is_mesh = matches!(breaker::SHARE.find(node), Some(Share::Mesh { .. }));
    if is_mesh && breaker::QUORUM.node(node).is_none() {
        breaker::QUORUM.set(node, Share::QUORUM);
    }
}

fn complete_rate(at: &Path<'_>, node: &mut Node, problems: &mut Problems) {
    let calls = rate::WINDOW.node(node).and_then(|window| window::CALLS.find(window));
    match (rate::MINIMUM_CALLS.node(node), rate::MINIMUM_CALLS.find(node), calls) {
        (None, _, calls) => {
            let least = calls.map_or(MINIMUM_CALLS, |calls| calls.min(MINIMUM_CALLS));
            rate::MINIMUM_CALLS.set(node, least);
        }
        (_, Some(minimum), Some(calls)) if minimum > calls => {
            let what =
                format!("{minimum} is more than window.calls ({calls}): it would never trip");
            problems.add(&at.key(rate::MINIMUM_CALLS.name()), what);
        }
        _ => {}
    }
}

fn check_adaptive(at: &Path<'_>, node: &Node, problems: &mut Problems) {
    if let (Some(min), Some(max)) = (adaptive::MIN.find(node), adaptive::MAX.find(node))
        && min > max
    {
        problems.add(&at.key(adaptive::MIN.name()), format!("{min} is more than max ({max})"));
    }
}

fn complete_anomaly(at: &Path<'_>, node: &mut Node, problems: &mut Problems) {
    let (Some(detector), Some(window)) = (anomaly::DETECTOR.find(node), anomaly::WINDOW.find(node))
    else {
        return;
    };
    if detector == Judging::Robust && window as usize != Outlier::WINDOW {
        let what = format!("{window} is not {}, the window of robust", Outlier::WINDOW);
        problems.add(&at.key(anomaly::WINDOW.name()), what);
        return;
    }
    let usual = match detector {
        Judging::ZScore => ZScore::THRESHOLD,
        Judging::Robust => Outlier::THRESHOLD,
    };
    if anomaly::THRESHOLD.node(node).is_none() {
        anomaly::THRESHOLD.set(node, usual);
    }
    let highest = AnomalyPolicy::highest_score(detector, window);
    if let Some(threshold) = anomaly::THRESHOLD.find(node).filter(|score| *score >= highest) {
        let (threshold, highest) = (decimal(threshold), decimal(highest));
        let what = format!(
            "{threshold} is never exceeded in a window of {window}: no score is above {highest}"
        );
        problems.add(&at.key(anomaly::THRESHOLD.name()), what);
    }
}

fn check_fallback(at: &Path<'_>, node: &Node, problems: &mut Problems) {
    // RFC 9110, 15.3.5, 15.3.6 and 15.4.5.
    if let Some(status @ (204 | 205 | 304)) = fallback::STATUS.find(node) {
        let at = at.key(fallback::STATUS.name());
        problems.add(&at, format!("{status} cannot carry a body"));
    }
    if let Some(stale) = fallback::STALE.node(node)
        && let (Some(one), Some(all)) = (stale::MAX_BYTES.find(stale), stale::MAX_TOTAL.find(stale))
        && one > all
    {
        let at = at.key(fallback::STALE.name());
        let what = format!("{} bytes are more than max_total ({})", one.0, all.0);
        problems.add(&at.key(stale::MAX_BYTES.name()), what);
    }
    let headers_at = at.key(fallback::HEADERS.name());
    for (name, _) in fallback::HEADERS.node(node).map_or(&[][..], Node::as_map) {
        let lower = name.to_ascii_lowercase();
        if HOST_HEADERS.contains(&lower.as_str()) || lower.starts_with("x-bimetal-") {
            problems.add(&headers_at.key(name), "set by the host; a fallback cannot change it");
        }
    }
}

fn unique_names(at: &Path<'_>, policies: &[Node], problems: &mut Problems) {
    let names = || policies.iter().take(MAX_ITEMS).map(|policy| NAME.text(policy));
    for (index, name) in names().enumerate() {
        let Some(name) = name else { continue };
        if let Some(first) = names().take(index).position(|earlier| earlier == Some(name)) {
            let what = format!("{} is already the name of policies[{first}]", quoted(name));
            problems.add(&at.index(index).key(NAME.name()), what);
        }
    }
}
