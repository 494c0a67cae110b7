//! What each way of going wrong counts as, in a real Envoy: one table, played with one worker and
//! with four.
//!
//! Every row has a route, a cluster and a policy of its own in one Envoy, so all rows are played at
//! once.

mod client;
mod http2;
mod rows;

use crate::rig::{Rig, TEST_DEADLINE, TestResult, Tools};
use crate::upstream::Upstream as Http1;
use bimetal_conformance::envoy::{Config, Log, Upstream};
use client::Play;
use rows::{ROWS, Row};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Longer than this is slow; far more than a busy machine needs for an answer.
const SLOWER_THAN: &str = "3s";
/// A client's patience that is longer than that.
const SLOW: Duration = Duration::from_millis(3_300);

/// Protocol of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Down {
    Http1,
    Http2,
}

/// Who stands behind a row's cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Up {
    Http1,
    Http2,
    /// A server of HTTP/1.1 in a cluster of HTTP/2.
    Confused,
    /// Nobody listens there.
    Refused,
    /// A cluster without a host.
    Empty,
    /// A cluster that takes no request.
    Full,
    /// A cluster that gives up after half a second.
    Limited,
    /// None: the route answers.
    None,
}

/// What the client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    /// Reads the whole answer.
    Stays,
    /// Sends a body that is too long for a filter.
    SendsTooMuch,
    /// Leaves with half its request sent.
    LeavesInRequest,
    /// Sends half its request, and reads the answer.
    HoldsRequest,
    /// Sends the rest of its request later than `slower_than`.
    UploadsLate,
    /// Leaves with half its request sent, later than `slower_than`.
    LeavesLateInRequest,
    /// Speaks gRPC-Web.
    GrpcWeb,
    /// Leaves when the upstream has the request.
    LeavesBeforeAnswer,
    /// The same, later than `slower_than`.
    LeavesLate,
    /// Leaves when the answer's headers are there.
    LeavesAtHeaders,
    /// Leaves when some of the answer's body is there.
    LeavesInAnswer,
    /// Closes its HTTP/2 connection instead of its stream.
    CutsConnection,
    /// Asks for another protocol and speaks it.
    Upgrades,
}

/// What clients and upstreams tell each other beside Envoy.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes(Arc<Mutex<Noted>>);

#[derive(Debug, Default)]
struct Noted {
    tries: BTreeMap<String, u32>,
    seen: BTreeSet<String>,
}

/// The name of a request by its headers.
pub(crate) fn name(header: impl Fn(&str) -> String) -> String {
    format!("{}/{}", header("x-row"), header("x-number"))
}

