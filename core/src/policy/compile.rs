//! From a complete, checked document to what the engine decides by.

use super::board::BoardPolicy;
use super::breaker::{BreakerPolicy, HalfOpen, Open, RateCondition, Trip, WindowSize};
use super::fallback::{Fallback, FallbackOn, FallbackUpstream, StalePolicy};
use super::forms::Answer;
use super::matching::{Match, PathMatch};
use super::rules::complete;
use super::table::anomaly;
use super::table::bandwidth;
use super::table::board;
use super::table::breaker::{self, half_open, open, recovery};
use super::table::concurrency::{self, adaptive, queue};
use super::table::connections;
use super::table::deadline::{self, Carrier};
use super::table::fallback::{self, Occasion, stale};
use super::table::timeout::RequestTime;
use super::table::trip::{self, rate, window};
use super::table::{self, BREAKER, DOCUMENT, POLICY, failure, matching, scopes, timeout, warnings};
use super::types::{
    BandwidthPolicy, ConcurrencyPolicy, Document, Host, Policy, Scopes, Share, StateHashes,
    Timeouts, WarningsPolicy,
};
use super::{read_limits, read_retry};
use crate::anomaly::{AnomalyPolicy, Signal};
use crate::concurrency::adaptive::AdaptivePolicy;
use crate::concurrency::queue::QueuePolicy;
use crate::connections::ConnectionsPolicy;
use crate::deadline::DeadlinePolicy;
use crate::doc::{Check, Key, Node, Path, Problems, Unread};
use crate::hash::Hash;
use crate::outcome::{AnswerSet, FailureRules};
use crate::retry::RetriedMethods;
use alloc::string::ToString;
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
        // What is no word for it is refused with all else that is wrong.
        let unsupported = table::UNSUPPORTED.find(&tree).unwrap_or_default();
        let mut check = Check::new(host, unsupported);
        check.set_board(host == Host::Native && table::BOARD.node(&tree).is_some());
        check.object(&Path::ROOT, &mut tree, &DOCUMENT);
        complete(&mut tree, &mut check.problems);
        if !check.problems.is_empty() {
            return Err(check.problems);
        }
        let mut policies = Vec::new();
        for (index, node) in table::POLICIES.parts(&tree).iter().enumerate() {
            match policy(node, host) {
                Ok(policy) => policies.push(Arc::new(policy)),
                Err(unread) => {
                    let all = Path::ROOT.key(table::POLICIES.name());
                    unread.tell(&all.index(index), &mut check.problems);
                    return Err(check.problems);
                }
            }
        }
        let board = table::BOARD.node(&tree).map(read_board).transpose().map_err(|unread| {
            unread.tell(&Path::ROOT.key(table::BOARD.name()), &mut check.problems);
            check.problems
        })?;
        let hash = policies.iter().fold(Hash::default(), |hash, policy| hash.number(policy.hash));
        let skipped = check.skipped.iter().map(ToString::to_string).collect();
        Ok(Self { policies, skipped, hash: hash.finish(), board })
    }
}

fn read_board(node: &Node) -> Result<BoardPolicy, Unread> {
    Ok(BoardPolicy {
        redis: board::REDIS.given(node)?.map(Arc::from),
        prefix: Arc::from(board::PREFIX.read(node)?),
        interval: board::INTERVAL.read(node)?,
        replica: board::REPLICA.given(node)?.map(Arc::from),
    })
}

