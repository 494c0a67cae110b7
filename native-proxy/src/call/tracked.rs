//! A call that the core follows, with the ticket that it settles by.
//!
//! The core's [`Call`](bimetal_core::call::Call) knows what a call's life means; in here is who
//! carries out what it says. The in-app layer uses the same.

use crate::telemetry::{Seen, Settlement, Witness};
use crate::upstream;
use crate::worker::Worker;
use bimetal_core::breaker::View;
use bimetal_core::call::{AnsweredBy, Call, Effect, Fields, Head, Upload};
use bimetal_core::decision::BreakerPlace;
use bimetal_core::outcome::{FailureRules, Outcome, Report, Transport};
use bimetal_core::policy::Policy;
use bimetal_core::{Duration, Instant, Settled, Ticket};
use hyper::HeaderMap;
use hyper::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER};
use std::rc::Rc;
use std::sync::Arc;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// Where calls are settled: the proxy's worker, or a replica of the in-app layer.
pub(crate) trait Ledger {
    /// Who wants to know how a call is settled.
    type Witness: Witness;
    /// Where calls go, which wants to know how each ended.
    type Endpoint: Watched;
    /// The time now.
    fn now(&self) -> Instant;
    /// Good response headers arrived for a probe.
    fn answered(&self, now: Instant, ticket: &mut Ticket);
    /// The upstream's clock of a probe runs or stands.
    fn upstream_clock(&self, now: Instant, ticket: &Ticket, runs: bool);
    /// A call was given up, because its caller's time was over.
    fn wasted(&self, ticket: &Ticket);
    /// What became of a call; none where the engine could not be asked.
    fn settle(&self, now: Instant, ticket: Ticket, report: Report) -> Option<Settled>;
    /// A call's breaker now, where it has one.
    fn breaker(&self, now: Instant, at: BreakerPlace) -> Option<View>;
}

/// Whoever is told what a call to it counted as.
pub(crate) trait Watched {
    /// A call counted as `outcome`.
    fn saw(&self, outcome: Outcome);
}

impl Watched for Rc<upstream::Endpoint> {
    fn saw(&self, outcome: Outcome) {
        upstream::Endpoint::saw(self, outcome);
    }
}

/// There are no endpoints.
impl Watched for () {
    fn saw(&self, _outcome: Outcome) {}
}

/// One call. Dropped before its end is known, it settles as what that means: the client left.
#[derive(Debug)]
pub(crate) struct TrackedCall<L: Ledger = Rc<Worker>> {
    pub(super) ledger: L,
    pub(super) policy: Option<Arc<Policy>>,
    /// None where the call passes without a permit, or is settled.
    pub(super) held: Option<Held>,
    begun: Instant,
    witness: Option<L::Witness>,
    /// Which endpoint its outcome says something of.
    endpoint: Option<L::Endpoint>,
    /// Whether what a try proposes waits until it is known that it was the last one.
    pub(super) defers: bool,
}

#[derive(Debug)]
pub(super) struct Held {
    /// None where the outcome is for the endpoint alone.
    pub(super) ticket: Option<Ticket>,
    pub(super) life: Call,
    /// What the try under way proposes.
    pub(super) proposed: Option<Report>,
}

impl<L: Ledger> TrackedCall<L> {
    /// A call that began at `begun` and has `limit` on the upstream's clock. Without a ticket there
    /// is nothing to settle.
    pub(crate) fn new(
        ledger: L,
        policy: Option<Arc<Policy>>,
        ticket: Option<Ticket>,
        limit: Option<Duration>,
        begun: Instant,
    ) -> Self {
        let held = ticket.zip(policy.as_ref()).map(|(ticket, policy)| {
            let life = Call::new(policy.failure.clone(), limit);
            Held { ticket: Some(ticket), life, proposed: None }
        });
        Self { ledger, policy, held, begun, witness: None, endpoint: None, defers: false }
    }

