//! What is kept of a call between its admission and its settlement.

use crate::answer::Kind;
use bimetal_core::event::State;
use bimetal_core::outcome::{Observation, Outcome};
use bimetal_core::policy::Policy;
use bimetal_core::{Duration, Instant, Ticket};
use std::sync::Arc;

/// An admitted call that is not settled.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) policy: Arc<Policy>,
    pub(crate) ticket: Ticket,
    pub(crate) sent: Instant,
    /// The breaker's at admission.
    pub(crate) state: State,
    pub(crate) deadline: Option<Duration>,
    pub(crate) answer: Option<Answer>,
}

/// Good response headers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) latency: Duration,
    pub(crate) kind: Kind,
}

impl Open {
    /// Whether it matters when the answer's headers came: to tell a slow answer, or to free a
    /// probe's slot.
    pub(crate) fn is_timed(&self) -> bool {
        self.policy.failure.slower_than.is_some() || self.state == State::HalfOpen
    }

    /// What an answer counts as.
    pub(crate) fn classify(&self, answer: Answer, grpc: Option<u32>) -> Outcome {
        let Answer { status, latency, .. } = answer;
        self.policy.failure.classify(&Observation::Answer { status, grpc, latency })
    }
}