fn policy(node: &Node, host: Host) -> Result<Policy, Unread> {
    let name = table::NAME.text(node).ok_or(table::NAME.unread())?;
    let scope = table::SCOPE.text(node).ok_or(table::SCOPE.unread())?;
    let breaker = table::BREAKER_KEY.node(node);
    // The profile's name says nothing that its leaves, merged by now, do not say.
    let mut meaning = breaker.cloned().unwrap_or(Node::Null);
    meaning.remove(breaker::PROFILE.name());
    // How outcomes are classified is no part of the state: each judges by its own.
    let mut state_meaning = meaning.clone();
    state_meaning.remove(breaker::FAILURE_KEY.name());
    let scopes_hash = Hash::default()
        .bytes(name.as_bytes())
        // Names of headers are the same in any case.
        .bytes(scope.to_ascii_lowercase().as_bytes())
        .object(table::SCOPES.part(node)?, &scopes::SCOPES);
    let mut whole = node.clone();
    if breaker.is_some() {
        whole.set(table::BREAKER_KEY.name(), meaning.clone());
    }
    Ok(Policy {
        name: Arc::from(name),
        matcher: Match::read(table::MATCH.part(node)?)?,
        scope: table::SCOPE.read(node)?,
        scopes: read_scopes(table::SCOPES.part(node)?)?,
        mode: table::MODE.read(node)?,
        evidence: table::EVIDENCE.read(node)?,
        breaker: breaker.map(read_breaker).transpose()?.map(Arc::new),
        deadline: table::DEADLINE.node(node).map(read_deadline).transpose()?,
        connections: match table::CONNECTIONS.node(node) {
            Some(node) => Some(read_connections(node, name)?),
            None => None,
        },
        bandwidth: table::BANDWIDTH.node(node).map(read_bandwidth).transpose()?,
        rate_limits: read_limits::read(node, name)?,
        concurrency: match table::CONCURRENCY.node(node) {
            Some(limit) => Some(read_concurrency(limit, host)?),
            None => None,
        },
        failure: Arc::new(read_failure(node, breaker)?),
        timeout: table::TIMEOUT.node(node).map(read_timeouts).transpose()?.unwrap_or_default(),
        retry: table::RETRY.node(node).map(read_retry::read).transpose()?.map(Arc::new),
        fallback: match table::FALLBACK.node(node) {
            Some(fallback) => read_fallback(fallback, table::RETRY.node(node))?,
            None => None,
        },
        warnings: table::WARNINGS.node(node).map(read_warnings).transpose()?,
        anomaly: table::ANOMALY.node(node).map(read_anomaly).transpose()?,
        debug_headers: table::DEBUG_HEADERS.read(node)?,
        hashes: StateHashes {
            scopes: scopes_hash.finish(),
            breaker: scopes_hash.object(&state_meaning, &BREAKER).finish(),
        },
        hash: Hash::default().object(&whole, &POLICY).finish(),
    })
}

impl Match {
    /// Reads the fields of [`table::matching`] from a part that was checked and completed: a
    /// policy's `match`, or whatever else lists them.
    ///
    /// # Errors
    /// A field is not there: the part is not what its table says.
    pub fn read(node: &Node) -> Result<Self, Unread> {
        let path = match (matching::PATH.given(node)?, matching::PATH_PREFIX.given(node)?) {
            (Some(path), _) => PathMatch::exact(&path),
            (None, Some(prefix)) => PathMatch::prefix(&prefix),
            (None, None) => PathMatch::Any,
        };
        let methods = matching::METHODS.given(node)?.unwrap_or_default();
        let headers = matching::HEADERS.given(node)?.map(|headers| headers.0);
        let headers = headers.unwrap_or_default().into_iter();
        Ok(Self {
            hosts: matching::HOSTS.given(node)?.unwrap_or_default(),
            path,
            methods: methods.into_iter().map(|method| method.into_bytes().into()).collect(),
            headers: headers.map(|(name, value)| (name.to_ascii_lowercase(), value)).collect(),
            direction: matching::DIRECTION.read(node)?,
        })
    }
}

fn read_connections(node: &Node, policy: &str) -> Result<ConnectionsPolicy, Unread> {
    Ok(ConnectionsPolicy {
        per_client: connections::PER_CLIENT.read(node)?,
        allow: connections::ALLOW.read(node)?,
        status: connections::STATUS.read(node)?,
        // A changed limit holds at once, for the connections that are there already.
        hash: Hash::default().bytes(policy.as_bytes()).bytes(b"connections").finish(),
    })
}

fn read_bandwidth(node: &Node) -> Result<BandwidthPolicy, Unread> {
    Ok(BandwidthPolicy {
        per_connection: bandwidth::PER_CONNECTION.read(node)?,
        after: bandwidth::AFTER.read(node)?.0,
    })
}

fn read_deadline(node: &Node) -> Result<DeadlinePolicy, Unread> {
    let accept = deadline::ACCEPT.read(node)?;
    Ok(DeadlinePolicy {
        accepts_grpc_timeout: accept.contains(&Carrier::GrpcTimeout),
        accepts_deadline_ms: accept.contains(&Carrier::DeadlineMs),
        margin: deadline::MARGIN.read(node)?,
        forwards: deadline::FORWARD.read(node)?,
    })
}

