//! A proxied request that has ended, and what both of its trees say of it.

use super::queue::Finished;
use super::request::{Asked, Breaker, Denial, Try};
use super::spans::{Failure, Spans, set};
use super::tracer::Begun;
use super::{origin, semconv};
use crate::account::{AnsweredBy, Decision, End};
use crate::config::{Endpoint, Tree};
use crate::interactions::Kind;
use bimetal_core::Instant;
use bimetal_core::fallback::FallbackKind;
use bimetal_core::outcome::Outcome;
use hyper::http::uri::Authority;
use hyper::{Method, Version};
use opentelemetry::KeyValue;
use opentelemetry::trace::{Event, Status};
use opentelemetry_sdk::trace::SpanData;
use std::sync::Arc;

/// A proxied request that has ended.
#[derive(Debug)]
pub(super) struct Proxied {
    pub tree: Tree,
    pub begun: Begun,
    /// None where its head was refused.
    pub asked: Option<Asked>,
    /// None where it ended before a route was found.
    pub routed: Option<Routed>,
    /// None where no breaker was asked.
    pub breaker: Option<Breaker>,
    /// What a rule said against it; in shadow mode it went on.
    pub rejected: Option<Denial>,
    pub tries: Vec<Try>,
    /// When it was known what the answer will be.
    pub answered: Option<Instant>,
    /// When the answer's head was made.
    pub given: Option<Instant>,
    /// What was noticed in how its caller works.
    pub warnings: Vec<(Instant, Kind)>,
    pub ended: Instant,
    pub status: Option<u16>,
    pub by: AnsweredBy,
    pub policy: Option<Arc<str>>,
    pub decision: Decision,
    /// What stood in for a rejection or a failure.
    pub fallback: Option<FallbackKind>,
    pub end: End,
}

/// Where a request was to go.
#[derive(Debug)]
pub(super) struct Routed {
    pub at: Instant,
    /// The route's path as it was written.
    pub path: Arc<str>,
    pub upstream: Arc<str>,
    /// The upstream's endpoint, where it has one alone.
    pub endpoint: Option<Endpoint>,
    pub is_test_failure: bool,
}

impl Finished for Proxied {
    fn count(&self) -> usize {
        match self.tree {
            Tree::OriginStudy => origin::count(self),
            Tree::Semconv => semconv::count(self),
        }
    }

    fn spans(self: Box<Self>) -> Vec<SpanData> {
        match self.tree {
            Tree::OriginStudy => origin::spans(&self),
            Tree::Semconv => semconv::spans(&self),
        }
    }
}

/// The methods that conventions know by name.
const METHODS: [Method; 9] = [
    Method::GET,
    Method::POST,
    Method::PUT,
    Method::DELETE,
    Method::HEAD,
    Method::OPTIONS,
    Method::PATCH,
    Method::TRACE,
    Method::CONNECT,
];

/// A method as it may be part of a span's name: clients make up others.
pub(crate) fn method_in_name(method: &Method) -> &str {
    if METHODS.contains(method) { method.as_str() } else { "HTTP" }
}

/// A method as it is kept until its spans are made: of one that a client made up, the beginning.
pub(crate) fn kept_method(method: &Method) -> Method {
    let cut = method.as_str().get(..32).filter(|_| !METHODS.contains(method));
    cut.and_then(|cut| Method::from_bytes(cut.as_bytes()).ok()).unwrap_or_else(|| method.clone())
}

/// A method as an attribute, on the span that has it.
pub(crate) fn set_method(span: &mut SpanData, method: &Method) {
    if METHODS.contains(method) {
        set(span, "http.request.method", method.as_str().to_owned());
    } else {
        set(span, "http.request.method", "_OTHER");
        set(span, "http.request.method_original", method.as_str().to_owned());
    }
}

impl Proxied {
    /// Whether a rule turned it away.
    pub(super) fn is_blocked(&self) -> bool {
        matches!(self.decision, Decision::Rejected(_))
    }

    /// Until when it was the upstream's.
    pub(super) fn forwarded_until(&self) -> Instant {
        match self.by {
            AnsweredBy::Upstream => self.ended,
            AnsweredBy::Proxy => self.answered.unwrap_or(self.ended),
        }
    }

