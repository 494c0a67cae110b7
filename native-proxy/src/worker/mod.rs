//! One worker: a thread with its own listeners, connections, pools and engine. It shares nothing
//! with other workers but the words of breakers on the board, which are atomics; so a request waits
//! for no other thread. Only a scope that this worker has not seen before takes the board's lock.

mod at_work;
mod connections;
pub(crate) mod edges;
mod ended;
mod failures;
mod fallbacks;
pub(crate) mod histogram;
mod keeper;
mod mesh;
mod recurring;
mod retries;
mod routing;
pub(crate) mod stats;
#[cfg(test)]
mod tests;
mod thread;
mod told;
mod waiting;
mod warnings;

use connections::Connections;
pub(crate) use connections::Place;
use edges::Edges;
pub(crate) use ended::CLASSES;
use ended::EndedRequests;
pub(crate) use failures::FailureLog;
use failures::Failures;
pub(crate) use fallbacks::FallbackCounts;
use fallbacks::Fallbacks;
pub(crate) use histogram::Histogram;
pub(crate) use mesh::Membership;
pub(crate) use routing::{Route, Routing, Target};
pub(crate) use stats::{BreakerRow, LimitRow, Look, WorkerStats};
pub(crate) use thread::{Command, Start, spawn};
pub(crate) use waiting::WaitingCall;
use waiting::WaitingCalls;
pub(crate) use warnings::Interactions;
use warnings::Warnings;

use crate::attempt::AttemptError;
use crate::call::Ledger;
use crate::clock::Clock;
use crate::config::Settings;
use crate::framing::Refusals;
use crate::history::{History, What};
use crate::interactions::Kind;
use crate::log::{CORE_EVENTS, Level};
use crate::stale::StaleAnswers;
use crate::telemetry::{BreakerWitness, Tracer};
use crate::upstream::{Directory, Endpoint, Resolver, Surroundings};
use bimetal_core::board::far::Member;
use bimetal_core::breaker::{Order, View};
use bimetal_core::decision::BreakerPlace;
use bimetal_core::engine::{Engine, Policies, Tracing};
use bimetal_core::event::EventKind;
use bimetal_core::facts::Facts;
use bimetal_core::outcome::{FailureRules, Report};
use bimetal_core::policy::{Document, Policy};
use bimetal_core::{Instant, Settled, Ticket, Verdict, Waiting};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::{Notify, watch};

/// The state of one worker.
#[derive(Debug)]
pub(crate) struct Worker {
    /// Its number, from 0.
    pub index: usize,
    /// The process's clock.
    pub clock: Clock,
    /// The path under which a listener answers for the proxy itself; see [`crate::admin`].
    pub ready_path: Arc<str>,
    /// Requests in which our own code panicked.
    pub panics: Cell<u64>,
    /// Requests that were refused before anything looked at what they ask for.
    pub refusals: Rc<Refusals>,
    /// Which requests are recorded as traces; none where traces go nowhere.
    pub tracer: Option<Tracer>,
    engine: RefCell<Engine>,
    // What is in force, as `routing` is.
    policies: RefCell<Rc<Policies>>,
    routing: RefCell<Rc<Routing>>,
    ended: EndedRequests,
    edges: Edges,
    history: Arc<History>,
    decision_errors: Cell<u64>,
    failures: Failures,
    /// What all workers know of how services call each other.
    pub interactions: Arc<Interactions>,
    warnings: Warnings,
    /// Answers that are kept, for all workers.
    pub stale: Arc<StaleAnswers>,
    fallbacks: Fallbacks,
    resolver: Rc<Resolver>,
    directory: Arc<Directory>,
    seed: u64,
    level: Level,
    connections: RefCell<Connections>,
    // Rung when a connection ends.
    left: Notify,
    draining: Cell<bool>,
    cuts_off: Cell<bool>,
    // Tells the listeners.
    drain: watch::Sender<bool>,
    waiting: WaitingCalls,
    // Rung when another worker has a slot that calls of this one may wait for.
    bell: Arc<Notify>,
    // Rung when a breaker may have something to do earlier than the keeper knows.
    keeper: Notify,
    // Of a mesh: rung when a breaker changed its state.
    urgent: Option<Arc<Notify>>,
}