impl Notes {
    fn locked(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request came to an upstream; how often, with this time.
    pub(crate) fn arrived(&self, name: &str) -> u32 {
        let mut noted = self.locked();
        let tries = noted.tries.entry(name.to_owned()).or_insert(0);
        *tries += 1;
        *tries
    }

    fn tries(&self, name: &str) -> u32 {
        self.locked().tries.get(name).copied().unwrap_or(0)
    }

    /// The client has seen some of the answer.
    fn client_saw(&self, name: &str) {
        self.locked().seen.insert(name.to_owned());
    }

    /// Until the client has seen some of the answer.
    pub(crate) fn wait_for_client(&self, name: &str) {
        while !self.locked().seen.contains(name) && Arc::strong_count(&self.0) > 1 {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    async fn client(&self, name: &str) {
        while !self.locked().seen.contains(name) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

pub(crate) fn the_fault_matrix_with_one_worker(tools: &Tools) -> TestResult {
    play(tools, 1, 1)
}

pub(crate) fn the_fault_matrix_with_four_workers(tools: &Tools) -> TestResult {
    play(tools, 4, 4)
}

/// Plays every row `times` times.
fn play(tools: &Tools, workers: u32, times: usize) -> TestResult {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let http1 = Http1::start()?;
    let http2 = runtime.block_on(http2::start(http1.notes.clone()))?;
    let refused = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let rig = Rig::start(tools, &policy(), |config| {
        config.concurrency = workers;
        config.log = Log::Events;
        filters(config);
        config.more_clusters.push(cluster("authz", Up::Http1, http1.address));
        for row in ROWS {
            config.first_routes.push(row.route());
            let address = match row.up {
                Up::Http2 => http2,
                Up::Refused => refused,
                _ => http1.address,
            };
            config.more_clusters.push(row.cluster(address));
        }
    })?;
    let statuses = runtime.block_on(async {
        let mut plays = tokio::task::JoinSet::new();
        for (index, row) in ROWS.iter().enumerate() {
            for number in 0..times {
                let play = Play {
                    envoy: rig.envoy.address(),
                    path: format!("/{}/{}", row.id(), row.path),
                    row: row.id(),
                    number,
                    down: row.down,
                    client: row.client,
                    notes: http1.notes.clone(),
                };
                plays.spawn(async move { (index, play.run().await) });
            }
        }
        let mut statuses: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        while let Some(played) = plays.join_next().await {
            let (index, status) = played.map_err(|error| error.to_string())?;
            let status = status.map_err(|error| error.to_string())?;
            statuses.entry(index).or_default().push(status.to_string());
        }
        Ok::<_, String>(statuses)
    })?;
    let expected = ROWS.iter().filter(|row| row.counts.is_some()).count() * times;
    rig.outcomes(expected)?;
    let found = outcomes(&rig)?;
    every_worker_took_part(&rig, workers)?;
    let notes = http1.notes.clone();
    let access = rig.finish_and_read_access_log()?;
    let mut wrong = Vec::new();
    let mut table = vec![format!(
        "{:<44} {:<5} {:<8} {:<8} {:<6} flags, details",
        "row", "down", "up", "counts", "status"
    )];
    for (index, row) in ROWS.iter().enumerate() {
        let counted = found.get(&row.id()).cloned().unwrap_or_default();
        let should = vec![row.counts.unwrap_or_default().to_owned(); times];
        let should: Vec<String> = should.into_iter().filter(|word| !word.is_empty()).collect();
        let said = statuses.get(&index).cloned().unwrap_or_default();
        let upstream: Vec<u32> =
            (0..times).map(|number| notes.tries(&format!("{}/{number}", row.id()))).collect();
        let seen = access.get(&row.id()).cloned().unwrap_or_default();
        let seen: Vec<String> = seen.into_iter().collect();
        table.push(format!(
            "{:<44} {:<5} {:<8} {:<8} {:<6} {}",
            row.name,
            format!("{:?}", row.down).to_lowercase(),
            format!("{:?}", row.up).to_lowercase(),
            row.counts.unwrap_or("nothing"),
            row.status,
            seen.join("; ")
        ));
        if counted != should {
            wrong.push(format!("{}: counted {counted:?}, not {should:?}; {seen:?}", row.name));
        }
        if said.iter().any(|status| *status != row.status.to_string()) {
            wrong.push(format!("{}: status {said:?}, not {}; {seen:?}", row.name, row.status));
        }
        if row.tries.is_some_and(|tries| upstream.iter().any(|times| *times != tries)) {
            wrong.push(format!("{}: tries {upstream:?}, not {:?}", row.name, row.tries));
        }
    }
    println!("fault matrix, {workers} worker(s), each row {times} time(s):\n{}", table.join("\n"));
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

/// The kernel spreads the clients' connections; a run that one worker served alone shows nothing of
/// the others.
fn every_worker_took_part(rig: &Rig, workers: u32) -> TestResult {
    let stats = rig.envoy.get("/stats?filter=worker_.*downstream_cx_total")?;
    let busy = stats.lines().filter(|line| line.starts_with("listener.127"));
    let busy = busy.filter(|line| !line.ends_with(": 0")).count();
    if busy == workers as usize {
        return Ok(());
    }
    Err(format!("{busy} of {workers} workers took part:\n{stats}").into())
}

/// What was settled, by row, in order.
fn outcomes(rig: &Rig) -> std::io::Result<BTreeMap<String, Vec<String>>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in rig.envoy.events()? {
        let event: Value = serde_json::from_str(&line)?;
        let word = |key: &str| event.get(key).and_then(Value::as_str).map(str::to_owned);
        if let Some((row, outcome)) = word("policy").zip(word("outcome")) {
            found.entry(row).or_default().push(outcome);
        }
    }
    Ok(found)
}

/// A policy a row, alike but for its name.
fn policy() -> String {
    let trip = json!({"consecutive_failures": 1000, "slow_rate": {"threshold": 1,
        "slower_than": SLOWER_THAN, "window": {"calls": 1000}, "minimum_calls": 1000}});
    let policy = |row: &Row| {
        json!({"name": row.id(), "scope": "policy", "match": {"headers": {"x-row": row.id()}},
            "breaker": {"trip": trip}})
    };
    json!({"version": "v1", "policies": ROWS.iter().map(policy).collect::<Vec<_>>()}).to_string()
}

const FILTERS: &str = "type.googleapis.com/envoy.extensions.filters.http";

/// Filters that do nothing but where a route asks them to.
fn filters(config: &mut Config) {
    let fault = json!({"@type": format!("{FILTERS}.fault.v3.HTTPFault")});
    let denied = json!({"@type": format!("{FILTERS}.rbac.v3.RBAC")});
    let buffer = json!({"@type": format!("{FILTERS}.buffer.v3.Buffer"), "max_request_bytes": 10});
    let web = json!({"@type": format!("{FILTERS}.grpc_web.v3.GrpcWeb")});
    // A service that answers 403 over HTTP: Envoy copies its answer and the router's marks on it.
    let service = json!({"server_uri": {"uri": "http://authz", "cluster": "authz", "timeout": "5s"},
        "path_prefix": "/status/403"});
    let asked =
        json!({"@type": format!("{FILTERS}.ext_authz.v3.ExtAuthz"), "http_service": service});
    for (name, typed) in [
        ("fault-before", &fault),
        ("buffer-before", &buffer),
        ("asked-before", &asked),
        ("web-before", &web),
    ] {
        config.first_filters.push(json!({"name": name, "typed_config": typed, "disabled": true}));
    }
    for (name, typed) in [
        ("fault-after", fault),
        ("denied-after", denied),
        ("buffer-after", buffer),
        ("web-after", web),
        ("asked-after", asked),
    ] {
        config.more_filters.push(json!({"name": name, "typed_config": typed, "disabled": true}));
    }
}

impl Row {
    /// The name, as it can stand in a path.
    fn id(&self) -> String {
        self.name.replace(|unit: char| !unit.is_ascii_alphanumeric(), "-")
    }

    fn route(&self) -> Value {
        let name = self.id();
        let (action, filters) = (self.action)();
        let mut route = json!({"name": name, "match": {"prefix": format!("/{name}/")},
            "typed_per_filter_config": filters});
        let direct = action.get("direct_response").is_some() || action.get("redirect").is_some();
        let mut inner = json!({"timeout": "0s", "prefix_rewrite": "/"});
        if let (Some(inner), Some(more)) = (inner.as_object_mut(), action.as_object()) {
            if !more.contains_key("cluster_header") {
                inner.insert("cluster".to_owned(), json!(name));
            }
            inner.extend(more.clone());
        }
        if let Some(route) = route.as_object_mut() {
            if direct {
                route.extend(action.as_object().cloned().unwrap_or_default())
            } else {
                drop(route.insert("route".to_owned(), inner))
            }
        }
        route
    }

    fn cluster(&self, upstream: SocketAddr) -> Value {
        cluster(&self.id(), self.up, upstream)
    }
}

fn cluster(name: &str, up: Up, upstream: SocketAddr) -> Value {
    let version = match up {
        Up::Http2 | Up::Confused => Upstream::Http2,
        _ => Upstream::Http1,
    };
    let version = match version {
        Upstream::Http1 => json!({"http_protocol_options": {"enable_trailers": true}}),
        Upstream::Http2 => json!({"http2_protocol_options": {}}),
    };
    let kind = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    let mut options = json!({"@type": format!("type.googleapis.com/{kind}"),
            "explicit_http_config": version});
    if up == Up::Limited {
        options["common_http_protocol_options"] = json!({"max_stream_duration": "0.5s"});
    }
    let (ip, port) = (upstream.ip().to_string(), upstream.port());
    let host = json!({"endpoint": {"address":
            {"socket_address": {"address": ip, "port_value": port}}}});
    let hosts = if up == Up::Empty { json!([]) } else { json!([host]) };
    let most = if up == Up::Full { 0 } else { 1000 };
    json!({"name": name, "type": "STATIC", "connect_timeout": "5s",
            "typed_extension_protocol_options": {kind: options},
            "circuit_breakers": {"thresholds": [{"max_requests": most,
                "max_pending_requests": most, "max_connections": 1000, "max_retries": 1000}]},
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}]}})
}