    /// A call that no policy judges, and that nobody settles: it has `limit` on the upstream's clock, and
    /// its outcome by `rules` is for its endpoint.
    pub(crate) fn unjudged(
        ledger: L,
        rules: Arc<FailureRules>,
        limit: Option<Duration>,
        begun: Instant,
    ) -> Self {
        let life = Call::new(rules, limit);
        let held = Some(Held { ticket: None, life, proposed: None });
        Self { ledger, policy: None, held, begun, witness: None, endpoint: None, defers: false }
    }

    /// Each try may have `limit` on the upstream's clock.
    pub(crate) fn limit_tries(&mut self, limit: Option<Duration>) {
        if let (Some(held), Some(_)) = (&mut self.held, limit) {
            held.life.limit_tries(limit);
        }
    }

    /// Its outcome is wanted also without a ticket: by the rules of its policy, else by these.
    pub(crate) fn judged_by(&mut self, rules: &Arc<FailureRules>) {
        let policy = self.policy.as_ref();
        self.held.get_or_insert_with(|| {
            let rules = policy.map_or(rules, |policy| &policy.failure);
            Held { ticket: None, life: Call::new(rules.clone(), None), proposed: None }
        });
    }

    /// It goes to `endpoint`: its outcome says something of that.
    pub(crate) fn goes_to(&mut self, endpoint: L::Endpoint) {
        self.endpoint = Some(endpoint);
    }

    /// Has its end told to `witness`.
    pub(crate) fn watch(&mut self, witness: Option<L::Witness>) {
        self.witness = witness;
    }

    /// The time now.
    pub(crate) fn now(&self) -> Instant {
        self.ledger.now()
    }

    /// When it began.
    pub(crate) fn begun(&self) -> Instant {
        self.begun
    }

    /// The policy that matched.
    pub(crate) fn policy(&self) -> Option<&Arc<Policy>> {
        self.policy.as_ref()
    }

    /// The call waits in a queue of ours.
    pub(crate) fn queued(&mut self, now: Instant) {
        self.endpoint = None;
        self.tell(now, |life| life.queued(now));
    }

    /// The call is handed to the upstream.
    pub(crate) fn handed_over(&mut self, now: Instant, upload: Upload) {
        self.tell(now, |life| life.handed_over(now, upload));
    }

    /// The request got further, or stopped.
    pub(crate) fn upload(&mut self, now: Instant, upload: Upload) {
        self.tell(now, |life| life.upload(now, upload));
    }

