//! Our breaker beside those of others: `cargo bench -p bimetal-bench --bench peers`.
//!
//! Each group is one way of asking, each function one breaker. `streak` trips on three failures in
//! a row, `rate` on half of a hundred calls; compare like with like.
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use bimetal_bench::clock::{self, CpuTime};
use bimetal_bench::ours::{self, RATE, STREAK, Tenant, Whole};
use bimetal_bench::{Answer, Arm, Fate, opened, peers};
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use std::collections::HashMap;
use std::hint::black_box;
use std::sync::{Arc, Barrier, Mutex};
use std::time::Instant;

/// Keys in the rows with a look-up of the scope.
const KEYS: usize = 1000;

type Group<'a> = BenchmarkGroup<'a, CpuTime>;

/// Admission and settlement of a good call; the caller has the time already.
fn call(group: &mut Group<'_>, name: &str, mut arm: impl Arm) {
    group.bench_function(name, |bencher| {
        bencher.iter(|| arm.call(black_box(1), black_box(Answer::Good)));
    });
}

fn bare(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("bare");
    call(&mut group, "bimetal/streak", ours::breaker(STREAK));
    call(&mut group, "bimetal/rate", ours::breaker(RATE));
    call(&mut group, "recloser/rate", peers::recloser());
    call(&mut group, "failsafe/streak", peers::failsafe());
    call(&mut group, "tower-resilience/streak", peers::tower_streak());
    call(&mut group, "tower-resilience/rate", peers::tower_rate());
    call(&mut group, "bimetal engine/streak", Whole::new("policy", STREAK));
}

/// Every twentieth call is bad: then a window of calls has something to forget with each one.
fn mixed(group: &mut Group<'_>, name: &str, mut arm: impl Arm) {
    let mut number = 0_u32;
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            number = number.wrapping_add(1);
            let answer = if number.is_multiple_of(20) { Answer::Bad } else { Answer::Good };
            arm.call(black_box(1), black_box(answer))
        });
    });
}

fn some_bad(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("one in twenty bad");
    mixed(&mut group, "bimetal/streak", ours::breaker(STREAK));
    mixed(&mut group, "bimetal/rate", ours::breaker(RATE));
    mixed(&mut group, "recloser/rate", peers::recloser());
    mixed(&mut group, "failsafe/streak", peers::failsafe());
    mixed(&mut group, "tower-resilience/streak", peers::tower_streak());
    mixed(&mut group, "tower-resilience/rate", peers::tower_rate());
}

/// What a host pays that reads the clock before and after each call, to know its latency.
fn timed(group: &mut Group<'_>, name: &str, mut arm: impl Arm) {
    let origin = Instant::now();
    let now = move || u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            let before = now();
            let fate = arm.call(before, black_box(Answer::Good));
            (fate, now() - before)
        });
    });
}

fn clocked(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("with clock");
    timed(&mut group, "bimetal/streak", ours::breaker(STREAK));
    timed(&mut group, "bimetal/rate", ours::breaker(RATE));
    timed(&mut group, "recloser/rate", peers::recloser());
    timed(&mut group, "failsafe/streak", peers::failsafe());
    // It reads the clock twice by itself: its bare call is this row.
    call(&mut group, "tower-resilience/streak", peers::tower_streak());
    call(&mut group, "tower-resilience/rate", peers::tower_rate());
    timed(&mut group, "bimetal engine/streak", Whole::new("policy", STREAK));
}

fn keys() -> Vec<String> {
    (0..KEYS).map(|number| format!("tenant-{number:06}")).collect()
}

/// Steps through `0..KEYS` without a pattern that a prefetcher could learn.
fn next(at: &mut usize) -> usize {
    *at = (*at * 421 + 1663) % KEYS;
    *at
}

/// One breaker for each of [`KEYS`] names, in a map as a program would write it.
fn mapped<A: Arm>(group: &mut Group<'_>, name: &str, make: impl Fn() -> A) {
    let keys = keys();
    let mut map: HashMap<String, A> = keys.iter().map(|key| (key.clone(), make())).collect();
    let mut at = 0;
    group.bench_function(name, |bencher| {
        bencher.iter(|| {
            let key = keys[next(&mut at)].as_str();
            map.get_mut(key).map(|arm| arm.call(black_box(1), black_box(Answer::Good)))
        });
    });
}

