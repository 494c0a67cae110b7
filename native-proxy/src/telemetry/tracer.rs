//! Which requests are recorded.

use super::context::{self, Caller, Parent};
use super::environment::{Environment, Sampling};
use super::queue::{Finished, Queue};
use crate::clock::Clock;
use crate::config::{Telemetry, Tree};
use bimetal_core::Instant;
use hyper::HeaderMap;
use opentelemetry::trace::{SpanId, SpanKind, TraceFlags, TraceId, TraceState};
use opentelemetry_sdk::trace::{
    IdGenerator, RandomIdGenerator, Sampler, SamplingDecision, ShouldSample,
};
use std::cell::Cell;
use std::sync::Arc;
use std::time::SystemTime;

/// One worker's part in traces: it decides which requests are recorded.
#[derive(Debug)]
pub(crate) struct Tracer {
    clock: Clock,
    queue: Queue,
    environment: Arc<Environment>,
    sampling: Cell<Sampling>,
    tree: Cell<Tree>,
}

/// A trace that is recorded here.
#[derive(Clone, Debug)]
pub(crate) struct Begun {
    /// The trace.
    pub trace: TraceId,
    /// Its span that is the root in this process.
    pub span: SpanId,
    /// The caller's span.
    pub parent: Option<SpanId>,
    /// The caller's `tracestate`.
    pub state: TraceState,
    /// When.
    pub at: Instant,
    /// The same on the clock on the wall.
    pub wall: SystemTime,
}

impl Tracer {
    /// One whose traces go into `queue`.
    pub(crate) fn new(
        clock: Clock,
        queue: Queue,
        environment: Arc<Environment>,
        settings: &Telemetry,
    ) -> Self {
        let sampling = Cell::new(environment.sampling(settings.sample));
        Self { clock, queue, environment, sampling, tree: Cell::new(settings.tree) }
    }

    /// Takes new settings, for requests from now on.
    pub(crate) fn load(&self, settings: &Telemetry) {
        self.sampling.set(self.environment.sampling(settings.sample));
        self.tree.set(settings.tree);
    }

    /// What the trace of a proxied request looks like.
    pub(super) fn tree(&self) -> Tree {
        self.tree.get()
    }

    /// Whether a request with these headers is recorded. Where that is not the caller's to say, the
    /// next hop is told what was decided, so that it records no half of a trace; but where no trace
    /// begins here at all, nothing is touched.
    pub(crate) fn begin(&self, headers: &mut HeaderMap) -> Option<Begun> {
        let Sampling { follows_caller, share } = self.sampling.get();
        let caller = Caller::of(headers);
        if let Caller::Trace(parent) = caller
            && follows_caller
        {
            return parent.sampled.then(|| self.joined(parent, headers));
        }
        if share == 0.0 {
            return None;
        }
        if let Caller::Trace(parent) = caller {
            if takes(share, parent.trace) {
                return Some(self.joined(parent, headers));
            }
            context::send(headers, parent.trace, parent.span, TraceFlags::NOT_SAMPLED);
            return None;
        }
        let (trace, span) = new_ids();
        context::forget_state(headers);
        if takes(share, trace) {
            return Some(self.begun(trace, span));
        }
        context::send(headers, trace, span, TraceFlags::NOT_SAMPLED);
        None
    }

    /// Whether a request is recorded of whose head nothing is known.
    pub(crate) fn begin_without_head(&self) -> Option<Begun> {
        let (trace, span) = new_ids();
        takes(self.sampling.get().share, trace).then(|| self.begun(trace, span))
    }

    fn begun(&self, trace: TraceId, span: SpanId) -> Begun {
        let (at, wall) = (self.clock.now(), SystemTime::now());
        Begun { trace, span, parent: None, state: TraceState::NONE, at, wall }
    }

    fn joined(&self, caller: Parent, headers: &HeaderMap) -> Begun {
        let span = RandomIdGenerator::default().new_span_id();
        let (parent, state) = (Some(caller.span), context::state(headers));
        Begun { parent, state, ..self.begun(caller.trace, span) }
    }

    /// A request that was recorded has ended.
    pub(crate) fn end(&self, trace: Box<dyn Finished>) {
        self.queue.put(trace);
    }
}

fn new_ids() -> (TraceId, SpanId) {
    let ids = RandomIdGenerator::default();
    (ids.new_trace_id(), ids.new_span_id())
}

/// Whether a trace is of the share that is recorded: every process that has the same share answers
/// alike.
fn takes(share: f64, trace: TraceId) -> bool {
    let sampler = Sampler::TraceIdRatioBased(share);
    let asked = sampler.should_sample(None, trace, "", &SpanKind::Server, &[], &[]);
    asked.decision == SamplingDecision::RecordAndSample
}
