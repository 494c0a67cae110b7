//! The load: many clients at once, until all calls are made.

use super::call::{Count, Fate, Seen, Tenant};
use super::client::Client;
use anyhow::{Context, Result};
use fastrand::Rng;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinSet;

/// Clients at once.
const CLIENTS: u64 = 48;

/// Strange calls that are told in full; the others are only counted.
const TOLD: usize = 20;

/// What the clients have seen so far. Shared with who watches.
#[derive(Debug, Default)]
pub struct Tally {
    /// Calls that are over.
    pub calls: AtomicU64,
    /// Those that must have been successes.
    pub successes: AtomicU64,
    /// Those that must have been failures.
    pub failures: AtomicU64,
    /// Those that were turned away.
    pub rejected: AtomicU64,
    /// Those whose client left.
    pub left: AtomicU64,
    /// Those that nothing explains.
    pub strange: AtomicU64,
    /// All calls are made.
    pub over: AtomicBool,
    told: Mutex<Vec<String>>,
}

impl Tally {
    fn add(&self, number: u64, fate: Fate, tenant: &Tenant, seen: Seen) {
        let counter = match fate.explains(seen) {
            Some(Count::Success) => &self.successes,
            Some(Count::Failure) => &self.failures,
            Some(Count::Rejected) => &self.rejected,
            Some(Count::Unknown) => &self.left,
            None => {
                let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
                if told.len() < TOLD {
                    told.push(format!("call {number} of {}: {fate:?}, {seen:?}", tenant.name()));
                }
                &self.strange
            }
        };
        counter.fetch_add(1, Relaxed);
        self.calls.fetch_add(1, Relaxed);
    }

    /// The first calls that nothing explains, in words.
    pub fn told(&self) -> Vec<String> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Makes `calls` calls to `host`; `tally` says how far it is. The same `seed` draws the same calls,
/// in the order of each client.
///
/// # Errors
/// The runtime cannot be made.
pub fn run(host: SocketAddr, calls: u64, seed: u64, tally: &Arc<Tally>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the load")?;
    let next = Arc::new(AtomicU64::new(0));
    runtime.block_on(async {
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let (tally, next) = (tally.clone(), next.clone());
            clients.spawn(async move {
                let mut rng = Rng::with_seed(seed.wrapping_mul(CLIENTS).wrapping_add(number));
                let mut client = Client::new(host);
                loop {
                    let number = next.fetch_add(1, Relaxed);
                    if number >= calls {
                        break;
                    }
                    let tenant = Tenant::draw(&mut rng);
                    let fate = Fate::draw(&mut rng, &tenant);
                    let seen = client.call(fate, &tenant, &mut rng).await;
                    tally.add(number, fate, &tenant, seen);
                }
            });
        }
        clients.join_all().await;
    });
    tally.over.store(true, Relaxed);
    Ok(())
}