fn read_warnings(node: &Node) -> Result<WarningsPolicy, Unread> {
    Ok(WarningsPolicy {
        calls_per_trace: warnings::CALLS_PER_TRACE.read(node)?,
        db_transaction_header: warnings::DB_TRANSACTION_HEADER.read(node)?.to_ascii_lowercase(),
    })
}

fn read_anomaly(node: &Node) -> Result<AnomalyPolicy, Unread> {
    // Once each, in one order: how they are listed means nothing.
    let listed = anomaly::SIGNALS.read(node)?;
    let signals = Signal::ALL.into_iter().filter(|signal| listed.contains(signal)).collect();
    Ok(AnomalyPolicy {
        signals,
        detector: anomaly::DETECTOR.read(node)?,
        window: anomaly::WINDOW.read(node)?,
        threshold: anomaly::THRESHOLD.read(node)?,
        interval: anomaly::INTERVAL.read(node)?,
        minimum_calls: anomaly::MINIMUM_CALLS.read(node)?,
    })
}

fn read_scopes(node: &Node) -> Result<Scopes, Unread> {
    Ok(Scopes { max: scopes::MAX.read(node)?, when_full: scopes::WHEN_FULL.read(node)? })
}

fn read_timeouts(node: &Node) -> Result<Timeouts, Unread> {
    let request = timeout::REQUEST.given(node)?;
    Ok(Timeouts {
        request: request.map(RequestTime::longest),
        auto: match request {
            Some(RequestTime::Auto(auto)) => Some(auto),
            _ => None,
        },
        connect: timeout::CONNECT.given(node)?,
        per_try: timeout::PER_TRY.given(node)?,
        idle: timeout::IDLE.given(node)?,
    })
}

fn read_concurrency(node: &Node, host: Host) -> Result<ConcurrencyPolicy, Unread> {
    let adaptive = concurrency::ADAPTIVE.node(node).map(read_adaptive).transpose()?;
    Ok(ConcurrencyPolicy {
        max: match &adaptive {
            Some(adaptive) => adaptive.max,
            None => concurrency::MAX.read(node)?,
        },
        share: match host {
            // Its window would be a write to shared data for each call: docs/host-limits.md.
            Host::Wasm if adaptive.is_some() => Share::None,
            Host::Wasm | Host::Native => concurrency::SHARE.read(node)?,
        },
        adaptive,
        queue: concurrency::QUEUE.node(node).map(read_queue).transpose()?,
    })
}

fn read_adaptive(node: &Node) -> Result<AdaptivePolicy, Unread> {
    Ok(AdaptivePolicy {
        min: adaptive::MIN.read(node)?,
        max: adaptive::MAX.read(node)?,
        algorithm: adaptive::ALGORITHM.read(node)?,
    })
}

fn read_queue(node: &Node) -> Result<QueuePolicy, Unread> {
    Ok(QueuePolicy { max: queue::MAX.read(node)?, max_wait: queue::MAX_WAIT.read(node)? })
}

fn read_breaker(node: &Node) -> Result<BreakerPolicy, Unread> {
    let trip = breaker::TRIP.part(node)?;
    let open = breaker::OPEN.part(node)?;
    let half_open = breaker::HALF_OPEN.part(node)?;
    Ok(BreakerPolicy {
        trip: Trip {
            consecutive_failures: trip::CONSECUTIVE_FAILURES.given(trip)?,
            failure_rate: trip::FAILURE_RATE.node(trip).map(read_rate).transpose()?,
            slow_rate: trip::SLOW_RATE.node(trip).map(read_rate).transpose()?,
        },
        open: Open {
            base: open::BASE.read(open)?,
            multiplier: open::MULTIPLIER.read(open)?,
            growth: open::GROWTH.read(open)?,
            max: open::MAX.read(open)?,
            jitter: open::JITTER.read(open)?,
        },
        half_open: HalfOpen {
            max_probes: half_open::MAX_PROBES.read(half_open)?,
            required_successes: half_open::REQUIRED_SUCCESSES.read(half_open)?,
            judge: half_open::JUDGE.read(half_open)?,
            lease: half_open::LEASE.read(half_open)?,
        },
        ramp: recovery::RAMP.read(breaker::RECOVERY.part(node)?)?,
        respect_retry_after: breaker::RESPECT_RETRY_AFTER.read(node)?,
        share: match breaker::SHARE.read(node)? {
            Share::Mesh { .. } => Share::Mesh { quorum: breaker::QUORUM.read(node)? },
            nearer => nearer,
        },
    })
}

