//! What a worker keeps over configuration updates: the one thread-local of the filter.
//!
//! Envoy keeps a worker's VM while the code is unchanged, but makes a new root context for every
//! configuration. So breakers live here, one engine per plugin name, and die with the last root
//! context of that name. Two plugins of different names in one VM do not see each other. By which
//! policies a request is judged is its root context's matter: see [`crate::root`].

use crate::board::WorkerBoard;
use crate::memory;
use crate::metrics::{Own, Publisher};
use crate::parked::Parked;
use crate::port::{Host, HostError, Level};
use crate::watch::Watch;
use bimetal_core::engine::Tracing;
use bimetal_core::event::EventKind;
use bimetal_core::policy::Document;
use bimetal_core::{Duration, Engine, Instant};
use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;

/// Engines by the name of their plugin.
type Workers = Vec<(Box<[u8]>, Weak<Worker>)>;

thread_local! {
    static WORKERS: RefCell<Workers> = const { RefCell::new(Vec::new()) };
}

/// The engine of the plugin `name` in this VM, made where there is none.
pub fn worker(host: &impl Host, name: &[u8]) -> Rc<Worker> {
    WORKERS.with(|workers| {
        // Nothing in here calls back into the host, so the table is never taken twice. Were it,
        // an engine of its own is the way to go on.
        let Ok(mut workers) = workers.try_borrow_mut() else {
            return Rc::new(Worker::new(host, name));
        };
        workers.retain(|(_, worker)| worker.strong_count() > 0);
        let same = workers.iter().find(|(taken, _)| &**taken == name);
        if let Some(worker) = same.and_then(|(_, worker)| worker.upgrade()) {
            return worker;
        }
        let worker = Rc::new(Worker::new(host, name));
        workers.push((name.into(), Rc::downgrade(&worker)));
        worker
    })
}

/// What jitter and hash tables start from. It differs from worker to worker, for jitter must not trip
/// them in step, and no client may know it. Where the host gives no random number it is the time, and
/// the second value says why.
fn seed(host: &impl Host) -> (u64, Option<HostError>) {
    match host.random() {
        Ok(random) => (random, None),
        Err(error) => (host.now().unwrap_or(Instant::ZERO).as_nanos(), Some(error)),
    }
}

/// An engine and what belongs to it: all that root contexts of one name share.
#[derive(Debug)]
pub struct Worker(RefCell<WorkerState>);

/// What a [`Worker`] holds.
#[derive(Debug)]
pub struct WorkerState {
    /// The policies at work.
    pub engine: Engine,
    /// Requests that the tick comes back to.
    pub watch: Watch,
    /// Requests that wait for a slot.
    pub parked: Parked,
    publisher: Publisher,
    errors: u64,
    board: Option<Arc<dyn WorkerBoard>>,
    unreported: Option<HostError>,
    tracing: Tracing,
    measured_next: Instant,
}

impl Worker {
    fn new(host: &impl Host, name: &[u8]) -> Self {
        let (seed, no_random) = seed(host);
        let (board, no_board) = match host.board(name, seed) {
            Ok(board) => (board, None),
            // Each worker decides for itself: less than was asked for, more than nothing.
            Err(error) => (None, Some(error)),
        };
        let mut engine = match &board {
            Some(board) => Engine::with_board(seed, board.clone()),
            None => Engine::new(seed),
        };
        engine.set_room(memory::has_room);
        engine.set_can_wait(true);
        let mut state = WorkerState {
            engine,
            watch: Watch::default(),
            parked: Parked::default(),
            publisher: Publisher::default(),
            errors: 0,
            board,
            unreported: None,
            tracing: Tracing::default(),
            measured_next: Instant::ZERO,
        };
        no_random.into_iter().chain(no_board).for_each(|error| state.failed(error));
        Self(RefCell::new(state))
    }

