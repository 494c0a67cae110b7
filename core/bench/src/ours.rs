//! Our breaker, alone and inside the engine.

use crate::{Answer, Arm, Fate};
use bimetal_core::board::{AtomicWords, Board, Words};
use bimetal_core::breaker::Breaker;
use bimetal_core::engine::Policies;
use bimetal_core::outcome::{Outcome, Report};
use bimetal_core::policy::{BreakerPolicy, Document, Host};
use bimetal_core::{Engine, Facts, Instant, Verdict};
use std::borrow::Cow;
use std::collections::HashMap;
use std::hint::black_box;
use std::sync::{Arc, Mutex};

/// Three failures in a row.
pub const STREAK: &str = r#"{"consecutive_failures": 3}"#;
/// Half of the last hundred calls.
pub const RATE: &str = r#"{"failure_rate":
    {"threshold": 0.5, "window": {"calls": 100}, "minimum_calls": 100}}"#;

/// A document with one policy, with this scope and this `trip`.
///
/// # Panics
/// When the document is wrong.
pub fn document(scope: &str, trip: &str) -> Document {
    parsed(scope, trip, "none")
}

/// The same with one scope, whose replicas decide as one.
///
/// # Panics
/// When the document is wrong.
pub fn shared_document(trip: &str) -> Document {
    parsed("policy", trip, "process")
}

fn parsed(scope: &str, trip: &str, share: &str) -> Document {
    let text = format!(
        r#"{{"version": "v1", "policies": [{{"name": "echo", "scope": "{scope}",
            "scopes": {{"max": 1000000}},
            "breaker": {{"trip": {trip}, "open": {{"base": "24h", "max": "24h"}},
                "share": "{share}"}}
        }}]}}"#
    );
    match Document::parse(text.as_bytes(), Host::Native) {
        Ok(document) => document,
        Err(problems) => panic!("{problems}"),
    }
}

/// One policy with every mechanism that can decide a call: a deadline, a rate limit for each tenant, a
/// breaker with a rule of each kind, a limit of calls under way with a queue, retries with a budget.
/// What workers of a process can share, they share.
///
/// # Panics
/// As [`document`].
pub fn everything() -> Document {
    let text = r#"{"version": "v1", "policies": [{"name": "echo", "scope": "policy",
        "deadline": {"accept": ["x-request-deadline-ms"]},
        "rate_limits": [{"rate": "1000000/s", "key": ["header:x-tenant"]}],
        "breaker": {"trip": {"consecutive_failures": 3, "failure_rate":
            {"threshold": 0.5, "window": {"time": "10s"}, "minimum_calls": 20}}},
        "concurrency": {"max": 100, "queue": {"max": 10, "max_wait": "100ms"}},
        "retry": {"tries": 3, "on": ["503"], "budget": {"share": 0.2}}
    }]}"#;
    match Document::parse(text.as_bytes(), Host::Native) {
        Ok(document) => document,
        Err(problems) => panic!("{problems}"),
    }
}

/// A closed breaker with this `trip`.
///
/// # Panics
/// As [`document`].
pub fn breaker(trip: &str) -> Breaker {
    Breaker::new(policy(trip), 1)
}

/// Two replicas of one closed breaker with this `trip`, on words that they share: what two workers
/// of a process have.
///
/// # Panics
/// As [`document`].
pub fn replicas(trip: &str) -> [Breaker; 2] {
    let policy = policy(trip);
    let words: Arc<dyn Words> = Arc::new(AtomicWords::new(Breaker::words_needed(&policy)));
    [1, 2].map(|seed| Breaker::shared(policy.clone(), seed, words.clone()))
}

fn policy(trip: &str) -> Arc<BreakerPolicy> {
    let document = document("policy", trip);
    let policy = document.policies.first().and_then(|policy| policy.breaker.clone());
    policy.unwrap_or_else(|| panic!("the policy has no breaker"))
}

fn report(answer: Answer) -> Report {
    match answer {
        Answer::Good => Report::from(Outcome::Success),
        Answer::Bad => Report::from(Outcome::Failure),
    }
}

