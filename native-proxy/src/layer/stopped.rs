//! What the caller gets where the service gave no answer, and what a service's error means.

use crate::call::answer;
use bimetal_core::event::State;
use bimetal_core::outcome::Transport;
use bimetal_core::policy::Policy;
use bimetal_core::{Duration, Rejected, Rejection};
use bytes::Bytes;
use hyper::{Response, StatusCode};
use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// A call that the guard ended. An error, for those who want one; its text names rule and reason.
#[derive(Debug)]
#[non_exhaustive]
pub enum Stopped {
    /// It was turned away, and the service was not called.
    Rejected {
        /// The policy.
        policy: Arc<Policy>,
        /// By what rule, and why.
        rejection: Rejection,
    },
    /// The service gave no headers within the policy's `timeout.request`, and was dropped.
    TimedOut {
        /// The policy.
        policy: Arc<Policy>,
        /// The time it had.
        after: Duration,
        /// State of the breaker at admission.
        state: State,
    },
}

impl Stopped {
    /// The answer that the proxy gives: for a rejection 503 with `x-bimetal-rule`,
    /// `x-bimetal-reason` and, where it is known, `retry-after`; for a time-out 504. The policy's
    /// `fallback` takes its place where there is one.
    pub fn response(&self) -> Response<Bytes> {
        match self {
            Self::Rejected { policy, rejection } => {
                answer::rejection(&Rejected { policy, rejection: *rejection })
            }
            Self::TimedOut { policy, state, .. } => {
                let mut response =
                    answer::when_failed(policy, &answer::TIMED_OUT).unwrap_or_else(|| {
                        answer::error(StatusCode::GATEWAY_TIMEOUT, &answer::TIMED_OUT)
                    });
                answer::debug(&mut response, policy, Some(*state));
                response
            }
        }
    }

    /// The policy that matched.
    pub fn policy(&self) -> &Policy {
        match self {
            Self::Rejected { policy, .. } | Self::TimedOut { policy, .. } => policy,
        }
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let policy = &self.policy().name;
        match self {
            Self::Rejected { rejection, .. } => {
                write!(f, "{policy}/{}: {rejection}", rejection.rule().name())
            }
            Self::TimedOut { after, .. } => write!(f, "{policy}: no answer within {after}"),
        }
    }
}

impl Error for Stopped {}

/// What the caller of a guarded service gets for a call that was stopped: a response or the
/// service's own kind of error. Any closure of the same form is one.
pub trait OnStopped<E> {
    /// The caller's result.
    ///
    /// # Errors
    /// What the implementation makes of `stopped`.
    fn answer(&self, stopped: Stopped) -> Result<Response<Bytes>, E>;
}

impl<E, F: Fn(Stopped) -> Result<Response<Bytes>, E>> OnStopped<E> for F {
    fn answer(&self, stopped: Stopped) -> Result<Response<Bytes>, E> {
        self(stopped)
    }
}

/// Answers with [`Stopped::response`].
#[derive(Clone, Copy, Debug, Default)]
pub struct AsResponse;

impl<E> OnStopped<E> for AsResponse {
    fn answer(&self, stopped: Stopped) -> Result<Response<Bytes>, E> {
        Ok(stopped.response())
    }
}

/// What an error of the service means. Any closure of the same form is one. The policy's
/// `failure.transport` then decides whether that is a failure.
pub trait Classify<E> {
    /// What happened to the call; none where the error says nothing about the service, such as a
    /// request that its own caller got wrong.
    fn transport(&self, error: &E) -> Option<Transport>;
}

impl<E, F: Fn(&E) -> Option<Transport>> Classify<E> for F {
    fn transport(&self, error: &E) -> Option<Transport> {
        self(error)
    }
}

/// Takes every error for a connection that broke.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsReset;

impl<E> Classify<E> for AsReset {
    fn transport(&self, _: &E) -> Option<Transport> {
        Some(Transport::Reset)
    }
}
