//! The span of a guarded call, as a subscriber to `tracing` sees it.

mod layer_support;

use bimetal_proxy::GuardLayer;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, StatusCode};
use layer_support::{breaker, guard, long_open};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tower::{Layer, Service, ServiceExt, service_fn};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

type Fields = BTreeMap<&'static str, String>;

/// What was said of one span.
#[derive(Clone, Debug, Default)]
struct Told {
    name: &'static str,
    parent: Option<&'static str>,
    fields: Fields,
    events: Vec<Fields>,
}

/// Keeps every span, in the order of their ends.
#[derive(Clone, Default)]
struct Keeper(Arc<Mutex<Vec<Told>>>);

struct Reader<'a>(&'a mut Fields);

impl Visit for Reader<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> tracing_subscriber::Layer<S> for Keeper {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let parent = span.parent().map(|parent| parent.name());
        let mut told = Told { name: span.name(), parent, ..Told::default() };
        attributes.record(&mut Reader(&mut told.fields));
        span.extensions_mut().insert(told);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let mut extensions = span.extensions_mut();
        values.record(&mut Reader(&mut extensions.get_mut::<Told>().unwrap().fields));
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::new();
        event.record(&mut Reader(&mut fields));
        if let Some(span) = context.event_span(event) {
            span.extensions_mut().get_mut::<Told>().unwrap().events.push(fields);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let told = context.span(&id).unwrap().extensions_mut().remove::<Told>().unwrap();
        self.0.lock().unwrap().push(told);
    }
}

/// The spans of calls to a service that answers the status in its path, within a span of its own. The
/// last is made again until the breaker lets it pass, unless that stays open.
fn told(guard: bimetal_proxy::Guard, paths: &[&str], stays_open: bool) -> Vec<Told> {
    let service = service_fn(|request: Request<()>| {
        drop(tracing::info_span!("begin"));
        async move {
            let span = tracing::info_span!("work");
            let status: u16 = request.uri().path()[1..].parse().unwrap();
            span.in_scope(|| tracing::info!("at work"));
            let response = Response::builder().status(status).body(Full::<Bytes>::default());
            Ok::<_, Infallible>(response.unwrap())
        }
    });
    let keeper = Keeper::default();
    let subscriber = tracing_subscriber::registry().with(keeper.clone());
    tracing::subscriber::with_default(subscriber, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut service = GuardLayer::new(guard).layer(service);
            let mut ask = async |path: &str| {
                let request = Request::builder().uri(path).body(()).unwrap();
                service.ready().await.unwrap().call(request).await.unwrap().status()
            };
            let (last, first) = paths.split_last().unwrap();
            for path in first {
                ask(path).await;
            }
            let patience = Instant::now() + Duration::from_secs(20);
            while ask(last).await == StatusCode::SERVICE_UNAVAILABLE && !stays_open {
                assert!(Instant::now() < patience, "no call passes");
            }
        });
    });
    keeper.0.lock().unwrap().clone()
}

fn calls(told: &[Told]) -> Vec<&Told> {
    told.iter().filter(|span| span.name == "circuit_breaker_call").collect()
}

fn facts(told: &Told) -> [&str; 6] {
    [
        "cb.current_state",
        "cb.new_state",
        "cb.state_transition",
        "cb.failure_count",
        "cb.request_status",
        "otel.status_code",
    ]
    .map(|key| told.fields.get(key).map_or("", String::as_str))
}

fn exception(told: &Told) -> Option<(&str, &str)> {
    let event = told.events.iter().find(|event| event["message"] == "exception")?;
    Some((event["exception.type"].as_str(), event["exception.message"].as_str()))
}

#[test]
fn a_call_has_the_studys_span_with_the_services_own_below() {
    let told = told(long_open(), &["/200", "/500", "/500", "/500", "/200"], true);
    let calls = calls(&told);
    assert_eq!(calls.len(), 5);
    assert_eq!(facts(calls[0]), ["CLOSED", "CLOSED", "", "0", "success", ""]);
    assert_eq!(exception(calls[0]), None);
    assert_eq!(facts(calls[1]), ["CLOSED", "CLOSED", "", "1", "failure", "ERROR"]);
    assert_eq!(exception(calls[1]), Some(("500", "answered 500")));
    assert_eq!(facts(calls[3]), ["CLOSED", "OPEN", "CLOSED → OPEN", "3", "failure", "ERROR"]);
    assert_eq!(facts(calls[4]), ["OPEN", "OPEN", "", "3", "blocked (OPEN)", "ERROR"]);
    assert_eq!(exception(calls[4]).unwrap().0, "rejected");
    for name in ["begin", "work"] {
        let below = told.iter().filter(|span| span.name == name);
        assert_eq!(below.filter(|span| span.parent == Some("circuit_breaker_call")).count(), 4);
    }
}

#[test]
fn a_probe_tells_of_both_changes() {
    // The last path is asked until a call passes: the open time is over then.
    let told = told(guard(&breaker("20ms")), &["/500", "/500", "/500", "/200"], false);
    let probe = *calls(&told).last().unwrap();
    let change = "OPEN → HALF_OPEN → CLOSED";
    assert_eq!(facts(probe), ["OPEN", "CLOSED", change, "0", "success", ""]);
}

#[test]
fn without_a_breaker_there_is_no_span() {
    let told = told(guard(r#""timeout": {"request": "5s"}"#), &["/200", "/500"], true);
    assert_eq!(calls(&told).len(), 0);
    assert_eq!(told.iter().filter(|span| span.name == "work").count(), 2);
}
