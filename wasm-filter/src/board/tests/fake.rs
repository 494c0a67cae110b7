//! Shared data as Envoy has it, with counts of calls and with faults.

use crate::board::SharedData;
use crate::port::HostError;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

/// Something that happens between a read and a write of another worker.
type Interruption = Box<dyn FnOnce() + Send>;

/// A handle: its clones are the same store.
#[derive(Clone, Default)]
pub(super) struct Fake(Arc<Mutex<Store>>);

#[derive(Default)]
pub(super) struct Store {
    pub(super) table: BTreeMap<String, (Vec<u8>, u32)>,
    pub(super) tokens: u32,
    pub(super) told: u64,
    pub(super) nanos: u64,
    /// Calls that return a value, and questions for the count.
    pub(super) reads: u64,
    pub(super) asked: u64,
    pub(super) writes: u64,
    /// Every call fails; every write fails; telling fails.
    pub(super) broken: bool,
    pub(super) read_only: bool,
    pub(super) dumb: bool,
    /// Writes to keys that end so fail.
    pub(super) refuses: Option<&'static str>,
    /// The count stands still at zero.
    pub(super) uncounted: bool,
    /// So many of the next writes find that somebody else wrote.
    pub(super) races: u32,
    /// The token that every read gives.
    pub(super) wrong_token: Option<u32>,
    pub(super) interruption: Option<Interruption>,
}

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fake")
    }
}

impl Fake {
    pub(super) fn store(&self) -> MutexGuard<'_, Store> {
        self.0.lock().unwrap()
    }

    /// Values but for the log, by key.
    pub(super) fn buckets(&self) -> Vec<(String, Vec<u8>)> {
        let store = self.store();
        let buckets = store.table.iter().filter(|(key, _)| !key.ends_with("/log"));
        buckets.map(|(key, (value, _))| (key.clone(), value.clone())).collect()
    }

    /// Puts a value under a key, whoever holds its token.
    pub(super) fn put(&self, key: &str, value: &[u8]) {
        let mut store = self.store();
        store.tokens += 1;
        let token = store.tokens;
        store.table.insert(key.to_owned(), (value.to_vec(), token));
    }

    /// Calls so far: reads, questions for the count, writes.
    pub(super) fn calls(&self) -> (u64, u64, u64) {
        let store = self.store();
        (store.reads, store.asked, store.writes)
    }
}

const REFUSED: HostError = HostError { call: "fake", status: 10 };

impl Store {
    fn check(&self) -> Result<(), HostError> {
        if self.broken { Err(REFUSED) } else { Ok(()) }
    }
}

impl SharedData for Fake {
    fn get(&self, key: &str) -> Result<Option<(Vec<u8>, u32)>, HostError> {
        let mut store = self.store();
        store.check()?;
        store.reads += 1;
        let wrong = store.wrong_token;
        let found = store.table.get(key).cloned();
        Ok(found.map(|(value, token)| (value, wrong.unwrap_or(token))))
    }

    fn set(&self, key: &str, value: &[u8], token: u32) -> Result<bool, HostError> {
        let interruption = self.store().interruption.take();
        if let Some(interruption) = interruption {
            interruption();
        }
        let mut store = self.store();
        store.check()?;
        store.writes += 1;
        if store.read_only || store.refuses.is_some_and(|end| key.ends_with(end)) {
            return Err(REFUSED);
        }
        let known = store.table.get(key).map(|(_, token)| *token);
        if known.is_some_and(|known| token != 0 && token != known) {
            return Ok(false);
        }
        if known.is_some() && store.races > 0 {
            store.races -= 1;
            return Ok(false);
        }
        drop(store);
        self.put(key, value);
        Ok(true)
    }

    fn told(&self) -> Result<u64, HostError> {
        let mut store = self.store();
        store.check()?;
        store.asked += 1;
        Ok(if store.uncounted { 0 } else { store.told })
    }

    fn tell(&self, changes: u32) -> Result<(), HostError> {
        let mut store = self.store();
        store.check()?;
        assert!(changes > 0, "adding zero is an error in Envoy");
        if store.dumb {
            return Err(REFUSED);
        }
        store.told += u64::from(changes);
        Ok(())
    }

    fn nanos(&self) -> Result<u64, HostError> {
        let store = self.store();
        store.check()?;
        Ok(store.nanos)
    }
}
