//! Replicas, each a process of one or two workers, with clocks of their own.

use super::board::TestBoard;
use super::store::{Net, Records, Store, Weather};
use bimetal_core::board::far::Member;
use bimetal_core::engine::{Exchange, Policies};
use bimetal_core::event::{EventKind, State, Transition};
use bimetal_core::outcome::{Outcome, Report};
use bimetal_core::policy::{Document, Host, Policy, Share};
use bimetal_core::rng::Rng;
use bimetal_core::{Duration, Engine, Facts, Instant, Verdict};
use std::borrow::Cow;
use std::sync::Arc;

pub(crate) const KEYS: [&str; 2] = ["echo", "other"];
pub(crate) const OPEN: State = State::Open;
pub(crate) const CLOSED: State = State::Closed;

/// How long a host waits for an answer before it gives an exchange back.
const PATIENCE: u64 = 2_000_000_000;

pub(crate) struct Request(pub usize);

impl Facts for Request {
    fn destination(&self) -> Option<Cow<'_, [u8]>> {
        Some(Cow::Borrowed(KEYS[self.0].as_bytes()))
    }
}

/// One policy that shares over the mesh. The language has no word for it yet: so it is read with
/// `share: process` and changed.
pub(crate) fn document(breaker: &str, quorum: u16) -> Document {
    let text = format!(r#"{{"policies": [{{"name": "echo", "breaker": {{{breaker}}}}}]}}"#);
    let mut document = Document::parse(text.as_bytes(), Host::Native).unwrap();
    let mut policy = Policy::clone(&document.policies[0]);
    let mut breaker = policy.breaker.as_deref().unwrap().clone();
    breaker.share = Share::Mesh { quorum };
    policy.breaker = Some(Arc::new(breaker));
    document.policies[0] = Arc::new(policy);
    document
}

/// A failure threshold of 3 and open times of 10 s.
pub(crate) fn streak(quorum: u16) -> Document {
    document(
        r#""trip": {"consecutive_failures": 3}, "open": {"base": "10s", "multiplier": 1, "jitter": 0}"#,
        quorum,
    )
}

pub(crate) struct Worker {
    pub engine: Engine,
    policies: Policies,
    /// Exchanges without an answer, and when they are given back.
    waiting: Vec<(u64, Exchange)>,
}

pub(crate) struct Replica {
    pub workers: Vec<Worker>,
    /// How far its clock is ahead of the true time.
    pub ahead: u64,
    /// Where its clock is for a while instead.
    pub jumped_to: Option<Instant>,
    /// How often it was started.
    pub starts: u64,
    /// Whether it reaches the store.
    pub is_cut_off: bool,
}

/// What is carried between a worker and the store.
#[derive(Clone, Debug)]
pub(crate) enum Packet {
    Tell { at: (usize, usize, u64), exchange: Exchange },
    Answer { at: (usize, usize, u64), sequence: u64, records: Records },
}

/// What a worker did or learned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    pub time: u64,
    pub replica: usize,
    pub key: usize,
    pub change: Transition,
    /// Whether it was made by what a store said.
    pub by_merge: bool,
}

/// A result that was evidence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Result {
    pub time: u64,
    pub replica: usize,
    pub key: usize,
    pub outcome: Outcome,
}

pub(crate) struct Fleet {
    pub time: u64,
    pub replicas: Vec<Replica>,
    pub store: Store,
    pub is_store_gone: bool,
    pub net: Net<Packet>,
    pub weather: Weather,
    pub rng: Rng,
    document: Document,
    pub changes: Vec<Change>,
    pub results: Vec<Result>,
    pub rejected: u64,
}

