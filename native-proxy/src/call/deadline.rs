//! The time that a caller has left: told to the upstream, and kept.

use crate::attempt::{AttemptError, ErrorKind};
use bimetal_core::deadline;
use bimetal_core::event::State;
use bimetal_core::policy::Policy;
use bimetal_core::{Facts, Instant, Rejection};
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use std::future::Future;

/// Of one call: when its caller's time ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(deadline::Deadline);

impl Deadline {
    /// The deadline of a call that began at `begun`; none where its caller or its policy says nothing.
    pub(crate) fn of(policy: &Policy, facts: &dyn Facts, begun: Instant) -> Option<Self> {
        policy.deadline_of(facts, begun).map(Self)
    }

    /// When an answer is of no use any more.
    pub(crate) fn at(&self) -> Instant {
        self.0.ends()
    }

    /// Tells the upstream what it has at `now`, in the fields that the caller used.
    pub(crate) fn forward(&self, headers: &mut HeaderMap, now: Instant) {
        for (name, value) in self.0.told(now) {
            let name = HeaderName::from_static(name);
            if headers.contains_key(&name)
                && let Ok(value) = HeaderValue::from_str(&value)
            {
                headers.insert(name, value);
            }
        }
    }

    /// What is said to a caller whose time is over.
    pub(crate) fn rejection(&self, breaker: Option<State>) -> Rejection {
        Rejection::deadline(self.0.left, breaker.unwrap_or(State::Closed))
    }
}

/// What comes of `work`, unless `at` comes before: then it is dropped, and with it what the upstream
/// does for it.
pub(crate) async fn until<T>(
    at: Option<std::time::Instant>,
    work: impl Future<Output = Result<T, AttemptError>>,
) -> Result<T, AttemptError> {
    let Some(at) = at else {
        return work.await;
    };
    match tokio::time::timeout_at(at.into(), work).await {
        Ok(result) => result,
        Err(_) => Err(AttemptError::new(ErrorKind::Deadline, "the caller's deadline has passed")),
    }
}