fn read_rate(node: &Node) -> Result<RateCondition, Unread> {
    let window = rate::WINDOW.part(node)?;
    Ok(RateCondition {
        threshold: rate::THRESHOLD.read(node)?,
        window: match window::TIME.given(window)? {
            Some(time) => WindowSize::Time(time),
            None => WindowSize::Calls(window::CALLS.read(window)?),
        },
        minimum_calls: rate::MINIMUM_CALLS.read(node)?,
        z_squared: rate::CONFIDENCE.given(node)?.map_or(0.0, z_squared),
    })
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

fn read_failure(policy: &Node, breaker: Option<&Node>) -> Result<FailureRules, Unread> {
    let mut empty = Node::Map(Vec::new());
    let node = match breaker {
        Some(breaker) => breaker::FAILURE_KEY.part(breaker)?,
        None => {
            // Without a breaker outcomes are counted all the same.
            crate::doc::check::fill(&mut empty, &table::FAILURE);
            &empty
        }
    };
    let trip = breaker.and_then(|breaker| breaker::TRIP.node(breaker));
    let slow = trip.and_then(|trip| trip::SLOW_RATE.node(trip));
    let limit = table::CONCURRENCY.node(policy);
    let request = table::TIMEOUT.node(policy).and_then(|times| timeout::REQUEST.find(times));
    let watched = table::ANOMALY.node(policy).and_then(|watched| anomaly::SIGNALS.find(watched));
    Ok(FailureRules {
        failures: answers(node, &[failure::STATUSES, failure::GRPC, failure::TRANSPORT])?,
        ignore: answers(node, &[failure::IGNORE])?,
        slower_than: slow.map(|slow| rate::SLOWER_THAN.read(slow)).transpose()?,
        count_injected: table::COUNT_INJECTED.given(policy)?.unwrap_or_default(),
        wants_latency: limit.is_some_and(|limit| concurrency::ADAPTIVE.node(limit).is_some())
            || matches!(request, Some(RequestTime::Auto(_)))
            || watched.is_some_and(|signals| signals.contains(&Signal::Latency)),
    })
}

impl FailureRules {
    /// The rules of a policy that says nothing of failures, for calls that no policy judges.
    pub fn usual() -> Self {
        // It cannot fail: the defaults of the table can be read.
        read_failure(&Node::Map(Vec::new()), None).unwrap_or_default()
    }
}

fn answers(node: &Node, keys: &[Key<Vec<Answer>>]) -> Result<AnswerSet, Unread> {
    let mut set = AnswerSet::default();
    for key in keys {
        key.read(node)?.into_iter().for_each(|answer| answer.insert(&mut set));
    }
    Ok(set)
}

/// None where every occasion of it was skipped as unsupported.
fn read_fallback(node: &Node, retry: Option<&Node>) -> Result<Option<Fallback>, Unread> {
    let when = fallback::WHEN.read(node)?;
    if when.is_empty() {
        return Ok(None);
    }
    let headers = fallback::HEADERS.read(node)?.0.into_iter();
    Ok(Some(Fallback {
        on: FallbackOn {
            rejected: when.contains(&Occasion::Rejected),
            failed: when.contains(&Occasion::Failed),
        },
        status: fallback::STATUS.given(node)?,
        headers: headers.map(|(name, value)| (name.to_ascii_lowercase(), value)).collect(),
        body: fallback::BODY.given(node)?,
        upstream: match fallback::UPSTREAM.given(node)? {
            Some(name) => Some(FallbackUpstream {
                name: Arc::from(name),
                methods: match fallback::METHODS.given(node)? {
                    Some(listed) => read_retry::methods(listed),
                    None => RetriedMethods::idempotent(),
                },
                buffer: read_retry::buffer(retry)?,
            }),
            None => None,
        },
        stale: match fallback::STALE.node(node) {
            Some(node) => Some(StalePolicy {
                max_age: stale::MAX_AGE.read(node)?,
                max_bytes: stale::MAX_BYTES.read(node)?.0,
                max_total: stale::MAX_TOTAL.read(node)?.0,
                max_entries: stale::MAX_ENTRIES.read(node)?,
            }),
            None => None,
        },
    }))
}
