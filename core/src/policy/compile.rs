//! From a complete, checked document to what the engine decides by.

use super::forms;
use super::rules::complete;
use super::table::{BREAKER, DOCUMENT, POLICY};
use super::types::{
    BreakerPolicy, DirectionMatch, Document, Fallback, FallbackOn, HalfOpen, HeaderMatch, Host,
    HostPattern, Match, Mode, Open, PathMatch, Policy, RateCondition, Scope, Scopes, Share,
    Timeouts, Trip, WhenFull, WindowSize,
};
use crate::doc::hash::Hash;
use crate::doc::{Check, Node, Path, Problems, Unsupported};
use crate::outcome::{AnswerSet, FailureRules};
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

impl Document {
    /// Reads and compiles a policy document in JSON for one host.
    ///
    /// # Errors
    /// Everything that is wrong with it, each by its path; nothing of it takes effect.
    pub fn parse(json: &[u8], host: Host) -> Result<Self, Problems> {
        Self::compile(&Node::from_json(json)?, host)
    }

    /// Compiles a policy document that was read already, from JSON or YAML, for one host.
    ///
    /// # Errors
    /// Everything that is wrong with it, each by its path; nothing of it takes effect.
    pub fn compile(node: &Node, host: Host) -> Result<Self, Problems> {
        let mut tree = node.clone();
        let mut check = Check::new(host, Unsupported::asked_by(&tree));
        check.object(&Path::ROOT, &mut tree, &DOCUMENT);
        complete(&mut tree, &mut check.problems);
        if !check.problems.is_empty() {
            return Err(check.problems);
        }
        let policies: Vec<_> =
            tree.items("policies").iter().map(|node| Arc::new(policy(node))).collect();
        let hash = policies.iter().fold(Hash::default(), |hash, policy| hash.number(policy.hash));
        let skipped = check.skipped.iter().map(ToString::to_string).collect();
        Ok(Self { policies, skipped, hash: hash.finish() })
    }
}

fn policy(node: &Node) -> Policy {
    let name = node.text("name").unwrap_or_default();
    let scope_keyword = node.text("scope").unwrap_or_default();
    let breaker = node.get("breaker");
    // The profile's name says nothing that its leaves, merged by now, do not say.
    let mut meaning = breaker.cloned().unwrap_or(Node::Null);
    meaning.remove("profile");
    let state = Hash::default().bytes(name.as_bytes()).bytes(scope_keyword.as_bytes());
    let mut whole = node.clone();
    if breaker.is_some() {
        whole.set("breaker", meaning.clone());
    }
    Policy {
        name: Arc::from(name),
        matcher: node.get("match").map(matcher).unwrap_or_default(),
        scope: scope(scope_keyword),
        scopes: scopes(node.get("scopes")),
        mode: mode(node.text("mode")),
        breaker: breaker.map(|breaker| Arc::new(breaker_policy(breaker))),
        failure: Arc::new(failure(node, breaker)),
        timeout: Timeouts {
            request: node.get("timeout").and_then(|timeout| timeout.duration("request")),
            connect: node.get("timeout").and_then(|timeout| timeout.duration("connect")),
        },
        fallback: node.get("fallback").and_then(fallback),
        debug_headers: node.flag("debug_headers") == Some(true),
        state_hash: state.object(&meaning, &BREAKER).finish(),
        hash: Hash::default().object(&whole, &POLICY).finish(),
    }
}

fn matcher(node: &Node) -> Match {
    let path = match (node.text("path"), node.text("path_prefix")) {
        (Some(path), _) => PathMatch::exact(path),
        (None, Some(prefix)) => PathMatch::prefix(prefix),
        (None, None) => PathMatch::Any,
    };
    let headers = node.get("headers").map_or(&[][..], Node::as_map);
    Match {
        hosts: node.texts("hosts").map(host).collect(),
        path,
        methods: node.texts("methods").map(|method| method.as_bytes().into()).collect(),
        headers: headers
            .iter()
            .map(|(name, value)| {
                let value = match value.as_text().unwrap_or_default() {
                    "*" => HeaderMatch::Present,
                    value => HeaderMatch::Exact(value.as_bytes().into()),
                };
                (name.to_ascii_lowercase(), value)
            })
            .collect(),
        direction: match node.text("direction") {
            Some("inbound") => DirectionMatch::Inbound,
            Some("outbound") => DirectionMatch::Outbound,
            _ => DirectionMatch::Any,
        },
    }
}

fn host(pattern: &str) -> HostPattern {
    let pattern = pattern.to_ascii_lowercase();
    match pattern.strip_prefix('*') {
        Some("") => HostPattern::Any,
        Some(suffix) => HostPattern::Suffix(suffix.as_bytes().into()),
        None => HostPattern::Exact(pattern.as_bytes().into()),
    }
}

fn scope(keyword: &str) -> Scope {
    match keyword {
        "policy" => Scope::Policy,
        "route" => Scope::Route,
        "authority" => Scope::Authority,
        "client" => Scope::Client,
        _ => match keyword.strip_prefix("header:") {
            Some(name) => Scope::Header(name.to_ascii_lowercase()),
            None => Scope::Destination,
        },
    }
}

