//! One row of the core's work an exact number of times: `bimetal-instructions ROW CALLS`.
//!
//! `cargo xtask bench instructions` runs it under callgrind with some calls and with twice as many;
//! the difference is the calls alone, because all else happens in both runs alike. Nothing here
//! depends on time or chance. Without arguments it names the rows, one a line.
//!
//! The engine's rows all go through `Whole::call_with` and the breaker's all through `Arm::call`. One
//! more place that calls the engine, and the compiler inlines less: 501 instructions in place of 435.

use bimetal_bench::ours::{self, Hurried, STREAK, Tenant, Whole};
use bimetal_bench::{Answer, Arm, Fate, opened};
use std::hint::black_box;
use std::process::ExitCode;

/// Scopes of the row with many.
const SCOPES: usize = 1_000;

/// A row's work, done so many times.
type Work = fn(u64);

/// The rows by name.
const ROWS: [(&str, Work); 6] = [
    ("breaker", breaker),
    ("breaker-rejection", breaker_rejection),
    ("engine", engine),
    ("engine-scopes", engine_scopes),
    ("engine-rejection", engine_rejection),
    ("engine-everything", engine_everything),
];

fn breaker(calls: u64) {
    repeat(ours::breaker(STREAK), calls, Fate::Called);
}

fn breaker_rejection(calls: u64) {
    repeat(opened(ours::breaker(STREAK)), calls, Fate::Rejected);
}

fn engine(calls: u64) {
    repeat(Whole::new("policy", STREAK), calls, Fate::Called);
}

fn engine_rejection(calls: u64) {
    repeat(opened(Whole::new("policy", STREAK)), calls, Fate::Rejected);
}

fn engine_scopes(calls: u64) {
    let keys: Vec<String> = (0..SCOPES).map(|number| format!("tenant-{number:06}")).collect();
    let mut engine = Whole::new("header:x-tenant", STREAK);
    for key in &keys {
        engine.call_with(0, &Tenant(key), Answer::Good);
    }
    let mut turn = keys.iter().cycle();
    for _ in 0..calls {
        let key = turn.next().map_or("", String::as_str);
        let fate = engine.call_with(black_box(1), &Tenant(key), black_box(Answer::Good));
        assert!(fate == Fate::Called, "a good call was turned away");
    }
}

fn engine_everything(calls: u64) {
    let mut engine = Whole::of_everything();
    let request = Hurried(Tenant("one"));
    for call in 0..calls {
        // A microsecond a call, in which the limit gets a token.
        let fate = engine.call_with(black_box(call * 1_000), &request, black_box(Answer::Good));
        assert!(fate == Fate::Called, "a good call was turned away");
    }
}

/// `calls` good calls of `arm`, all of which must end as `fate`.
fn repeat<A: Arm>(mut arm: A, calls: u64, fate: Fate) {
    for _ in 0..calls {
        let seen = arm.call(black_box(1), black_box(Answer::Good));
        assert!(seen == fate, "a call ended as {seen:?}");
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let names = || ROWS.iter().map(|(name, _)| *name);
    let [row, calls] = arguments.as_slice() else {
        names().for_each(|name| println!("{name}"));
        return if arguments.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) };
    };
    let row = ROWS.iter().find(|(name, _)| name == row);
    match (row, calls.parse()) {
        (Some((_, work)), Ok(calls)) => {
            work(calls);
            ExitCode::SUCCESS
        }
        _ => {
            let known: Vec<&str> = names().collect();
            eprintln!("usage: bimetal-instructions ROW CALLS, with a row of {}", known.join(", "));
            ExitCode::from(2)
        }
    }
}
