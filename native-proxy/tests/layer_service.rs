//! The in-app guard around services that the test holds in its hand.

mod layer_support;

use bimetal_proxy::bimetal_core::event::{Event, EventKind, State};
use bimetal_proxy::bimetal_core::outcome::{Outcome, Transport};
use bimetal_proxy::layer::{AsResponse, CallFacts, Stopped};
use bimetal_proxy::{Guard, GuardLayer};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame};
use hyper::{HeaderMap, Request, Response};
use layer_support::*;
use std::convert::Infallible;
use std::future::{Future, Ready, poll_fn, ready};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

/// A request of `/`.
fn request() -> Request<()> {
    Request::new(())
}

/// A call's result, which must be there at once.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("it waits"),
    }
}

fn answer(status: u16) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from("body"));
    *response.status_mut() = status.try_into().unwrap();
    response
}

/// A service that answers with this status, or fails where there is none.
#[derive(Clone, Copy)]
struct Says(Option<u16>);

impl<A> Service<Request<A>> for Says {
    type Response = Response<Full<Bytes>>;
    type Error = BoxError;
    type Future = Ready<Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<A>) -> Self::Future {
        ready(self.0.map(answer).ok_or_else(|| "no answer".into()))
    }
}

/// One call; its body is read to the end.
fn ask(guard: &Guard, status: u16) -> u16 {
    let service = GuardLayer::new(guard.clone()).layer(Says(Some(status)));
    let response = now(service.oneshot(request())).unwrap();
    let status = response.status().as_u16();
    now(response.into_body().collect()).unwrap();
    status
}

#[test]
fn a_guard_goes_where_services_go() {
    fn shared<T: Clone + Send + Sync + 'static>(_: &T) {}
    let guard = long_open();
    shared(&guard);
    let layer = GuardLayer::new(guard);
    shared(&layer);
    let mut service = layer.layer(Says(Some(200)));
    shared(&service);
    fn sent<T: Send + 'static>(_: &T) {}
    sent(&service.call(request()));
}

#[test]
fn threads_decide_as_one() {
    let guard = long_open();
    for _ in 0..3 {
        std::thread::scope(|scope| scope.spawn(|| ask(&guard, 500)).join().unwrap());
    }
    assert_eq!(replicas_with_failures(&guard), 3);
    std::thread::scope(|scope| {
        let late: Vec<_> = (0..4).map(|_| scope.spawn(|| ask(&guard, 200))).collect();
        late.into_iter().for_each(|call| assert_eq!(call.join().unwrap(), 503));
    });
    assert_eq!((guard.totals().issued, outstanding(&guard)), (3, 0));
    // Those that only failed learned it when they were shown.
    assert_eq!(replicas_in(&guard, State::Closed), 0);
}

#[test]
fn a_rejection_as_an_error_says_rule_and_reason() {
    let guard = long_open();
    (0..3).for_each(|_| assert_eq!(ask(&guard, 500), 500));
    let layer = GuardLayer::new(guard.clone())
        .on_stopped(|stopped: Stopped| Err::<Response<Bytes>, _>(BoxError::from(stopped)));
    let error = match now(layer.layer(Says(Some(200))).oneshot(request())) {
        Ok(response) => panic!("answered {}", response.status()),
        Err(error) => error,
    };
    let stopped = error.downcast_ref::<Stopped>().unwrap();
    assert!(matches!(stopped, Stopped::Rejected { .. }));
    assert_eq!(&*stopped.policy().name, "p");
    let text = stopped.to_string();
    assert!(text.starts_with("p/breaker: open for another "), "{text}");
    assert_eq!(stopped.response().status(), 503);
}

