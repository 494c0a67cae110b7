//! What a call costs that every mechanism of a policy decides on: `cargo bench -p bimetal-bench --bench mechanisms`.
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use bimetal_bench::clock::{self, CpuTime};
use bimetal_bench::ours::{Hurried, Tenant, Whole};
use bimetal_bench::{Answer, Fate};
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;

fn everything(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("every mechanism");
    let mut engine = Whole::of_everything();
    let request = Hurried(Tenant("one"));
    let mut now = 0;
    group.bench_function("bimetal/all", |bencher| {
        bencher.iter(|| {
            // A microsecond a call, in which the rate limit gets a token.
            now += 1_000;
            let fate = engine.call_with(black_box(now), &request, black_box(Answer::Good));
            assert!(fate == Fate::Called, "a good call was turned away");
        });
    });
}

criterion_group! {
    name = benches;
    config = clock::criterion(50);
    targets = everything
}
criterion_main!(benches);
