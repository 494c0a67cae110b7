//! A guarded call under way.

use super::body::GuardBody;
use super::replica::Account;
use super::stopped::{Classify, OnStopped, Stopped};
use super::upload::UploadWatch;
use crate::call::answer;
use crate::clock::Clock;
use bimetal_core::event::State;
use bimetal_core::outcome::Transport;
use bimetal_core::{Duration, Instant};
use bytes::Bytes;
use hyper::Response;
use hyper::body::Body;
use pin_project_lite::pin_project;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::time::{Sleep, sleep_until};
use tracing::Span;

/// A call that was admitted.
pub(super) struct Running<F, R, C> {
    /// The service's own future.
    pub inner: F,
    /// Its span; what the service says is within it.
    pub span: Span,
    /// Its account.
    pub account: Account,
    /// The clock that its times are on.
    pub clock: Clock,
    /// How long it may take for its headers.
    pub limit: Option<Duration>,
    /// How far the request's body is, where somebody watches that.
    pub watch: Option<UploadWatch>,
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
            span: Span,
            // Made when the service first has to be waited for.
            #[pin]
            timer: Option<Sleep>,
            clock: Clock,
            limit: Option<Duration>,
            watch: Option<UploadWatch>,
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
                span: running.span,
                timer: None,
                clock: running.clock,
                limit: running.limit,
                watch: running.watch,
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
                span,
                mut timer,
                clock,
                limit,
                watch,
                state,
                on_stopped,
                classify,
                account,
            } => match span.in_scope(|| inner.poll(cx)) {
                Poll::Ready(Ok(response)) => {
                    let mut account = take(account);
                    deadline(&mut account, watch.as_ref());
                    Ok(receive(response, account, *state))
                }
                Poll::Ready(Err(error)) => {
                    let how = classify.transport(&error);
                    failed(error, how, take(account), *state)
                }
                Poll::Pending => {
                    let (Some(call), Some(after)) = (account.as_mut(), *limit) else {
                        return Poll::Pending;
                    };
                    loop {
                        let found = deadline(call, watch.as_ref());
                        // Where the clock stands another task may go on reading the body without our
                        // knowing: look again after a while.
                        let at = found.unwrap_or_else(|| call.now() + after);
                        let at = clock.timer_instant(at).into();
                        match timer.as_mut().as_pin_mut() {
                            None => timer.set(Some(sleep_until(at))),
                            Some(timer) if timer.deadline() != at => timer.reset(at),
                            Some(_) => {}
                        }
                        if let Some(timer) = timer.as_mut().as_pin_mut() {
                            ready!(timer.poll(cx));
                        }
                        if found.is_some() && deadline(call, watch.as_ref()) == found {
                            break;
                        }
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

/// Tells how far the request's body is; gives when the call's time ends as things stand.
fn deadline(account: &mut Account, watch: Option<&UploadWatch>) -> Option<Instant> {
    if let Some(watch) = watch {
        account.upload(account.now(), watch.get());
    }
    account.deadline()
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
    let (status, is_over) = (response.status().as_u16(), response.body().is_end_stream());
    let has_failed = account.headers(now, status, response.headers(), is_over);
    let instead = policy.as_ref().filter(|_| has_failed).and_then(|policy| {
        let text = format_args!("upstream answered {}", response.status().as_u16());
        answer::when_failed(policy, &text)
    });
    let mut response = match instead {
        Some(response) => response,
        None if response.body().is_end_stream() => {
            account.finished(now);
            response.map(|body| GuardBody::followed(body, None))
        }
        None => response.map(|body| GuardBody::followed(body, Some(account))),
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
    let Some(policy) = account.policy() else {
        return Err(error);
    };
    let text = format_args!("upstream failed: {}", how.name());
    let Some(mut response) = answer::when_failed(policy, &text) else {
        return Err(error);
    };
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
