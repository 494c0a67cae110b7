//! What becomes due, and what others changed, among many scopes: no poll looks at all of them.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

#[cfg(all(target_arch = "wasm32", target_os = "unknown"))]
#[macro_use]
extern crate bimetal_browser_test;

use bimetal_core::board::{AtomicWords, Board, Words};
use bimetal_core::engine::Policies;
use bimetal_core::event::State;
use bimetal_core::outcome::{Outcome, Report};
use bimetal_core::policy::{Document, Host};
use bimetal_core::{Duration, Engine, Facts, Instant, Ticket, Verdict};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

struct Request<'a>(&'a str);

impl Facts for Request<'_> {
    fn header(&self, _: &str) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(self.0.as_bytes()))
    }
}

/// A board that counts how often its words are read, and may know what changed.
#[derive(Debug, Default)]
struct Counting {
    all: Mutex<HashMap<Vec<u8>, Arc<AtomicWords>>>,
    reads: Arc<AtomicU64>,
    knows_changes: AtomicBool,
    /// Numbers of words, and of those that others changed.
    watched: Arc<Mutex<Vec<u64>>>,
}

#[derive(Debug)]
struct CountingWords {
    words: Arc<AtomicWords>,
    reads: Arc<AtomicU64>,
    watched: Arc<Mutex<Vec<u64>>>,
}

impl Board for Counting {
    fn open(&self, key: &[u8], count: usize) -> Option<Arc<dyn Words>> {
        let fresh = || Arc::new(AtomicWords::new(count));
        let words = self.all.lock().unwrap().entry(key.to_vec()).or_insert_with(fresh).clone();
        let (reads, watched) = (self.reads.clone(), self.watched.clone());
        Some(Arc::new(CountingWords { words, reads, watched }))
    }

    fn take_changed(&self, changed: &mut dyn FnMut(u64)) -> bool {
        if self.knows_changes.load(SeqCst) {
            // As if the newest alone had changed.
            self.watched.lock().unwrap().last().copied().into_iter().for_each(changed);
            return true;
        }
        false
    }
}

impl Words for CountingWords {
    fn load(&self, index: usize) -> u64 {
        self.reads.fetch_add(1, SeqCst);
        self.words.load(index)
    }

    fn watch(&self, number: u64) {
        self.watched.lock().unwrap().push(number);
    }

    fn compare_exchange(&self, index: usize, old: u64, new: u64) -> Result<(), u64> {
        self.words.compare_exchange(index, old, new)
    }
}

struct World {
    board: Arc<Counting>,
    engines: [Engine; 2],
    policies: [Policies; 2],
}

impl World {
    fn new(share: &str) -> Self {
        Self::with(share, r#"{"consecutive_failures": 1}"#)
    }

    fn with(share: &str, trip: &str) -> Self {
        let board = Arc::new(Counting::default());
        let mut engines = [1, 2].map(|seed| Engine::with_board(seed, board.clone()));
        let text = format!(
            r#"{{"version": "v1", "policies": [{{"name": "a", "scope": "header:x",
                "scopes": {{"max": 100000}}, "breaker": {{"trip": {trip},
                "open": {{"base": "1s", "jitter": 0}}, "half_open": {{"lease": "10s"}},
                "share": "{share}"}}}}]}}"#
        );
        let document = Document::parse(text.as_bytes(), Host::Native).unwrap();
        let policies = engines.each_mut().map(|engine| engine.load(&document));
        Self { board, engines, policies }
    }

    fn ticket(&mut self, worker: usize, at: Instant, key: &str) -> Ticket {
        match self.engines[worker].admit(at, &self.policies[worker], &Request(key)) {
            Verdict::Admit(admission) => admission.ticket,
            other => panic!("{other:?}"),
        }
    }

    fn call(&mut self, worker: usize, at: Instant, key: &str, outcome: Outcome) {
        let ticket = self.ticket(worker, at, key);
        self.engines[worker].settle(at, ticket, Report::from(outcome));
        while self.engines[worker].take_event().is_some() {}
    }

    /// How often a poll at `at` reads the board.
    fn reads(&mut self, worker: usize, at: Instant) -> u64 {
        let before = self.board.reads.load(SeqCst);
        self.engines[worker].poll(at);
        while self.engines[worker].take_event().is_some() {}
        self.board.reads.load(SeqCst) - before
    }

    fn open(&self, worker: usize, at: Instant) -> usize {
        let breakers = self.engines[worker].breakers(at);
        breakers.filter(|one| one.view.state == State::Open).count()
    }
}

const START: Instant = Instant::from_millis(10_000);
const SCOPES: usize = 5_000;

