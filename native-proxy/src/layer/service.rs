//! The layer and the service that it makes.

use super::body::GuardBody;
use super::future::{GuardFuture, Running};
use super::guard::Guard;
use super::replica::{Account, Judged};
use super::span::{self, SpanWitness};
use super::stopped::{AsReset, AsResponse, Classify, OnStopped, Stopped};
use super::upload::UploadWatch;
use crate::call::{Ledger, RequestFacts};
use bimetal_core::Plan;
use bimetal_core::call::Upload;
use bytes::Bytes;
use hyper::body::Body;
use hyper::{Request, Response};
use std::cell::OnceCell;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower_layer::Layer;
use tower_service::Service;
use tracing::Span;

/// What a request's head does not say. Put it into the request's extensions before the guard sees
/// it; without it policies with these scopes see one scope.
#[derive(Clone, Debug, Default)]
pub struct CallFacts {
    /// The upstream's name, for `scope: destination`.
    pub destination: Option<Arc<str>>,
    /// The route's name, for `scope: route`.
    pub route: Option<Arc<str>>,
    /// The client's address, for `scope: client`.
    pub client: Option<IpAddr>,
}

/// Puts a [`Guard`] around services. Clones, and services made by it, share that guard.
///
/// `R` makes the caller's result of a call that was stopped, `C` tells what an error of the service
/// means.
#[derive(Clone, Debug)]
pub struct GuardLayer<R = AsResponse, C = AsReset> {
    guard: Guard,
    on_stopped: R,
    classify: C,
}

impl GuardLayer {
    /// A layer that answers stopped calls as the proxy does, and takes each error for a reset.
    pub const fn new(guard: Guard) -> Self {
        Self { guard, on_stopped: AsResponse, classify: AsReset }
    }
}

impl<R, C> GuardLayer<R, C> {
    /// Gives the callers of stopped calls what `on_stopped` makes of them: a response, or an error of
    /// the service's type.
    #[must_use]
    pub fn on_stopped<New>(self, on_stopped: New) -> GuardLayer<New, C> {
        GuardLayer { guard: self.guard, on_stopped, classify: self.classify }
    }

    /// Lets `classify` say what an error of the service means.
    #[must_use]
    pub fn classify<New>(self, classify: New) -> GuardLayer<R, New> {
        GuardLayer { guard: self.guard, on_stopped: self.on_stopped, classify }
    }

    /// The guard.
    pub const fn guard(&self) -> &Guard {
        &self.guard
    }
}

impl<S, R: Clone, C: Clone> Layer<S> for GuardLayer<R, C> {
    type Service = GuardService<S, R, C>;

    fn layer(&self, inner: S) -> Self::Service {
        GuardService { inner, layer: self.clone() }
    }
}

/// A guarded service.
///
/// A call is decided when it is made, not in `poll_ready`: that is the service's own. A service that
/// reserves something when it is ready keeps it over a rejection for its next call.
#[derive(Clone, Debug)]
pub struct GuardService<S, R = AsResponse, C = AsReset> {
    inner: S,
    layer: GuardLayer<R, C>,
}

impl<S, R, C, A, B> Service<Request<A>> for GuardService<S, R, C>
where
    S: Service<Request<A>, Response = Response<B>>,
    R: OnStopped<S::Error> + Clone,
    C: Classify<S::Error> + Clone,
    B: Body<Data: From<Bytes>>,
{
    type Response = Response<GuardBody<B>>;
    type Error = S::Error;
    type Future = GuardFuture<S::Future, S::Error, R, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let GuardLayer { guard, on_stopped, classify } = &self.layer;
        let now = guard.now();
        let replica = guard.replica(now);
        let is_seen = span::is_wanted();
        let mut span = Span::none();
        let watch = request.extensions().get::<UploadWatch>().cloned();
        let known = request.extensions().get::<CallFacts>();
        let facts = RequestFacts {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            client: known.and_then(|known| known.client),
            destination: known.and_then(|known| known.destination.as_deref()),
            route: known.and_then(|known| known.route.as_deref()),
            endpoint: None,
            normal_path: OnceCell::new(),
        };
        let account = |policy, ticket, limit| {
            let mut account = Account::new(replica.clone(), policy, ticket, limit, now);
            let upload = watch.as_ref().map_or(Upload::Complete, UploadWatch::get);
            account.handed_over(now, upload);
            account
        };
        let (account, plan, state) = match replica.admit(now, &facts) {
            Judged::Passes { policy, state, shadow } => {
                if let (true, Some(policy), Some(rejection)) = (is_seen, &policy, &shadow) {
                    span = span::rejected(policy, rejection, false);
                }
                (account(policy, None, None), Plan::default(), state)
            }
            Judged::Admitted { policy, ticket, plan, state } => {
                let place = Some(ticket.breaker()).filter(|_| is_seen);
                let view = place.and_then(|place| replica.breaker(now, place));
                // The service is called once: the call's time and that of its try are one.
                let limit = [plan.request_timeout, plan.try_timeout].into_iter().flatten().min();
                let mut account = account(Some(policy), Some(ticket), limit);
                if let Some(view) = view {
                    let witness = SpanWitness::new(now, state, &view);
                    span = witness.span().clone();
                    account.watch(Some(witness));
                }
                (account, plan, Some(state))
            }
            Judged::Rejected { policy, rejection } => {
                if is_seen {
                    drop(span::rejected(&policy, &rejection, true));
                }
                let stopped = Stopped::Rejected { policy, rejection };
                return GuardFuture::ended(on_stopped.answer(stopped));
            }
        };
        GuardFuture::running(Running {
            inner: span.in_scope(|| self.inner.call(request)),
            span,
            account,
            clock: guard.clock(),
            limit: plan.request_timeout,
            watch,
            state,
            on_stopped: on_stopped.clone(),
            classify: classify.clone(),
        })
    }
}