fn scoped(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("with scope");
    mapped(&mut group, "bimetal/streak", || ours::breaker(STREAK));
    mapped(&mut group, "bimetal/rate", || ours::breaker(RATE));
    mapped(&mut group, "recloser/rate", peers::recloser);
    mapped(&mut group, "failsafe/streak", peers::failsafe);
    mapped(&mut group, "tower-resilience/streak", peers::tower_streak);
    mapped(&mut group, "tower-resilience/rate", peers::tower_rate);
    for (name, trip) in [("bimetal engine/streak", STREAK), ("bimetal engine/rate", RATE)] {
        let mut engine = Whole::new("header:x-tenant", trip);
        let (keys, mut at) = (keys(), 0);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let tenant = Tenant(&keys[next(&mut at)]);
                engine.call_with(black_box(1), &tenant, black_box(Answer::Good))
            });
        });
    }
}

/// One thread, but in the form in which it is shared: ours as each worker's own replica and, for
/// comparison, behind a lock; the others' forms are shared as they are.
fn shareable(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("shareable");
    let replica = |trip| ours::replicas(trip).into_iter().next();
    if let (Some(streak), Some(rate)) = (replica(STREAK), replica(RATE)) {
        call(&mut group, "bimetal replica/streak", streak);
        call(&mut group, "bimetal replica/rate", rate);
    }
    call(&mut group, "bimetal mutex/streak", Arc::new(Mutex::new(ours::breaker(STREAK))));
    call(&mut group, "bimetal mutex/rate", Arc::new(Mutex::new(ours::breaker(RATE))));
    call(&mut group, "recloser/rate", peers::recloser());
    call(&mut group, "failsafe/streak", peers::failsafe());
    call(&mut group, "tower-resilience/streak", peers::tower_streak());
    call(&mut group, "tower-resilience/rate", peers::tower_rate());
}

/// Two threads call at the same time; time on the wall per call of each, because waiting for the
/// other one is part of the price.
fn pair<A: Arm + Send>(group: &mut Group<'_>, name: &str, make: impl Fn() -> [A; 2]) {
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|calls| {
            let start = Barrier::new(2);
            let work = |mut arm: A| {
                start.wait();
                let begun = Instant::now();
                for _ in 0..calls {
                    black_box(arm.call(black_box(1), black_box(Answer::Good)));
                }
                begun.elapsed()
            };
            let [mine, other] = make();
            std::thread::scope(|scope| {
                let other = scope.spawn(|| work(other));
                work(mine).max(other.join().unwrap_or_default())
            })
        });
    });
}

fn twice<A: Clone>(arm: A) -> [A; 2] {
    [arm.clone(), arm]
}

fn contended(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("two threads");
    pair(&mut group, "bimetal replica/streak", || ours::replicas(STREAK));
    pair(&mut group, "bimetal replica/rate", || ours::replicas(RATE));
    let mutex = |trip| twice(Arc::new(Mutex::new(ours::breaker(trip))));
    pair(&mut group, "bimetal mutex/streak", || mutex(STREAK));
    pair(&mut group, "bimetal mutex/rate", || mutex(RATE));
    pair(&mut group, "recloser/rate", || twice(peers::recloser()));
    pair(&mut group, "failsafe/streak", || twice(peers::failsafe()));
    // Not tower-resilience: who waits for its lock sleeps in a runtime, and there is none here.
}

fn rejected(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("rejection");
    refuse(&mut group, "bimetal/streak", opened(ours::breaker(STREAK)));
    refuse(&mut group, "bimetal/rate", opened(ours::breaker(RATE)));
    refuse(&mut group, "recloser/rate", opened(peers::recloser()));
    refuse(&mut group, "failsafe/streak", opened(peers::failsafe()));
    refuse(&mut group, "tower-resilience/streak", opened(peers::tower_streak()));
    refuse(&mut group, "tower-resilience/rate", opened(peers::tower_rate()));
    refuse(&mut group, "bimetal engine/streak", opened(Whole::new("policy", STREAK)));
}

fn refuse(group: &mut Group<'_>, name: &str, mut arm: impl Arm) {
    assert_eq!(arm.call(1, Answer::Good), Fate::Rejected);
    call(group, name, arm);
}

criterion_group! {
    name = benches;
    config = clock::criterion(50);
    targets = bare, some_bad, clocked, scoped, shareable, contended, rejected
}
criterion_main!(benches);