#[test]
fn probes_among_many_scopes_are_polled_alone() {
    let mut world = World::new("none");
    for number in 0..SCOPES {
        world.call(0, START, &number.to_string(), Outcome::Failure);
    }
    assert_eq!(world.engines[0].next_wakeup(), None);
    let _lost = [
        world.ticket(0, START + Duration::from_secs(3), "7"),
        world.ticket(0, START + Duration::from_secs(2), "4000"),
    ];
    while world.engines[0].take_event().is_some() {}
    let due = |secs: u64| START + Duration::from_secs(secs) + Duration::from_nanos(1);
    for (secs, next) in [(12, Some(due(13))), (13, None)] {
        assert_eq!(world.engines[0].next_wakeup(), Some(due(secs)));
        world.engines[0].poll(due(secs));
        let expired = std::iter::from_fn(|| world.engines[0].take_event()).count();
        assert_eq!((expired, world.engines[0].next_wakeup()), (1, next));
    }
    assert_eq!(world.open(0, due(13)), SCOPES);
}

/// A clock that was far ahead for a while opened a breaker until then. Nobody else writes to it.
#[test]
fn a_clock_that_came_back_leaves_nothing_open_for_longer_than_open_max() {
    let mut world = World::new("none");
    let ahead = START + Duration::from_secs(86_400);
    world.call(0, ahead, "a", Outcome::Failure);
    world.engines[0].poll(ahead);
    world.engines[0].poll(START);
    assert_eq!(world.open(0, START), 1);
    // `open.max` is five minutes by default.
    world.call(0, START + Duration::from_secs(300), "a", Outcome::Success);
    assert_eq!(world.open(0, START), 0);
}

#[test]
fn what_others_did_to_many_scopes_is_learned_within_a_second_and_in_small_steps() {
    let mut world = World::new("process");
    for number in 0..SCOPES {
        let key = number.to_string();
        world.call(0, START, &key, Outcome::Success);
        world.call(1, START, &key, Outcome::Failure);
    }
    world.reads(0, START);
    let mut at = START;
    for _ in 0..10 {
        // Again and again at the same moment costs little each time.
        assert!((0..5).all(|_| world.reads(0, at) <= 64));
        at += Duration::from_millis(100);
        let reads = world.reads(0, at);
        assert!(reads <= SCOPES as u64 / 10 + 64, "{reads} reads in a tick");
    }
    assert_eq!(world.open(0, at), SCOPES);
}

#[test]
fn few_shared_scopes_are_all_looked_at_by_every_poll() {
    let mut world = World::new("process");
    for number in 0..1_000 {
        let key = number.to_string();
        world.call(0, START, &key, Outcome::Success);
        world.call(1, START, &key, Outcome::Failure);
    }
    assert_eq!((world.reads(0, START), world.open(0, START)), (1_000, 1_000));
    assert_eq!(world.reads(0, START), 1_000);
}

#[test]
fn a_board_that_knows_what_changed_is_asked_for_that_alone() {
    let mut world = World::new("process");
    for number in 0..1_000 {
        world.call(0, START, &number.to_string(), Outcome::Success);
    }
    world.board.knows_changes.store(true, SeqCst);
    let words = world.board.watched.lock().unwrap().len();
    assert_eq!((words, world.reads(0, START)), (1_000, 1));
}

#[test]
fn windows_are_shown_once_and_an_idle_poll_looks_at_none() {
    let rate =
        r#"{"failure_rate": {"threshold": 0.5, "window": {"time": "10s"}, "minimum_calls": 2000}}"#;
    let mut world = World::with("process", rate);
    world.board.knows_changes.store(true, SeqCst);
    for number in 0..SCOPES {
        world.call(0, START, &number.to_string(), Outcome::Failure);
    }
    // A thousand calls of one scope want it shown once.
    (0..1_000).for_each(|_| world.call(0, START, "7", Outcome::Failure));
    let interval = START + Duration::from_millis(100);
    assert_eq!(world.engines[0].next_wakeup(), Some(interval));
    assert!(world.reads(0, interval) > SCOPES as u64, "each is shown");
    // The board says that one changed; nothing else is looked at.
    assert!(world.reads(0, interval + Duration::from_millis(100)) <= 12);
    assert_eq!(world.engines[0].next_wakeup(), None);
    // The other worker counts what was shown: with 999 of its own the minimum is there.
    let at = interval + Duration::from_millis(200);
    (0..998).for_each(|_| world.call(1, at, "7", Outcome::Failure));
    assert_eq!(world.open(1, at), 0);
    world.call(1, at, "7", Outcome::Failure);
    assert_eq!(world.open(1, at), 1);
}
