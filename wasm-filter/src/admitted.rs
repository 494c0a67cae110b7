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
    pub(crate) deadline: Option<Duration>,
    pub(crate) patience: Patience,
    pub(crate) answer: Option<Answer>,
}

/// How long the kind of an answer may stay unknown. To ask costs a host call, and a short answer
/// is over before it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Until the answer's headers: a probe's success decides, so an event stream that says nothing
    /// for long must count when it begins.
    Headers,
    /// Until the answer turns out to be longer than one part.
    Parts,
}

impl Patience {
    /// For a call that was admitted in this state.
    pub(crate) const fn of(state: State) -> Self {
        match state {
            State::Closed => Self::Parts,
            State::HalfOpen | State::Open => Self::Headers,
        }
    }

    /// Whether the kind is asked for with the headers.
    pub(crate) const fn eager(self) -> bool {
        matches!(self, Self::Headers)
    }
}

/// Good response headers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) latency: Duration,
    /// None = not asked for yet.
    pub(crate) kind: Option<Kind>,
}

impl Open {
    /// What an answer counts as.
    pub(crate) fn classify(&self, answer: Answer, grpc: Option<u32>) -> Outcome {
        let Answer {
            status, latency, ..
        } = answer;
        self.policy.failure.classify(&Observation::Answer {
            status,
            grpc,
            latency,
        })
    }
}