impl Worker {
    /// A worker without configuration.
    pub(crate) fn new(start: &Start) -> Rc<Self> {
        let mut engine = Engine::with_board(start.seed, start.board.clone());
        engine.set_can_wait(true);
        if let Some(mesh) = &start.mesh {
            let member = Member { replica: mesh.replica, worker: start.member() };
            engine.join_mesh(member, mesh.sequence);
        }
        if start.level == Level::Debug {
            engine.set_tracing(Tracing::All);
        }
        Rc::new(Self {
            index: start.index,
            clock: start.clock,
            ready_path: start.ready_path.clone(),
            panics: Cell::new(0),
            refusals: Rc::default(),
            tracer: start.tracer(),
            engine: RefCell::new(engine),
            policies: RefCell::default(),
            routing: RefCell::default(),
            ended: EndedRequests::default(),
            edges: Edges::default(),
            history: start.history.clone(),
            decision_errors: Cell::new(0),
            failures: Failures::new(start.failure_log.clone()),
            interactions: start.interactions.clone(),
            warnings: Warnings::new(&start.interactions),
            stale: start.stale.clone(),
            fallbacks: Fallbacks::default(),
            resolver: Rc::default(),
            directory: start.directory.clone(),
            seed: start.seed,
            level: start.level,
            connections: RefCell::default(),
            left: Notify::new(),
            draining: Cell::new(false),
            cuts_off: Cell::new(false),
            drain: watch::Sender::new(false),
            waiting: WaitingCalls::default(),
            bell: start.board.bell(),
            keeper: Notify::new(),
            urgent: start.mesh.as_ref().map(|mesh| mesh.urgent.clone()),
        })
    }

    /// Takes new settings. Breakers whose policy is the same keep their state, upstreams that are
    /// the same keep their connections.
    pub(crate) fn load(&self, settings: &Settings) {
        // Whoever reloads has mended something, a name perhaps.
        self.resolver.forget();
        if let Some(tracer) = &self.tracer {
            tracer.load(&settings.telemetry);
        }
        let document = unshared(&settings.document);
        self.ended.load(&document.policies);
        self.stale.load(&document);
        let around = Surroundings {
            resolver: &self.resolver,
            directory: &self.directory,
            workers: settings.workers,
            seed: self.seed,
        };
        let routing = Routing::build(settings, &self.routing.borrow(), around);
        self.routing.replace(Rc::new(routing));
        let mut engine = self.engine.borrow_mut();
        self.policies.replace(Rc::new(engine.load(&document)));
        // What is due in breakers that go is carried out before they do.
        engine.poll(self.clock.now());
        self.drain_events(&mut engine);
        self.keeper.notify_one();
    }

    /// Routes and upstreams in force.
    pub(crate) fn routing(&self) -> Rc<Routing> {
        self.routing.borrow().clone()
    }

    /// Policies in force.
    pub(crate) fn policies(&self) -> Rc<Policies> {
        self.policies.borrow().clone()
    }

