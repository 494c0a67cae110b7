//! Time limits of a request: those that Envoy's router keeps, and what the tick sees to.

use super::{Stream, retries, waiting};
use crate::answer;
use crate::facts::Request;
use crate::flags;
use crate::port::{Host, Map, Reply};
use crate::registry::Worker;
use crate::reply;
use crate::watch::Watched;
use bimetal_core::deadline::Deadline;
use bimetal_core::event::State;
use bimetal_core::outcome::Transport;
use bimetal_core::{Duration, Instant, Plan, Rejected, Rejection};

/// By these a client chooses Envoy's limits.
const LIMITS: [&str; 2] = ["x-envoy-upstream-rq-timeout-ms", PER_TRY];
/// The limit of each try.
const PER_TRY: &str = "x-envoy-upstream-rq-per-try-timeout-ms";
/// Limits of the whole request, which the policy's takes the place of.
const OF_THE_REQUEST: [&str; 2] =
    ["x-envoy-upstream-rq-timeout-ms", "x-envoy-expected-rq-timeout-ms"];

/// A timer of Envoy's counts from when its loop last woke: it may ring so much before our clock says so.
const EARLY: Duration = Duration::from_millis(20);

/// More is no limit: Envoy's timers do not reach as far.
const LONGEST_MILLIS: u64 = 1 << 31;

/// Whose limit the router keeps for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LimitOf {
    /// The policy's, or the mesh's own.
    Policy,
    /// One that the client asked Envoy for by a header.
    Client,
    /// What the caller has left.
    Caller(Deadline),
}

/// The time limits of a call, and who keeps them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Of the call, over all its tries.
    pub(super) of_the_call: Option<Duration>,
    /// Of each try.
    of_a_try: Option<Duration>,
    /// Whether the router may try again. A limit of the call, handed to it as that of a try, would end
    /// there in another try: so the tick keeps it.
    is_tried_again: bool,
}

impl Limits {
    /// Those of a plan.
    pub(super) const fn of(plan: Plan, is_tried_again: bool) -> Self {
        Self { of_the_call: plan.request_timeout, of_a_try: plan.try_timeout, is_tried_again }
    }

    /// The limit of the try, where it is the only one.
    pub(super) fn of_the_only_try(&self) -> Option<Duration> {
        self.of_a_try.filter(|_| !self.is_tried_again)
    }

    /// What the router is to keep of the policy's own.
    fn of_the_router(&self) -> Option<Duration> {
        match (self.of_the_call, self.of_a_try) {
            (Some(call), Some(of_try)) if of_try < call => Some(of_try),
            (call, _) if !self.is_tried_again => call.or(self.of_a_try),
            (None, of_try) => of_try,
            (Some(_), _) => None,
        }
    }

    /// When the tick looks first.
    pub(super) fn looked_at(&self, now: Instant, callers: Option<Deadline>) -> Option<Instant> {
        let call = self.of_the_call.filter(|_| self.is_tried_again).map(|limit| now + limit);
        [call, callers.map(|time| time.ends())].into_iter().flatten().min()
    }
}

impl<H: Host> Stream<H> {
    /// Hands the plan to Envoy's router, and says whose limit that is. The limit is one per try: the
    /// router drops it where the route's own is shorter, and forgets it once the answer began, so a
    /// policy never lengthens a limit of the mesh nor cuts a long answer. What the client asked for
    /// does not replace it.
    pub(super) fn apply(
        &self,
        worker: &Worker,
        now: Instant,
        plan: Limits,
        callers: Option<Deadline>,
        facts: &Request<'_, H>,
    ) -> LimitOf {
        let rest = callers.map(|time| time.rest(now));
        let limit = plan.of_the_router();
        let (limit, of) = match (limit, callers.zip(rest)) {
            (Some(limit), Some((_, rest))) if rest < limit && plan.is_tried_again => {
                (None, LimitOf::Policy)
            }
            (Some(limit), Some((time, rest))) if rest < limit => {
                (Some(rest), LimitOf::Caller(time))
            }
            (Some(limit), _) => (Some(limit), LimitOf::Policy),
            (None, _) if plan.is_tried_again => (None, LimitOf::Policy),
            (None, Some((time, rest))) => (Some(rest), LimitOf::Caller(time)),
            (None, None) => {
                let asks = |name: &&str| facts.headers().is_some_and(|all| all.get(name).is_some());
                let asks = LIMITS.iter().any(asks);
                return if asks { LimitOf::Client } else { LimitOf::Policy };
            }
        };
        let host = &self.host;
        if let Some(limit) = limit {
            // Zero would mean "no limit" to the router.
            let millis = limit.as_nanos().div_ceil(1_000_000).clamp(1, LONGEST_MILLIS);
            worker.ok(host.set_header(Map::Request, PER_TRY, &millis.to_string()));
        }
        let own = limit.is_none().then_some(PER_TRY);
        for name in OF_THE_REQUEST.into_iter().chain(own) {
            // Looking is cheaper than removing what is hardly ever there.
            if facts.headers().is_none_or(|headers| headers.get(name).is_some()) {
                worker.ok(host.remove_header(Map::Request, name));
            }
        }
        of
    }

