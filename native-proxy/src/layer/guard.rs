//! What all layers of one guard share.

use super::replica::{Listener, Replica};
use crate::board::MemoryBoard;
use crate::clock::Clock;
use crate::worker::unshared;
use bimetal_core::engine::{Snapshot, Totals};
use bimetal_core::event::Event;
use bimetal_core::policy::Document;
use bimetal_core::series::Counts;
use bimetal_core::{Duration, Engine, Instant};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// How often a replica whose thread has no calls looks at the board and tells it what it counted.
const TICK: Duration = Duration::from_millis(100);

/// A policy document at work in this process. Clones are the same guard.
///
/// Each thread decides with a replica of its own. Breakers with `share: process`, which is the
/// default, decide as one over a board in memory; with `share: none` every replica trips alone.
#[derive(Clone, Debug)]
pub struct Guard {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    replicas: Box<[Arc<Replica>]>,
    clock: Clock,
    // When the next tick is due, in nanoseconds of `clock`.
    next_tick: AtomicU64,
}

/// How a guard is made, where the defaults do not do.
#[derive(Default)]
pub struct GuardBuilder {
    replicas: Option<NonZeroUsize>,
    listener: Option<Listener>,
}

impl GuardBuilder {
    /// How many replicas there are; by default as many as the process may use processors. More
    /// threads than that share them. With one, windows of calls are exact over all threads, which
    /// then take turns.
    #[must_use]
    pub fn replicas(mut self, count: NonZeroUsize) -> Self {
        self.replicas = Some(count);
        self
    }

    /// Calls `listener` for each change of a breaker's state, on the thread whose call noticed it.
    /// Each replica tells of its own: those that followed another say so in
    /// [`Transition::adopted`](bimetal_core::breaker::Transition::adopted).
    #[must_use]
    pub fn on_event(mut self, listener: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.listener = Some(Arc::new(listener));
        self
    }

    /// A guard by `document`.
    pub fn build(self, document: &Document) -> Guard {
        let clock = Clock::start();
        let board = Arc::new(MemoryBoard::default());
        let count = self
            .replicas
            .or_else(|| std::thread::available_parallelism().ok())
            .map_or(1, NonZeroUsize::get);
        let replicas = (0..count).map(|_| {
            // Seeds that nobody can guess: they fix jitter and the order of hash tables.
            let seed = RandomState::new().build_hasher().finish();
            let engine = Engine::with_board(seed, board.clone());
            Arc::new(Replica::new(engine, clock, self.listener.clone()))
        });
        let guard = Guard {
            shared: Arc::new(Shared {
                replicas: replicas.collect(),
                clock,
                next_tick: AtomicU64::new(TICK.as_nanos()),
            }),
        };
        guard.load(document);
        guard
    }
}

impl std::fmt::Debug for GuardBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GuardBuilder").field("replicas", &self.replicas).finish_non_exhaustive()
    }
}

impl Guard {
    /// A guard by `document`, with a replica for each processor.
    pub fn new(document: &Document) -> Self {
        Self::builder().build(document)
    }

    /// A guard with other settings.
    pub fn builder() -> GuardBuilder {
        GuardBuilder::default()
    }

    /// Takes another document. Breakers whose policy is the same keep their state. A call that is
    /// decided meanwhile is decided by the one or the other.
    pub fn load(&self, document: &Document) {
        let now = self.now();
        for replica in &self.shared.replicas {
            // A copy for each: see there.
            let document = unshared(document);
            replica.load(now, &document);
        }
    }

    /// Sums over all replicas. `issued - settled` calls are under way.
    pub fn totals(&self) -> Totals {
        let mut sum = Totals::default();
        for replica in &self.shared.replicas {
            let one = replica.with(|engine| engine.totals()).unwrap_or_default();
            sum.issued += one.issued;
            sum.settled += one.settled;
            sum.events_lost += one.events_lost;
            sum.scopes += one.scopes;
            sum.limit_keys += one.limit_keys;
        }
        sum
    }

    /// Shows every breaker of every replica: the replica's number, and the breaker. The replica is
    /// locked meanwhile: `visit` must not use this guard.
    pub fn breakers(&self, mut visit: impl FnMut(usize, &Snapshot<'_>)) {
        let now = self.now();
        for (index, replica) in self.shared.replicas.iter().enumerate() {
            replica.with(|engine| {
                engine.poll(now);
                engine.breakers(now).for_each(|breaker| visit(index, &breaker));
            });
        }
    }

    /// Shows the counts that metrics are published from: the replica's number, policy, label of the
    /// scope, counts. What is counted is to be summed over replicas. The replica is locked
    /// meanwhile: `visit` must not use this guard.
    pub fn series(&self, mut visit: impl FnMut(usize, &str, &str, &Counts)) {
        for (index, replica) in self.shared.replicas.iter().enumerate() {
            replica.with(|engine| {
                let rows = engine.series();
                rows.for_each(|(policy, scope, counts)| visit(index, policy, scope, counts));
            });
        }
    }

    /// How often a decision itself failed, or a listener: the calls passed.
    pub fn decision_errors(&self) -> u64 {
        let replicas = self.shared.replicas.iter();
        replicas.map(|replica| replica.decision_errors()).sum()
    }

    /// The time now.
    pub(super) fn now(&self) -> Instant {
        self.shared.clock.now()
    }

    /// The clock of all its replicas.
    pub(super) fn clock(&self) -> Clock {
        self.shared.clock
    }

    /// The replica of the thread that asks. Looks after the others where that is due.
    pub(super) fn replica(&self, now: Instant) -> &Arc<Replica> {
        self.tick(now);
        let replicas = &self.shared.replicas;
        &replicas[thread_number() % replicas.len()]
    }

    // There is no thread to do this by the clock: the first call after it is due does it. Without
    // calls nobody is there to see that it was not done.
    fn tick(&self, now: Instant) {
        let next = &self.shared.next_tick;
        let due = next.load(Ordering::Relaxed);
        if now.as_nanos() < due {
            return;
        }
        let after = (now + TICK).as_nanos();
        // Whoever comes second leaves it to the first.
        if next.compare_exchange(due, after, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.shared.replicas.iter().for_each(|replica| replica.tick(now));
        }
    }
}

/// The number of this thread among those that ever asked, from 0.
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: usize = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    // A thread that ends has lost its number; any replica will do.
    NUMBER.try_with(|number| *number).unwrap_or(0)
}
