//! Workers on one board, and the calls that live through a history.

use super::board::TestBoard;
use super::document::{Drawn, MARGIN};
use super::model::{Bucket, Spent};
use super::rules;
use super::seen::Seen;
use bimetal_core::board::{Board, Words};
use bimetal_core::connections::Connected;
use bimetal_core::decision::{Admission, PassReason};
use bimetal_core::engine::Policies;
use bimetal_core::outcome::Outcome;
use bimetal_core::policy::Policy;
use bimetal_core::retry::Tries;
use bimetal_core::rng::Rng;
use bimetal_core::{Engine, Facts, Instant, Rejection, Ticket, Verdict, Waiting};
use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub(crate) const WORKERS: usize = 3;
pub(crate) const TENANTS: usize = 2;

/// A board that notes that it rang.
#[derive(Debug, Default)]
struct Bell {
    words: TestBoard,
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

/// A request, and what its caller says of its time in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub tenant: usize,
    pub left: Option<u64>,
}

impl Facts for Request {
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let number = match name {
            "x-tenant" => Some(self.tenant as u64),
            "x-request-deadline-ms" => self.left,
            _ => None,
        };
        number.map(|number| Cow::Owned(number.to_string().into_bytes()))
    }

    /// Each tenant has one address, and a connection for each call.
    fn client_address(&self) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, self.tenant as u8]))
    }
}

/// A call that was admitted and not settled.
pub(crate) struct UnderWay {
    pub worker: usize,
    pub scope: usize,
    pub ticket: Ticket,
    pub tries: Tries,
    pub policy: Arc<Policy>,
    /// When its next try is due, where one is planned.
    pub planned: Option<u64>,
    pub tenant: usize,
    pub connected: Option<Connected>,
}

/// A call that waits for a slot.
pub(crate) struct Waiter {
    pub scope: usize,
    pub begun: u64,
    until: Instant,
    pub request: Request,
    policies: Rc<Policies>,
    connected: Option<Connected>,
}

pub(crate) struct World {
    pub drawn: Drawn,
    pub workers: Vec<Engine>,
    policies: Vec<Rc<Policies>>,
    bell: Arc<Bell>,
    pub now: u64,
    pub under_way: Vec<UnderWay>,
    pub waiting: [HashMap<Waiting, Waiter>; WORKERS],
    /// By limit, scope, and worker where it is not shared.
    buckets: HashMap<(usize, usize, usize), Bucket>,
    /// By scope and worker.
    pub spent: HashMap<(usize, usize), Spent>,
    pub failing: f64,
    pub seen: Seen,
}

pub(crate) const fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

pub(crate) type Ruled = Result<(), String>;

