//! Our layer beside another: `cargo bench -p bimetal-bench --bench layer`.
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use bimetal_bench::clock::{self, CpuTime};
use bimetal_bench::ours::STREAK;
use bimetal_bench::{Answer, Arm, layers, opened};
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use std::hint::black_box;

fn call(group: &mut BenchmarkGroup<'_, CpuTime>, name: &str, mut arm: impl Arm) {
    group.bench_function(name, |bencher| {
        bencher.iter(|| arm.call(black_box(1), black_box(Answer::Good)));
    });
}

fn layer(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("layer");
    call(&mut group, "service alone", layers::AtOnce);
    call(&mut group, "bimetal/streak", layers::guarded(STREAK));
    call(&mut group, "tower-resilience/streak", layers::tower_streak());
}

fn rejected(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("layer rejection");
    call(&mut group, "bimetal/streak", opened(layers::guarded(STREAK)));
    call(&mut group, "tower-resilience/streak", opened(layers::tower_streak()));
}

criterion_group! {
    name = benches;
    config = clock::criterion(50);
    targets = layer, rejected
}
criterion_main!(benches);