    /// When its time on the upstream's clock ends; none while that stands, or without a limit.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.held.as_ref()?.life.deadline()
    }

    /// Headers of the upstream arrived. Whether they mean that the call failed.
    pub(crate) fn headers(
        &mut self,
        now: Instant,
        status: u16,
        headers: &HeaderMap,
        end_of_stream: bool,
    ) -> bool {
        self.saw(Seen::Status(status));
        let (by, fields) = (AnsweredBy::Upstream, &AnswerFields(headers));
        let head = Head { status, by, latency: None, end_of_stream, fields };
        self.tell(now, |life| life.headers(now, &head))
    }

    /// Whether pieces of the answer's body are to be shown.
    pub(crate) fn wants_body(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.life.wants_body())
    }

    /// A piece of the answer's body; none where it cannot be shown.
    pub(crate) fn body(&mut self, piece: Option<&[u8]>) {
        let now = self.now();
        self.tell(now, |life| life.body(now, piece));
    }

    /// Trailers arrived.
    pub(crate) fn trailers(&mut self, now: Instant, trailers: &HeaderMap) {
        let status = AnswerFields(trailers);
        self.tell(now, |life| life.trailers(now, status.grpc_status()));
    }

    /// The answer ended well.
    pub(crate) fn finished(&mut self, now: Instant) {
        self.tell(now, |life| life.ended(now));
    }

    /// The upstream did not answer, or broke off.
    pub(crate) fn broken(&mut self, how: Transport) {
        self.saw(Seen::Broke(how));
        let now = self.now();
        self.tell(now, |life| life.broken(now, how));
    }

    /// It is given up, because its caller's time is over.
    pub(crate) fn given_up(&self) {
        if let Some(ticket) = self.held.as_ref().and_then(|held| held.ticket.as_ref()) {
            self.ledger.wasted(ticket);
        }
    }

    /// The call ended without an answer, and that says nothing about the upstream.
    pub(crate) fn not_evidence(&mut self) {
        let now = self.now();
        self.tell(now, |life| life.dropped(now));
    }

    /// The call failed because somebody wanted it to.
    pub(crate) fn failed_on_purpose(&mut self) {
        self.settle(self.now(), Outcome::Failure.into());
    }

    #[inline]
    fn saw(&mut self, what: Seen) {
        if let Some(witness) = &mut self.witness {
            witness.saw(what);
        }
    }

    /// Tells the core what was seen and carries out what it decides. Whether the call failed.
    fn tell(&mut self, now: Instant, see: impl FnOnce(&mut Call) -> Effect) -> bool {
        let Some(Held { ticket, life, proposed }) = &mut self.held else {
            return false;
        };
        let effect = see(life);
        match effect {
            Effect::None => {}
            Effect::Clock { runs } => {
                if let Some(probe) = ticket.as_ref().filter(|ticket| ticket.is_probe()) {
                    self.ledger.upstream_clock(now, probe, runs);
                }
            }
            Effect::Answered => {
                if let Some(probe) = ticket.as_mut().filter(|ticket| ticket.is_probe()) {
                    self.ledger.answered(now, probe);
                }
            }
            Effect::Settle(report) => {
                if let Some(endpoint) = self.endpoint.take() {
                    endpoint.saw(report.outcome);
                }
                if self.defers {
                    *proposed = Some(report);
                } else {
                    self.settle(now, report);
                }
            }
        }
        effect.is_failure()
    }

    pub(super) fn settle(&mut self, now: Instant, report: Report) {
        if let Some(Held { ticket: Some(ticket), .. }) = self.held.take() {
            match self.witness.take() {
                None => drop(self.ledger.settle(now, ticket, report)),
                Some(witness) => self.settle_seen(now, ticket, report, &witness),
            }
        }
    }

    #[cold]
    fn settle_seen(&self, now: Instant, ticket: Ticket, report: Report, witness: &L::Witness) {
        let (ledger, at) = (&self.ledger, ticket.breaker());
        let before = ledger.breaker(now, at);
        let settled = ledger.settle(now, ticket, report);
        let seen =
            settled.and_then(|settled| Settlement::seen(before, settled, ledger.breaker(now, at)));
        if let Some(seen) = seen {
            witness.settled(seen);
        }
    }
}

impl<L: Ledger> Drop for TrackedCall<L> {
    fn drop(&mut self) {
        if let Some(held) = &self.held {
            let now = self.ledger.now();
            if let Some(report) = held.proposed {
                // Its client left while it waited for another try: what the one before it was is known.
                return self.settle(now, report);
            }
            // A fault of ours says nothing about the upstream.
            let ours = std::thread::panicking();
            self.tell(now, |life| if ours { life.dropped(now) } else { life.client_gone(now) });
        }
    }
}

/// Headers as the core asks for them.
pub(super) struct AnswerFields<'a>(pub(super) &'a HeaderMap);

impl AnswerFields<'_> {
    fn get(&self, name: &HeaderName) -> Option<&[u8]> {
        self.0.get(name).map(|value| value.as_bytes())
    }
}

impl Fields for AnswerFields<'_> {
    fn content_type(&self) -> Option<&[u8]> {
        self.get(&CONTENT_TYPE)
    }

    fn grpc_status(&self) -> Option<&[u8]> {
        self.get(&GRPC_STATUS)
    }

    fn retry_after(&self) -> Option<&[u8]> {
        self.get(&RETRY_AFTER)
    }
}
