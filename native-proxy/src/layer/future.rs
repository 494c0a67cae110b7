//! A guarded call under way.

use super::body::GuardBody;
use super::replica::Account;
use super::stopped::{Classify, OnStopped, Stopped};
use crate::call::answer;
use bimetal_core::Duration;
use bimetal_core::event::State;
use bimetal_core::outcome::Transport;
use bytes::Bytes;
use hyper::body::Body;
use hyper::{Response, StatusCode};
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tokio::time::{Sleep, sleep_until};

/// A call that was admitted.
pub(super) struct Running<F, R, C> {
    /// The service's own future.
    pub inner: F,
    /// Its account.
    pub account: Account,
    /// When it must have given headers, and how long that is after it was handed over.
    pub deadline: Option<(Instant, Duration)>,
    /// State of the breaker; none where it was not asked.
    pub state: Option<State>,
    /// What becomes of it at the deadline.
    pub on_stopped: R,
    /// What its error means.
    pub classify: C,
}

pin_project! {
    /// The future of a guarded call. Dropped before its end it settles the call as what that means:
    /// the client left.
    #[must_use = "futures do nothing unless polled"]
    pub struct GuardFuture<F, E, R, C> {
        #[pin]
        stage: Stage<F, E, R, C>,
    }
}

pin_project! {
    #[project = StagePinned]
    enum Stage<F, E, R, C> {
        Running {
            #[pin]
            inner: F,
            // Made when the service first has to be waited for.
            #[pin]
            timer: Option<Sleep>,
            deadline: Option<(Instant, Duration)>,
            state: Option<State>,
            on_stopped: R,
            classify: C,
            account: Option<Account>,
        },
        // It never ran.
        Ended { result: Option<Result<Response<Bytes>, E>> },
    }
}

impl<F, E, R, C> GuardFuture<F, E, R, C> {
    pub(super) fn running(running: Running<F, R, C>) -> Self {
        Self {
            stage: Stage::Running {
                inner: running.inner,
                timer: None,
                deadline: running.deadline,
                state: running.state,
                on_stopped: running.on_stopped,
                classify: running.classify,
                account: Some(running.account),
            },
        }
    }

    pub(super) const fn ended(result: Result<Response<Bytes>, E>) -> Self {
        Self { stage: Stage::Ended { result: Some(result) } }
    }
}

impl<F, E, R, C, B> Future for GuardFuture<F, E, R, C>
where
    F: Future<Output = Result<Response<B>, E>>,
    R: OnStopped<E>,
    C: Classify<E>,
    B: Body,
{
    type Output = Result<Response<GuardBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut stage = self.project().stage;
        let result = match stage.as_mut().project() {
            StagePinned::Ended { result } => own(take(result)),
            StagePinned::Running {
                inner,
                mut timer,
                deadline,
                state,
                on_stopped,
                classify,
                account,
            } => match inner.poll(cx) {
                Poll::Ready(Ok(response)) => Ok(receive(response, take(account), *state)),
                Poll::Ready(Err(error)) => {
                    let how = classify.transport(&error);
                    failed(error, how, take(account), *state)
                }
                Poll::Pending => {
                    let Some((at, after)) = *deadline else {
                        return Poll::Pending;
                    };
                    if timer.is_none() {
                        timer.set(Some(sleep_until(at.into())));
                    }
                    if let Some(timer) = timer.as_pin_mut() {
                        ready!(timer.poll(cx));
                    }
                    own(timed_out(take(account), after, *state, on_stopped))
                }
            },
        };
        // What the service holds is given back now, not when somebody drops this.
        stage.set(Stage::Ended { result: None });
        Poll::Ready(result)
    }
}

fn take<T>(there: &mut Option<T>) -> T {
    there.take().expect("a future is not polled after its end")
}

fn own<B, E>(result: Result<Response<Bytes>, E>) -> Result<Response<GuardBody<B>>, E> {
    result.map(|response| response.map(GuardBody::from))
}

/// Settles what the headers say; the rest is the body's.
fn receive<B: Body>(
    response: Response<B>,
    mut account: Account,
    state: Option<State>,
) -> Response<GuardBody<B>> {
    let now = account.now();
    let policy = account.policy().cloned();
    let has_failed = account.headers(now, response.status().as_u16(), response.headers());
    let fallback = policy.as_ref().and_then(|policy| policy.fallback_when_failed());
    let mut response = match fallback {
        Some(fallback) if has_failed => {
            let text = format_args!("upstream answered {}", response.status().as_u16()).to_string();
            answer::fallback(fallback, StatusCode::SERVICE_UNAVAILABLE, &text)
        }
        _ if response.body().is_end_stream() => {
            account.finished(now);
            response.map(|body| GuardBody::followed(body, None))
        }
        _ => response.map(|body| GuardBody::followed(body, Some(account))),
    };
    if let Some(policy) = &policy {
        answer::debug(&mut response, policy, state);
    }
    response
}

/// Settles an error of the service; the policy may have an answer in its place.
fn failed<B, E>(
    error: E,
    how: Option<Transport>,
    mut account: Account,
    state: Option<State>,
) -> Result<Response<GuardBody<B>>, E> {
    let Some(how) = how else {
        account.not_evidence();
        return Err(error);
    };
    account.broken(how);
    let policy = account.policy();
    let fallback = policy.and_then(|policy| policy.fallback_when_failed());
    let (Some(policy), Some(fallback)) = (policy, fallback) else {
        return Err(error);
    };
    let text = format_args!("upstream failed: {}", how.name()).to_string();
    let mut response = answer::fallback(fallback, StatusCode::SERVICE_UNAVAILABLE, &text);
    answer::debug(&mut response, policy, state);
    Ok(response)
}

fn timed_out<E>(
    mut account: Account,
    after: Duration,
    state: Option<State>,
    on_stopped: &impl OnStopped<E>,
) -> Result<Response<Bytes>, E> {
    account.broken(Transport::Timeout);
    let policy = account.policy().cloned();
    // Only an admission has a deadline, and it has both.
    let (policy, state) = policy.zip(state).expect("an admitted call has a policy");
    on_stopped.answer(Stopped::TimedOut { policy, after, state })
}