    /// Tells the upstream what its caller has left, in the fields that the caller used.
    pub(super) fn forward(
        &self,
        worker: &Worker,
        now: Instant,
        time: &Deadline,
        facts: &Request<'_, H>,
    ) {
        for (name, value) in time.told(now) {
            if facts.headers().is_some_and(|headers| headers.get(name).is_some()) {
                worker.ok(self.host.set_header(Map::Request, name, &value));
            }
        }
    }

    /// The upstream did not answer, or broke off. Where the client chose a limit, its end is the
    /// client's patience: a client that asks for a millisecond must not open the breaker for others.
    pub(super) fn broken(&mut self, worker: &Worker, how: Transport, answers: bool) {
        let of = self.admitted.as_ref().map(|call| call.limit_of);
        match of.filter(|_| how == Transport::Timeout) {
            Some(LimitOf::Client) => self.tell(worker, true, |life, now| life.client_gone(now)),
            // A limit of the mesh may have been shorter.
            Some(LimitOf::Caller(time)) if self.is_over(worker, &time) => {
                if answers {
                    self.name_the_deadline(worker, &time);
                }
                self.give_up(worker);
            }
            _ => self.tell(worker, false, |life, now| life.broken(now, how)),
        }
    }

    fn is_over(&self, worker: &Worker, time: &Deadline) -> bool {
        let now = worker.ok(self.host.now());
        now.is_none_or(|now| now + EARLY >= time.ends())
    }

    /// The router's 504 as the rule's own.
    fn name_the_deadline(&self, worker: &Worker, time: &Deadline) {
        let Some(rejected) = self.rejected(time) else {
            return;
        };
        for (name, value) in rejected.reply().fields {
            if name.starts_with("x-bimetal-") {
                worker.ok(self.host.set_header(Map::Response, &name, &value));
            }
        }
    }

    fn rejected(&self, time: &Deadline) -> Option<Rejected<'_>> {
        let admitted = self.admitted.as_ref()?;
        let state = if admitted.ticket.is_probe() { State::HalfOpen } else { State::Closed };
        let rejection = Rejection::deadline(time.left, state);
        Some(Rejected { policy: &admitted.policy, rejection })
    }

    /// The caller's time is over: what the upstream does is for nobody. To the call that is a client
    /// who left.
    fn give_up(&mut self, worker: &Worker) {
        if let Some(admitted) = &self.admitted {
            worker.with(|state| state.engine.wasted(&admitted.ticket));
        }
        // How long it waited says nothing where a fault filter held the request back, nor where Envoy had
        // not come to a try yet.
        let counts = !flags::delayed(answer::flags(&self.host, worker))
            && answer::was_tried(&self.host, worker);
        self.tell(
            worker,
            true,
            |life, now| {
                if counts { life.client_gone(now) } else { life.dropped(now) }
            },
        );
    }

    /// Has the tick come back then.
    pub(super) fn watch(&self, worker: &Worker, at: Instant) {
        worker.with(|state| state.watch.add(at, self.context, self.itself.clone()));
    }
}

impl<H: Host> Watched for Stream<H> {
    /// The router's clock begins with the end of the request, and counts for each try. So the end of the
    /// caller's time is looked at here as well, until headers came.
    fn due(&mut self, now: Instant) {
        if self.paused.is_some() {
            return self.ask_again(now, waiting::From::Tick);
        }
        let Some((worker, admitted)) = self.worker().zip(self.admitted.as_ref()) else {
            return;
        };
        if admitted.life.is_answered() {
            return;
        }
        let callers = admitted.callers;
        if let Some(time) = callers.filter(|time| time.ends() <= now) {
            let rejected = self.rejected(&time);
            rejected.iter().for_each(|rejected| super::fell_back(&worker, rejected));
            let reply = rejected.map(|rejected| reply::of(&rejected));
            // One that cannot be given: an answer is under way, and says what became of the call.
            if reply.is_some_and(|reply| worker.ok(self.host.reply(&reply)).is_some()) {
                self.retries_ended(&worker, None, false);
                self.give_up(&worker);
            }
            return;
        }
        // While the client sends no time is the upstream's: looked at again with the next tick.
        let is_tried_again = admitted.retries.is_some_and(|retries| retries.most > 0);
        let limit = admitted.life.left(now).filter(|_| is_tried_again);
        if limit.is_some_and(|left| left.is_zero()) {
            let details = format!("bimetal_{}_timeout", admitted.policy.name);
            let body = "upstream request timeout".to_owned();
            let reply = Reply { status: 504, details, headers: Vec::new(), body };
            if worker.ok(self.host.reply(&reply)).is_some() {
                let how = Transport::Timeout;
                self.retries_ended(&worker, Some(retries::broken(how)), false);
                self.tell(&worker, true, |life, now| life.broken(now, how));
            }
            return;
        }
        let next = [limit.map(|left| now + left), callers.map(|time| time.ends())];
        if let Some(at) = next.into_iter().flatten().min() {
            self.watch(&worker, at);
        }
    }
}
