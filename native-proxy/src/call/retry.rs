//! Failed tries of a call, and whether they are made again.
//!
//! The core decides. In here is what it is told of a try, what is kept of a request so that it can be
//! sent once more, and the wait. Until that is over the failed answer is held: where the breaker opened
//! meanwhile, it is the client's answer after all.

use super::kept::Kept;
use super::tracked::{AnswerFields, Held, TrackedCall};
use crate::account::RequestAccount;
use crate::attempt::AttemptError;
use crate::call::Deadline;
use crate::upstream::{Connection, Upload};
use crate::worker::Worker;
use bimetal_core::outcome::{Outcome, Transport};
use bimetal_core::retry::{FailedTry, NoRetry, RetryCase, Tries, TryFailure};
use bimetal_core::{Duration, Instant, call};
use hyper::body::Incoming;
use hyper::header::{HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, Request, Response};
use std::rc::Rc;

/// On an answer: who gave it has tried all it may, and nobody else need try.
const RETRIES: HeaderName = HeaderName::from_static("x-bimetal-retries");
const EXHAUSTED: &str = "exhausted";

/// On a request: the number of its try, from the second.
const ATTEMPT: HeaderName = HeaderName::from_static("x-bimetal-attempt");

/// What came of a try.
pub(super) enum Tried {
    /// An answer, as far as its headers.
    Answered(Arrived),
    /// None.
    Failed(AttemptError),
}

/// An answer whose headers are there.
pub(super) struct Arrived {
    pub response: Response<Incoming>,
    pub connection: Box<Connection>,
    /// When its headers came.
    pub now: Instant,
    /// Whether the policy calls it a failure.
    pub has_failed: bool,
}

/// A call that may be tried again, and how far it is.
pub(super) struct Retrying {
    tries: Tries,
    gave_up: bool,
    /// Whether its policy only watches: then tries are counted and not made.
    is_shadow: bool,
}

/// The request as it is sent first; what is kept of it, where its policy may send it once more; and how far
/// it is with its tries, where it has several.
pub(super) fn keep(
    call: &mut TrackedCall,
    request: Request<Upload>,
    is_upgrade: bool,
) -> (Request<Upload>, Option<Box<Kept>>, Option<Retrying>) {
    let Some(policy) = call.policy().cloned() else {
        return (request, None, None);
    };
    let retry = policy.retry_watched().filter(|_| call.defer());
    let elsewhere = policy.fallback_when_failed().and_then(|fallback| fallback.upstream.as_ref());
    let elsewhere = elsewhere.filter(|_| !is_upgrade);
    let Some(most) =
        retry.map(|retry| retry.buffer).or(elsewhere.map(|elsewhere| elsewhere.buffer))
    else {
        return (request, None, None);
    };
    let is_shadow = policy.retry_applied().is_none();
    let new = || Retrying { tries: Tries::default(), gave_up: false, is_shadow };
    let retrying = retry.map(|_| new());
    let (request, kept) = Kept::of(request, most);
    (request, Some(Box::new(kept)), retrying)
}

impl Tried {
    /// Whether the policy calls it a failure.
    pub(super) fn has_failed(&self) -> bool {
        match self {
            Self::Answered(arrived) => arrived.has_failed,
            Self::Failed(error) => error.kind.transport().is_some(),
        }
    }
}

impl Retrying {
    /// Whether the try that ended like this is made again, once the wait is over. `is_unsent` says that not
    /// one byte of the request left.
    pub(super) async fn goes_on(
        &mut self,
        worker: &Worker,
        call: &mut TrackedCall,
        kept: &Kept,
        (tried, is_unsent): (&Tried, bool),
        deadline: Option<&Deadline>,
        account: &mut RequestAccount,
    ) -> bool {
        let Some(failed) = failed(tried, is_unsent) else {
            return false;
        };
        let now = worker.clock.now();
        let left = [deadline.map(|deadline| deadline.at().since(now)), call.left(now)];
        let ask = kept.ask();
        let left = left.into_iter().flatten().min();
        let case = RetryCase { now, ask, failed, left };
        if self.is_shadow {
            call.would_retry(&case);
            return false;
        }
        let planned = call.plan_retry(&mut self.tries, &case);
        let result = match planned {
            Ok(wait) => {
                call.queued(now);
                if !wait.is_zero() {
                    tokio::time::sleep(wait.into()).await;
                }
                call.try_again(&mut self.tries)
            }
            Err(NoRetry::NotListed) => {
                if self.tries.number() > 1 && matches!(tried, Tried::Answered(_)) {
                    call.retry_helped();
                }
                return false;
            }
            Err(why) => Err(why),
        };
        if let Err(why) = result {
            self.gave_up = why.gives_up();
            account.not_tried_again(why);
        }
        result.is_ok()
    }