impl Fleet {
    pub(crate) fn new(document: Document, replicas: usize, workers: usize, seed: u64) -> Self {
        let mut fleet = Self {
            time: 1_000_000_000_000,
            replicas: Vec::new(),
            store: Store::default(),
            is_store_gone: false,
            net: Net::default(),
            weather: Weather::default(),
            rng: Rng::new(seed),
            document,
            changes: Vec::new(),
            results: Vec::new(),
            rejected: 0,
        };
        for number in 0..replicas {
            let ahead = fleet.rng.next_u64() % 1_000_000_000_000;
            let workers = fleet.workers(number, workers);
            let replica = Replica { workers, ahead, jumped_to: None, starts: 0, is_cut_off: false };
            fleet.replicas.push(replica);
        }
        fleet
    }

    fn workers(&mut self, replica: usize, count: usize) -> Vec<Worker> {
        let board = Arc::new(TestBoard::default());
        let worker = |number: usize| {
            let mut engine = Engine::with_board(self.rng.next_u64(), board.clone());
            let policies = engine.load(&self.document);
            let member = Member { replica: replica as u64, worker: number as u16 };
            engine.join_mesh(member, self.time);
            Worker { engine, policies, waiting: Vec::new() }
        };
        (0..count).map(worker).collect()
    }

    pub(crate) fn policy(&self) -> &bimetal_core::policy::BreakerPolicy {
        self.document.policies[0].breaker.as_deref().unwrap()
    }

    /// A replica ends and starts again in its place.
    pub(crate) fn restart(&mut self, replica: usize) {
        let count = self.replicas[replica].workers.len();
        let workers = self.workers(replica, count);
        let old = &mut self.replicas[replica];
        old.starts += 1;
        old.workers = workers;
    }

    pub(crate) fn now(&self, replica: usize) -> Instant {
        let Replica { ahead, jumped_to, .. } = self.replicas[replica];
        jumped_to.unwrap_or(Instant::from_nanos(self.time.saturating_add(ahead)))
    }

    /// A call that ends at once. None where it was rejected.
    pub(crate) fn call(
        &mut self,
        replica: usize,
        worker: usize,
        key: usize,
        outcome: Outcome,
    ) -> Option<()> {
        let now = self.now(replica);
        let at = &mut self.replicas[replica].workers[worker];
        let Verdict::Admit(admission) = at.engine.admit(now, &at.policies, &Request(key)) else {
            self.rejected += 1;
            self.hear(replica, worker, false);
            return None;
        };
        let ticket = admission.ticket;
        let before = at.engine.breaker(now, ticket.breaker()).unwrap();
        let settled = at.engine.settle(now, ticket, Report::from(outcome));
        if before.state == State::Closed && !settled.late && outcome != Outcome::Neutral {
            let time = self.time;
            self.results.push(Result { time, replica, key, outcome });
        }
        self.hear(replica, worker, false);
        Some(())
    }

    pub(crate) fn calls(&mut self, count: usize, replica: usize, key: usize, outcome: Outcome) {
        for _ in 0..count {
            self.call(replica, 0, key, outcome);
        }
    }

    /// The first two replicas trip on what they see themselves, and all learn of it.
    pub(crate) fn trip_two(&mut self) {
        self.calls(3, 0, 0, Outcome::Failure);
        self.calls(3, 1, 0, Outcome::Failure);
        self.round();
        self.round();
    }

    /// Notes what changed at a worker.
    fn hear(&mut self, replica: usize, worker: usize, by_merge: bool) {
        let engine = &mut self.replicas[replica].workers[worker].engine;
        while let Some(event) = engine.take_event() {
            let EventKind::Transition(change) = event.kind else {
                continue;
            };
            let key = event.key.unwrap();
            let key = KEYS.iter().position(|name| name.as_bytes() == &*key).unwrap();
            let time = self.time;
            self.changes.push(Change { time, replica, key, change, by_merge });
        }
    }

