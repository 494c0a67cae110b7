//! Seeded histories of workers that share slots, and what must hold after every step: no slot is lost and
//! none is given twice, nobody who waits is forgotten, nobody is decided twice or waits too long.

use super::worker::{Answer, Waits, Worker};
use bimetal_core::board::{Board, Words};
use bimetal_core::outcome::Outcome;
use bimetal_core::rng::Rng;
use bimetal_core::{Duration, Ticket, Waiting};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const WORKERS: usize = 3;
const HISTORIES: u64 = 300;
const STEPS: u64 = 400;
/// A timer comes no later than this; so does what another worker rang for.
const LATE: u64 = 2;

/// A board that notes that it rang.
#[derive(Debug, Default)]
struct Bell {
    words: super::board::TestBoard,
    rang: AtomicBool,
}

impl Board for Bell {
    fn open(&self, key: &[u8], count: usize) -> Option<Arc<dyn Words>> {
        self.words.open(key, count)
    }

    fn ring(&self) {
        self.rang.store(true, Ordering::Relaxed);
    }
}

#[derive(Debug, Default)]
struct Seen {
    admitted: u64,
    waited: u64,
    rejected: u64,
    left: u64,
    handed_over: u64,
}

struct World {
    max: u32,
    max_wait: u64,
    bell: Arc<Bell>,
    workers: Vec<Worker>,
    waiting: [HashMap<Waiting, Waits>; WORKERS],
    under_way: Vec<(usize, Ticket)>,
    now: u64,
    seen: Seen,
}

impl World {
    fn new(rng: &mut Rng) -> Self {
        let max = 1 + (rng.next_u64() % 4) as u32;
        let max_wait = 5 + rng.next_u64() % 60;
        let queue = 1 + rng.next_u64() % 8;
        let share = if rng.next_share() < 0.7 { "process" } else { "none" };
        let fields = format!(
            r#""concurrency": {{"max": {max}, "share": "{share}", "queue": {{"max": {queue}, "max_wait": "{max_wait}ms"}}}}"#
        );
        let bell = Arc::new(Bell::default());
        let workers = (0..WORKERS as u64).map(|seed| Worker::on(bell.clone(), seed, &fields));
        let all = if share == "none" { max * WORKERS as u32 } else { max };
        Self {
            max: all,
            max_wait,
            workers: workers.collect(),
            bell,
            waiting: Default::default(),
            under_way: Vec::new(),
            now: 0,
            seen: Seen::default(),
        }
    }

    fn told(&mut self, worker: usize, answer: Answer) {
        match answer {
            Answer::Admitted(ticket) => {
                self.seen.admitted += 1;
                self.under_way.push((worker, ticket));
            }
            Answer::Waits(waits) => {
                assert!(waits.until > super::at(self.now), "it would ask for ever");
                self.waiting[worker].insert(waits.waiting, waits);
            }
            Answer::Rejected(_) => self.seen.rejected += 1,
            Answer::Passed => panic!("passed"),
        }
    }

    /// Who was woken, and whose time is over, asks again; until nobody is left.
    fn settle_down(&mut self) {
        loop {
            if self.bell.rang.swap(false, Ordering::Relaxed) {
                self.workers
                    .iter_mut()
                    .for_each(|one| one.engine.serve_waiting(super::at(self.now)));
                self.seen.handed_over += 1;
            }
            let mut due = Vec::new();
            for (worker, waiting) in self.waiting.iter().enumerate() {
                let late = waiting.values().filter(|call| call.until <= super::at(self.now));
                due.extend(late.map(|call| (worker, call.waiting)));
            }
            due.sort_by_key(|(worker, call)| (*worker, format!("{call:?}")));
            for worker in 0..WORKERS {
                let woken = self.workers[worker].woken();
                due.extend(woken.into_iter().map(|waiting| (worker, waiting)));
            }
            if due.is_empty() && !self.bell.rang.load(Ordering::Relaxed) {
                return;
            }
            for (worker, waiting) in due {
                // One that has left, or asked by its timer, is woken in vain.
                if let Some(call) = self.waiting[worker].remove(&waiting) {
                    let answer = self.workers[worker].again(self.now, call);
                    self.told(worker, answer);
                }
            }
        }
    }

