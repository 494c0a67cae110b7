//! Under load: documents that change, and faults by the thousand in bounded memory.

use super::discovered::{Discovered, static_cluster};
use crate::rig::{Rig, TEST_DEADLINE, TestResult, Tools, policy, same};
use bimetal_conformance::envoy::{Config, Log, Update};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

/// Documents that a run puts in force.
const UPDATES: u32 = 24;

/// How Envoy is given another document.
type Give<'a> = dyn FnMut(&mut Rig, &str) -> std::io::Result<Update> + 'a;

pub(super) fn updates_under_load_with_one_worker(tools: &Tools) -> TestResult {
    updates(tools, 1, |_| {}, &mut Rig::update)
}

pub(super) fn updates_under_load_with_four_workers(tools: &Tools) -> TestResult {
    updates(tools, 4, |_| {}, &mut Rig::update)
}

/// As Istio gives a plugin's configuration: the filter is found by discovery, and the listener stays.
pub(super) fn updates_by_filter_discovery_under_load(tools: &Tools) -> TestResult {
    let discovered = Discovered::new(&tools.filter)?;
    discovered.write(&document(0, 4))?;
    let stands_in = |config: &mut Config| {
        config.filters.clear();
        config.first_filters.push(discovered.filter());
    };
    updates(tools, 4, stands_in, &mut |rig, document| discovered.update(&rig.envoy, document))
}

/// As a canary begins: the shares of two clusters behind one route change while calls come.
pub(super) fn weights_of_clusters_that_change_under_load(tools: &Tools) -> TestResult {
    let weigh = |config: &mut Config, canary: u32| {
        let weight = |name: &str, weight: u32| json!({"name": name, "weight": weight});
        config.route = json!({"cluster": null, "timeout": "0s", "weighted_clusters":
            {"clusters": [weight("echo", 100 - canary), weight("canary", canary)]}});
    };
    let started = |config: &mut Config| {
        let upstream = config.upstream;
        config.more_clusters.push(static_cluster("canary", upstream));
        weigh(config, 0);
    };
    let mut share = 0;
    updates(tools, 4, started, &mut |rig, document| {
        share = (share + 4) % 100;
        weigh(&mut rig.config, share);
        rig.update(document)
    })
}

/// Three policies: of the first only what is not its breaker changes, the second one's breaker
/// changes each time, the third is open and stays so. One worker has nobody to share with: then no
/// board can give back what an update lost.
fn document(number: u32, workers: u32) -> String {
    let share = if workers == 1 { "none" } else { "process" };
    let breaker = |base: String| {
        json!({"trip": {"consecutive_failures": 3}, "open": {"base": base, "multiplier": 1,
            "jitter": 0}, "share": share})
    };
    let one = |name: &str, path: &str, base: String, more: Value| {
        json!({"name": name, "match": {"path_prefix": path}, "scope": "policy",
            "breaker": breaker(base), "debug_headers": more})
    };
    let wrong = if number % 6 == 5 { "0s" } else { "1h" };
    let policies = json!([
        one("kept", "/status", "1h".to_owned(), json!(number.is_multiple_of(2))),
        one("changed", "/slow", format!("{}s", 10 + number), json!(false)),
        one("open", "/flaky", wrong.to_owned(), json!(number % 2 == 1)),
    ]);
    json!({"version": "v1", "policies": policies}).to_string()
}

