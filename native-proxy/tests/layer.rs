//! The in-app guard around axum, over real sockets.

mod layer_support;
mod proxy_support;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::get;
use bimetal_proxy::bimetal_core::outcome::Outcome;
use bimetal_proxy::layer::{OnStopped, Stopped};
use bimetal_proxy::{Guard, GuardLayer};
use bytes::Bytes;
use hyper::Response;
use hyper::body::Frame;
use layer_support::*;
use proxy_support::{Answer, Client, get as asking, wait_for};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::runtime::{Builder, Runtime};

/// A service that answers `/N` with status N, beside what `more` adds.
struct Served {
    address: SocketAddr,
    // Ends with it.
    _runtime: Runtime,
}

impl Served {
    fn on<R>(mut threads: Builder, layer: GuardLayer<R>, more: Router) -> Self
    where
        R: OnStopped<Infallible> + Clone + Send + Sync + 'static,
    {
        let runtime = threads.enable_all().build().unwrap();
        let status = async |Path(status): Path<u16>| StatusCode::from_u16(status).unwrap();
        let app = more.route("/{status}", get(status)).layer(layer);
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self { address, _runtime: runtime }
    }

    /// On four threads.
    fn start(guard: &Guard, more: Router) -> Self {
        let mut threads = Builder::new_multi_thread();
        threads.worker_threads(4);
        Self::on(threads, GuardLayer::new(guard.clone()), more)
    }

    /// One request on a connection of its own, which another thread may take.
    fn ask(&self, path: &str) -> Answer {
        Client::connect(self.address).ask(&asking(path))
    }

    fn fail(&self, times: usize) {
        for _ in 0..times {
            assert_eq!(self.ask("/500").status, 500);
        }
    }
}

fn wait_for_outcome(guard: &Guard, outcome: Outcome, calls: u64) {
    wait_for(outcome.name(), || {
        (count(guard, outcome) == calls && outstanding(guard) == 0).then_some(())
    });
}

#[test]
fn trips_with_the_answer_of_the_proxy_and_recovers() {
    let guard = guard(&breaker("300ms"));
    let service = Served::start(&guard, Router::new());
    assert_eq!(service.ask("/200").status, 200);
    service.fail(3);
    let answer = service.ask("/200");
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("x-bimetal-rule"), Some("p/breaker"));
    let reason = answer.header("x-bimetal-reason").unwrap();
    assert!(reason.ends_with("after 3 consecutive failures"), "{reason}");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.text(), format!(r#"{{"error":"circuit breaker: {reason}"}}"#));
    wait_for("recovery", || (service.ask("/200").status == 200).then_some(()));
    assert_eq!(service.ask("/200").status, 200);
    wait_for_outcome(&guard, Outcome::Success, 3);
    assert_eq!(count(&guard, Outcome::Failure), 3);
}

#[test]
fn failures_on_three_threads_trip_the_fourth() {
    let guard = long_open();
    let services: Vec<_> = (0..4)
        .map(|_| {
            let mut thread = Builder::new_multi_thread();
            thread.worker_threads(1);
            Served::on(thread, GuardLayer::new(guard.clone()), Router::new())
        })
        .collect();
    for service in &services[..3] {
        service.fail(1);
    }
    assert_eq!(replicas_with_failures(&guard), 3);
    assert_eq!(services[3].ask("/200").status, 503);
    assert_eq!(outstanding(&guard), 0);
}

#[test]
fn a_rejection_is_what_the_program_says() {
    let guard = long_open();
    let layer = GuardLayer::new(guard.clone()).on_stopped(|stopped: Stopped| {
        let mut response = Response::new(Bytes::from(stopped.to_string()));
        *response.status_mut() = StatusCode::IM_A_TEAPOT;
        Ok(response)
    });
    let service = Served::on(Builder::new_multi_thread(), layer, Router::new());
    service.fail(3);
    let answer = service.ask("/200");
    assert_eq!(answer.status, 418);
    assert!(answer.text().starts_with("p/breaker: open for another "));
}