    /// A worker's turn to exchange: it tells, or finds that nobody answers.
    pub(crate) fn tell(&mut self, replica: usize, worker: usize) {
        let now = self.now(replica);
        let at = &mut self.replicas[replica];
        let (starts, is_cut_off) = (at.starts, at.is_cut_off || self.is_store_gone);
        let own = &mut at.workers[worker];
        while let Some(late) = own.waiting.iter().position(|(until, _)| *until <= self.time) {
            let (_, exchange) = own.waiting.swap_remove(late);
            own.engine.give_back(exchange);
        }
        own.engine.poll(now);
        let exchange = own.engine.take_deltas(now);
        own.waiting.push((self.time + PATIENCE, exchange.clone()));
        if !is_cut_off {
            let packet = Packet::Tell { at: (replica, worker, starts), exchange };
            self.net.send(self.time, &packet, &self.weather, &mut self.rng);
        }
        self.hear(replica, worker, false);
    }

    /// Carries what is due.
    pub(crate) fn deliver(&mut self) {
        while let Some(packet) = self.net.receive(self.time) {
            match packet {
                Packet::Tell { .. } if self.is_store_gone => {}
                Packet::Tell { at, exchange } => {
                    let records = self.store.exchange(self.time, &exchange);
                    let sequence = exchange.sequence;
                    let answer = Packet::Answer { at, sequence, records };
                    if !self.replicas[at.0].is_cut_off {
                        self.net.send(self.time, &answer, &self.weather, &mut self.rng);
                    }
                }
                Packet::Answer { at: (replica, worker, starts), sequence, records } => {
                    if self.replicas[replica].starts == starts {
                        self.learn(replica, worker, sequence, records);
                    }
                }
            }
        }
    }

    fn learn(&mut self, replica: usize, worker: usize, sequence: u64, records: Records) {
        let now = self.now(replica);
        // What the other worker of the process did is no news of the store.
        self.replicas[replica].workers[worker].engine.poll(now);
        self.hear(replica, worker, false);
        let own = &mut self.replicas[replica].workers[worker];
        own.waiting.retain(|(_, exchange)| exchange.sequence != sequence);
        for (key, record) in records {
            own.engine.merge(now, &key, &record).unwrap();
        }
        self.hear(replica, worker, true);
    }

    /// Time passes, and what is due meanwhile arrives.
    pub(crate) fn wait(&mut self, millis: u64) {
        let end = self.time + millis * 1_000_000;
        while self.time < end {
            self.time = end.min(self.time + 5_000_000);
            self.deliver();
        }
    }

    /// One exchange of every worker, each told and answered before the next one's.
    pub(crate) fn round(&mut self) {
        for replica in 0..self.replicas.len() {
            for worker in 0..self.replicas[replica].workers.len() {
                self.tell(replica, worker);
                self.time += 1_000_000;
                self.deliver();
            }
        }
    }

    /// The state of a scope at a worker, and until when it is open.
    pub(crate) fn view(
        &self,
        replica: usize,
        worker: usize,
        key: usize,
    ) -> Option<(State, Duration)> {
        let now = self.now(replica);
        let engine = &self.replicas[replica].workers[worker].engine;
        let mut scopes = engine.breakers(now);
        let scope = scopes.find(|scope| scope.key == KEYS[key].as_bytes())?;
        let left = scope.view.next_probe.map_or(Duration::ZERO, |until| until.since(now));
        Some((scope.view.state, left))
    }

    pub(crate) fn state(&self, replica: usize, key: usize) -> State {
        self.view(replica, 0, key).map_or(State::Closed, |(state, _)| state)
    }

    pub(crate) fn states(&self, key: usize) -> Vec<State> {
        (0..self.replicas.len()).map(|replica| self.state(replica, key)).collect()
    }

    /// What a scope is called in the store.
    pub(crate) fn key(&self, key: usize) -> Box<[u8]> {
        let hash = self.document.policies[0].hashes.breaker;
        [&[1], &hash.to_le_bytes()[..], KEYS[key].as_bytes()].concat().into()
    }

    /// OPENs that other processes brought to a replica, or that it decided on the evidence of all.
    pub(crate) fn opened_by_merge(&self, replica: usize) -> usize {
        let by_merge =
            |one: &&Change| one.replica == replica && one.by_merge && one.change.to == State::Open;
        self.changes.iter().filter(by_merge).count()
    }
}