fn updates(
    tools: &Tools,
    workers: u32,
    change: impl FnOnce(&mut Config),
    give: &mut Give<'_>,
) -> TestResult {
    let mut rig = Rig::start(tools, &document(0, workers), |config| {
        config.concurrency = workers;
        config.log = Log::Quiet;
        change(config);
    })?;
    super::trip(&rig)?;
    rig.until("open breaker", || {
        rig.get("/flaky")?;
        let open = &["policy=\"open\"", "state=\"open\""];
        Ok((rig.envoy.metric("bimetal_breaker_replicas", open)? >= 1.0).then_some(()))
    })?;
    let before = rig.envoy.metric("bimetal_requests_total", &["policy=\"open\""])?;
    let address = rig.envoy.address();
    let stop = AtomicBool::new(false);
    let rejected = AtomicU64::new(0);
    let counts: Vec<_> = [("/status/200", 4), ("/slow/20", 2), ("/flaky", 1)]
        .into_iter()
        .flat_map(|(path, clients)| std::iter::repeat_n(path, clients))
        .collect();
    let mut kept = 0;
    let mut changed = 0;
    thread::scope(|scope| -> TestResult {
        let mut clients = Vec::new();
        for path in counts {
            let (stop, rejected) = (&stop, &rejected);
            clients.push((path, scope.spawn(move || visit(address, path, stop, rejected))));
        }
        let verdicts = (1..=UPDATES).map(|number| {
            let verdict = give(&mut rig, &document(number, workers))?;
            let expected = if number % 6 == 5 { Update::Refused } else { Update::Accepted };
            same((number, verdict), (number, expected))
        });
        let verdicts: TestResult = verdicts.collect();
        stop.store(true, Ordering::SeqCst);
        for (path, client) in clients {
            let answers = client.join().map_err(|_| "a client panicked")??;
            match path {
                "/status/200" => kept += answers,
                "/slow/20" => changed += answers,
                _ => {}
            }
        }
        verdicts
    })?;
    // Every answer that a client got was decided, and no other request was.
    for (name, answers) in [("kept", kept), ("changed", changed)] {
        let label = format!("policy=\"{name}\"");
        rig.until("decision for every answer", || {
            let found = rig.envoy.metric("bimetal_requests_total", &[&label])?;
            Ok((found == f64::from(answers)).then_some(()))
        })?;
    }
    rig.until("decision for every rejection", || {
        let found = rig.envoy.metric("bimetal_requests_total", &["policy=\"open\""])?;
        Ok((found - before == rejected.load(Ordering::SeqCst) as f64).then_some(()))
    })?;
    println!(
        "{workers} worker(s), {UPDATES} updates: {kept} answers under a kept breaker, {changed} \
         under one that changed, {} rejections by one that is open",
        rejected.load(Ordering::SeqCst)
    );
    rig.finish()
}

/// One client: asks again and again, and accepts nothing but the right answer. How often it got
/// one.
fn visit(
    address: SocketAddr,
    path: &str,
    stop: &AtomicBool,
    rejected: &AtomicU64,
) -> Result<u32, String> {
    let mut answers = 0;
    let mut line = Line::new(address);
    while !stop.load(Ordering::SeqCst) {
        let head = line.ask(path).map_err(|error| format!("{path}: lost a call: {error}"))?;
        match (path, head.starts_with("HTTP/1.1 200 ")) {
            ("/flaky", _) if head.contains("x-bimetal-rule: open/breaker") => {
                rejected.fetch_add(1, Ordering::SeqCst);
            }
            ("/flaky", _) => return Err(format!("the update closed the breaker: {head}")),
            (_, true) => {}
            (_, false) => return Err(format!("{path}: {head}")),
        }
        answers += 1;
        // A connection stays with the filters that it began with; a new one gets the new ones.
        if path == "/flaky" || answers % 7 == 0 {
            line.stream = None;
        }
    }
    Ok(answers)
}

/// A connection that is opened again when the other side ends it.
pub(super) struct Line {
    address: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
}

impl Line {
    pub(super) const fn new(address: SocketAddr) -> Self {
        Self { address, stream: None }
    }

    /// Sends a request.
    fn send(&mut self, path: &str) -> std::io::Result<&mut BufReader<TcpStream>> {
        let stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(self.address)?;
                stream.set_read_timeout(Some(TEST_DEADLINE))?;
                stream.set_nodelay(true)?;
                BufReader::new(stream)
            }
        };
        write!(stream.get_ref(), "GET {path} HTTP/1.1\r\nhost: echo\r\n\r\n")?;
        Ok(self.stream.insert(stream))
    }

    /// Sends a request and leaves.
    fn leave(&mut self, path: &str) -> std::io::Result<()> {
        self.send(path)?;
        self.stream = None;
        Ok(())
    }

    /// Sends a request and reads the whole answer; its head.
    pub(super) fn ask(&mut self, path: &str) -> std::io::Result<String> {
        let stream = self.send(path)?;
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head)? == 0 {
                return Err(std::io::Error::other(format!("no answer but {head:?}")));
            }
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.and_then(|length| length.parse().ok()).unwrap_or(0);
        let chunked = head.contains("transfer-encoding: chunked");
        let whole = if chunked {
            chunks(stream)
        } else if path == "/half" {
            // Of this one there is only half, and Envoy keeps the connection for another second.
            stream.read_exact(&mut [0; 4])
        } else {
            stream.read_exact(&mut vec![0; length])
        };
        // An answer that breaks off is an answer too.
        if whole.is_err() || path == "/half" || head.contains("connection: close") {
            self.stream = None;
        }
        Ok(head)
    }
}

