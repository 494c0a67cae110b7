//! Layers around one HTTP service that answers at once, polled by hand.
//!
//! What a program pays that puts a breaker around a service: the service's future, its body and the
//! readings of the clock are part of every call.

use crate::ours;
use crate::{Answer, Arm, Fate};
use bimetal_proxy::layer::{GuardService, Stopped};
use bimetal_proxy::{Guard, GuardLayer};
use http::{Request, Response};
use std::fmt;
use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tower::{Layer, Service};
use tower_resilience_circuitbreaker::{CircuitBreaker, CircuitBreakerLayer, DefaultClassifier};

/// A service that answers an empty 200, or fails where the request says so.
#[derive(Clone, Copy, Debug)]
pub struct AtOnce;

/// Why a call has no answer.
#[derive(Debug)]
pub enum NoAnswer {
    /// The service failed.
    Failed,
    /// The guard ended it.
    Stopped(Stopped),
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed => f.write_str("failed"),
            Self::Stopped(stopped) => stopped.fmt(f),
        }
    }
}

impl std::error::Error for NoAnswer {}

impl Service<Request<Answer>> for AtOnce {
    type Response = Response<String>;
    type Error = NoAnswer;
    type Future = Ready<Result<Response<String>, NoAnswer>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NoAnswer>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Answer>) -> Self::Future {
        ready(match request.body() {
            Answer::Good => Ok(Response::new(String::new())),
            Answer::Bad => Err(NoAnswer::Failed),
        })
    }
}

/// One call of a service, whose error says whether it was made.
fn one<S, E>(service: &mut S, answer: Answer, rejected: impl Fn(&E) -> bool) -> Fate
where
    S: Service<Request<Answer>, Error = E>,
{
    let mut context = Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(())) = service.poll_ready(&mut context) else {
        return Fate::Rejected;
    };
    let future = pin!(service.call(Request::new(answer)));
    match future.poll(&mut context) {
        Poll::Ready(Err(error)) if rejected(&error) => Fate::Rejected,
        Poll::Ready(done) => {
            // The answer's body is dropped: it is empty, so the call is settled already.
            drop(black_box(done));
            Fate::Called
        }
        Poll::Pending => panic!("its lock is held by another thread"),
    }
}

/// The service alone.
impl Arm for AtOnce {
    #[inline]
    fn call(&mut self, _: u64, answer: Answer) -> Fate {
        one(self, answer, |_: &NoAnswer| false)
    }
}

type OnStopped = fn(Stopped) -> Result<Response<bytes::Bytes>, NoAnswer>;

/// Ours; a rejection is an error, as with the peer.
#[derive(Clone, Debug)]
pub struct Guarded(GuardService<AtOnce, OnStopped>);

/// A closed one with this `trip`, and a replica for each of two threads.
///
/// # Panics
/// When the policy is wrong.
pub fn guarded(trip: &str) -> Guarded {
    let guard = Guard::builder().replicas(NonZeroUsize::MIN.saturating_add(1));
    let guard = guard.build(&ours::shared_document(trip));
    let stopped: OnStopped = |stopped| Err(NoAnswer::Stopped(stopped));
    Guarded(GuardLayer::new(guard).on_stopped(stopped).layer(AtOnce))
}

impl Arm for Guarded {
    #[inline]
    fn call(&mut self, _: u64, answer: Answer) -> Fate {
        one(&mut self.0, answer, |error| matches!(error, NoAnswer::Stopped(_)))
    }
}

/// tower-resilience's.
#[derive(Clone)]
pub struct TowerResilience(CircuitBreaker<AtOnce, DefaultClassifier>);

/// A closed one that trips on three failures in a row.
///
/// # Panics
/// When it refuses its settings.
pub fn tower_streak() -> TowerResilience {
    let rule = CircuitBreakerLayer::builder().consecutive_failures(3);
    match rule.wait_duration_in_open(Duration::from_secs(86_400)).build() {
        Ok(layer) => TowerResilience(layer.layer(AtOnce)),
        Err(error) => panic!("{error}"),
    }
}

impl Arm for TowerResilience {
    #[inline]
    fn call(&mut self, _: u64, answer: Answer) -> Fate {
        one(&mut self.0, answer, |error| error.is_circuit_open())
    }
}
