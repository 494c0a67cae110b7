//! A board for tests: words in a map, and a count of the writes to them.
#![allow(dead_code, missing_docs, unreachable_pub)]

use bimetal_core::board::{AtomicWords, Board, Words};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

#[derive(Debug, Default)]
pub struct TestBoard {
    breakers: Mutex<HashMap<Vec<u8>, Arc<TestWords>>>,
    pub writes: Arc<AtomicU64>,
}

#[derive(Debug)]
pub struct TestWords {
    words: AtomicWords,
    writes: Arc<AtomicU64>,
}

impl TestBoard {
    pub fn is_empty(&self) -> bool {
        self.breakers.lock().unwrap().is_empty()
    }
}

impl Board for TestBoard {
    fn open(&self, key: &[u8], count: usize) -> Option<Arc<dyn Words>> {
        let mut breakers = self.breakers.lock().unwrap();
        let (words, writes) = (AtomicWords::new(count), self.writes.clone());
        let fresh = || Arc::new(TestWords { words, writes });
        Some(breakers.entry(key.to_vec()).or_insert_with(fresh).clone())
    }
}

impl Words for TestWords {
    fn load(&self, index: usize) -> u64 {
        self.words.load(index)
    }

    fn compare_exchange(&self, index: usize, old: u64, new: u64) -> Result<(), u64> {
        self.words.compare_exchange(index, old, new)?;
        self.writes.fetch_add(1, SeqCst);
        Ok(())
    }
}

/// Fresh words for one breaker, and the count of writes to them.
pub fn words(count: usize) -> (Arc<dyn Words>, Arc<AtomicU64>) {
    let board = TestBoard::default();
    (board.open(b"", count).unwrap(), board.writes)
}
