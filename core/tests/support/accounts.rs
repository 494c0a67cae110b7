//! A board for tests whose limits are leased: accounts in a map, and a count of the looks at them.
#![allow(dead_code, missing_docs, unreachable_pub)]

use bimetal_core::Instant;
use bimetal_core::board::account::{Account, Replaced};
use bimetal_core::board::{AtomicWords, Board, Words};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// All workers' accounts: words, how often they were replaced, from when they mean nothing.
#[derive(Debug, Default)]
pub struct Ledger {
    rows: Mutex<HashMap<Vec<u8>, Row>>,
    pub counts: Mutex<Counts>,
}

#[derive(Clone, Debug, Default)]
struct Row {
    words: Vec<u64>,
    version: u64,
    idle_at: Instant,
}

/// Looks and changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub reads: u64,
    pub writes: u64,
}

impl Ledger {
    pub fn counts(&self) -> Counts {
        *self.counts.lock().unwrap()
    }

    /// What a board that needs room does: whoever means nothing any more is forgotten.
    pub fn forget_idle(&self, now: Instant) {
        self.rows.lock().unwrap().retain(|_, row| row.idle_at > now);
    }

    pub fn len(&self) -> usize {
        self.rows.lock().unwrap().len()
    }

    /// Another account under that name.
    pub fn account(self: &Arc<Self>, key: &[u8]) -> Arc<dyn Account> {
        Arc::new(Handle { ledger: self.clone(), key: key.to_vec(), seen: Mutex::new(0) })
    }
}

/// One worker's board: breakers are its own here.
#[derive(Debug)]
pub struct LeasingBoard(pub Arc<Ledger>);

impl Board for LeasingBoard {
    fn open(&self, _key: &[u8], count: usize) -> Option<Arc<dyn Words>> {
        Some(Arc::new(AtomicWords::new(count)))
    }

    fn account(&self, key: &[u8]) -> Option<Arc<dyn Account>> {
        Some(self.0.account(key))
    }
}

#[derive(Debug)]
struct Handle {
    ledger: Arc<Ledger>,
    key: Vec<u8>,
    seen: Mutex<u64>,
}

impl Account for Handle {
    fn read(&self, words: &mut Vec<u64>) -> bool {
        self.ledger.counts.lock().unwrap().reads += 1;
        let row = self.ledger.rows.lock().unwrap().get(&self.key).cloned().unwrap_or_default();
        *self.seen.lock().unwrap() = row.version;
        *words = row.words;
        true
    }

    fn replace(&self, _now: Instant, words: &[u64], idle_at: Instant) -> Replaced {
        self.ledger.counts.lock().unwrap().writes += 1;
        let mut rows = self.ledger.rows.lock().unwrap();
        let row = rows.entry(self.key.clone()).or_default();
        if row.version != *self.seen.lock().unwrap() {
            return Replaced::Changed;
        }
        *row = Row { words: words.to_vec(), version: row.version + 1, idle_at };
        Replaced::Done
    }
}
