//! What a worker counts of requests that ended, and the line that the log has of one.

use super::*;
use crate::account::RequestLine;
use crate::attempt::ErrorKind;
use crate::call::RequestFacts;
use crate::framing::Refusal;
use crate::worker::Route;
use crate::worker::tests::worker;
use bimetal_core::Instant;
use bimetal_core::decision::Rule;
use bimetal_core::fallback::{FallbackKind, NoFallback};
use hyper::{HeaderMap, Method, StatusCode, Uri};
use std::cell::OnceCell;
use std::rc::Rc;

/// The route of the study's `/echo`.
pub(in crate::worker) fn route(worker: &Worker) -> Option<Rc<Route>> {
    let facts = RequestFacts {
        method: &Method::POST,
        uri: &Uri::from_static("/echo"),
        headers: &HeaderMap::new(),
        client: None,
        destination: None,
        route: None,
        endpoint: None,
        normal_path: OnceCell::new(),
    };
    worker.routing().find(&facts).cloned()
}

/// A request of which nothing is known.
pub(in crate::worker) fn request() -> RequestEnded {
    RequestEnded {
        begun: Instant::ZERO,
        duration: Duration::ZERO,
        line: None,
        status: None,
        by: AnsweredBy::Proxy,
        route: None,
        caller: None,
        patience: None,
        warned: 0,
        policy: None,
        decision: Decision::None,
        end: End::ClientGone,
        failure: None,
        attempts: 0,
        no_retry: None,
        fallback: None,
        fallback_upstream: None,
        no_fallback: None,
        trace: None,
    }
}

pub(in crate::worker) fn status(code: u16) -> Option<StatusCode> {
    Some(StatusCode::from_u16(code).unwrap())
}

/// Of durations in milliseconds.
fn histogram(durations: &[u64]) -> Histogram {
    let mut histogram = Histogram::default();
    durations.iter().for_each(|duration| histogram.record(Duration::from_millis(*duration)));
    histogram
}

#[test]
fn each_request_is_counted_where_it_belongs() {
    let (worker, settings) = worker();
    let (route, by) = (route(&worker), AnsweredBy::Upstream);
    assert!(route.is_some());
    for code in [200, 204, 404, 503, 599] {
        worker.request_ended(&RequestEnded {
            status: status(code),
            by,
            end: End::Answered,
            ..request()
        });
    }
    worker.request_ended(&RequestEnded { status: status(101), end: End::Answered, ..request() });
    worker.request_ended(&request());
    // The policy of the file, and that of a file read anew, are the worker's by their name.
    let policy = settings.document.policies.first().cloned();
    let millis = Duration::from_millis;
    let timed = |policy: &Option<Arc<Policy>>, route: &Option<Rc<Route>>, duration| {
        let (policy, route) = (policy.clone(), route.clone());
        worker.request_ended(&RequestEnded { policy, route, duration, ..request() });
    };
    timed(&policy, &route, millis(3));
    timed(&None, &route, millis(20));
    // What found no route has no duration.
    timed(&policy, &None, millis(9));
    worker.load(&settings);
    timed(&policy, &route, millis(4));

    let stats = worker.stats();
    assert_eq!(stats.ends, [6, 0, 5, 0, 0, 0]);
    assert_eq!(stats.answers, [[1, 0, 0, 0, 0], [0, 2, 0, 1, 2]]);
    let expected = [(String::new(), histogram(&[20])), ("echo".into(), histogram(&[3, 4]))];
    assert_eq!(stats.durations, expected);
}

#[test]
fn two_workers_durations_add_up() {
    let mut sum = histogram(&[1, 7, 20_000]);
    sum.merge(&histogram(&[1, 30]));
    assert_eq!(sum, histogram(&[1, 7, 20_000, 1, 30]));
    assert_eq!((sum.counts.iter().sum::<u64>(), sum.sum), (5, 20_039_000_000));
}

#[test]
fn a_request_is_told_in_words() {
    let (worker, settings) = worker();
    let (route, policy) = (route(&worker), settings.document.policies.first().cloned());
    let line = Some(Box::new(RequestLine { method: "GET".into(), path: "/a\"".into() }));
    let duration = Duration::from_millis(15);
    let answered = RequestEnded {
        line,
        status: status(200),
        by: AnsweredBy::Upstream,
        duration,
        route: route.clone(),
        policy: policy.clone(),
        decision: Decision::Admitted,
        end: End::Answered,
        attempts: 1,
        ..request()
    };
    let rejected = RequestEnded {
        status: status(503),
        policy,
        decision: Decision::Rejected(Rule::Breaker),
        end: End::Answered,
        ..request()
    };
    let refused = Refusal::Version;
    for (request, told) in [
        (
            answered,
            "GET \"/a\\\"\": 200 by upstream in 15ms, answered, route */echo, policy echo, admitted, \
             1 attempt",
        ),
        (rejected, "request: 503 by proxy in 0ns, answered, policy echo, rejected by breaker"),
        (
            RequestEnded { status: status(505), end: End::Refused(refused), ..request() },
            "request: 505 by proxy in 0ns, refused (the version of HTTP is neither 1.0 nor 1.1)",
        ),
        (
            RequestEnded {
                fallback: Some(FallbackKind::Upstream),
                fallback_upstream: Some("spare".into()),
                attempts: 1,
                ..request()
            },
            "request: no answer in 0ns, client_gone, 1 attempt, fallback upstream spare",
        ),
        (
            RequestEnded { no_fallback: Some(NoFallback::BodyGone), ..request() },
            "request: no answer in 0ns, client_gone, no fallback: body_gone",
        ),
        (
            RequestEnded { route, failure: Some(ErrorKind::Reset), attempts: 2, ..request() },
            "request: no answer in 0ns, client_gone, route */echo, 2 attempts, upstream echo: reset",
        ),
    ] {
        assert_eq!(Told(&request).to_string(), told);
    }
}
