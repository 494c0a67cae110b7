//! Lets a guard see how far a request's body is.
//!
//! A guard around a service that reads uploads cannot know whether the service takes its time or
//! waits for the client. With [`UploadLayer`] outside of it it can: the time that a body waits for
//! its client then counts neither as the service's latency nor against `timeout.request`.

use bimetal_core::call::Upload;
use hyper::Request;
use hyper::body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use tower_layer::Layer;
use tower_service::Service;

/// Wraps the bodies of requests, so that guards further in see how far they are. It changes the
/// body's type to [`UploadBody`]: use it where the service takes any body, as axum's router and
/// tonic's server do.
#[derive(Clone, Copy, Debug, Default)]
pub struct UploadLayer;

impl<S> Layer<S> for UploadLayer {
    type Service = UploadService<S>;

    fn layer(&self, inner: S) -> UploadService<S> {
        UploadService { inner }
    }
}

/// The service that [`UploadLayer`] makes.
#[derive(Clone, Debug)]
pub struct UploadService<S> {
    inner: S,
}

impl<S, A> Service<Request<A>> for UploadService<S>
where
    S: Service<Request<UploadBody<A>>>,
    A: Body,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> S::Future {
        let watch = UploadWatch::default();
        if request.body().is_end_stream() {
            watch.set(Upload::Complete);
        }
        let mut request = request.map(|body| UploadBody { body, watch: watch.clone() });
        request.extensions_mut().insert(watch);
        self.inner.call(request)
    }
}

/// How far the body of one request is. The body may be read by another task than the guard's.
#[derive(Clone, Debug, Default)]
pub(super) struct UploadWatch(Arc<AtomicU8>);

impl UploadWatch {
    fn set(&self, upload: Upload) {
        let number = match upload {
            Upload::WaitsForUpstream => 0,
            Upload::WaitsForClient => 1,
            Upload::Complete => 2,
        };
        // The guard reads it to learn the time; nothing else hangs on the order.
        self.0.store(number, Ordering::Relaxed);
    }

    /// As it was when the body was asked last. A service that does not ask for more takes its own
    /// time.
    pub(super) fn get(&self) -> Upload {
        match self.0.load(Ordering::Relaxed) {
            1 => Upload::WaitsForClient,
            2 => Upload::Complete,
            _ => Upload::WaitsForUpstream,
        }
    }
}

pin_project! {
    /// A request's body that tells guards how far it is.
    #[derive(Debug)]
    pub struct UploadBody<A> {
        #[pin]
        body: A,
        watch: UploadWatch,
    }
}

impl<A: Body> Body for UploadBody<A> {
    type Data = A::Data;
    type Error = A::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<A::Data>, A::Error>>> {
        let mut this = self.project();
        let step = this.body.as_mut().poll_frame(cx);
        this.watch.set(match step {
            Poll::Pending => Upload::WaitsForClient,
            Poll::Ready(None) => Upload::Complete,
            Poll::Ready(Some(_)) if this.body.is_end_stream() => Upload::Complete,
            Poll::Ready(Some(_)) => Upload::WaitsForUpstream,
        });
        step
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
