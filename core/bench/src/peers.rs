//! Circuit breakers of others, set to the same rules. All of them are made to be shared between
//! threads, and pay for it in every call.

use crate::{Answer, Arm, Fate};
use failsafe::backoff::{Constant, constant};
use failsafe::failure_policy::{ConsecutiveFailures, consecutive_failures};
use failsafe::{Config, StateMachine};
use recloser::Recloser;
use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tower::{Layer, Service};
use tower_resilience_circuitbreaker::{CircuitBreaker, CircuitBreakerLayer, DefaultClassifier};
use tower_resilience_circuitbreaker::{CircuitBreakerConfigBuilder, SlidingWindowType};

const DAY: Duration = Duration::from_secs(86_400);

/// recloser: half of the last hundred calls (it has no other rule).
#[derive(Clone)]
pub struct Reclose(Arc<Recloser>);

/// A closed recloser.
pub fn recloser() -> Reclose {
    let breaker = Recloser::custom().error_rate(0.5).closed_len(100).open_wait(DAY);
    Reclose(Arc::new(breaker.build()))
}

impl Arm for Reclose {
    #[inline]
    fn call(&mut self, _: u64, answer: Answer) -> Fate {
        match self.0.call(|| result(answer)) {
            Err(recloser::Error::Rejected) => Fate::Rejected,
            done => {
                let _ = black_box(done);
                Fate::Called
            }
        }
    }
}

#[inline]
fn result(answer: Answer) -> Result<(), ()> {
    match answer {
        Answer::Good => Ok(()),
        Answer::Bad => Err(()),
    }
}

/// failsafe: three failures in a row.
#[derive(Clone)]
pub struct Failsafe(StateMachine<ConsecutiveFailures<Constant>, ()>);

/// A closed failsafe.
pub fn failsafe() -> Failsafe {
    let policy = consecutive_failures(3, constant(DAY));
    Failsafe(Config::new().failure_policy(policy).build())
}

impl Arm for Failsafe {
    #[inline]
    fn call(&mut self, _: u64, answer: Answer) -> Fate {
        if !self.0.is_call_permitted() {
            return Fate::Rejected;
        }
        match answer {
            Answer::Good => self.0.on_success(),
            Answer::Bad => self.0.on_error(),
        }
        Fate::Called
    }
}

/// tower-resilience: a `tower` service around one that answers at once, polled by hand. It has no
/// other door: the service, its boxed future and its clock are part of every call.
#[derive(Clone)]
pub struct TowerResilience(CircuitBreaker<AtOnce, DefaultClassifier>);

/// A closed one that trips on three failures in a row.
pub fn tower_streak() -> TowerResilience {
    tower(CircuitBreakerLayer::builder().consecutive_failures(3))
}

/// A closed one that trips on half of a hundred calls.
pub fn tower_rate() -> TowerResilience {
    let rule = CircuitBreakerLayer::builder().failure_rate_threshold(0.5);
    tower(rule.sliding_window_type(SlidingWindowType::CountBased).sliding_window_size(100))
}

fn tower(rule: CircuitBreakerConfigBuilder) -> TowerResilience {
    match rule.wait_duration_in_open(DAY).build() {
        Ok(layer) => TowerResilience(layer.layer(AtOnce)),
        Err(error) => panic!("{error}"),
    }
}

/// A service that does what it is told.
#[derive(Clone, Copy, Debug)]
pub struct AtOnce;

impl Service<Answer> for AtOnce {
    type Response = ();
    type Error = ();
    type Future = Ready<Result<(), ()>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, answer: Answer) -> Self::Future {
        ready(result(answer))
    }
}

impl Arm for TowerResilience {
    #[inline]
    fn call(&mut self, _: u64, answer: Answer) -> Fate {
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(Ok(())) = self.0.poll_ready(&mut context) else {
            return Fate::Rejected;
        };
        let future = pin!(self.0.call(answer));
        match future.poll(&mut context) {
            Poll::Ready(Err(error)) if error.is_circuit_open() => Fate::Rejected,
            Poll::Ready(done) => {
                let _ = black_box(done);
                Fate::Called
            }
            Poll::Pending => panic!("its lock is held by another thread"),
        }
    }
}