impl World {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let drawn = Drawn::new(rng);
        let bell = Arc::new(Bell::default());
        let engine = |worker: u64| {
            let mut engine = Engine::with_board(worker, bell.clone());
            engine.set_can_wait(true);
            engine
        };
        let mut workers: Vec<_> = (0..WORKERS as u64).map(engine).collect();
        let document = drawn.document();
        let policies = workers.iter_mut().map(|worker| Rc::new(worker.load(&document))).collect();
        Self {
            drawn,
            workers,
            policies,
            bell,
            now: 1_000,
            under_way: Vec::new(),
            waiting: Default::default(),
            buckets: HashMap::new(),
            spent: HashMap::new(),
            failing: rng.next_share(),
            seen: Seen::default(),
        }
    }

    pub(crate) fn told(&self) -> &str {
        &self.drawn.text
    }

    pub(crate) const fn scope(&self, request: Request) -> usize {
        if self.drawn.is_by_tenant { request.tenant } else { 0 }
    }

    pub(crate) fn step(&mut self, rng: &mut Rng) -> Ruled {
        let worker = (rng.next_u64() % WORKERS as u64) as usize;
        match rng.next_u64() % 100 {
            0..45 => {
                let tenant = (rng.next_u64() % TENANTS as u64) as usize;
                let left = rng.next_u64().is_multiple_of(4).then(|| rng.next_u64() % 60);
                let request = Request { tenant, left };
                let policies = self.policies[worker].clone();
                self.ask(worker, request, &policies)?;
            }
            45..75 if !self.under_way.is_empty() => {
                let place = (rng.next_u64() % self.under_way.len() as u64) as usize;
                self.answered(place, rng)?;
            }
            75..80 => self.leaves(worker),
            80..97 => self.wait(rng.next_u64() % 20)?,
            97 => self.wait(rng.next_u64() % 12_000)?,
            98 => self.workers[worker].poll(at(self.now)),
            // A document that says the same: nothing is lost by it.
            _ => {
                let document = self.drawn.document();
                self.policies[worker] = Rc::new(self.workers[worker].load(&document));
                self.workers[worker].poll(at(self.now));
            }
        }
        self.settle_down()?;
        rules::check(self)
    }

    /// The last answers come, and nothing is left behind.
    pub(crate) fn end(&mut self) -> Ruled {
        while let Some(call) = self.under_way.pop() {
            self.settle(call, Outcome::Success);
            self.settle_down()?;
            rules::check(self)?;
        }
        self.workers.iter_mut().for_each(|worker| worker.poll(at(self.now)));
        rules::check_end(self)
    }

    fn ask(&mut self, worker: usize, request: Request, policies: &Rc<Policies>) -> Ruled {
        let opened = rules::open_until(self, worker, self.scope(request));
        let at_work = rules::at_work(self, request.tenant);
        let connected = match self.workers[worker].connect(at(self.now), policies, &request) {
            Ok(connected) => connected,
            Err(verdict) => return self.no_connection(at_work, &verdict),
        };
        if self.drawn.per_client.is_some_and(|most| at_work >= most) {
            return Err(format!("{at_work} connections are at work, and one more may be"));
        }
        let verdict = self.workers[worker].admit(at(self.now), policies, &request);
        self.decided(worker, request, (self.now, policies, connected), opened, verdict)
    }

    /// A client has as many connections as it may.
    fn no_connection(&mut self, at_work: usize, verdict: &Verdict<'_>) -> Ruled {
        self.seen.by_connections += 1;
        let rejection = match verdict {
            Verdict::Reject(rejected) if !self.drawn.is_shadow => &rejected.rejection,
            Verdict::Pass(pass) if self.drawn.is_shadow => match &pass.why {
                PassReason::Shadow(rejection) => rejection,
                other => return Err(format!("passed: {other:?}")),
            },
            other => return Err(format!("{other:?}")),
        };
        match (rejection, self.drawn.per_client) {
            (Rejection::Connections { .. }, Some(most)) if at_work >= most => Ok(()),
            (other, most) => Err(format!("{other:?} with {at_work} of {most:?} at work")),
        }
    }

    fn asks_again(&mut self, worker: usize, waiting: Waiting, call: Waiter) -> Ruled {
        let Waiter { scope, begun, request, policies, connected, .. } = call;
        let opened = rules::open_until(self, worker, scope);
        let engine = &mut self.workers[worker];
        let (now, begun_at) = (at(self.now), at(begun));
        let verdict = engine.admit_again(now, &policies, &request, waiting, begun_at);
        self.seen.served += u64::from(matches!(verdict, Verdict::Admit(_)));
        self.decided(worker, request, (begun, &policies, connected), opened, verdict)
    }

    fn decided(
        &mut self,
        worker: usize,
        request: Request,
        (begun, policies, connected): (u64, &Rc<Policies>, Option<Connected>),
        opened: Option<Instant>,
        verdict: Verdict<'_>,
    ) -> Ruled {
        let scope = self.scope(request);
        let left = request.left.filter(|_| self.drawn.has_deadline);
        let left = left.map(|left| left.saturating_sub(self.now - begun + MARGIN));
        match verdict {
            Verdict::Admit(Admission { policy, ticket, .. }) => {
                if let Some(until) = opened.filter(|until| at(self.now) < *until) {
                    return Err(format!("admitted while open until {until:?}"));
                }
                if left == Some(0) {
                    return Err("admitted for nobody".into());
                }
                rules::has_free_slot(self, worker, scope)?;
                self.take_tokens(worker, scope)?;
                self.seen.admitted += 1;
                let (policy, tries) = (policy.clone(), Tries::default());
                self.under_way.push(UnderWay {
                    worker,
                    scope,
                    ticket,
                    tries,
                    policy,
                    planned: None,
                    tenant: request.tenant,
                    connected,
                });
                self.spent.entry((scope, worker)).or_default().call(at(self.now));
                Ok(())
            }
            Verdict::Wait(wait) => {
                rules::may_wait(self, (worker, scope), begun, wait.until, left)?;
                self.seen.waited += 1;
                let (until, policies) = (wait.until, policies.clone());
                let call = Waiter { scope, begun, until, request, policies, connected };
                match self.waiting[worker].insert(wait.waiting, call) {
                    Some(_) => Err("two calls wait under one name".into()),
                    None => Ok(()),
                }
            }
            Verdict::Reject(rejected) if !self.drawn.is_shadow => {
                let rejection = rejected.rejection;
                self.disconnect(worker, connected);
                self.turned_away(worker, scope, left, rejection)
            }
            Verdict::Pass(pass) if self.drawn.is_shadow => match pass.why {
                PassReason::Shadow(rejection) => {
                    self.disconnect(worker, connected);
                    self.turned_away(worker, scope, left, rejection)
                }
                other => Err(format!("passed: {other:?}")),
            },
            other => Err(format!("{other:?}")),
        }
    }

    fn turned_away(
        &mut self,
        worker: usize,
        scope: usize,
        left: Option<u64>,
        rejection: Rejection,
    ) -> Ruled {
        let seen = &mut self.seen;
        match rejection {
            Rejection::Deadline { .. } => {
                seen.by_deadline += 1;
                let is_over = left == Some(0);
                if is_over { Ok(()) } else { Err(format!("there is time: {left:?}")) }
            }
            Rejection::RateLimit { .. } => {
                seen.by_rate_limit += 1;
                let now = at(self.now);
                let is_empty = self.buckets_of(worker, scope).any(|bucket| bucket.is_empty(now));
                if is_empty { Ok(()) } else { Err("turned away below all rate limits".into()) }
            }
            Rejection::Breaker(_) => {
                seen.by_breaker += 1;
                rules::is_not_closed(self, worker, scope)
            }
            Rejection::Concurrency { .. } if left == Some(0) => {
                Err("its time is over, and that was not told".into())
            }
            Rejection::Concurrency { .. } => {
                seen.by_concurrency += 1;
                rules::has_no_free_slot(self, worker, scope)
            }
            other => Err(format!("{other:?}")),
        }
    }

    fn buckets_of(&mut self, worker: usize, scope: usize) -> impl Iterator<Item = &mut Bucket> {
        for (number, limit) in self.drawn.limits.iter().enumerate() {
            let worker = if limit.is_shared { 0 } else { worker };
            let full = || Bucket::full(*limit, at(self.now));
            self.buckets.entry((number, scope, worker)).or_insert_with(full);
        }
        let limits = &self.drawn.limits;
        self.buckets.iter_mut().filter_map(move |((number, of, by), bucket)| {
            let is_its = *of == scope && (limits[*number].is_shared || *by == worker);
            is_its.then_some(bucket)
        })
    }

    fn take_tokens(&mut self, worker: usize, scope: usize) -> Ruled {
        let now = at(self.now);
        self.buckets_of(worker, scope).try_for_each(|bucket| bucket.take(now))
    }

    /// The client of a call that waits leaves.
    fn leaves(&mut self, worker: usize) {
        let first = self.waiting[worker].iter().min_by_key(|(_, call)| (call.begun, call.until));
        if let Some(waiting) = first.map(|(waiting, _)| *waiting) {
            self.seen.left += 1;
            let call = self.waiting[worker].remove(&waiting);
            self.workers[worker].forget(at(self.now), waiting);
            self.disconnect(worker, call.and_then(|call| call.connected));
        }
    }

    pub(crate) fn disconnect(&mut self, worker: usize, connected: Option<Connected>) {
        if let Some(connected) = connected {
            self.workers[worker].disconnect(connected);
        }
    }

    /// Time passes; whatever has a time of its own is punctual.
    fn wait(&mut self, millis: u64) -> Ruled {
        let until = self.now + millis;
        loop {
            let waits = self.waiting.iter().flat_map(HashMap::values);
            let waits = waits.map(|call| call.until.as_nanos().div_ceil(1_000_000));
            let tries = self.under_way.iter().filter_map(|call| call.planned);
            let next = waits.chain(tries).min().filter(|at| *at <= until);
            self.now = next.unwrap_or(until).max(self.now);
            self.settle_down()?;
            rules::check(self)?;
            if next.is_none() {
                return Ok(());
            }
        }
    }

    /// Who was woken, whose time is over, and who is to try again, acts; until nobody is left.
    fn settle_down(&mut self) -> Ruled {
        loop {
            let mut is_quiet = true;
            if self.bell.rang.swap(false, Ordering::Relaxed) {
                self.seen.rang += 1;
                self.workers.iter_mut().for_each(|one| one.serve_waiting(at(self.now)));
                is_quiet = false;
            }
            for worker in 0..WORKERS {
                let now = at(self.now);
                let late = self.waiting[worker].iter().filter(|(_, call)| call.until <= now);
                let mut due: Vec<_> = late.map(|(waiting, _)| *waiting).collect();
                due.sort_by_key(|waiting| format!("{waiting:?}"));
                due.extend(std::iter::from_fn(|| self.workers[worker].take_woken()));
                for waiting in due {
                    // One that has left, or asked when its time was over, is woken in vain.
                    if let Some(call) = self.waiting[worker].remove(&waiting) {
                        is_quiet = false;
                        self.asks_again(worker, waiting, call)?;
                    }
                }
            }
            let now = self.now;
            let is_due = |call: &UnderWay| call.planned.is_some_and(|at| at <= now);
            if let Some(place) = self.under_way.iter().position(is_due) {
                is_quiet = false;
                let call = self.under_way.swap_remove(place);
                self.tries_again(call)?;
            }
            if is_quiet {
                return Ok(());
            }
        }
    }
}
