//! Traces: what is noted of a request on its way, and what becomes of it when it ends.
//!
//! Whether a request is recorded is decided once, at its head ([`Tracer`]). One that is gets a
//! [`RequestTrace`] in its account, which takes down moments and facts, no more. When the request
//! has ended that goes to a bounded queue, and a thread of its own makes spans of it and writes or
//! sends them: nothing of that is on a request's path, and a full queue drops and counts.
//!
//! Spans are OpenTelemetry's own [`SpanData`](opentelemetry_sdk::trace::SpanData), and so are
//! encoding and sending; see decision 0016.

mod context;
mod environment;
mod export;
mod origin;
mod proxied;
mod queue;
mod request;
mod semconv;
mod spans;
#[cfg(test)]
mod tests;
mod tracer;

pub(crate) use context::trace_of;
pub(crate) use environment::Environment;
pub(crate) use export::{Exporting, FLUSH};
pub(crate) use proxied::{kept_method, method_in_name, set_method};
pub(crate) use queue::{Finished, Queue};
pub(crate) use request::{
    BreakerWitness, RequestTrace, Seen, Settlement, Witness, failures, failures_behind,
    state_before, study_name, transitions,
};
pub(crate) use spans::{Failure, Spans, fail, id, set};
pub(crate) use tracer::{Begun, Tracer};
