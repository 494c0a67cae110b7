//! Limits that four workers have together, by leases.

use super::load::Line;
use crate::rig::{Rig, TestResult, Tools, policy, same};
use bimetal_conformance::envoy::Log;
use serde_json::json;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const WORKERS: u32 = 4;

/// Tokens a second, and in the bucket.
const RATE: u32 = 1_000;

/// Tokens that a worker leases at most: what flows in within 20 ms.
const BATCH: u32 = RATE / 50;

/// Calls a second that are offered.
const OFFERED: u32 = 2 * RATE;

/// Clients with a connection each; the kernel spreads them over the workers.
const CLIENTS: u32 = 16;

const RUN: Duration = Duration::from_secs(5);

/// One answer: when it was there, and whether the call was admitted.
type Answer = (Instant, bool);

/// Twice as many calls as a limit allows, from clients on all workers. What is admitted is judged by the
/// time that it took, however long that was: no more than the limit allows by the end and what can lie in
/// leases; and up to the last rejection no less than that, for then nothing was left but what lay in leases.
pub(super) fn four_workers_have_one_rate_limit(tools: &Tools) -> TestResult {
    let limit = json!({"rate": format!("{RATE}/s"), "capacity": RATE, "key": ["policy"]});
    let more = json!({"rate_limits": [limit]});
    let rig = Rig::start(tools, &policy("30s", more), |config| {
        config.concurrency = WORKERS;
        config.log = Log::Quiet;
        // No upstream is what a run measures.
        config
            .first_routes
            .push(json!({"match": {"prefix": "/"}, "direct_response": {"status": 200}}));
    })?;
    let address = rig.envoy.address();
    let begun = Instant::now();
    let mut answers: Vec<Answer> = std::thread::scope(|scope| {
        let clients = (0..CLIENTS).map(|_| scope.spawn(move || offer(address, begun)));
        let clients: Vec<_> = clients.collect();
        let join = |client: std::thread::ScopedJoinHandle<'_, std::io::Result<Vec<Answer>>>| {
            client
                .join()
                .unwrap_or_else(|_| Err(std::io::Error::other("a client ended by a panic")))
        };
        clients.into_iter().map(join).collect::<std::io::Result<Vec<_>>>()
    })?
    .concat();
    answers.sort_unstable();
    let ended = begun.elapsed().as_secs_f64();
    let admitted = answers.iter().filter(|(_, admitted)| *admitted).count() as f64;
    let (rate, leases) = (f64::from(RATE), f64::from(WORKERS * BATCH));
    let most = rate + rate * ended + leases;
    let last = answers.iter().rev().find(|(_, admitted)| !admitted).map(|(at, _)| *at);
    let last = last.ok_or("nothing was turned away: no overload")?;
    let until_last = answers.iter().filter(|(at, admitted)| *admitted && *at <= last).count();
    let first = answers.first().ok_or("no answer")?.0;
    // A worker looks at the bucket once in the time of a batch.
    let least = rate + rate * (last - first).as_secs_f64() - leases - f64::from(BATCH);
    println!(
        "{} calls in {ended:.2} s, {admitted} admitted: by the formula {least:.0} to {most:.0}",
        answers.len()
    );
    same(admitted <= most, true)?;
    // A bucket that stood full for want of calls lets tokens go; that is none of the limit's errors.
    let pairs = answers.windows(2).filter_map(|pair| Some((pair.first()?.0, pair.get(1)?.0)));
    let pause = pairs.map(|(before, after)| after - before).max().unwrap_or_default();
    if pause < Duration::from_millis(500) {
        same(until_last as f64 >= least, true)?;
    } else {
        println!("a pause of {pause:?}: too slow a machine to judge the least");
    }
    rig.finish()
}

/// One client's calls, each at its time or as soon as the one before is answered.
fn offer(address: SocketAddr, begun: Instant) -> std::io::Result<Vec<Answer>> {
    let mut line = Line::new(address);
    let mut answers = Vec::new();
    let gap = Duration::from_secs(1) * CLIENTS / OFFERED;
    let mut due = begun;
    while due < begun + RUN {
        // The load's own pace, and nothing that is waited for.
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let head = line.ask("/direct")?;
        answers.push((Instant::now(), head.starts_with("HTTP/1.1 200 ")));
        due += gap;
    }
    Ok(answers)
}

/// A hundred calls at once on four workers, of which ten may be under way: as many reach the upstream.
pub(super) fn four_workers_have_one_limit_of_calls(tools: &Tools) -> TestResult {
    const MAX: usize = 12;
    let more = json!({"concurrency": {"max": MAX}});
    let rig = Rig::start(tools, &policy("30s", more), |config| config.concurrency = WORKERS)?;
    // They are under way until the last one was told, for nobody reads them.
    let clients: Vec<_> =
        (0..100).map(|_| rig.begin("/slow/3000", b"")).collect::<Result<_, _>>()?;
    rig.until("a decision on each", || {
        Ok((rig.envoy.metric("bimetal_requests_total", &[])? >= 100.0).then_some(()))
    })?;
    let admitted = rig.envoy.metric("bimetal_requests_total", &["decision=\"admitted\""])?;
    // One unused slot can lie at each of the other workers.
    same((MAX - 3..=MAX).contains(&(admitted as usize)), true)?;
    drop(clients);
    rig.until("their end", || {
        let stats = rig.envoy.get("/stats?filter=http.main.downstream_rq_active")?;
        Ok(stats.contains("downstream_rq_active: 0\n").then_some(()))
    })?;
    // Their slots are free again, whichever worker asks.
    for _ in 0..20 {
        rig.until("a slot", || Ok((rig.get("/status/200")?.status == 200).then_some(())))?;
    }
    rig.finish()
}