    fn step(&mut self, rng: &mut Rng) {
        let worker = (rng.next_u64() % WORKERS as u64) as usize;
        match rng.next_u64() % 10 {
            0..4 => {
                let answer = self.workers[worker].ask(self.now);
                self.seen.waited += u64::from(matches!(answer, Answer::Waits(_)));
                self.told(worker, answer);
            }
            4..7 if !self.under_way.is_empty() => {
                let place = (rng.next_u64() % self.under_way.len() as u64) as usize;
                let (worker, ticket) = self.under_way.swap_remove(place);
                self.workers[worker].settle(self.now, ticket, Outcome::Success);
            }
            7 => {
                let mut calls: Vec<_> = self.waiting[worker].values().copied().collect();
                calls.sort_by_key(|call| (call.begun, call.until));
                if let Some(call) = calls.first() {
                    self.seen.left += 1;
                    self.waiting[worker].remove(&call.waiting);
                    self.workers[worker].engine.forget(super::at(self.now), call.waiting);
                }
            }
            _ => self.now += rng.next_u64() % (LATE + 1),
        }
        self.settle_down();
        self.check();
    }

    fn check(&mut self) {
        let under_way = self.under_way.len() as u32;
        assert!(under_way <= self.max, "{under_way} of {}", self.max);
        let waiting: usize = self.waiting.iter().map(HashMap::len).sum();
        for (worker, calls) in self.workers.iter().zip(&self.waiting) {
            assert_eq!(worker.waiting() as usize, calls.len(), "a call is forgotten, or not");
        }
        for call in self.waiting.iter().flat_map(HashMap::values) {
            let waited = super::at(self.now).since(call.begun);
            assert!(waited <= Duration::from_millis(self.max_wait + LATE), "{waited}");
        }
        let views: Vec<_> = self.workers.iter().flat_map(|one| one.engine.limits()).collect();
        let shared = views.first().is_some_and(|limit| limit.is_shared);
        let taken: u32 = match shared {
            true => views[0].view.taken,
            false => views.iter().map(|limit| limit.view.taken).sum(),
        };
        assert_eq!(taken, under_way, "a slot is lost, or given twice");
        // Nobody waits beside a free slot.
        assert!(waiting == 0 || !shared || under_way == self.max, "{waiting} wait in vain");
    }
}

#[test]
fn the_rules_hold_in_every_history() {
    let mut all = Seen::default();
    for seed in 0..HISTORIES {
        let mut rng = Rng::new(seed);
        let mut world = World::new(&mut rng);
        for _ in 0..STEPS {
            world.step(&mut rng);
        }
        // Everybody is decided in the end, once.
        while let Some((worker, ticket)) = world.under_way.pop() {
            world.workers[worker].settle(world.now, ticket, Outcome::Success);
            world.settle_down();
            world.check();
        }
        assert!(world.waiting.iter().all(HashMap::is_empty));
        let now = world.now;
        assert!(world.workers.iter_mut().all(|one| one.is_idle(now)));
        let totals: Vec<_> = world.workers.iter().map(|one| one.engine.totals()).collect();
        let issued: u64 = totals.iter().map(|totals| totals.issued).sum();
        let settled: u64 = totals.iter().map(|totals| totals.settled).sum();
        assert_eq!((issued, settled), (world.seen.admitted, world.seen.admitted));
        let Seen { admitted, waited, rejected, left, handed_over } = world.seen;
        all.admitted += admitted;
        all.waited += waited;
        all.rejected += rejected;
        all.left += left;
        all.handed_over += handed_over;
    }
    let Seen { admitted, waited, rejected, left, handed_over } = all;
    let seen = [admitted, waited, rejected, left, handed_over];
    assert!(seen.iter().all(|count| *count > HISTORIES), "{seen:?}");
}

/// Calls of a worker that others keep from its slots have their turn.
#[test]
fn a_worker_is_not_starved_by_another() {
    let bell = Arc::new(Bell::default());
    let fields = r#""concurrency": {"max": 1, "queue": {"max": 9, "max_wait": "1h"}}"#;
    let mut busy = Worker::on(bell.clone(), 1, fields);
    let mut quiet = Worker::on(bell.clone(), 2, fields);
    let mut under_way = busy.ask(0).admitted();
    let wants = super::waits(quiet.ask(1));
    let mut queue: Vec<_> = (2..8).map(|millis| super::waits(busy.ask(millis))).collect();
    for _ in 0..2 {
        busy.settle(10, under_way, Outcome::Success);
        if bell.rang.load(Ordering::Relaxed) {
            quiet.engine.serve_waiting(super::at(10));
            assert_eq!(quiet.woken(), [wants.waiting]);
            return;
        }
        assert_eq!(busy.woken(), [queue[0].waiting]);
        under_way = busy.again(11, queue.remove(0)).admitted();
    }
    panic!("the other worker never has its turn");
}
