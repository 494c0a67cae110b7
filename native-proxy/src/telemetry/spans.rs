//! Making spans of moments.

use super::context;
use super::tracer::Begun;
use bimetal_core::Instant;
use opentelemetry::trace::{Event, SpanId, SpanKind, Status};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SpanData, SpanEvents, SpanLinks};
use std::borrow::Cow;
use std::time::SystemTime;

/// From when to when.
pub(crate) type During = (Instant, Instant);

/// The spans of one trace in the making.
#[derive(Debug)]
pub(crate) struct Spans {
    begun: Begun,
    scope: InstrumentationScope,
    spans: Vec<SpanData>,
}

impl Spans {
    /// None yet, of the trace that began so.
    pub(crate) fn of(begun: Begun) -> Self {
        let scope =
            InstrumentationScope::builder("bimetal").with_version(env!("CARGO_PKG_VERSION"));
        Self { begun, scope: scope.build(), spans: Vec::new() }
    }

    /// The local root; its id is known since the request began.
    pub(crate) fn root(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        during: During,
    ) -> &mut SpanData {
        let (span, parent) = (self.begun.span, self.begun.parent);
        let root =
            self.add(span, parent.unwrap_or(SpanId::INVALID), name, SpanKind::Server, during);
        root.parent_span_is_remote = parent.is_some();
        root
    }

    /// A span within the process.
    pub(crate) fn child(
        &mut self,
        parent: SpanId,
        name: &'static str,
        during: During,
    ) -> &mut SpanData {
        let span = RandomIdGenerator::default().new_span_id();
        self.add(span, parent, name, SpanKind::Internal, during)
    }

    /// A try, whose id the upstream was told.
    pub(crate) fn client(
        &mut self,
        span: SpanId,
        parent: SpanId,
        name: impl Into<Cow<'static, str>>,
        during: During,
    ) -> &mut SpanData {
        self.add(span, parent, name, SpanKind::Client, during)
    }

    fn add(
        &mut self,
        span: SpanId,
        parent: SpanId,
        name: impl Into<Cow<'static, str>>,
        kind: SpanKind,
        (from, to): During,
    ) -> &mut SpanData {
        self.spans.push(SpanData {
            span_context: context::of(self.begun.trace, span, &self.begun.state),
            parent_span_id: parent,
            parent_span_is_remote: false,
            span_kind: kind,
            name: name.into(),
            start_time: self.at(from),
            end_time: self.at(to.max(from)),
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: self.scope.clone(),
        });
        let last = self.spans.len() - 1;
        &mut self.spans[last]
    }

    /// The same moment on the clock on the wall. It is read once a trace, so that no span of it is
    /// longer or shorter than it was.
    pub(super) fn at(&self, moment: Instant) -> SystemTime {
        self.begun.wall + std::time::Duration::from(moment.since(self.begun.at))
    }

    /// All of them.
    pub(crate) fn finish(self) -> Vec<SpanData> {
        self.spans
    }
}

/// What went wrong, as people and programs are told it.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// Its kind; one of few.
    pub kind: Cow<'static, str>,
    /// What happened.
    pub text: String,
}

/// Adds an attribute.
pub(crate) fn set(span: &mut SpanData, key: &'static str, value: impl Into<opentelemetry::Value>) {
    span.attributes.push(KeyValue::new(key, value));
}

/// The span failed by this, at its end: an exception event, and the status.
pub(crate) fn fail(span: &mut SpanData, failure: &Failure) {
    let attributes = vec![
        KeyValue::new("exception.type", failure.kind.clone()),
        KeyValue::new("exception.message", failure.text.clone()),
    ];
    span.events.events.push(Event::new("exception", span.end_time, attributes, 0));
    span.status = Status::error(failure.text.clone());
}

/// The span's id.
pub(crate) fn id(span: &SpanData) -> SpanId {
    span.span_context.span_id()
}