    /// Asks the engine. Should it fail, the call passes: a breaker must not be the outage.
    pub(crate) fn admit<'p>(
        &self,
        now: Instant,
        policies: &'p Policies,
        facts: &dyn Facts,
    ) -> Verdict<'p> {
        self.decide(|engine| engine.admit(now, policies, facts))
    }

    /// Asks it for a call that has waited since `begun`.
    pub(crate) fn admit_again<'p>(
        &self,
        now: Instant,
        policies: &'p Policies,
        facts: &dyn Facts,
        waiting: Waiting,
        begun: Instant,
    ) -> Verdict<'p> {
        self.decide(|engine| engine.admit_again(now, policies, facts, waiting, begun))
    }

    #[inline]
    fn decide<'p>(&self, ask: impl FnOnce(&mut Engine) -> Verdict<'p>) -> Verdict<'p> {
        let decided = catch_unwind(AssertUnwindSafe(|| {
            let mut engine = self.engine.borrow_mut();
            let verdict = ask(&mut engine);
            self.drain_events(&mut engine);
            verdict
        }));
        match decided {
            Ok(verdict) => {
                if matches!(&verdict, Verdict::Admit(admission) if admission.ticket.is_probe()) {
                    // A probe's lease may end before anything the keeper waits for.
                    self.keeper.notify_one();
                }
                verdict
            }
            Err(_) => {
                self.decision_error();
                Verdict::Unmatched
            }
        }
    }

    /// Carries out what an operator orders of one scope's breaker. False where there is none.
    pub(crate) fn order(&self, policy: &str, scope: &[u8], order: Order) -> bool {
        let now = self.clock.now();
        self.tell(|engine| engine.order(now, policy, scope, order)).unwrap_or(false)
    }

    /// Whether there is a breaker of `policy` for `scope`.
    pub(crate) fn has_breaker(&self, policy: &str, scope: &[u8]) -> bool {
        self.engine.borrow().has_breaker(policy, scope)
    }

    /// A try failed.
    pub(crate) fn upstream_failed(&self, upstream: &Arc<str>, error: &AttemptError) {
        self.failures.add(self.clock.now(), upstream, error);
    }

    /// Something was noticed in how `policy`'s callers work.
    pub(crate) fn warns(&self, policy: &Policy, kind: Kind, what: fmt::Arguments<'_>) {
        self.warnings.add(self.clock.now(), &policy.name, kind, what);
    }

    /// Tells the engine of a call. What happened in it is written down. None where it could not be
    /// told.
    fn tell<T>(&self, verb: impl FnOnce(&mut Engine) -> T) -> Option<T> {
        let Ok(mut engine) = self.engine.try_borrow_mut() else {
            self.decision_error();
            return None;
        };
        let told = verb(&mut engine);
        self.drain_events(&mut engine);
        Some(told)
    }

    /// A call's breaker now, where it has one.
    pub(crate) fn breaker(&self, now: Instant, at: BreakerPlace) -> Option<View> {
        self.engine.try_borrow().ok()?.breaker(now, at)
    }

    /// Whether the worker drains: it takes no new work and finishes what it has.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Returns when the worker drains.
    pub(crate) async fn drains(&self) {
        // The sender is ours: the channel cannot close.
        drop(self.drain.subscribe().wait_for(|draining| *draining).await);
    }

    /// A drain is over: what is left ends now.
    pub(crate) fn cut_off(&self) {
        self.cuts_off.set(true);
    }

    /// Whether what ends now is cut off.
    pub(crate) fn cuts_off(&self) -> bool {
        self.cuts_off.get()
    }

    fn decision_error(&self) {
        self.decision_errors.set(self.decision_errors.get() + 1);
    }

    #[inline]
    fn drain_events(&self, engine: &mut Engine) {
        while let Some(event) = engine.take_event() {
            if let EventKind::Transition(change) = &event.kind
                && !change.adopted
            {
                let what = What::Changed(self.index, *change);
                self.history.add(change.at, &event.policy, event.scope_name(), what);
                if let Some(urgent) = &self.urgent {
                    urgent.notify_one();
                }
            }
            if self.level == Level::Debug {
                tracing::debug!(target: CORE_EVENTS, "{event}");
            } else {
                told::tell(&event);
            }
            self.keeper.notify_one();
        }
        while let Some(waiting) = engine.take_woken() {
            self.waiting.wake(waiting);
        }
    }
}

impl Ledger for Rc<Worker> {
    type Witness = Rc<BreakerWitness>;
    type Endpoint = Rc<Endpoint>;

    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn answered(&self, now: Instant, ticket: &mut Ticket) {
        self.tell(|engine| engine.answered(now, ticket));
    }

    fn upstream_clock(&self, now: Instant, ticket: &Ticket, runs: bool) {
        self.tell(|engine| engine.upstream_clock(now, ticket, runs));
        // The lease may end earlier than the keeper knows.
        self.keeper.notify_one();
    }

    fn wasted(&self, ticket: &Ticket) {
        self.tell(|engine| engine.wasted(ticket));
    }

    fn settle(&self, now: Instant, ticket: Ticket, report: Report) -> Option<Settled> {
        self.tell(|engine| engine.settle(now, ticket, report))
    }

    fn breaker(&self, now: Instant, at: BreakerPlace) -> Option<View> {
        Worker::breaker(self, now, at)
    }
}

/// A copy of its own: workers that count references to the same policy would pass its cache line
/// to and fro with each request.
pub(crate) fn unshared(document: &Document) -> Document {
    let mut document = document.clone();
    for policy in &mut document.policies {
        let mut own = Policy::clone(policy);
        own.name = Arc::from(&*own.name);
        own.failure = Arc::new(FailureRules::clone(&own.failure));
        *policy = Arc::new(own);
    }
    document
}
