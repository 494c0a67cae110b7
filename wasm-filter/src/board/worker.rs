//! One worker's side of the board: it follows the log, and reads what others changed.

use super::STALE;
use super::bucket::Bucket;
use super::copies::Copies;
use super::log::Log;
use super::place::{self, Table};
use super::seeded::Seeded;
use super::store::{ONLY_IF_ABSENT, SharedData};
use crate::port::HostError;
use bimetal_core::Instant;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Buckets that one tick reads at most, when the worker was too far behind the log.
pub(super) const SWEPT_PER_TICK: u32 = 512;

/// A worker's side of the board.
#[derive(Debug)]
pub(super) struct Worker<D> {
    pub(super) data: D,
    pub(super) plugin: u64,
    pub(super) log_key: String,
    seed: u64,
    /// Host calls that failed.
    pub(super) errors: AtomicU64,
    /// How often a scope found no place.
    pub(super) unshared: AtomicU64,
    /// Whether the host counts changes; else copies go by their age.
    pub(super) counts: bool,
    // Never waited for: a worker is one thread.
    knows: Mutex<Knowledge>,
}

/// What a worker knows of the others.
#[derive(Debug, Default)]
pub(super) struct Knowledge {
    /// How far it has read the log; none while it never could.
    pub(super) position: Option<u64>,
    /// When the copies were exact last: by the count of changes, or by the clock.
    pub(super) mark: Option<u64>,
    /// The same, as far as a caller said what time it was.
    by: Option<Instant>,
    /// Changes that were told and are not in the log, because it could not be written.
    unlogged: u64,
    /// Changes that this worker could not tell.
    pub(super) untold: u32,
    /// Whether breakers are polled on a tick: what they may know was asked for before.
    in_tick: bool,
    /// Tables of accounts, by what their keys begin with.
    pub(super) accounts: Vec<(u64, Arc<Table>)>,
    pub(super) copies: Copies,
}

impl<D: SharedData> Worker<D> {
    pub(super) fn new(data: D, plugin: &[u8], seed: u64) -> Self {
        let plugin = place::hash(plugin);
        let mut worker = Self {
            data,
            plugin,
            log_key: place::log_key(),
            seed,
            errors: AtomicU64::new(0),
            unshared: AtomicU64::new(0),
            counts: true,
            knows: Mutex::new(Knowledge { copies: Copies::new(seed), ..Knowledge::default() }),
        };
        // A count that does not move now never will. Nobody owns this entry.
        worker.tell(&mut worker.locked(), 0);
        worker.counts = matches!(worker.data.told(), Ok(1..));
        worker.follow(&mut worker.locked());
        worker
    }

    pub(super) fn locked(&self) -> MutexGuard<'_, Knowledge> {
        self.knows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value, or one error more.
    pub(super) fn ok<T>(&self, result: Result<T, HostError>) -> Option<T> {
        result.map_err(|_| self.count_error()).ok()
    }

    pub(super) fn count_error(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    /// The log with its token, made where it is missing.
    pub(super) fn read_log(&self) -> Option<(Log, u32)> {
        for _ in 0..2 {
            match self.ok(self.data.get(&self.log_key))? {
                Some((value, token)) => {
                    let log = Log::parse(&value);
                    if log.is_none() {
                        self.count_error();
                    }
                    return Some((log?, token));
                }
                None => {
                    let log = Log::new(Seeded(self.seed).hash_one(0)).encode();
                    self.ok(self.data.set(&self.log_key, &log, ONLY_IF_ABSENT))?;
                }
            }
        }
        None
    }

    /// Learns which copies are old.
    pub(super) fn follow(&self, knows: &mut Knowledge) {
        if knows.in_tick {
            return;
        }
        let mark = self.ok(if self.counts { self.data.told() } else { self.data.nanos() });
        // A clock that went back says nothing about an age.
        let is_young = |now: u64, then: u64| now.checked_sub(then).is_some_and(|age| age < STALE);
        let exact = |now, then| if self.counts { now == then } else { is_young(now, then) };
        if mark.zip(knows.mark).is_some_and(|(now, then)| exact(now, then)) {
            return;
        }
        // The count was read first: a change in between is seen twice, never missed.
        knows.mark = mark;
        let Some((log, _)) = self.read_log() else {
            knows.copies.lose_track();
            return;
        };
        // A change is logged before it is told.
        let told = mark.filter(|_| self.counts).unwrap_or(0);
        let unlogged = told.saturating_sub(log.head);
        let since = knows.position.and_then(|position| log.since(position));
        match since.filter(|_| unlogged <= knows.unlogged) {
            Some(owners) => knows.copies.changed(owners),
            None => knows.copies.lose_track(),
        }
        knows.unlogged = knows.unlogged.max(unlogged);
        knows.position = Some(log.head);
        knows.copies.set_secret(log.secret);
    }

    /// The same for a result, which may make do with what was known a moment ago.
    pub(super) fn follow_for_result(&self, knows: &mut Knowledge, now: Instant) {
        let is_recent = |by: Instant| by <= now && now.since(by).as_nanos() < super::RECENT;
        if !knows.by.is_some_and(is_recent) {
            self.follow(knows);
            knows.by = Some(now);
        }
    }

    /// A word of a scope, read where the copy is old.
    pub(super) fn word(&self, knows: &mut Knowledge, owner: u64, index: usize) -> u64 {
        // The sweep looks after what was not logged, a few on each tick.
        let is_old =
            if knows.in_tick { knows.copies.is_changed(owner) } else { knows.copies.is_old(owner) };
        if is_old {
            self.read(knows, owner);
        }
        knows.copies.word(owner, index)
    }

    fn read(&self, knows: &mut Knowledge, owner: u64) {
        let Some((key, _)) = knows.copies.place(owner) else {
            return;
        };
        match self.ok(self.data.get(&key)) {
            None => {}
            Some(None) => knows.copies.learn(owner, None),
            Some(Some((value, _))) => match Bucket::parse(&value) {
                Some(bucket) => knows.copies.learn(owner, bucket.find(owner)),
                // Somebody else's bytes say nothing.
                None => knows.copies.looked(owner),
            },
        }
    }

    /// What is due on a tick: while nothing changed, nothing is read.
    pub(super) fn begin_tick(&self) {
        let knows = &mut *self.locked();
        self.follow(knows);
        self.sweep(knows);
        knows.in_tick = true;
    }

    /// Breakers were polled.
    pub(super) fn end_tick(&self) {
        self.locked().in_tick = false;
    }

    fn sweep(&self, knows: &mut Knowledge) {
        for _ in 0..SWEPT_PER_TICK {
            let Some((spot, key)) = knows.copies.sweep() else {
                return;
            };
            match self.ok(self.data.get(&key)) {
                // Tried again on the next tick.
                None => return,
                Some(None) => knows.copies.swept(spot, Some(&Bucket::default())),
                Some(Some((value, _))) => {
                    knows.copies.swept(spot, Bucket::parse(&value).as_ref());
                }
            }
        }
    }
}
