//! The world of a history: workers, a board, a clock, and the calls under way.

use super::{Step, WORKERS};
use crate::board::TestBoard;
use bimetal_core::event::{Event, EventKind, State};
use bimetal_core::outcome::Report;
use bimetal_core::policy::{Document, Host};
use bimetal_core::{Duration, Engine, Facts, Instant, Ticket, Verdict};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::OnceLock;

/// The documents that come into force: shared and not, streak and rate, one probe and several.
pub(crate) const DOCUMENTS: [&str; 4] = [
    r#"{"policies": [{"name": "p", "scope": "header:x-tenant", "breaker": {
        "trip": {"consecutive_failures": 3}, "open": {"base": "1s", "max": "8s", "jitter": 0.1},
        "half_open": {"max_probes": 2, "required_successes": 2, "lease": "2s"}}}]}"#,
    r#"{"policies": [{"name": "p", "scope": "header:x-tenant", "scopes": {"max": 3}, "breaker": {
        "trip": {"failure_rate": {"threshold": 0.5, "window": {"time": "5s"}, "minimum_calls": 4}},
        "open": {"base": "2s"}, "half_open": {"lease": "3s"}, "recovery": {"ramp": "3s"}}}]}"#,
    r#"{"policies": [{"name": "p", "scope": "policy", "breaker": {
        "trip": {"consecutive_failures": 2, "slow_rate": {"threshold": 0.5, "slower_than": "1s",
        "window": {"calls": 6}, "minimum_calls": 3}},
        "open": {"base": "500ms", "multiplier": 3, "max": "10s"}, "half_open": {"lease": "1s"}}}]}"#,
    r#"{"policies": [{"name": "p", "scope": "header:x-tenant", "breaker": {"share": "none",
        "trip": {"consecutive_failures": 1}, "open": {"base": "1s"}}}]}"#,
];

/// In which form the documents are in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Documents {
    /// As they stand above.
    Drawn,
    /// As a scenario file tells them: [`told_policies`].
    Told,
}

/// The policies of a document as a scenario can play them: without jitter, which no two hosts draw
/// alike, and with a status that is no evidence, for results that are none.
pub(crate) fn told_policies(index: usize) -> Value {
    let mut document: Value = serde_json::from_str(DOCUMENTS[index]).unwrap();
    let breaker = &mut document["policies"][0]["breaker"];
    breaker["open"]["jitter"] = json!(0);
    breaker["failure"] = json!({"statuses": ["5xx"], "ignore": [404]});
    document["policies"].take()
}

fn documents(form: Documents) -> &'static [Document] {
    static DRAWN: OnceLock<Vec<Document>> = OnceLock::new();
    static TOLD: OnceLock<Vec<Document>> = OnceLock::new();
    let parse = |text: &str| Document::parse(text.as_bytes(), Host::Native).unwrap();
    match form {
        Documents::Drawn => DRAWN.get_or_init(|| DOCUMENTS.map(parse).into()),
        Documents::Told => TOLD.get_or_init(|| {
            let told = |index| json!({"policies": told_policies(index)}).to_string();
            (0..DOCUMENTS.len()).map(|index| parse(&told(index))).collect()
        }),
    }
}

/// What the histories came to: all of it must happen somewhere.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Coverage {
    pub admitted: u64,
    pub rejected: u64,
    pub late: u64,
    pub opened: u64,
    pub closed: u64,
    pub adopted: u64,
    pub expired: u64,
}

impl Coverage {
    pub(crate) fn add(&mut self, other: &Self) {
        self.admitted += other.admitted;
        self.rejected += other.rejected;
        self.late += other.late;
        self.opened += other.opened;
        self.closed += other.closed;
        self.adopted += other.adopted;
        self.expired += other.expired;
    }

    pub(crate) fn is_complete(&self) {
        let Self { admitted, rejected, late, opened, closed, adopted, expired } = self;
        let all = [admitted, rejected, late, opened, closed, adopted, expired];
        assert!(all.into_iter().all(|count| *count > 100), "{self:?}");
    }
}

/// A call that was admitted and not heard of since.
#[derive(Debug)]
pub(crate) struct UnderWay {
    /// Which call of the history it is, from 0; rejected ones count.
    pub number: usize,
    pub worker: usize,
    pub ticket: Ticket,
}

/// A request of one tenant.
struct Request(usize);

const NAMES: [&[u8]; super::KEYS] = [b"k0", b"k1", b"k2", b"k3"];

impl Facts for Request {
    fn authority(&self) -> Option<Cow<'_, [u8]>> {
        None
    }
    fn path(&self) -> Option<Cow<'_, [u8]>> {
        None
    }
    fn method(&self) -> Option<Cow<'_, [u8]>> {
        None
    }
    fn header(&self, _: &str) -> Option<Cow<'_, [u8]>> {
        NAMES.get(self.0).map(|name| Cow::Borrowed(*name))
    }
    fn destination(&self) -> Option<Cow<'_, [u8]>> {
        None
    }
    fn route(&self) -> Option<Cow<'_, [u8]>> {
        None
    }
    fn client(&self) -> Option<Cow<'_, [u8]>> {
        None
    }
}