/// Reads a body in chunks, without trailers, to its end.
fn chunks(stream: &mut impl BufRead) -> std::io::Result<()> {
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let size = usize::from_str_radix(line.trim(), 16).map_err(std::io::Error::other)?;
        stream.read_exact(&mut vec![0; size + 2])?;
        if size == 0 {
            return Ok(());
        }
    }
}

/// Requests of the short soak, and the part of them before memory is read first.
const REQUESTS: u64 = 20_000;
const WARM: u64 = 6_000;
/// Clients that send them.
const CLIENTS: u64 = 8;
/// What Envoy may grow by between the two reads, in KiB.
const GROWTH: u64 = 2 * 1024;

/// Ways of going, each with its share in percent.
const WAYS: [(&str, u64); 12] = [
    ("/status/200", 68),
    ("/status/404", 6),
    ("/grpc-trailers/0", 6),
    ("/grpc-trailers/14", 2),
    ("/grpc/14", 2),
    ("/status/500", 3),
    ("/retry-after/0", 2),
    ("/close", 2),
    ("/reset", 2),
    ("/half", 2),
    ("/garbage", 2),
    ("leave", 3),
];

pub(super) fn twenty_thousand_requests_with_faults_in_bounded_memory(tools: &Tools) -> TestResult {
    let quick = json!({"breaker": {"trip": {"consecutive_failures": 4},
        "open": {"base": "50ms"}}});
    let rig = Rig::start(tools, &policy("50ms", quick), |config| {
        config.concurrency = 4;
        config.log = Log::Quiet;
    })?;
    let address = rig.envoy.address();
    let send = |from: u64, to: u64| -> TestResult {
        thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|client| {
                    let numbers = (from..to).filter(move |number| number % CLIENTS == client);
                    scope.spawn(move || wander(address, numbers))
                })
                .collect();
            for client in clients {
                client.join().map_err(|_| "a client panicked")??;
            }
            Ok(())
        })
    };
    send(0, WARM)?;
    let before = memory(rig.envoy.id())?;
    send(WARM, REQUESTS)?;
    rig.until("decision for every request", || {
        let decided = rig.envoy.metric("bimetal_requests_total", &[])?;
        Ok((decided == REQUESTS as f64).then_some(()))
    })?;
    let after = memory(rig.envoy.id())?;
    let outcome =
        |name: &str| rig.envoy.metric("bimetal_outcomes_total", &[&format!("outcome=\"{name}\"")]);
    let (good, failed, neutral) = (outcome("success")?, outcome("failure")?, outcome("neutral")?);
    let rejected = rig.envoy.metric("bimetal_requests_total", &["decision=\"breaker\""])?;
    let trips = rig.envoy.metric("bimetal_breaker_transitions_total", &["to=\"open\""])?;
    println!(
        "{REQUESTS} requests: {good} successes, {failed} failures, {neutral} neutral, {rejected} \
         rejected, {trips} trips; Envoy had {before} KiB after {WARM} and {after} KiB at the end"
    );
    // The run would prove little if one of these never happened.
    for (what, number) in
        [("success", good), ("failure", failed), ("neutral", neutral), ("rejection", rejected)]
    {
        same((what, number > 0.0), (what, true))?;
    }
    same(after.saturating_sub(before) <= GROWTH, true)?;
    rig.envoy.get("/ready")?;
    rig.finish()
}

/// Sends requests, each of another kind.
fn wander(address: SocketAddr, numbers: impl Iterator<Item = u64>) -> Result<(), String> {
    let mut line = Line::new(address);
    for number in numbers {
        let mut place = mixed(number) % 100;
        let way = WAYS.iter().find(|(_, share)| {
            let here = place < *share;
            place = place.saturating_sub(*share);
            here
        });
        let (way, _) = way.ok_or("the shares are not 100 percent")?;
        if *way == "leave" {
            line.leave("/hang").map_err(|error| error.to_string())?;
            continue;
        }
        line.ask(way).map_err(|error| format!("{way}: {error}"))?;
    }
    Ok(())
}

/// A number that looks like chance and is the same in every run (SplitMix64's finalizer, Steele and
/// others 2014).
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Memory of a process that is in use, in KiB.
fn memory(process: u32) -> Result<u64, Box<dyn std::error::Error>> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    Ok(line.ok_or("no VmRSS")?.trim().trim_end_matches(" kB").parse()?)
}
