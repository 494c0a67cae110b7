//! What the server received: the newest requests, for tests to read back.

use super::spans::RequestSpans;
use hyper::http::request::Parts;
use serde_json::{Map, Value, json};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// How an exchange ended, as seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Not yet.
    Pending,
    /// The whole answer was handed over.
    Answered,
    /// A fault reset or cut the connection.
    Broken,
    /// The peer left before the answer was complete.
    Aborted,
}

impl End {
    /// The name in the admin API and in spans.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Answered => "answered",
            Self::Broken => "broken",
            Self::Aborted => "aborted",
        }
    }
}

/// A bounded log of requests, shared by all workers.
#[derive(Debug)]
pub(super) struct Received {
    log: Mutex<Log>,
    keep: usize,
    start: Instant,
}

#[derive(Debug, Default)]
struct Log {
    entries: VecDeque<Entry>,
    /// Requests since the start or the last clearing.
    count: u64,
    /// Number of the first entry kept; numbers are never used again.
    first: u64,
}

#[derive(Debug)]
struct Entry {
    at_s: f64,
    /// Method, target and header lines, each ended by a line feed: one buffer that is used again
    /// for a later request, so that remembering costs no allocation in the long run.
    head: String,
    body_bytes: Option<usize>,
    end: End,
}

/// One request in the log. Dropped before [`Trace::end`], it was aborted.
#[derive(Debug)]
pub(super) struct Trace {
    received: Arc<Received>,
    number: Option<u64>,
    /// Where it is recorded as a trace.
    spans: Option<RequestSpans>,
}

impl Received {
    pub(super) fn new(keep: usize) -> Self {
        Self { log: Mutex::default(), keep, start: Instant::now() }
    }

    /// Remembers a request whose head arrived.
    pub(super) fn note(self: &Arc<Self>, head: &Parts) -> Trace {
        let number = (self.keep > 0).then(|| {
            let mut log = self.log();
            let mut text = if log.entries.len() >= self.keep {
                log.first += 1;
                log.entries.pop_front().map(|entry| entry.head).unwrap_or_default()
            } else {
                String::new()
            };
            write_head(&mut text, head);
            log.count += 1;
            let at_s = self.start.elapsed().as_secs_f64();
            log.entries.push_back(Entry { at_s, head: text, body_bytes: None, end: End::Pending });
            log.first + log.entries.len() as u64 - 1
        });
        Trace { received: Arc::clone(self), number, spans: None }
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        let mut log = self.log();
        log.first += log.entries.len() as u64;
        log.entries.clear();
        log.count = 0;
    }

    /// All that is remembered, oldest first.
    pub(super) fn to_json(&self) -> Value {
        let log = self.log();
        let requests: Vec<Value> = log.entries.iter().map(Entry::to_json).collect();
        json!({ "count": log.count, "requests": requests })
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, number: u64, change: impl FnOnce(&mut Entry)) {
        let mut log = self.log();
        let at = number.checked_sub(log.first).and_then(|at| usize::try_from(at).ok());
        // Forgotten in the meantime: nothing to change.
        if let Some(entry) = at.and_then(|at| log.entries.get_mut(at)) {
            change(entry);
        }
    }
}

impl Trace {
    /// The request is recorded, where there are spans for it.
    pub(super) fn record(&mut self, spans: Option<RequestSpans>) {
        self.spans = spans;
    }

    /// Takes something down in the spans, where there are any.
    pub(super) fn note(&mut self, note: impl FnOnce(&mut RequestSpans)) {
        if let Some(spans) = &mut self.spans {
            note(spans);
        }
    }

    /// Whether the request is remembered.
    pub(super) const fn is_logged(&self) -> bool {
        self.number.is_some()
    }

    /// The request's body is complete.
    pub(super) fn body(&self, bytes: usize) {
        if let Some(number) = self.number {
            self.received.change(number, |entry| entry.body_bytes = Some(bytes));
        }
    }

    /// The exchange ended; the first end counts.
    pub(super) fn end(&mut self, end: End) {
        if let Some(number) = self.number.take() {
            self.received.change(number, |entry| entry.end = end);
        }
        if let Some(spans) = self.spans.take() {
            spans.end(end);
        }
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        self.end(End::Aborted);
    }
}

fn write_head(text: &mut String, head: &Parts) {
    text.clear();
    // Writing into a String cannot fail.
    let _ = writeln!(text, "{}\n{}", head.method, head.uri);
    for (name, value) in &head.headers {
        text.push_str(name.as_str());
        text.push(':');
        match value.to_str() {
            Ok(plain) => text.push_str(plain),
            Err(_) => text.push_str(&String::from_utf8_lossy(value.as_bytes())),
        }
        text.push('\n');
    }
}

impl Entry {
    fn to_json(&self) -> Value {
        let mut lines = self.head.lines();
        let (method, path) = (lines.next(), lines.next());
        let mut headers = Map::new();
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            // Repeated fields read as one list (RFC 9110, 5.3).
            match headers.get_mut(name) {
                Some(Value::String(list)) => {
                    list.push_str(", ");
                    list.push_str(value);
                }
                _ => drop(headers.insert(name.to_owned(), Value::from(value))),
            }
        }
        json!({
            "at_s": self.at_s,
            "method": method,
            "path": path,
            "headers": headers,
            "body_bytes": self.body_bytes,
            "end": self.end.name(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(step: &str) -> Parts {
        let request =
            hyper::Request::post("/echo?x=1").header("x-step", step).header("x-step", "z");
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn remembers_the_newest_and_counts_all() {
        let received = Arc::new(Received::new(2));
        let mut first = received.note(&head("1"));
        let mut second = received.note(&head("2"));
        second.body(7);
        second.end(End::Answered);
        drop(received.note(&head("3")));
        first.end(End::Answered);
        let seen = received.to_json();
        assert_eq!(seen["count"], 3);
        let requests = seen["requests"].as_array().unwrap();
        assert_eq!(requests.len(), 2);
        assert_eq!(requests[0]["headers"]["x-step"], "2, z");
        assert_eq!(requests[0]["path"], "/echo?x=1");
        assert_eq!(requests[0]["body_bytes"], 7);
        assert_eq!([&requests[0]["end"], &requests[1]["end"]], ["answered", "aborted"]);
    }

    #[test]
    fn a_cleared_request_is_not_mistaken_for_a_later_one() {
        let received = Arc::new(Received::new(5));
        let mut old = received.note(&head("1"));
        received.clear();
        let _new = received.note(&head("2"));
        old.end(End::Broken);
        let seen = received.to_json();
        assert_eq!(seen["count"], 1);
        assert_eq!(seen["requests"][0]["end"], "pending");
    }

    #[test]
    fn nothing_is_kept_when_nothing_is_asked_for() {
        let received = Arc::new(Received::new(0));
        drop(received.note(&head("1")));
        assert_eq!(received.to_json()["requests"], json!([]));
    }
}
