//! What a proxy exchanges with others by way of a store, once per interval and at once after a change of
//! state. It has a thread of its own: no call waits for it, and workers hear of it between two calls.

use super::link::{Link, Written};
use super::store::{Learned, Merged, Store};
use crate::proxy::Shared;
use crate::worker::{Command, Histogram};
use bimetal_core::board::far::Heard;
use bimetal_core::engine::Exchange;
use bimetal_core::hash::Hash;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Builder;
use tokio::sync::{Notify, oneshot};
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

/// How long a worker may take to tell what it knows: it does so between two calls.
const WORKER_WAIT: Duration = Duration::from_secs(1);

/// Between the end of an exchange and the next one, however often states change.
const PAUSE: Duration = Duration::from_millis(5);

/// So many keys a worker learns of at once: calls have their turn between.
const PORTION: usize = 256;

/// What is counted of exchanges, for metrics.
#[derive(Debug, Default)]
pub(crate) struct ExchangeCounts {
    errors: [AtomicU64; ExchangeCounts::REASONS.len()],
    durations: Mutex<Histogram>,
}

impl ExchangeCounts {
    /// Why an exchange failed, or what in it is not believed: the store failed; a record of another version;
    /// one that is not ours; one too many; one that another process wrote under this one's name.
    pub(crate) const REASONS: [&str; 5] = ["store", "version", "foreign", "full", "replica"];

    /// How often each of [`Self::REASONS`] was.
    pub(crate) fn errors(&self) -> [u64; Self::REASONS.len()] {
        std::array::from_fn(|place| self.errors[place].load(Ordering::Relaxed))
    }

    /// How long those took that went well.
    pub(crate) fn durations(&self) -> Histogram {
        self.durations.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// An exchange failed.
    pub(super) fn failed(&self) {
        self.errors[0].fetch_add(1, Ordering::Relaxed);
    }

    /// One went well.
    pub(super) fn went_well(&self, took: Duration, learned: &Learned) {
        let more = learned.refused.into_iter().chain([learned.outdated]);
        for (count, more) in self.errors[1..].iter().zip(more) {
            count.fetch_add(more, Ordering::Relaxed);
        }
        self.durations.lock().unwrap_or_else(PoisonError::into_inner).record(took.into());
    }
}

/// The number of a replica: of its name, or of where it runs and listens.
pub(crate) fn replica(name: Option<&str>, listeners: &[SocketAddr]) -> u64 {
    if let Some(name) = name {
        return Hash::default().bytes(name.as_bytes()).finish();
    }
    let system = rustix::system::uname();
    let host = Hash::default().bytes(system.nodename().to_bytes());
    let listeners = listeners.iter().map(ToString::to_string);
    listeners.fold(host, |hash, address| hash.bytes(address.as_bytes())).finish()
}

/// The exchanges of one proxy.
#[derive(Debug)]
pub(crate) struct Exchanger {
    shared: Arc<Shared>,
    store: Store,
    heard: Heard,
    interval: Duration,
    urgent: Arc<Notify>,
    counts: Arc<ExchangeCounts>,
    fails: bool,
    was_outdated: bool,
}

impl Exchanger {
    /// Exchanges by way of `link`; rung by `urgent` it does so at once.
    pub(crate) fn new(
        shared: Arc<Shared>,
        link: Link,
        interval: Duration,
        urgent: Arc<Notify>,
        counts: Arc<ExchangeCounts>,
    ) -> Self {
        let (store, heard) = (Store::redis(link), Heard::default());
        Self { shared, store, heard, interval, urgent, counts, fails: false, was_outdated: false }
    }

    /// Starts its thread, which ends when no worker is left.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(self) -> std::io::Result<()> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let work = move || runtime.block_on(self.work());
        std::thread::Builder::new().name("board".into()).spawn(work).map(drop)
    }

    async fn work(mut self) {
        let mut tick = tokio::time::interval(self.interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = self.urgent.notified() => {}
            }
            if self.shared.workers.iter().all(|worker| worker.is_closed()) {
                return;
            }
            let settings = self.shared.settings();
            if settings.document.policies.iter().any(|policy| policy.is_mesh()) {
                while self.round().await {}
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// One exchange. True where the next is due at once.
    async fn round(&mut self) -> bool {
        let exchanges = self.gather().await;
        let records = exchanges.iter().flat_map(|(_, exchange)| {
            let Exchange { member, sequence, deltas } = exchange;
            deltas.iter().map(|delta| Written {
                member: *member,
                sequence: *sequence,
                key: &delta.key,
                record: &delta.record,
            })
        });
        let records: Vec<Written<'_>> = records.collect();
        let begun = Instant::now();
        match self.store.exchange(&records).await {
            Ok(learned) => {
                self.counts.went_well(begun.elapsed(), &learned);
                self.note(&learned);
                loop {
                    let answer = self.store.tell(self.heard);
                    self.heard = answer.heard;
                    self.spread(&answer.merged);
                    if !answer.has_more {
                        break;
                    }
                }
                learned.has_more
            }
            Err(why) => {
                self.counts.failed();
                if !self.fails {
                    warn!("board: {why}; this proxy decides alone until the store is back");
                }
                self.fails = true;
                for (worker, exchange) in exchanges {
                    self.send(worker, Command::GiveBack(exchange));
                }
                false
            }
        }
    }

    /// What the workers have to tell, each with its place.
    async fn gather(&self) -> Vec<(usize, Exchange)> {
        let replies: Vec<_> = (0..self.shared.workers.len())
            .map(|worker| {
                let (sender, reply) = oneshot::channel();
                self.send(worker, Command::Deltas(sender));
                reply
            })
            .collect();
        let mut exchanges = Vec::new();
        for (worker, reply) in replies.into_iter().enumerate() {
            // One that is late keeps what it has.
            if let Ok(Ok(exchange)) = tokio::time::timeout(WORKER_WAIT, reply).await {
                exchanges.push((worker, exchange));
            }
        }
        exchanges
    }

    fn note(&mut self, learned: &Learned) {
        if std::mem::take(&mut self.fails) {
            info!("board: the store is back");
        }
        if learned.outdated > 0 && !self.was_outdated {
            self.was_outdated = true;
            warn!(
                "board: another process uses this one's name, and only one of the two is heard; give each \
                 a name of its own: board: {{replica: …}}"
            );
        }
    }

    fn spread(&self, merged: &[Merged]) {
        for portion in merged.chunks(PORTION) {
            let portion: Arc<[Merged]> = Arc::from(portion);
            for worker in 0..self.shared.workers.len() {
                self.send(worker, Command::Merge(portion.clone()));
            }
        }
    }

    /// One that ended needs nothing.
    fn send(&self, worker: usize, command: Command) {
        if let Some(worker) = self.shared.workers.get(worker) {
            drop(worker.send(command));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_who_it_was_and_nobody_else() {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        assert_eq!(replica(None, &[at(1)]), replica(None, &[at(1)]));
        assert_ne!(replica(None, &[at(1)]), replica(None, &[at(2)]));
        assert_ne!(replica(None, &[at(1)]), replica(None, &[at(1), at(2)]));
        assert_eq!(replica(Some("a"), &[at(1)]), replica(Some("a"), &[at(2)]));
        assert_ne!(replica(Some("a"), &[at(1)]), replica(Some("b"), &[at(1)]));
    }
}
