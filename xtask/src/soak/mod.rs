//! `cargo xtask soak`: many calls with random faults through each host; every one is accounted for,
//! and memory stays flat.

mod call;
mod client;
mod host;
mod load;
mod verdict;

use crate::demo::scene::Parts;
use crate::say;
use anyhow::{Context, Result, anyhow};
use host::Host;
pub use host::Kind;
use load::Tally;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use verdict::HostCounts;

/// How often memory is looked at.
const GLANCE: Duration = Duration::from_millis(500);

/// How long a host may take to settle and publish its last calls.
const SETTLE_WAIT: Duration = Duration::from_secs(30);

/// What a soak is to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// Calls through each host.
    pub calls: u64,
    /// Draws the faults.
    pub seed: u64,
    /// The hosts, one after the other.
    pub hosts: Vec<Kind>,
}

/// Soaks every host. True where everything was as it should be.
///
/// # Errors
/// A program cannot be built, started or asked.
pub fn run(options: &Options) -> Result<bool> {
    run_with(&Parts::make()?, options)
}

/// The same with programs that are there already.
///
/// # Errors
/// As [`run`].
pub fn run_with(parts: &Parts, options: &Options) -> Result<bool> {
    let mut good = true;
    for kind in &options.hosts {
        good &= soak(*kind, parts, options)?;
    }
    Ok(good)
}

fn soak(kind: Kind, parts: &Parts, options: &Options) -> Result<bool> {
    let Options { calls, seed, .. } = *options;
    let host = Host::start(kind, parts)?;
    say::begins(kind.name(), &format!("{calls} calls with random faults, seed {seed}"));
    let since = Instant::now();
    let tally = Arc::new(Tally::default());
    let load = {
        let (tally, address) = (tally.clone(), host.address);
        std::thread::spawn(move || load::run(address, calls, seed, &tally))
    };
    let memory = watch(&host, &tally, &load, calls)?;
    load.join().map_err(|_| anyhow!("the load panicked"))??;
    let took = since.elapsed();
    let counts = closed(&host)?;
    println!("{}: {calls} calls in {}, seed {seed}", kind.name(), say::span(took));
    let mut claims = counts.claims(&tally);
    claims.push(verdict::memory(&memory));
    for claim in &claims {
        let kept = if claim.holds { "ok  " } else { "FAIL" };
        println!("  {kept} {}", claim.text);
    }
    tally.told().iter().for_each(|told| println!("       {told}"));
    Ok(claims.iter().all(|claim| claim.holds))
}

/// Looks at the host's memory until the load is over.
fn watch(
    host: &Host,
    tally: &Tally,
    load: &std::thread::JoinHandle<Result<()>>,
    calls: u64,
) -> Result<Vec<u64>> {
    let (since, mut told) = (Instant::now(), Instant::now());
    let mut samples = Vec::new();
    while !tally.over.load(Relaxed) && !load.is_finished() {
        samples.push(host.memory()?);
        if told.elapsed() >= say::BEAT {
            told = Instant::now();
            let done = tally.calls.load(Relaxed);
            let now = samples.last().copied().unwrap_or_default();
            say::works("soak", since, &format!("{done} of {calls} calls, {}", say::size(now)));
        }
        std::thread::sleep(GLANCE);
    }
    samples.push(host.memory()?);
    Ok(samples)
}

/// The counts once nothing in them is open, or after `SETTLE_WAIT`.
fn closed(host: &Host) -> Result<HostCounts> {
    let deadline = Instant::now() + SETTLE_WAIT;
    loop {
        let counts = HostCounts::of(&host.metrics().context("the host's metrics")?);
        if counts.are_closed() || Instant::now() > deadline {
            return Ok(counts);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