fn scopes(node: Option<&Node>) -> Scopes {
    Scopes {
        max: node.map_or(0, |node| count(node, "max")),
        when_full: match node.and_then(|node| node.text("when_full")) {
            Some("pass") => WhenFull::Pass,
            _ => WhenFull::Share,
        },
    }
}

fn mode(keyword: Option<&str>) -> Mode {
    match keyword {
        Some("shadow") => Mode::Shadow,
        Some("forced_open") => Mode::ForcedOpen,
        Some("disabled") => Mode::Disabled,
        _ => Mode::Enforce,
    }
}

fn breaker_policy(node: &Node) -> BreakerPolicy {
    let trip = node.get("trip").unwrap_or(&Node::Null);
    let open = node.get("open").unwrap_or(&Node::Null);
    let half_open = node.get("half_open").unwrap_or(&Node::Null);
    BreakerPolicy {
        trip: Trip {
            consecutive_failures: trip
                .get("consecutive_failures")
                .map(|_| count(trip, "consecutive_failures")),
            failure_rate: trip.get("failure_rate").map(rate),
            slow_rate: trip.get("slow_rate").map(rate),
        },
        open: Open {
            base: open.duration("base").unwrap_or_default(),
            multiplier: open.number("multiplier").unwrap_or(1.0),
            max: open.duration("max").unwrap_or_default(),
            jitter: open.number("jitter").unwrap_or_default(),
        },
        half_open: HalfOpen {
            max_probes: count(half_open, "max_probes"),
            required_successes: count(half_open, "required_successes"),
            lease: half_open.duration("lease").unwrap_or_default(),
        },
        ramp: node
            .get("recovery")
            .and_then(|recovery| recovery.duration("ramp"))
            .unwrap_or_default(),
        share: match node.text("share") {
            Some("none") => Share::None,
            _ => Share::Process,
        },
        respect_retry_after: node.flag("respect_retry_after") != Some(false),
    }
}

fn rate(node: &Node) -> RateCondition {
    let window = node.get("window").unwrap_or(&Node::Null);
    RateCondition {
        threshold: node.number("threshold").unwrap_or(1.0),
        window: match window.duration("time") {
            Some(time) => WindowSize::Time(time),
            None => WindowSize::Calls(count(window, "calls")),
        },
        minimum_calls: count(node, "minimum_calls"),
        z_squared: node.number("confidence").map_or(0.0, z_squared),
    }
}

/// Square of the one-sided normal quantile: the z with Φ(z) = `confidence`, which is in 0.5–1.
fn z_squared(confidence: f64) -> f64 {
    let upper_tail = 1.0 - confidence;
    let (mut low, mut high) = (0.0, 10.0);
    // Φ is monotonic; 60 halvings of 10 reach the last bit.
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        let tail = libm::erfc(middle * core::f64::consts::FRAC_1_SQRT_2) / 2.0;
        if tail > upper_tail {
            low = middle;
        } else {
            high = middle;
        }
    }
    low * low
}

fn failure(policy: &Node, breaker: Option<&Node>) -> FailureRules {
    let mut empty = Node::Map(Vec::new());
    let node = match breaker.and_then(|breaker| breaker.get("failure")) {
        Some(node) => node,
        None => {
            // Without a breaker outcomes are counted all the same.
            crate::doc::check::fill(&mut empty, &super::table::FAILURE);
            &empty
        }
    };
    let slow = breaker.and_then(|breaker| breaker.get("trip")?.get("slow_rate"));
    FailureRules {
        failures: answers(node, &["statuses", "grpc", "transport"]),
        ignore: answers(node, &["ignore"]),
        slower_than: slow.and_then(|slow| slow.duration("slower_than")),
        count_injected: policy.flag("count_injected") == Some(true),
    }
}

fn answers(node: &Node, keys: &[&str]) -> AnswerSet {
    let mut set = AnswerSet::default();
    for keyword in keys.iter().flat_map(|key| node.texts(key)) {
        forms::insert(&mut set, keyword);
    }
    set
}

/// None where every occasion of it was skipped as unsupported.
fn fallback(node: &Node) -> Option<Fallback> {
    let on = |keyword| node.texts("when").any(|given| given == keyword);
    let on = FallbackOn { rejected: on("rejected"), failed: on("failed") };
    (on != FallbackOn::default()).then(|| Fallback {
        on,
        status: node.integer("status").and_then(|status| u16::try_from(status).ok()),
        headers: node
            .get("headers")
            .map_or(&[][..], Node::as_map)
            .iter()
            .map(|(name, value)| {
                (name.to_ascii_lowercase(), String::from(value.as_text().unwrap_or_default()))
            })
            .collect(),
        body: node.text("body").map(String::from),
    })
}

/// A count, which the table keeps in the range of 32 bits.
fn count(node: &Node, key: &str) -> u32 {
    node.integer(key).and_then(|value| u32::try_from(value).ok()).unwrap_or(1)
}
