//! Accounts that workers lease from: tokens of rate limits, slots of limits of calls under way.
//!
//! They lie in buckets as breakers do, under keys of their own, and nobody is told when one changes: whoever
//! needs a batch reads it then. A record's first word says from when it means nothing. Then it gives way
//! where a bucket is full.

use super::bucket::{Bucket, MOST_WORDS, Record};
use super::place::Table;
use super::store::{ONLY_IF_ABSENT, SharedData};
use super::worker::Worker;
use bimetal_core::Instant;
use bimetal_core::board::account::{Account, Replaced};
use bimetal_core::policy::{Policy, Share};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// One account, as one worker reaches it.
#[derive(Debug)]
pub(super) struct SharedAccount<D: SharedData> {
    worker: Arc<Worker<D>>,
    owner: u64,
    table: Arc<Table>,
    /// What was read last, with its token. Never waited for: a worker is one thread.
    read: Mutex<Option<(Bucket, u32)>>,
    /// Whether it found no place, which is counted once.
    is_alone: AtomicBool,
}

/// The tables of a policy's accounts, by the hashes that their keys begin with.
pub(super) fn tables(plugin: u64, policy: &Policy) -> Vec<(u64, Arc<Table>)> {
    let table = |what: &str, hash: u64, most: u32| {
        // Another size is another table: a record that is looked for in the wrong bucket is lost. Those
        // of an older document give way by their time, and none for being of another hash.
        let name = format!("{}\0{what}\0{most}", policy.name);
        (hash, Arc::new(Table::new(plugin, &name, 0, most)))
    };
    let limits = policy.rate_limits.iter().filter(|limit| limit.share != Share::None);
    let limits = limits.map(|limit| table("limits", limit.hash, limit.max_keys));
    let slots = policy.concurrency.iter().filter(|limit| limit.is_shared());
    let slots = slots.map(|_| table("slots", policy.hashes.scopes, policy.scopes.max));
    limits.chain(slots).collect()
}

impl<D: SharedData> SharedAccount<D> {
    pub(super) fn new(worker: Arc<Worker<D>>, owner: u64, table: Arc<Table>) -> Self {
        let (read, is_alone) = (Mutex::new(None), AtomicBool::new(false));
        Self { worker, owner, table, read, is_alone }
    }

    /// Its bucket's key; none before the secret is known that says which bucket that is.
    fn key(&self) -> Option<String> {
        let secret = self.worker.locked().copies.secret()?;
        Some(self.table.key(self.table.bucket(secret, self.owner)))
    }

    fn last_read(&self) -> std::sync::MutexGuard<'_, Option<(Bucket, u32)>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_unshared(&self) {
        if !self.is_alone.swap(true, Ordering::Relaxed) {
            self.worker.unshared.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl<D: SharedData> Account for SharedAccount<D> {
    fn read(&self, words: &mut Vec<u64>) -> bool {
        words.clear();
        let found = self.key().and_then(|key| self.worker.ok(self.worker.data.get(&key)));
        let Some(found) = found else {
            return false;
        };
        let (value, token) = found.unwrap_or((Vec::new(), ONLY_IF_ABSENT));
        let Some(bucket) = Bucket::parse(&value) else {
            self.is_unshared();
            return false;
        };
        let found = bucket.find(self.owner).and_then(|words| words.split_first());
        words.extend(found.map_or_else(Default::default, |(_, words)| words));
        *self.last_read() = Some((bucket, token));
        true
    }

    fn replace(&self, now: Instant, words: &[u64], idle_at: Instant) -> Replaced {
        let read = self.last_read().take();
        let (Some((mut bucket, token)), Some(key)) = (read, self.key()) else {
            return Replaced::Refused;
        };
        if words.is_empty() {
            bucket.remove(self.owner);
        } else {
            let words: Vec<u64> = [idle_at.as_nanos()].iter().chain(words).copied().collect();
            let fits = words.len() <= MOST_WORDS;
            let record = Record { owner: self.owner, policy: self.table.policy, words };
            let is_idle = |other: &Record| {
                other.words.first().is_none_or(|idle_at| *idle_at <= now.as_nanos())
            };
            if !fits || bucket.put(record, is_idle).is_err() {
                self.is_unshared();
                return Replaced::Refused;
            }
        }
        match self.worker.ok(self.worker.data.set(&key, &bucket.encode(), token)) {
            Some(true) => Replaced::Done,
            Some(false) => Replaced::Changed,
            None => Replaced::Refused,
        }
    }
}