#[test]
fn a_call_without_headers_in_time_is_a_failure_and_is_dropped() {
    let guard = guard(&format!(r#""timeout": {{"request": "50ms"}}, {}"#, breaker("60s")));
    let alive = Arc::new(());
    let held = alive.clone();
    let hang = move || {
        let held = held.clone();
        async move {
            let _held = held;
            std::future::pending::<()>().await;
        }
    };
    let service = Served::start(&guard, Router::new().route("/hang", get(hang)));
    let idle = Arc::strong_count(&alive);
    for _ in 0..3 {
        let answer = service.ask("/hang");
        assert_eq!(answer.status, 504);
        assert_eq!(answer.text(), r#"{"error":"upstream request timed out"}"#);
    }
    assert_eq!(service.ask("/200").status, 503);
    wait_for_outcome(&guard, Outcome::Failure, 3);
    // Connections that ended, each with its copy of the service, may still be on their way out.
    wait_for("end of the calls", || (Arc::strong_count(&alive) <= idle).then_some(()));
}

/// A service whose next answer has this body.
fn streaming(guard: &Guard, body: Sent) -> Served {
    let body = Arc::new(Mutex::new(Some(body)));
    let stream = move || async move { Body::new(body.lock().unwrap().take().unwrap()) };
    Served::start(guard, Router::new().route("/stream", get(stream)))
}

#[test]
fn a_stream_settles_at_its_end() {
    let guard = long_open();
    let (frames, body) = body();
    let service = streaming(&guard, body);
    let mut client = Client::connect(service.address);
    client.peer.send(&asking("/stream"));
    frames.send(Ok(Frame::data(Bytes::from_static(b"a")))).unwrap();
    assert!(client.peer.head().unwrap().starts_with("http/1.1 200"));
    // Its first piece is here, so it is under way, and nothing is known yet.
    assert_eq!(client.peer.line(), "1\r\n");
    assert_eq!((outstanding(&guard), guard.totals().settled), (1, 0));
    drop(frames);
    assert_eq!(client.peer.take(8), b"a\r\n0\r\n\r\n");
    wait_for_outcome(&guard, Outcome::Success, 1);
}

#[test]
fn a_stream_that_breaks_is_a_failure() {
    let guard = long_open();
    let (frames, body) = body();
    let service = streaming(&guard, body);
    let mut client = Client::connect(service.address);
    client.peer.send(&asking("/stream"));
    frames.send(Ok(Frame::data(Bytes::from_static(b"a")))).unwrap();
    client.peer.head().unwrap();
    frames.send(Err("broken")).unwrap();
    wait_for_outcome(&guard, Outcome::Failure, 1);
}

#[test]
fn a_client_that_leaves_settles_its_call_as_neutral() {
    let guard = long_open();
    let hang = async || std::future::pending::<()>().await;
    let (frames, body) = body();
    let service = Served::start(&guard, Router::new().route("/hang", get(hang)));
    let mut client = Client::connect(service.address);
    client.peer.send(&asking("/hang"));
    wait_for("call", || (outstanding(&guard) == 1).then_some(()));
    client.close();
    wait_for_outcome(&guard, Outcome::Neutral, 1);
    // And within an answer.
    let service = streaming(&guard, body);
    let mut client = Client::connect(service.address);
    client.peer.send(&asking("/stream"));
    frames.send(Ok(Frame::data(Bytes::from_static(b"a")))).unwrap();
    client.peer.head().unwrap();
    client.close();
    wait_for_outcome(&guard, Outcome::Neutral, 2);
    assert_eq!(guard.totals().issued, 2);
}

#[test]
fn many_clients_at_once_leave_the_books_balanced() {
    let guard = guard(&breaker("1ms"));
    let service = Served::start(&guard, Router::new());
    let sums = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|number| {
                let service = &service;
                scope.spawn(move || {
                    let mut client = Client::connect(service.address);
                    let path = |call: usize| ["/200", "/500", "/503"][(call + number) % 3];
                    let rejected = (0..200)
                        .map(|call| client.ask(&asking(path(call))))
                        .filter(|answer| answer.header("x-bimetal-rule").is_some());
                    rejected.count() as u64
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum::<u64>()
    });
    wait_for("end of all calls", || (outstanding(&guard) == 0).then_some(()));
    let totals = guard.totals();
    assert!(sums > 0, "it never tripped");
    assert_eq!((totals.issued + sums, guard.decision_errors()), (1600, 0));
    let all = [Outcome::Success, Outcome::Failure, Outcome::Slow, Outcome::Neutral];
    let outcomes: u64 = all.iter().map(|outcome| count(&guard, *outcome)).sum();
    assert_eq!(outcomes, totals.issued);
}