    /// The request of the next try; `unsent` is that of the last one, where nothing of it left.
    pub(super) fn request(&self, kept: &Kept, unsent: Option<Request<Upload>>) -> Request<Upload> {
        let mut request = unsent.unwrap_or_else(|| kept.again());
        request.headers_mut().insert(ATTEMPT, HeaderValue::from(self.tries.number()));
        request
    }

    /// Says on an answer that all tries are made, where they are.
    pub(super) fn mark(&self, headers: &mut HeaderMap) {
        if self.gave_up {
            headers.insert(RETRIES, HeaderValue::from_static(EXHAUSTED));
        }
    }
}

/// What the core is told of a try; none where the client's doing ended it, or the caller's time is over.
fn failed(tried: &Tried, is_unsent: bool) -> Option<FailedTry> {
    Some(match tried {
        Tried::Answered(Arrived { response, .. }) => {
            let headers = response.headers();
            let grpc = call::grpc_status(&AnswerFields(headers));
            let status = response.status().as_u16();
            FailedTry {
                how: TryFailure::Answer { status, grpc },
                retry_after: retry_after(headers),
                is_exhausted: headers.get(RETRIES).is_some_and(|value| {
                    value.as_bytes().eq_ignore_ascii_case(EXHAUSTED.as_bytes())
                }),
            }
        }
        Tried::Failed(error) => {
            let how: Transport = error.kind.transport()?;
            let how = if is_unsent { TryFailure::NotSent(how) } else { TryFailure::Broken(how) };
            FailedTry { how, retry_after: None, is_exhausted: false }
        }
    })
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    call::retry_after(headers.get(RETRY_AFTER)?.as_bytes())
}

impl TrackedCall<Rc<Worker>> {
    /// What a try proposes waits from now on until [`TrackedCall::conclude`]. Not of a probe: that has one
    /// try. Whether it does.
    fn defer(&mut self) -> bool {
        let ticket = self.held.as_ref().and_then(|held| held.ticket.as_ref());
        self.defers = ticket.is_some_and(|ticket| !ticket.is_probe());
        self.defers
    }

    /// The try under way is the last one: what it proposed holds.
    pub(super) fn conclude(&mut self) {
        self.defers = false;
        if let Some(report) = self.held.as_mut().and_then(|held| held.proposed.take()) {
            self.settle(self.now(), report);
        }
    }

    /// What is left of its time on the upstream's clock.
    fn left(&self, now: Instant) -> Option<Duration> {
        self.held.as_ref()?.life.left(now)
    }

    fn would_retry(&self, case: &RetryCase<'_>) {
        if let (Some(Held { ticket: Some(ticket), .. }), Some(policy)) = (&self.held, &self.policy)
        {
            self.ledger.would_retry(policy, ticket, case);
        }
    }

    fn plan_retry(&mut self, tries: &mut Tries, case: &RetryCase<'_>) -> Result<Duration, NoRetry> {
        let (Some(Held { ticket: Some(ticket), proposed, .. }), Some(policy)) =
            (&mut self.held, &self.policy)
        else {
            return Err(NoRetry::NotListed);
        };
        // An answer that is no failure, and whose rest nobody waits for, says nothing.
        let report = proposed.unwrap_or_else(|| Outcome::Neutral.into());
        let planned = self.ledger.plan_retry(policy, ticket, tries, (case, report));
        planned.unwrap_or(Err(NoRetry::NotListed))
    }

    fn try_again(&mut self, tries: &mut Tries) -> Result<(), NoRetry> {
        let Some(Held { ticket: Some(ticket), proposed, .. }) = &mut self.held else {
            return Err(NoRetry::NotListed);
        };
        let result = self.ledger.try_again(ticket, tries).unwrap_or(Err(NoRetry::Breaker));
        if result.is_ok() {
            *proposed = None;
        }
        result
    }

    fn retry_helped(&self) {
        if let Some(ticket) = self.held.as_ref().and_then(|held| held.ticket.as_ref()) {
            self.ledger.retry_helped(ticket);
        }
    }
}
