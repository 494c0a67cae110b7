//! The spans of one request, as the origin study's echo server has them.
//!
//! ```text
//! POST /echo
//! └ echo_request_server               total.duration
//!   ├ parse_request_server            message.length
//!   ├ process_message_server          message.logged
//!   └ construct_response_server       response.size
//! ```
//!
//! What did not come about has no span: a fault leaves the message unprocessed, and another path or
//! method is the server's span alone.

use super::received::End;
use crate::clock::Clock;
use crate::telemetry::{
    Begun, Failure, Finished, Spans, Tracer, fail, id, kept_method, method_in_name, set, set_method,
};
use bimetal_core::Instant;
use hyper::Method;
use hyper::http::request::Parts;
use opentelemetry::trace::Status;
use opentelemetry_sdk::trace::SpanData;
use std::rc::Rc;

/// Most bytes of a path that are shown.
const LONGEST_PATH: usize = 256;

/// A request that is recorded.
#[derive(Debug)]
pub(super) struct RequestSpans {
    tracer: Rc<Tracer>,
    clock: Clock,
    noted: Box<Echoed>,
}

/// What is known of it.
#[derive(Debug)]
struct Echoed {
    begun: Begun,
    method: Method,
    path: String,
    is_echo: bool,
    parsed: Option<(Instant, usize)>,
    processed: Option<(Instant, bool)>,
    constructed: Option<(Instant, u16, u64)>,
    ended: Instant,
    end: End,
}

impl RequestSpans {
    /// Of a request with this head, where `tracer` wants it.
    pub(super) fn begin(
        tracer: Option<&Rc<Tracer>>,
        clock: Clock,
        head: &mut Parts,
    ) -> Option<Self> {
        let tracer = tracer?;
        let begun = tracer.begin(&mut head.headers)?;
        let path = head.uri.path();
        let noted = Box::new(Echoed {
            ended: begun.at,
            begun,
            method: kept_method(&head.method),
            path: path.get(..LONGEST_PATH).unwrap_or(path).to_owned(),
            is_echo: false,
            parsed: None,
            processed: None,
            constructed: None,
            end: End::Pending,
        });
        Some(Self { tracer: tracer.clone(), clock, noted })
    }

    /// It is one for the echo.
    pub(super) fn is_echo(&mut self) {
        self.noted.is_echo = true;
    }

    /// Its message is there, of so many characters.
    pub(super) fn parsed(&mut self, length: usize) {
        self.noted.parsed = Some((self.clock.now(), length));
    }

    /// Its message is answered, and was remembered or not.
    pub(super) fn processed(&mut self, is_logged: bool) {
        self.noted.processed = Some((self.clock.now(), is_logged));
    }

    /// Its answer is there, with this status and so many bytes of body.
    pub(super) fn constructed(&mut self, status: u16, size: u64) {
        self.noted.constructed = Some((self.clock.now(), status, size));
    }

    /// It ended so.
    pub(super) fn end(mut self, end: End) {
        self.noted.end = end;
        self.noted.ended = self.clock.now();
        self.tracer.end(self.noted);
    }
}

impl Echoed {
    fn failure(&self) -> Option<Failure> {
        if self.end == End::Broken {
            let text = "a fault broke the connection".into();
            return Some(Failure { kind: "broken".into(), text });
        }
        let status = self.constructed.map(|(_, status, _)| status)?;
        let text = format!("answered {status}");
        (status >= 400).then(|| Failure { kind: status.to_string().into(), text })
    }
}

impl Finished for Echoed {
    fn count(&self) -> usize {
        if !self.is_echo {
            return 1;
        }
        let parts = [self.parsed.is_some(), self.processed.is_some(), self.constructed.is_some()];
        2 + parts.into_iter().filter(|there| *there).count()
    }

    fn spans(self: Box<Self>) -> Vec<SpanData> {
        let (begun, whole) = (self.begun.at, (self.begun.at, self.ended));
        let mut spans = Spans::of(self.begun.clone());
        let name = format!("{} {}", method_in_name(&self.method), self.path);
        let root = spans.root(name, whole);
        set_method(root, &self.method);
        set(root, "url.scheme", "http");
        set(root, "url.path", self.path.clone());
        if let Some((_, status, _)) = self.constructed {
            set(root, "http.response.status_code", i64::from(status));
            if status >= 500 {
                root.status = Status::error("");
            }
        }
        match (self.end, self.constructed) {
            (End::Answered, Some((_, status, _))) if status >= 500 => {
                set(root, "error.type", status.to_string());
            }
            (End::Answered, _) => {}
            (end, _) => set(root, "error.type", end.name()),
        }
        let root = id(root);
        if !self.is_echo {
            return spans.finish();
        }
        let request = spans.child(root, "echo_request_server", whole);
        set(request, "total.duration", self.ended.since(begun).as_secs_f64());
        if let Some(failure) = self.failure() {
            fail(request, &failure);
        }
        let request = id(request);
        let mut from = begun;
        if let Some((at, length)) = self.parsed {
            let span = spans.child(request, "parse_request_server", (from, at));
            set(span, "message.length", i64::try_from(length).unwrap_or(i64::MAX));
            from = at;
        }
        if let Some((at, is_logged)) = self.processed {
            let span = spans.child(request, "process_message_server", (from, at));
            set(span, "message.logged", is_logged);
            from = at;
        }
        if let Some((at, _, size)) = self.constructed {
            let span = spans.child(request, "construct_response_server", (from, at));
            set(span, "response.size", i64::try_from(size).unwrap_or(i64::MAX));
        }
        spans.finish()
    }
}