    /// What went wrong on its way; by a status only where a breaker called that a failure, or none
    /// was asked and the study would have.
    pub(super) fn failure(&self) -> Option<Failure> {
        if self.is_blocked() {
            let denial = self.rejected.as_ref()?;
            let text = format!("{}: {}", denial.rule.title(), denial.why);
            return Some(Failure { kind: "rejected".into(), text });
        }
        if self.routed.as_ref().is_some_and(|routed| routed.is_test_failure) {
            return Some(Failure { kind: "test_failure".into(), text: "test failure".into() });
        }
        let last = self.tries.last()?;
        if let Some((kind, text)) = &last.failure {
            return Some(Failure { kind: kind.name().into(), text: text.clone() });
        }
        let status = last.status?;
        let counts = match self.breaker.as_ref().and_then(|breaker| breaker.settled) {
            Some(settled) => settled.outcome == Outcome::Failure,
            None => status >= 400,
        };
        let text = format!("upstream answered {status}");
        counts.then(|| Failure { kind: status.to_string().into(), text })
    }

    /// What the conventions say of a server's span.
    pub(super) fn describe_server(&self, span: &mut SpanData) {
        if let Some(asked) = &self.asked {
            set_method(span, &asked.method);
            set(span, "url.scheme", "http");
            set(span, "url.path", asked.path.clone());
            if let Ok(host) = asked.host.parse::<Authority>() {
                set(span, "server.address", host.host().to_owned());
                if let Some(port) = host.port_u16() {
                    set(span, "server.port", i64::from(port));
                }
            }
            if !asked.agent.is_empty() {
                set(span, "user_agent.original", asked.agent.clone());
            }
            set(span, "network.peer.address", asked.peer.to_string());
            set(span, "network.protocol.version", version(asked.version));
        }
        if let Some(routed) = &self.routed {
            set(span, "http.route", routed.path.to_string());
        }
        if let Some(status) = self.status {
            set(span, "http.response.status_code", i64::from(status));
        }
        let kind = match (self.end, self.status) {
            (End::Answered, Some(status)) if status >= 500 => Some(status.to_string()),
            (End::Answered, _) => None,
            (End::Refused(why), _) => Some(why.reason().to_owned()),
            (end, _) => Some(end.name().to_owned()),
        };
        if let Some(kind) = kind {
            set(span, "error.type", kind);
        }
        // A client's doing is no error of the server's.
        let is_error = self.status.is_some_and(|status| status >= 500)
            || matches!(self.end, End::BrokeOff | End::CutOff | End::Panicked);
        if is_error {
            span.status = Status::error("");
        }
    }

    /// An event for each thing that was noticed in how its caller works.
    pub(super) fn warnings(&self, spans: &Spans) -> Vec<Event> {
        let event = |(at, kind): &(Instant, Kind)| {
            let kind = KeyValue::new("bimetal.warning.kind", kind.name());
            Event::new("bimetal.warning", spans.at(*at), vec![kind], 0)
        };
        self.warnings.iter().map(event).collect()
    }

    /// What the conventions say of a client's span; `number` counts tries from 0.
    pub(super) fn describe_try(&self, span: &mut SpanData, number: usize, one: &Try) {
        if let Some(asked) = &self.asked {
            set_method(span, &asked.method);
        }
        if let Some(upstream) = &one.elsewhere {
            set(span, "server.address", upstream.to_string());
            set(span, "peer.service", upstream.to_string());
            set(span, "bimetal.fallback", true);
        } else if let Some(routed) = &self.routed {
            let (address, port) = match &routed.endpoint {
                Some(Endpoint::Address(address)) => {
                    (address.ip().to_string(), Some(address.port()))
                }
                Some(Endpoint::Name { host, port }) => (host.to_string(), Some(*port)),
                None => (routed.upstream.to_string(), None),
            };
            if let Some(asked) = &self.asked {
                let place = match &routed.endpoint {
                    Some(endpoint) => endpoint.to_string(),
                    None => routed.upstream.to_string(),
                };
                set(span, "url.full", format!("http://{place}{}", asked.path));
            }
            set(span, "server.address", address);
            if let Some(port) = port {
                set(span, "server.port", i64::from(port));
            }
            set(span, "peer.service", routed.upstream.to_string());
        }
        set(span, "network.protocol.version", "1.1");
        if number > 0 {
            set(span, "http.request.resend_count", i64::try_from(number).unwrap_or(i64::MAX));
        }
        if let Some(status) = one.status {
            set(span, "http.response.status_code", i64::from(status));
        }
        // A key stands once in a span.
        match (&one.failure, one.status) {
            (Some((kind, text)), _) => {
                set(span, "error.type", kind.name());
                let failure = Failure { kind: kind.name().into(), text: text.clone() };
                super::spans::fail(span, &failure);
            }
            (None, Some(status)) if status >= 400 => {
                set(span, "error.type", status.to_string());
                span.status = Status::error("");
            }
            _ => {}
        }
    }
}

fn version(version: Version) -> &'static str {
    if version == Version::HTTP_10 { "1.0" } else { "1.1" }
}
