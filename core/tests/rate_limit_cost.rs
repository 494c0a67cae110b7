//! What a rate limit costs in memory, and that it is exact however many workers ask at once.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate bimetal_browser_test;

#[path = "support/board.rs"]
mod board;
mod limits;

use bimetal_core::limiter::keyed::{KeyedLimit, Opened};
use bimetal_core::limiter::{Rate, RateLimitPolicy};
use bimetal_core::{Duration, Engine, Instant};
use limits::{Request, Worker, from};
use std::sync::Arc;

const MANY: &str = r#""rate_limits": [
    {"rate": "1000/s", "key": ["policy"], "burst": {"tokens": 10}, "allow": ["10.0.0.0/8"]},
    {"rate": "1/h", "key": ["client", "header:x-tenant"]}]"#;

#[test]
fn a_call_of_a_known_key_allocates_nothing() {
    let mut worker = Worker::new(MANY);
    let request = Request { client: "192.0.2.1", tenant: Some("gold") };
    worker.offered(request, 3);
    let count = allocation_counter::measure(|| {
        for step in 0..10_000 {
            worker.at(step * 100);
            let admitted = worker.ask(request).is_ok();
            assert!(!admitted || step > 1_000);
        }
    });
    assert_eq!(count.count_total, 0);
}

#[test]
fn a_key_takes_no_more_than_128_bytes_beside_itself() {
    let rate = Rate { tokens: 10, period: Duration::from_secs(1) };
    let policy = RateLimitPolicy { rate, capacity: 10, burst: None };
    let mut table = None;
    let count = allocation_counter::measure(|| {
        let mut keys = KeyedLimit::new(&[policy], 1_000_000, 1);
        for key in 0..100_000_u32 {
            let key = key.to_le_bytes();
            let place = keys.find_or_make(Instant::ZERO, &key, |_| true, |_| Opened::default());
            assert!(keys.commit(Instant::ZERO, place).is_ok());
        }
        table = Some(keys);
    });
    assert_eq!(table.unwrap().len(), 100_000);
    let each = (count.bytes_current as f64) / 100_000.0 - 4.0;
    assert!(each <= 80.0, "{each} bytes");
    // Also while the table of hashes grows.
    let most = (count.bytes_max as f64) / 100_000.0 - 4.0;
    assert!(most <= 128.0, "{most} bytes");
}

// WASI has no threads.
#[cfg(not(target_family = "wasm"))]
#[test]
fn workers_at_once_admit_exactly_what_one_would() {
    const FIELDS: &str = r#""rate_limits": [
        {"rate": "500/h", "burst": {"tokens": 50, "expires": "1h"}, "key": ["client"]}]"#;
    let board = Arc::new(board::TestBoard::default());
    let admitted = std::thread::scope(|scope| {
        let work = |seed| {
            let engine = Engine::with_board(seed, board.clone());
            move || {
                let mut worker = Worker::with(engine, FIELDS);
                [worker.offered(from("a"), 1_000), worker.offered(from("b"), 100)]
            }
        };
        let threads: Vec<_> = (0..4).map(|seed| scope.spawn(work(seed))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    let sum = |client: usize| admitted.iter().map(|one| one[client]).sum::<u32>();
    assert_eq!((sum(0), sum(1)), (550, 400));
}
