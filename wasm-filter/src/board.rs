//! The board of one Envoy: what its workers share lies in proxy-wasm's shared data.
//!
//! Shared data is a table of byte strings behind one lock. Reading it copies and allocates, so a
//! worker keeps a copy of what it needs and first asks for a number that grows with every change,
//! one cheap host call: while it stands still the copies are exact, and healthy traffic neither
//! reads nor writes. Once it has grown, a log says whose records were changed, and those alone are
//! read again, when they are asked for.
//!
//! An admission asks for the number every time. A result asks once in a millisecond: what came before
//! the call was seen at its admission, and what came beside it might as well have come after. A tick
//! asks once, however many scopes there are.
//!
//! Envoy never frees a key, and clients can choose scopes. So a policy has a bounded number of
//! places, in buckets that are read and written whole. A scope claims a place with its first word that
//! is not zero and frees it when all are zero again; where none is free, a breaker at rest gives
//! way. Where nobody can, the scope is decided by each worker alone, and that is counted.
//!
//! Limits would change with each call. So they are accounts, from which a worker takes a batch at once.
//!
//! - `store`: what is needed of the host. `place`: which key a scope's record lies under.
//! - `bucket`, `log`: the two kinds of values. `seeded`: hashes that clients cannot foresee.
//! - `copies`: what a worker knows. `worker`: how it learns. `change`: how it tells.
//! - `accounts`: what is leased.

mod accounts;
mod bucket;
mod change;
mod copies;
mod log;
mod place;
mod seeded;
mod store;
mod worker;

use accounts::SharedAccount;
use bimetal_core::Instant;
use bimetal_core::board::account::Account;
use bimetal_core::board::{Board, Words};
use bimetal_core::policy::Policy;
use place::Table;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::Ordering;
pub use store::{ONLY_IF_ABSENT, SharedData};
use worker::Worker;

/// How old a copy may get, in nanoseconds, where nothing says that it is old.
const STALE: u64 = 20_000_000;

/// How old a copy may be for a result, in nanoseconds; see [`Words::load_for_result`].
const RECENT: u64 = 1_000_000;

/// A board as a worker of the filter has it.
pub trait WorkerBoard: Board {
    /// A policy is at work: its table is planned by its `scopes.max`.
    fn expect(&self, policy: &Policy);

    /// Looks once what others changed. Then `poll` asks breakers what is due; what they want to know
    /// of the board is known by then, and only what others changed is read.
    fn tick(&self, poll: &mut dyn FnMut());

    /// Host calls that failed since this was asked last.
    fn take_errors(&self) -> u64;

    /// How often a scope found no place, since the board was made.
    fn unshared(&self) -> u64;
}

/// The board of one Envoy, as one worker sees it.
#[derive(Debug)]
pub struct SharedBoard<D>(Arc<Worker<D>>);

impl<D: SharedData> SharedBoard<D> {
    /// The board of the plugin of this name on `data`. No client may know `seed`.
    pub fn new(data: D, plugin: &[u8], seed: u64) -> Self {
        Self(Arc::new(Worker::new(data, plugin, seed)))
    }
}

impl<D: SharedData> Board for SharedBoard<D> {
    fn open(&self, key: &[u8], count: usize) -> Option<Arc<dyn Words>> {
        if count > bucket::MOST_WORDS {
            return None;
        }
        let state_hash = state_hash(key);
        let plugin = self.0.plugin;
        let owner = place::owner(plugin, key);
        let unknown = || Table::unknown(plugin, state_hash);
        self.0.locked().copies.open(owner, state_hash, count, unknown);
        Some(Arc::new(SharedWords { worker: self.0.clone(), owner }))
    }

    fn account(&self, key: &[u8]) -> Option<Arc<dyn Account>> {
        let (hash, plugin) = (state_hash(key), self.0.plugin);
        let known = |(of, _): &&(u64, Arc<Table>)| *of == hash;
        let table = self.0.locked().accounts.iter().find(known).map(|(_, table)| table.clone());
        let table = table.unwrap_or_else(|| Arc::new(Table::unknown(plugin, hash)));
        let owner = place::owner(plugin, key);
        Some(Arc::new(SharedAccount::new(self.0.clone(), owner, table)))
    }

    fn take_changed(&self, changed: &mut dyn FnMut(u64)) -> bool {
        // Who is told may ask for words at once.
        let numbers = self.0.locked().copies.take_changed();
        numbers.into_iter().for_each(changed);
        true
    }
}

impl<D: SharedData> WorkerBoard for SharedBoard<D> {
    fn expect(&self, policy: &Policy) {
        // The words of a breaker are named by its hash.
        let Policy { name, hashes, scopes, .. } = policy;
        let table = Table::new(self.0.plugin, name, hashes.breaker, scopes.max);
        let accounts = accounts::tables(self.0.plugin, policy);
        let knows = &mut *self.0.locked();
        knows.copies.expect(hashes.breaker, table);
        for (hash, table) in accounts {
            knows.accounts.retain(|(known, _)| *known != hash);
            knows.accounts.push((hash, table));
        }
    }

    fn tick(&self, poll: &mut dyn FnMut()) {
        self.0.begin_tick();
        poll();
        self.0.end_tick();
    }

    fn take_errors(&self) -> u64 {
        self.0.errors.swap(0, Ordering::Relaxed)
    }

    fn unshared(&self) -> u64 {
        self.0.unshared.load(Ordering::Relaxed)
    }
}

/// The core's keys begin with the hash of what the state means.
fn state_hash(key: &[u8]) -> u64 {
    key.first_chunk::<8>().map_or(0, |hash| u64::from_le_bytes(*hash))
}

/// The words of one breaker.
#[derive(Debug)]
struct SharedWords<D: SharedData> {
    worker: Arc<Worker<D>>,
    owner: u64,
}

impl<D: SharedData> Words for SharedWords<D> {
    fn load(&self, index: usize) -> u64 {
        let knows = &mut *self.worker.locked();
        self.worker.follow(knows);
        self.worker.word(knows, self.owner, index)
    }

    fn load_for_result(&self, index: usize, now: Instant) -> u64 {
        let knows = &mut *self.worker.locked();
        self.worker.follow_for_result(knows, now);
        self.worker.word(knows, self.owner, index)
    }

    fn watch(&self, number: u64) {
        self.worker.locked().copies.watch(self.owner, number);
    }

    fn compare_exchange(&self, index: usize, old: u64, new: u64) -> Result<(), u64> {
        self.worker.replace(&mut self.worker.locked(), self.owner, index, old, new)
    }
}

impl<D: SharedData> Drop for SharedWords<D> {
    fn drop(&mut self) {
        self.worker.locked().copies.close(self.owner);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may end by a panic")]
mod tests;
