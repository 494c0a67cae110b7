//! The in-app guard and the time of a client's own upload.

mod layer_support;

use bimetal_proxy::GuardLayer;
use bimetal_proxy::bimetal_core::outcome::Outcome;
use bimetal_proxy::layer::UploadLayer;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame};
use hyper::{Request, Response};
use layer_support::*;
use std::convert::Infallible;
use std::time::Duration;
use tower::{Layer, Service, ServiceExt, service_fn};

/// Longer than every limit of [`limits`].
const LONG: Duration = Duration::from_secs(2);

fn limits() -> String {
    let trip = r#"{"slow_rate": {"threshold": 1, "slower_than": "200ms",
        "window": {"calls": 10}, "minimum_calls": 10}}"#;
    format!(r#""timeout": {{"request": "500ms"}}, "breaker": {{"trip": {trip}}}"#)
}

/// A service that reads the whole body, and then takes `work`.
fn reader<A>(
    work: Duration,
) -> impl Service<
    Request<A>,
    Response = Response<Full<Bytes>>,
    Error = Infallible,
    Future: Future<Output = Result<Response<Full<Bytes>>, Infallible>>,
> + Clone
where
    A: Body<Data = Bytes, Error = &'static str> + Send + Unpin + 'static,
{
    service_fn(move |request: Request<A>| async move {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        tokio::time::sleep(work).await;
        Ok::<_, Infallible>(Response::new(Full::new(body)))
    })
}

/// A client that sends its body after `upload`, to a service that then works for `work`.
async fn call(upload: Duration, work: Duration, watched: bool) -> (u16, Vec<Outcome>) {
    let guard = guard(&limits());
    let (frames, body) = body();
    let request = Request::new(body);
    let guarded = GuardLayer::new(guard.clone());
    let answering = async {
        if watched {
            UploadLayer.layer(guarded.layer(reader(work))).oneshot(request).await.unwrap().status()
        } else {
            guarded.layer(reader(work)).oneshot(request).await.unwrap().status()
        }
    };
    let sending = async {
        tokio::time::sleep(upload).await;
        // Where it timed out nobody reads any more.
        drop(frames.send(Ok(Frame::data(Bytes::from_static(b"all of it")))));
        drop(frames);
    };
    let (status, ()) = tokio::join!(answering, sending);
    let all = [Outcome::Success, Outcome::Slow, Outcome::Failure, Outcome::Neutral];
    let seen = all.into_iter().filter(|outcome| count(&guard, *outcome) > 0).collect();
    (status.as_u16(), seen)
}

#[tokio::test(flavor = "current_thread")]
async fn a_slow_upload_that_is_watched_is_neither_slow_nor_a_time_out() {
    let seen = call(LONG, Duration::ZERO, true).await;
    // Dropping the answer's body unread is the client's leaving: neutral, as it was in time.
    assert_eq!(seen, (200, vec![Outcome::Neutral]));
}

#[tokio::test(flavor = "current_thread")]
async fn work_behind_a_slow_upload_has_its_limit() {
    let seen = call(LONG, LONG, true).await;
    assert_eq!(seen, (504, vec![Outcome::Failure]));
    let seen = call(LONG, Duration::from_millis(300), true).await;
    assert_eq!(seen, (200, vec![Outcome::Slow]));
}

/// The limit that the documentation names.
#[tokio::test(flavor = "current_thread")]
async fn without_a_watch_the_time_of_an_upload_is_the_services() {
    let seen = call(LONG, Duration::ZERO, false).await;
    assert_eq!(seen, (504, vec![Outcome::Failure]));
}