impl Arm for Breaker {
    #[inline]
    fn call(&mut self, now: u64, answer: Answer) -> Fate {
        let now = Instant::from_nanos(now);
        match self.admit(now) {
            Ok(permit) => {
                self.settle(now, permit, report(answer));
                Fate::Called
            }
            // Looked at where it lies: moving it first would measure the move.
            Err(ref rejection) => {
                black_box(rejection);
                Fate::Rejected
            }
        }
    }
}

/// As others would share it: one breaker behind a lock that is taken twice a call, because a real
/// call lies between the two.
impl Arm for Arc<Mutex<Breaker>> {
    #[inline]
    fn call(&mut self, now: u64, answer: Answer) -> Fate {
        let now = Instant::from_nanos(now);
        let asked = lock(self).admit(now);
        if let Err(rejection) = &asked {
            black_box(rejection);
        }
        let Ok(permit) = asked else {
            return Fate::Rejected;
        };
        lock(self).settle(now, permit, report(answer));
        Fate::Called
    }
}

fn lock(breaker: &Mutex<Breaker>) -> std::sync::MutexGuard<'_, Breaker> {
    breaker.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A whole engine as a host uses it: match, scope, breaker, counts, events.
#[derive(Debug)]
pub struct Whole {
    engine: Engine,
    policies: Policies,
}

/// Words in memory, as a proxy's workers have them.
#[derive(Debug, Default)]
struct Memory(Mutex<HashMap<Vec<u8>, Arc<AtomicWords>>>);

impl Board for Memory {
    fn open(&self, key: &[u8], count: usize) -> Option<Arc<dyn Words>> {
        let mut words = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let fresh = || Arc::new(AtomicWords::new(count));
        Some(words.entry(key.to_vec()).or_insert_with(fresh).clone())
    }
}

impl Whole {
    /// An engine with one policy of this scope and trip.
    pub fn new(scope: &str, trip: &str) -> Self {
        Self::with(Engine::new(1), &document(scope, trip))
    }

    /// An engine with a policy of [`everything`], on a board.
    pub fn of_everything() -> Self {
        let mut engine = Engine::with_board(1, Arc::new(Memory::default()));
        engine.set_can_wait(true);
        Self::with(engine, &everything())
    }

    fn with(mut engine: Engine, document: &Document) -> Self {
        let policies = engine.load(document);
        Self { engine, policies }
    }

    /// One call with `facts`.
    #[inline]
    pub fn call_with(&mut self, now: u64, facts: &dyn Facts, answer: Answer) -> Fate {
        let now = Instant::from_nanos(now);
        let verdict = self.engine.admit(now, &self.policies, facts);
        if let Verdict::Reject(refusal) = &verdict {
            black_box(refusal);
        }
        let fate = match verdict {
            Verdict::Admit(admission) => {
                self.engine.settle(now, admission.ticket, report(answer));
                Fate::Called
            }
            Verdict::Reject(_) => Fate::Rejected,
            _ => panic!("the policy must be for the call"),
        };
        // A host does this after every verb.
        while self.engine.take_event().is_some() {}
        fate
    }
}

impl Arm for Whole {
    #[inline]
    fn call(&mut self, now: u64, answer: Answer) -> Fate {
        self.call_with(now, &Tenant("one"), answer)
    }
}

/// A request of which only the header `x-tenant` is known.
#[derive(Clone, Copy, Debug)]
pub struct Tenant<'a>(pub &'a str);

impl Facts for Tenant<'_> {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        (name == "x-tenant").then_some(Cow::Borrowed(self.0.as_bytes()))
    }
}

/// The same request, whose caller has a second left.
#[derive(Clone, Copy, Debug)]
pub struct Hurried<'a>(pub Tenant<'a>);

impl Facts for Hurried<'_> {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        match name {
            "x-request-deadline-ms" => Some(Cow::Borrowed(b"1000")),
            _ => self.0.header(name),
        }
    }
}