/// Workers on one board, and what was seen of them.
pub(crate) struct World {
    pub workers: Vec<Engine>,
    pub now: Instant,
    pub calls: Vec<UnderWay>,
    pub lost: [u64; WORKERS],
    pub events: Vec<(usize, Event)>,
    pub coverage: Coverage,
    asked: usize,
    documents: &'static [Document],
}

impl World {
    pub(crate) fn new(seed: u64, form: Documents) -> Self {
        let board = Arc::new(TestBoard::default());
        let worker = |index| Engine::with_board(seed ^ index as u64, board.clone());
        let mut world = Self {
            workers: (0..WORKERS).map(worker).collect(),
            now: Instant::from_millis(1_000_000),
            calls: Vec::new(),
            lost: [0; WORKERS],
            events: Vec::new(),
            coverage: Coverage::default(),
            asked: 0,
            documents: documents(form),
        };
        world.load(seed as usize % DOCUMENTS.len());
        world
    }

    fn load(&mut self, index: usize) {
        for worker in &mut self.workers {
            worker.load(self.now, &self.documents[index]);
        }
    }

    /// Takes a step. `Err` where a verb answered what it never may.
    pub(crate) fn take(&mut self, step: Step) -> Result<(), String> {
        self.events.clear();
        match step {
            Step::Wait { millis } => self.now += Duration::from_millis(millis),
            Step::ClockBack { millis } => {
                let nanos = self.now.as_nanos().saturating_sub(millis * 1_000_000);
                self.workers[0].poll(Instant::from_nanos(nanos));
            }
            Step::Call { worker, key } => self.call(worker, key)?,
            Step::Headers { call } => {
                if let Some(at) = self.pick(call) {
                    let UnderWay { worker, ticket, .. } = &mut self.calls[at];
                    self.workers[*worker].answered(self.now, ticket);
                }
            }
            Step::End { call, outcome, retry_after } => {
                if let Some(at) = self.pick(call) {
                    let UnderWay { worker, ticket, .. } = self.calls.swap_remove(at);
                    let asked = (retry_after > 0).then(|| Duration::from_millis(retry_after));
                    let report = Report { outcome, retry_after: asked };
                    let settled = self.workers[worker].settle(self.now, ticket, report);
                    self.coverage.late += u64::from(settled.late);
                }
            }
            Step::Lose { call } => {
                if let Some(at) = self.pick(call) {
                    self.lost[self.calls.swap_remove(at).worker] += 1;
                }
            }
            Step::Tick { worker } => self.workers[worker].poll(self.now),
            Step::Load { document } => self.load(document),
        }
        self.collect();
        Ok(())
    }

    fn call(&mut self, worker: usize, key: usize) -> Result<(), String> {
        let before = self.open_until(worker, key);
        let number = self.asked;
        self.asked += 1;
        match self.workers[worker].admit(self.now, &Request(key)) {
            Verdict::Admit(admission) => {
                self.coverage.admitted += 1;
                self.calls.push(UnderWay { number, worker, ticket: admission.ticket });
                match before {
                    Some(until) if self.now < until => {
                        Err(format!("admitted while open until {until:?}"))
                    }
                    _ => Ok(()),
                }
            }
            Verdict::Reject(_) => {
                self.coverage.rejected += 1;
                Ok(())
            }
            other => Err(format!("neither admitted nor rejected: {other:?}")),
        }
    }

    /// Until when this worker knows the scope of a call to be open.
    fn open_until(&self, worker: usize, key: usize) -> Option<Instant> {
        let one_for_all = self.workers[worker].totals().scopes == 1;
        let own = |name: &[u8]| NAMES.get(key) == Some(&name) || name.is_empty() && one_for_all;
        let mut seen = self.workers[worker].breakers(self.now);
        seen.find(|seen| own(seen.key))?.view.next_probe
    }

    /// Which of the calls under way a step means.
    pub(crate) fn pick(&self, call: usize) -> Option<usize> {
        (!self.calls.is_empty()).then(|| call % self.calls.len())
    }

    fn collect(&mut self) {
        for (index, worker) in self.workers.iter_mut().enumerate() {
            while let Some(event) = worker.take_event() {
                if let EventKind::Transition(change) = &event.kind {
                    let seen = &mut self.coverage;
                    seen.opened += u64::from(change.to == State::Open);
                    seen.closed += u64::from(change.to == State::Closed);
                    seen.adopted += u64::from(change.adopted);
                    seen.expired += u64::from(change.cause.name() == "probes_expired");
                }
                self.events.push((index, event));
            }
        }
    }
}