#[tokio::test(start_paused = true)]
async fn a_time_out_as_an_error() {
    let guard = guard(&format!(r#""timeout": {{"request": "2s"}}, {}"#, breaker("60s")));
    let layer = GuardLayer::new(guard.clone())
        .on_stopped(|stopped: Stopped| Err::<Response<Bytes>, _>(BoxError::from(stopped)));
    let hang = |_: Request<()>| std::future::pending::<Result<Response<Full<Bytes>>, BoxError>>();
    let Err(error) = layer.layer(service_fn(hang)).oneshot(request()).await else {
        panic!("answered");
    };
    assert_eq!(error.to_string(), "p: no answer within 2s");
    assert_eq!((count(&guard, Outcome::Failure), outstanding(&guard)), (1, 0));
}

#[test]
fn errors_count_as_the_program_says() {
    let guard = guard(
        r#""breaker": {"trip": {"consecutive_failures": 9}, "failure": {"transport": ["connect"]}}"#,
    );
    let fails = |layer: GuardLayer<AsResponse, fn(&BoxError) -> Option<Transport>>| {
        assert!(now(layer.layer(Says(None)).oneshot(request())).is_err());
    };
    let layer = || GuardLayer::new(guard.clone());
    fails(layer().classify(|_| Some(Transport::Connect)));
    assert_eq!(count(&guard, Outcome::Failure), 1);
    fails(layer().classify(|_| None));
    assert_eq!(count(&guard, Outcome::Neutral), 1);
    // A reset, unless it is said otherwise, and that is no failure to this policy.
    assert!(now(layer().layer(Says(None)).oneshot(request())).is_err());
    assert_eq!((count(&guard, Outcome::Neutral), outstanding(&guard)), (2, 0));
}

#[test]
fn an_error_is_a_failure_by_default() {
    let guard = long_open();
    for _ in 0..3 {
        let service = GuardLayer::new(guard.clone()).layer(Says(None));
        assert!(now(service.oneshot(request())).is_err());
    }
    assert_eq!(ask(&guard, 200), 503);
}

#[test]
fn the_policys_fallback_takes_the_place_of_failures_and_rejections() {
    let guard = guard(&format!(
        r#""fallback": {{"when": ["rejected", "failed"], "status": 200, "body": "later"}}, {}"#,
        breaker("60s")
    ));
    let result = |says| {
        let service = GuardLayer::new(guard.clone()).layer(Says(says));
        let response = now(service.oneshot(request())).unwrap();
        let rule = response.headers().contains_key("x-bimetal-rule");
        let status = response.status().as_u16();
        let body = now(response.into_body().collect()).unwrap().to_bytes();
        (status, body, rule)
    };
    let later = Bytes::from_static(b"later");
    for says in [Some(500), None, Some(502)] {
        assert_eq!(result(says), (200, later.clone(), false), "{says:?}");
    }
    assert_eq!(result(Some(200)), (200, later, true));
    assert_eq!(count(&guard, Outcome::Failure), 3);
}

/// One gRPC call with these trailers, read to its end.
fn grpc(guard: &Guard, trailers: HeaderMap) {
    let (frames, body) = body();
    let body = Mutex::new(Some(body));
    let service = service_fn(|_: Request<()>| {
        let body = body.lock().unwrap().take().unwrap();
        let response = Response::builder().header("content-type", "application/grpc");
        ready(Ok::<_, Infallible>(response.body(body).unwrap()))
    });
    let layer = GuardLayer::new(guard.clone());
    let response = now(layer.layer(service).oneshot(request())).unwrap();
    let mut body = pin!(response.into_body());
    frames.send(Ok(Frame::data(Bytes::from_static(b"message")))).unwrap();
    frames.send(Ok(Frame::trailers(trailers))).unwrap();
    let context = &mut Context::from_waker(Waker::noop());
    assert!(body.as_mut().poll_frame(context).is_ready());
    assert_eq!(outstanding(guard), 1);
    assert!(body.as_mut().poll_frame(context).is_ready());
    assert_eq!(outstanding(guard), 0);
}

#[test]
fn grpc_settles_by_its_status_in_trailers_or_headers() {
    let guard = long_open();
    let status = |code: &str| HeaderMap::from_iter([(GRPC_STATUS, code.parse().unwrap())]);
    grpc(&guard, status("0"));
    assert_eq!(count(&guard, Outcome::Success), 1);
    grpc(&guard, status("14"));
    assert_eq!(count(&guard, Outcome::Failure), 1);
    let service = service_fn(|_: Request<()>| {
        let response = Response::builder()
            .header("content-type", "application/grpc")
            .header(GRPC_STATUS, "14");
        ready(Ok::<_, Infallible>(response.body(Full::<Bytes>::default()).unwrap()))
    });
    let layer = GuardLayer::new(guard.clone());
    drop(now(layer.layer(service).oneshot(request())));
    assert_eq!((count(&guard, Outcome::Failure), outstanding(&guard)), (2, 0));
}

const GRPC_STATUS: hyper::header::HeaderName =
    hyper::header::HeaderName::from_static("grpc-status");

/// Is never ready, and must not be called.
#[derive(Clone, Copy)]
struct Busy;

impl Service<Request<()>> for Busy {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Pending
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        panic!("a rejected call came through");
    }
}

#[test]
fn readiness_is_the_services_own_and_a_rejection_does_not_call_it() {
    let guard = long_open();
    let mut service = GuardLayer::new(guard.clone()).layer(Busy);
    let context = &mut Context::from_waker(Waker::noop());
    assert!(service.poll_ready(context).is_pending());
    assert_eq!(guard.totals().issued, 0);
    (0..3).for_each(|_| assert_eq!(ask(&guard, 500), 500));
    assert_eq!(now(service.call(request())).unwrap().status(), 503);
}

#[test]
fn a_dropped_future_and_a_panic_settle_as_neutral() {
    let guard = long_open();
    let layer = GuardLayer::new(guard.clone());
    let hang = |_: Request<()>| std::future::pending::<Result<Response<Full<Bytes>>, BoxError>>();
    let call = layer.layer(service_fn(hang)).call(request());
    assert_eq!(outstanding(&guard), 1);
    drop(call);
    assert_eq!((count(&guard, Outcome::Neutral), outstanding(&guard)), (1, 0));
    let thread = std::thread::spawn(move || {
        let panics = |_: Request<()>| -> Ready<Result<Response<Full<Bytes>>, BoxError>> {
            panic!("a fault of the program's")
        };
        drop(layer.layer(service_fn(panics)).call(request()));
    });
    assert!(thread.join().is_err());
    assert_eq!((count(&guard, Outcome::Neutral), outstanding(&guard)), (2, 0));
}

/// Whoever drives the call may be away when its time is over, and leave then.
#[test]
fn a_future_that_is_dropped_after_its_limit_is_a_time_out() {
    let guard = guard(&format!(r#""timeout": {{"request": "20ms"}}, {}"#, breaker("60s")));
    let hang = |_: Request<()>| std::future::pending::<Result<Response<Full<Bytes>>, BoxError>>();
    let late = GuardLayer::new(guard.clone()).layer(service_fn(hang)).call(request());
    // Read after the call began: an earlier reading would end the wait before the call's limit.
    let begun = Instant::now();
    while begun.elapsed() <= Duration::from_millis(20) {
        std::thread::yield_now();
    }
    drop(late);
    assert_eq!((count(&guard, Outcome::Failure), count(&guard, Outcome::Neutral)), (1, 0));
}

#[test]
fn what_the_service_holds_is_given_back_with_its_answer() {
    let held = Arc::new(());
    let weak = Arc::downgrade(&held);
    // A future that keeps what it holds beyond its own end.
    let answers = move |_: Request<()>| {
        let held = held.clone();
        poll_fn(move |_| {
            let _held = &held;
            Poll::Ready(Ok::<_, BoxError>(answer(200)))
        })
    };
    let mut service = GuardLayer::new(long_open()).layer(service_fn(answers));
    let mut call = Box::pin(service.call(request()));
    drop(service);
    assert_eq!(weak.strong_count(), 1);
    assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
    // Its future is still there.
    assert_eq!(weak.strong_count(), 0);
    drop(call);
}

#[test]
fn scopes_come_from_the_requests_extensions() {
    let guard = guard(&breaker("60s"));
    guard.load(&scoped("destination"));
    let ask = |destination: &str, status| {
        let mut request = request();
        request
            .extensions_mut()
            .insert(CallFacts { destination: Some(destination.into()), ..CallFacts::default() });
        let service = GuardLayer::new(guard.clone()).layer(Says(Some(status)));
        now(service.oneshot(request)).unwrap().status().as_u16()
    };
    (0..3).for_each(|_| assert_eq!(ask("a", 500), 500));
    assert_eq!((ask("a", 200), ask("b", 200)), (503, 200));
}

#[test]
fn a_new_document_keeps_the_state_of_what_stayed_the_same() {
    let guard = long_open();
    (0..3).for_each(|_| assert_eq!(ask(&guard, 500), 500));
    guard.load(&document(&breaker("60s")));
    assert_eq!(ask(&guard, 200), 503);
    guard.load(&document(&breaker("61s")));
    assert_eq!(ask(&guard, 200), 200);
}

#[test]
fn a_listener_hears_of_the_trip_and_its_panic_stays_its_own() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ear = heard.clone();
    let guard = Guard::builder()
        .on_event(move |event: &Event| {
            ear.lock().unwrap().push(event.clone());
            panic!("a fault of the listener's");
        })
        .build(&document(&breaker("60s")));
    (0..3).for_each(|_| assert_eq!(ask(&guard, 500), 500));
    assert_eq!(ask(&guard, 200), 503);
    let own =
        |event: &Event| matches!(event.kind, EventKind::Transition(change) if !change.adopted);
    let heard = heard.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    assert_eq!(heard.iter().filter(|event| own(event)).count(), 1);
    assert_eq!((guard.decision_errors(), outstanding(&guard)), (1, 0));
}

#[test]
fn what_no_policy_is_for_passes_uncounted() {
    let guard = guard(&format!(r#""match": {{"path_prefix": "/else"}}, {}"#, breaker("60s")));
    (0..5).for_each(|_| assert_eq!(ask(&guard, 500), 500));
    assert_eq!(guard.totals().issued, 0);
}

#[test]
fn in_shadow_nothing_is_applied() {
    let guard = guard(&format!(r#""mode": "shadow", {}"#, breaker("60s")));
    (0..3).for_each(|_| assert_eq!(ask(&guard, 500), 500));
    assert_eq!(ask(&guard, 200), 200);
    assert_eq!((guard.totals().issued, outstanding(&guard)), (3, 0));
}

#[test]
fn a_thread_without_calls_learns_of_a_trip_by_the_calls_of_others() {
    let guard = long_open();
    std::thread::scope(|scope| scope.spawn(|| ask(&guard, 200)).join().unwrap());
    (0..3).for_each(|_| assert_eq!(ask(&guard, 500), 500));
    let open = || {
        let mut sum = 0;
        guard.series(|_, _, _, counts| sum += counts.states[State::Open as usize]);
        sum
    };
    assert_eq!(open(), 1);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while open() < 2 {
        assert!(std::time::Instant::now() < end, "it never learned");
        assert_eq!(ask(&guard, 200), 503);
    }
}