    /// Does something with the engine; `None` when it is in use, which only a host that calls back
    /// in the middle of a call could bring about.
    pub fn with<R>(&self, act: impl FnOnce(&mut WorkerState) -> R) -> Option<R> {
        self.0.try_borrow_mut().ok().map(|mut state| act(&mut state))
    }

    /// Counts a host call that failed.
    pub fn failed(&self, error: HostError) {
        self.with(|state| state.failed(error));
    }

    /// Gives back a value, or counts why there is none.
    pub fn ok<T>(&self, result: Result<T, HostError>) -> Option<T> {
        result.map_err(|error| self.failed(error)).ok()
    }
}

impl WorkerState {
    /// Counts a host call that failed; the log says so on the next tick, so that a host that fails
    /// at every request does not fill the log.
    pub fn failed(&mut self, error: HostError) {
        self.errors += 1;
        self.unreported = Some(error);
    }

    /// Writes the events that wait. To be called after every verb of the engine.
    pub fn write_events(&mut self, host: &impl Host) {
        while let Some(event) = self.engine.take_event() {
            if self.tracing == Tracing::All {
                host.log(Level::Debug, &event.to_string());
            } else if matches!(event.kind, EventKind::Anomaly(_)) {
                host.log(Level::Info, &event.to_string());
            }
        }
    }

    /// Asks the host for its log level: it can change at any time, and asking at every request
    /// would cost.
    pub fn follow_log_level(&mut self, host: &impl Host) {
        self.tracing = if host.logs(Level::Debug) { Tracing::All } else { Tracing::Transitions };
        self.engine.set_tracing(self.tracing);
    }

    /// Does what is due by the clock, and publishes.
    pub fn tick(&mut self, host: &impl Host) {
        self.follow_log_level(host);
        match host.now() {
            Ok(now) => self.poll(host, now),
            Err(error) => self.failed(error),
        }
        self.errors += self.board.as_ref().map_or(0, |board| board.take_errors());
        let unshared = self.board.as_ref().map_or(0, |board| board.unshared());
        let own = Own { errors: self.errors, unshared };
        if let Err(error) = self.publisher.publish(host, &self.engine, own) {
            self.failed(error);
        }
        if let Some(error) = self.unreported.take() {
            host.log(Level::Warn, &format!("{error}; {} failures so far", self.errors));
        }
    }

    fn poll(&mut self, host: &impl Host, now: Instant) {
        match self.board.clone() {
            Some(board) => board.tick(&mut || self.engine.poll(now)),
            None => self.engine.poll(now),
        }
        self.measure(now);
        self.write_events(host);
    }

    /// Looks what budgets have left, every second: there may be many of them.
    fn measure(&mut self, now: Instant) {
        if now >= self.measured_next {
            self.measured_next = now + Duration::from_secs(1);
            self.engine.measure(now);
        }
    }

    /// The policies of a new document, before its engine is asked for anything.
    pub fn expect(&mut self, document: &Document) {
        if let Some(board) = &self.board {
            document.policies.iter().for_each(|policy| board.expect(policy));
        }
    }

    /// Publishes that a document judges requests; `skipped` parts of it are not supported here.
    pub fn in_force(&mut self, host: &impl Host, skipped: usize) {
        if let Err(error) = self.publisher.in_force(host, skipped) {
            self.failed(error);
        }
    }

    /// Records the duration of a call.
    pub fn took(&mut self, host: &impl Host, policy: &Arc<str>, millis: u64) {
        if let Err(error) = self.publisher.took(host, policy, millis) {
            self.failed(error);
        }
    }

    /// A rejection is answered by the policy's own answer.
    pub fn fell_back(&mut self, policy: &Arc<str>) {
        self.publisher.fell_back(policy);
    }

    /// Takes this worker out of the gauges.
    pub fn withdraw(&mut self, host: &impl Host) {
        if let Err(error) = self.publisher.withdraw(host) {
            self.failed(error);
        }
    }
}
