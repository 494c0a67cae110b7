//! Rate limits of several workers against a model that counts exactly: what is decided is the same
//! after any history, so no token is lost, invented, or taken for a call that another rule turned away.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate bimetal_browser_test;

#[path = "support/board.rs"]
mod board;
mod limits;

use bimetal_core::decision::Rule;
use bimetal_core::outcome::{Outcome, Report};
use bimetal_core::{Engine, Ticket};
use limits::{Worker, from};
use proptest::prelude::*;
use std::sync::Arc;

const CLIENTS: [&str; 3] = ["a", "b", "c"];
const WORKERS: usize = 2;
/// Of calls under way at once.
const SLOTS: usize = 2;

/// A bucket that counts in thousandths of a token, each millisecond.
#[derive(Clone, Debug)]
struct Bucket {
    rate: u64,
    whole: u64,
    level: u64,
    last: u64,
}

impl Bucket {
    fn new(rate: u64, capacity: u64) -> Self {
        Self { rate, whole: capacity * 1_000, level: capacity * 1_000, last: 0 }
    }

    fn has_token(&mut self, now: u64) -> bool {
        self.level = self.whole.min(self.level + (now - self.last) * self.rate);
        self.last = now;
        self.level >= 1_000
    }
}

/// What may be decided, by the buckets of all and of each client, and the slots.
struct Model {
    all: Bucket,
    each: Vec<Bucket>,
    taken: usize,
}

impl Model {
    fn ask(&mut self, now: u64, client: usize) -> Result<(), Rule> {
        let each = &mut self.each[client];
        // Both are asked, so that both know the time.
        let (all_has, each_has) = (self.all.has_token(now), each.has_token(now));
        if !(all_has && each_has) {
            return Err(Rule::RateLimit);
        }
        if self.taken == SLOTS {
            return Err(Rule::Concurrency);
        }
        self.all.level -= 1_000;
        each.level -= 1_000;
        self.taken += 1;
        Ok(())
    }
}

/// Rates that a nanosecond's sixteenth divides: the limiter is exact for them.
fn rate() -> impl Strategy<Value = u64> {
    prop::sample::select(vec![1_u64, 2, 4, 5, 8, 10, 20, 50])
}

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Ask {
        worker: usize,
        client: usize,
    },
    End(usize),
    /// The document is read again by all.
    Load,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0_u64..400).prop_map(Step::Wait),
        6 => (0..WORKERS, 0..CLIENTS.len()).prop_map(|(worker, client)| Step::Ask { worker, client }),
        4 => (0_usize..8).prop_map(Step::End),
        1 => Just(Step::Load),
    ]
}

proptest! {
    #[test]
    fn workers_decide_as_the_model(
        all in (rate(), 1_u64..30),
        each in (rate(), 1_u64..6),
        steps in prop::collection::vec(step(), 1..300),
    ) {
        let fields = format!(
            r#""concurrency": {{"max": {SLOTS}}}, "rate_limits": [
                {{"rate": "{}/s", "capacity": {}, "key": ["policy"]}},
                {{"rate": "{}/s", "capacity": {}, "key": ["client"]}}]"#,
            all.0, all.1, each.0, each.1
        );
        let board = Arc::new(board::TestBoard::default());
        let mut workers: Vec<_> = (0..WORKERS as u64)
            .map(|seed| Worker::with(Engine::with_board(seed, board.clone()), &fields))
            .collect();
        let mut model = Model {
            all: Bucket::new(all.0, all.1),
            each: vec![Bucket::new(each.0, each.1); CLIENTS.len()],
            taken: 0,
        };
        let mut held: Vec<(usize, Ticket)> = Vec::new();
        let mut now = 0;
        for step in steps {
            match step {
                Step::Wait(millis) => now += millis,
                Step::Ask { worker, client } => {
                    let told = workers[worker].at(now).ask(from(CLIENTS[client]));
                    let wanted = model.ask(now, client);
                    prop_assert_eq!(told.as_ref().map(drop).map_err(|rule| *rule), wanted);
                    held.extend(told.ok().map(|ticket| (worker, ticket)));
                }
                Step::End(which) if !held.is_empty() => {
                    let (worker, ticket) = held.swap_remove(which % held.len());
                    let worker = workers[worker].at(now);
                    worker.engine.settle(worker.now, ticket, Report::from(Outcome::Success));
                    model.taken -= 1;
                }
                Step::End(_) => {}
                Step::Load => {
                    for worker in &mut workers {
                        worker.at(now).policies = worker.engine.load(&limits::document(&fields));
                        worker.engine.poll(worker.now);
                    }
                }
            }
        }
    }

    /// In no stretch of time is more admitted than the bucket holds, what flows in, and the bursts that
    /// there was time for.
    #[test]
    fn no_window_has_more_than_bucket_rate_and_bursts(
        rate in rate(),
        capacity in 1_u64..10,
        burst in 1_u64..10,
        calls in prop::collection::vec((0_u64..600, 1_u32..4), 1..200),
    ) {
        let mut worker = Worker::new(&format!(
            r#""rate_limits": [{{"rate": "{rate}/s", "capacity": {capacity},
                "burst": {{"tokens": {burst}, "expires": "500ms", "recovers_after": "2s"}}}}]"#
        ));
        let mut times: Vec<u64> = Vec::new();
        let mut now = 0;
        for (wait, offered) in calls {
            now += wait;
            let admitted = worker.at(now).offered(from("a"), offered);
            times.extend((0..admitted).map(|_| now));
        }
        for (first, start) in times.iter().enumerate() {
            for (last, end) in times.iter().enumerate().skip(first) {
                let count = (last - first + 1) as u64;
                let time = end - start;
                // A burst is whole again no sooner than 2 s after its first call.
                let bursts = time / 2_000 + 1 + u64::from(time > 0);
                let allowed = (capacity + burst * bursts) * 1_000 + time * rate;
                prop_assert!(count * 1_000 <= allowed, "{} in {} ms", count, time);
            }
        }
    }
}
