//! Which requests are recorded, what that costs, and how many spans they are.

use super::proxied::{Proxied, Routed};
use super::request::{Breaker, Try};
use super::*;
use crate::account::{AnsweredBy, Decision, End};
use crate::clock::Clock;
use crate::config::{Telemetry, Tree};
use crate::interactions::Kind;
use bimetal_core::breaker::View;
use bimetal_core::decision::Rule;
use bimetal_core::event::State;
use bimetal_core::outcome::Outcome;
use bimetal_core::{Instant, Settled};
use hyper::HeaderMap;
use hyper::header::HeaderValue;
use opentelemetry::trace::{SpanId, TraceId, TraceState};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn tracer(share: f64, variables: &'static [(&str, &str)]) -> Tracer {
    let environment = Environment::of(|name| {
        let found = variables.iter().find(|(other, _)| *other == name);
        found.map(|(_, value)| (*value).to_owned())
    });
    let settings = Telemetry { sample: share, ..Telemetry::default() };
    Tracer::new(Clock::start(), queue::Queue::new(100).0, Arc::new(environment), &settings)
}

fn headers(traceparent: Option<&str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("tracestate", HeaderValue::from_static("a=b"));
    if let Some(value) = traceparent {
        headers.insert("traceparent", HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn said(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|value| value.to_str().unwrap().to_owned())
}

/// A `traceparent` of `TRACE`.
fn parent(flags: &str) -> String {
    format!("00-{TRACE}-00f067aa0ba902b7-{flags}")
}

#[test]
fn the_caller_decides() {
    for share in [0.0, 0.5, 1.0] {
        let tracer = tracer(share, &[]);
        let mut yes = headers(Some(&parent("01")));
        let begun = tracer.begin(&mut yes).unwrap();
        assert_eq!(begun.trace.to_string(), TRACE);
        assert_eq!(begun.parent.unwrap().to_string(), "00f067aa0ba902b7");
        assert_eq!(begun.state.header(), "a=b");
        let mut no = headers(Some(&parent("00")));
        let before = no.clone();
        assert!(tracer.begin(&mut no).is_none());
        assert_eq!(no, before, "it goes on as it came");
    }
}

#[test]
fn without_a_caller_a_share_begins_here_and_the_others_are_told_apart() {
    let (mut taken, mut told) = (0, 0);
    let tracer = tracer(0.25, &[]);
    for _ in 0..2_000 {
        let mut headers = headers(None);
        match tracer.begin(&mut headers) {
            Some(begun) => {
                assert!(begun.trace != TraceId::INVALID && begun.span != SpanId::INVALID);
                assert_eq!((begun.parent, begun.state.header().as_str()), (None, ""));
                assert_eq!(said(&headers, "traceparent"), None, "each try tells its own");
                taken += 1;
            }
            // Else the next hop would record a trace of its own: the share would hold here alone.
            None => {
                let value = said(&headers, "traceparent").unwrap();
                assert!(value.len() == 55 && value.ends_with("-00"), "{value}");
                told += 1;
            }
        }
        assert_eq!(said(&headers, "tracestate"), None, "it is of no trace");
    }
    assert_eq!(taken + told, 2_000);
    // Ten standard deviations.
    assert!((300..700).contains(&taken), "{taken}");
}

#[test]
fn a_broken_caller_is_a_new_trace() {
    let broken = format!("00-{TRACE}-00f067aa0ba902b7-1");
    let mut headers = headers(Some(&broken));
    let begun = tracer(1.0, &[]).begin(&mut headers).unwrap();
    assert_ne!(begun.trace.to_string(), TRACE);
    assert_eq!((begun.parent, said(&headers, "tracestate")), (None, None));
}

#[test]
fn a_sampler_without_parentbased_decides_alone_and_says_so() {
    let always = tracer(0.0, &[("OTEL_TRACES_SAMPLER", "always_on")]);
    let begun = always.begin(&mut headers(Some(&parent("00")))).unwrap();
    assert_eq!((begun.trace.to_string().as_str(), begun.parent.is_some()), (TRACE, true));
    let few = tracer(
        1.0,
        &[("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0.000001")],
    );
    let mut headers = headers(Some(&parent("01")));
    assert!(few.begin(&mut headers).is_none());
    assert_eq!(said(&headers, "traceparent"), Some(parent("00")));
}

#[test]
fn what_is_not_recorded_allocates_nothing() {
    let tracer = tracer(0.0, &[]);
    let (mut silent, mut no) = (headers(None), headers(Some(&parent("00"))));
    let measured = allocation_counter::measure(|| {
        for _ in 0..100 {
            assert!(tracer.begin(&mut silent).is_none() && tracer.begin(&mut no).is_none());
        }
    });
    assert_eq!(measured.count_total, 0);
    assert_eq!(said(&silent, "traceparent"), None, "where no trace begins nothing is touched");
}

#[test]
fn new_settings_are_for_requests_from_then_on() {
    let tracer = tracer(0.0, &[]);
    assert!(tracer.begin(&mut headers(None)).is_none());
    tracer.load(&Telemetry { sample: 1.0, tree: Tree::OriginStudy, ..Telemetry::default() });
    assert!(tracer.begin(&mut headers(None)).is_some());
    assert_eq!(tracer.tree(), Tree::OriginStudy);
}

/// Where a request of a test leads.
#[derive(Clone, Copy)]
enum Leads {
    Nowhere,
    Upstream,
    TestFailure,
}

/// A request that leads there, whose breaker, if it has one, says this, and that was tried so often.
fn request(leads: Leads, breaker: Option<Result<(), &str>>, tries: usize) -> Proxied {
    let at = Instant::from_millis;
    let begun = Begun {
        trace: TraceId::from_hex(TRACE).unwrap(),
        span: SpanId::from(1),
        parent: None,
        state: TraceState::NONE,
        at: at(10),
        wall: SystemTime::UNIX_EPOCH,
    };
    let routed = |is_test_failure| Routed {
        at: at(11),
        path: "/echo".into(),
        upstream: "echo".into(),
        endpoint: None,
        is_test_failure,
    };
    let one = |_| Try {
        span: SpanId::from(2),
        from: at(12),
        to: None,
        status: None,
        failure: None,
        elsewhere: None,
    };
    let asking = |_| Breaker {
        before: State::Closed,
        decided_in: State::Closed,
        failures: 0,
        settled: None,
    };
    Proxied {
        tree: Tree::OriginStudy,
        begun,
        asked: None,
        routed: match leads {
            Leads::Nowhere => None,
            Leads::Upstream => Some(routed(false)),
            Leads::TestFailure => Some(routed(true)),
        },
        breaker: breaker.map(asking),
        rejected: None,
        tries: (0..tries).map(one).collect(),
        answered: None,
        given: None,
        warnings: Vec::new(),
        ended: at(20),
        status: None,
        by: AnsweredBy::Proxy,
        policy: None,
        decision: match breaker {
            Some(Err(_)) => Decision::Rejected(Rule::Breaker),
            _ => Decision::None,
        },
        fallback: None,
        end: End::ClientGone,
    }
}

#[test]
fn as_many_spans_are_made_as_were_counted() {
    for (leads, breaker, tries, wanted) in [
        (Leads::Nowhere, None, 0, 1),
        (Leads::Upstream, None, 1, 6),
        (Leads::Upstream, Some(Ok(())), 1, 7),
        (Leads::Upstream, Some(Ok(())), 3, 9),
        (Leads::Upstream, Some(Err("why")), 0, 5),
        (Leads::TestFailure, Some(Ok(())), 0, 3),
        (Leads::TestFailure, None, 0, 2),
    ] {
        let origin = Box::new(request(leads, breaker, tries));
        assert_eq!((origin.count(), origin.spans().len()), (wanted, wanted));
        let tree = Tree::Semconv;
        let semconv = Box::new(Proxied { tree, ..request(leads, breaker, tries) });
        assert_eq!((semconv.count(), semconv.spans().len()), (1 + tries, 1 + tries));
    }
}

#[test]
fn a_warning_is_an_event_of_the_requests_own_span() {
    for tree in [Tree::OriginStudy, Tree::Semconv] {
        let warnings = vec![(Instant::from_millis(13), Kind::DbTransaction)];
        let request = Proxied { tree, warnings, ..request(Leads::Upstream, Some(Ok(())), 1) };
        let spans = Box::new(request).spans();
        let [event] = &*spans[0].events.events else { panic!("{spans:#?}") };
        assert_eq!(event.name, "bimetal.warning");
        // It began at 10 ms, which is the beginning of 1970 here.
        assert_eq!(event.timestamp, SystemTime::UNIX_EPOCH + Duration::from_millis(3));
        let [attribute] = &*event.attributes else { panic!("{event:?}") };
        assert_eq!(attribute.key.as_str(), "bimetal.warning.kind");
        assert_eq!(attribute.value.as_str(), "db_transaction");
        assert!(spans[1..].iter().all(|span| span.events.events.is_empty()));
    }
}

#[test]
fn a_change_that_somebody_else_made_is_not_the_calls() {
    let view = |generation, state| View {
        state,
        since: Instant::ZERO,
        cause: None,
        generation,
        level: 0,
        calls: 0,
        failures: 0,
        slow: 0,
        next_probe: None,
        held: None,
    };
    let changed = |after: u32, late| {
        let (before, after) = (view(1, State::Closed), view(after, State::Open));
        let settled = Settled { outcome: Outcome::Failure, late };
        Settlement::seen(Some(before), settled, Some(after)).unwrap().changed_to()
    };
    assert_eq!(changed(2, false), Some(State::Open));
    // It came too late, so the breaker heard of the change just then.
    assert_eq!(changed(2, true), None);
    assert_eq!(changed(1, false), None);
}
