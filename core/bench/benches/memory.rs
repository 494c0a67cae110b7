//! Bytes of one breaker, its size and all that it holds on the heap:
//! `cargo bench -p bimetal-bench --bench memory`. With `--json`, one JSON object.

use bimetal_bench::ours::{self, RATE, STREAK, Tenant, Whole};
use bimetal_bench::{Answer, Arm, peers};
use bimetal_core::breaker::Breaker;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

static LIVE: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged; counting touches nothing of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Breakers built to take the mean of.
const MANY: usize = 1000;
/// Scopes of the engine's row.
const SCOPES: usize = 10_000;

/// Bytes of one `A` after two hundred good calls: size and heap.
fn bytes<A: Arm>(make: impl Fn() -> A) -> usize {
    let mut arms = Vec::with_capacity(MANY);
    let before = LIVE.load(Ordering::Relaxed);
    for _ in 0..MANY {
        let mut arm = make();
        (0..200).for_each(|now| {
            arm.call(now, Answer::Good);
        });
        arms.push(arm);
    }
    let heap = LIVE.load(Ordering::Relaxed).saturating_sub(before);
    size_of::<A>() + heap / MANY
}

/// Breakers of one policy share it, as they do in the engine.
fn sharing(trip: &str) -> impl Fn() -> Breaker {
    let first = ours::breaker(trip);
    move || first.clone()
}

/// Bytes of one scope of an engine: table, key, order of the idle, breaker.
fn scope(trip: &str) -> usize {
    let keys: Vec<String> = (0..SCOPES).map(|number| format!("tenant-{number:06}")).collect();
    let before = LIVE.load(Ordering::Relaxed);
    let mut engine = Whole::new("header:x-tenant", trip);
    for key in &keys {
        engine.call_with(0, &Tenant(key), Answer::Good);
    }
    LIVE.load(Ordering::Relaxed).saturating_sub(before) / SCOPES
}

fn main() {
    let rows = [
        ("bimetal/streak", bytes(sharing(STREAK))),
        ("bimetal/rate", bytes(sharing(RATE))),
        ("recloser/rate", bytes(peers::recloser)),
        ("failsafe/streak", bytes(peers::failsafe)),
        ("tower-resilience/streak", bytes(peers::tower_streak)),
        ("tower-resilience/rate", bytes(peers::tower_rate)),
        ("bimetal engine scope/streak", scope(STREAK)),
        ("bimetal engine scope/rate", scope(RATE)),
    ];
    if std::env::args().any(|argument| argument == "--json") {
        let rows: serde_json::Map<_, _> =
            rows.into_iter().map(|(name, bytes)| (name.to_owned(), bytes.into())).collect();
        println!("{}", serde_json::Value::Object(rows));
        return;
    }
    for (name, bytes) in rows {
        println!("{name:<30} {bytes:>6} bytes");
    }
}
