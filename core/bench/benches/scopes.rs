//! What a call costs with many scopes: `cargo bench -p bimetal-bench --bench scopes`.
//!
//! The same loop runs over a bare array of as many breakers: what grows there is the memory's cost
//! and not the table's.
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use bimetal_bench::clock::{self, CpuTime};
use bimetal_bench::ours::{self, STREAK, Tenant, Whole};
use bimetal_bench::{Answer, Arm};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use std::hint::black_box;

/// A step through `0..count` in an order that no prefetcher learns: a full-period congruential
/// generator over the next power of two, with what is too large left out.
fn order(count: usize) -> Vec<usize> {
    let mask = count.next_power_of_two() - 1;
    let mut at = 0_usize;
    let steps = (0..=mask).map(|_| {
        at = (at.wrapping_mul(1_664_525).wrapping_add(1_013_904_223)) & mask;
        at
    });
    steps.filter(|place| *place < count).collect()
}

fn scopes(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("scopes");
    for count in [1_usize, 10, 100, 1_000, 10_000, 100_000] {
        let order = order(count);
        let keys: Vec<String> = (0..count).map(|number| format!("tenant-{number:06}")).collect();
        // Keys lie in the order of use, so that reading them is not what is measured.
        let keys: Vec<&str> = order.iter().map(|place| keys[*place].as_str()).collect();
        let mut engine = Whole::new("header:x-tenant", STREAK);
        for key in &keys {
            engine.call_with(0, &Tenant(key), Answer::Good);
        }
        let mut turn = keys.iter().cycle();
        group.bench_function(BenchmarkId::new("engine", count), |bencher| {
            bencher.iter(|| {
                let key = turn.next().copied().unwrap_or_default();
                engine.call_with(black_box(1), &Tenant(key), black_box(Answer::Good))
            });
        });
        let mut array: Vec<_> = (0..count).map(|_| ours::breaker(STREAK)).collect();
        let mut turn = order.iter().cycle();
        group.bench_function(BenchmarkId::new("array", count), |bencher| {
            bencher.iter(|| {
                let place = turn.next().copied().unwrap_or_default();
                array[place].call(black_box(1), black_box(Answer::Good))
            });
        });
    }
}

criterion_group! {
    name = benches;
    config = clock::criterion(30);
    targets = scopes
}
criterion_main!(benches);
