//! One call's life, whatever a host sees of it and in whatever order: it settles once, its clock is
//! the upstream's, and its gRPC-Web status is that of a reader who has the whole body at once.

mod model;
mod web;

use crate::Behaviour;
use crate::source::Source;
use bimetal_core::call::{AnsweredBy, Call, Effect, Fields, Head, Upload};
use bimetal_core::outcome::{AnswerSet, FailureRules, Statuses, Transport};
use bimetal_core::{Duration, Instant};
use model::{Input, Model};
use std::collections::VecDeque;
use std::sync::{Arc, LazyLock};

/// Words of headers and bodies.
pub(super) const WORDS: &[&str] = &[
    "application/grpc",
    "application/grpc-web",
    "application/grpc-web-text",
    "application/grpc-web+proto",
    "APPLICATION/GRPC-WEB-TEXT ; a=b",
    "text/event-stream",
    "grpc-status:",
    "grpc-status: 14\r\n",
    "Grpc-Status:0",
    "grpc-message: a\r\n",
    "\r\n",
    "\0\0\0\0",
    "\0\0\0\0\u{1}",
    "gAAAAA9ncnBjLXN0YXR1czowDQo=",
    "gAAAABBncnBjLXN0YXR1czoxNA0K",
    "AAAAAAA=",
    "=",
    "14",
    "+14",
    " 0",
    "4294967296",
];

/// Values of `grpc-status`, as they should be and not.
const STATUSES: &[&[u8]] =
    &[b"0", b"14", b"5", b"2", b" 14", b"5 ", b"+14", b"1 4", b"", b"0x5", b"4294967310", b"014"];

/// Policies that differ in what is a failure, what is slow and what does not count.
static RULES: LazyLock<Vec<Arc<FailureRules>>> = LazyLock::new(|| {
    let statuses = |class| {
        let mut statuses = Statuses::default();
        statuses.insert_class(class);
        statuses
    };
    let failures = |grpc, transport: &[Transport]| AnswerSet {
        statuses: statuses(5),
        grpc,
        transport: transport.to_vec(),
    };
    let ignore = AnswerSet { statuses: statuses(4), grpc: 1 << 4, transport: Vec::new() };
    let strict = FailureRules {
        failures: failures(1 << 14, &[Transport::Timeout]),
        ignore,
        slower_than: Some(Duration::from_millis(5)),
        count_injected: true,
        wants_latency: true,
    };
    let hasty = FailureRules { slower_than: Some(Duration::from_nanos(1)), ..Default::default() };
    // One for each bit of a status: no two statuses are alike to all of them.
    let by_bit = |bit: u32| {
        let codes = (0..=16_u32).filter(|code| code >> bit & 1 == 1);
        let codes = codes.fold(0, |codes, code| codes | 1 << code);
        FailureRules { failures: failures(codes, &Transport::ALL), ..Default::default() }
    };
    let rules = (0..5).map(by_bit).chain([strict, hasty]);
    rules.map(Arc::new).collect()
});

/// Headers as they came.
#[derive(Debug)]
struct Headers<'a>([Option<&'a [u8]>; 3]);

impl Fields for Headers<'_> {
    fn content_type(&self) -> Option<&[u8]> {
        self.0[0]
    }
    fn grpc_status(&self) -> Option<&[u8]> {
        self.0[1]
    }
    fn retry_after(&self) -> Option<&[u8]> {
        self.0[2]
    }
}

/// A row of inputs.
pub(super) fn inputs(bytes: &[u8]) -> Behaviour {
    let mut source = Source::new(bytes);
    let rules = source.pick(&RULES[..]).clone();
    let limits = [None, Some(0), Some(1), Some(5), Some(1_000)];
    let limit = source.pick(&limits).map(Duration::from_millis);
    let mut life = Life {
        call: Call::new(rules.clone(), limit),
        model: Model::new(rules, limit),
        now: Instant::from_millis(1_000),
        body: VecDeque::new(),
    };
    while !source.is_empty() {
        let choice = source.below(16);
        life.take(choice, &mut source);
    }
    life.end();
    Behaviour::of(life.model.seen)
}

struct Life {
    call: Call,
    model: Model,
    now: Instant,
    /// Bytes that are still to be shown of a body.
    body: VecDeque<u8>,
}

impl Life {
    fn take(&mut self, choice: usize, source: &mut Source<'_>) {
        let now = self.now;
        match choice {
            0 => self.show(Input::Queued, |call| call.queued(now)),
            1 | 2 => {
                let upload = upload(source);
                self.show(Input::HandedOver(upload), |call| call.handed_over(now, upload));
            }
            3 | 4 => {
                let upload = upload(source);
                self.show(Input::Upload(upload), |call| call.upload(now, upload));
            }
            5 => self.show(Input::Informational, |call| call.informational(now)),
            6 | 7 => self.headers(source),
            8 | 9 => self.body(source),
            10 => {
                if source.below(8) == 0 {
                    return self.show(Input::Unseen, |call| call.body(now, None));
                }
                let status = value(source, STATUSES);
                self.show(Input::Trailers(status), |call| call.trailers(now, status));
            }
            11 if source.below(4) == 0 => self.show(Input::Switched, |call| call.switched(now)),
            11 => self.show(Input::Ended, |call| call.ended(now)),
            12 => {
                let how = *source.pick(&Transport::ALL);
                self.show(Input::Broken(how), |call| call.broken(now, how));
            }
            13 => self.show(Input::ClientGone, |call| call.client_gone(now)),
            14 => self.show(Input::Dropped, |call| call.dropped(now)),
            _ => {
                let size = source.byte();
                let nanos = now.as_nanos();
                let millis = u64::from(size % 100) * 1_000_000;
                self.now = Instant::from_nanos(match size {
                    0..=199 => nanos.saturating_add(millis),
                    200..=239 => nanos.saturating_sub(millis),
                    240..=253 => nanos.wrapping_add(source.number()),
                    _ => u64::MAX,
                });
                self.model.check(&self.call, self.now);
            }
        }
    }

    fn headers(&mut self, source: &mut Source<'_>) {
        let medias: [&[u8]; 5] = [
            b"application/grpc-web",
            b"application/grpc-web-text",
            b"application/grpc",
            b"text/event-stream",
            b"text/html",
        ];
        let media = value(source, &medias);
        let kind = source.byte();
        let grpc = if kind & 1 == 0 { None } else { value(source, STATUSES) };
        let retry_after =
            if kind & 2 == 0 { None } else { value(source, &[b"7", b"+7", b" 7", b"soon"]) };
        let by = match kind >> 2 & 7 {
            0 => AnsweredBy::Injected,
            1 => AnsweredBy::Other,
            _ => AnsweredBy::Upstream,
        };
        let status = match source.byte() {
            0..=99 => 200,
            100..=109 => 101,
            110..=149 => 503,
            150..=199 => 404,
            other => 100 + u16::from(other),
        };
        let latency = (kind & 64 != 0).then(|| Duration::from_millis(source.below(10) as u64));
        let fields = Headers([media, grpc, retry_after]);
        let head = Head { status, by, latency, end_of_stream: kind & 128 != 0, fields: &fields };
        let now = self.now;
        self.show(Input::Headers(&head), |call| call.headers(now, &head));
    }

    /// The next piece of the body: bytes as they come, or of a frame that is well-formed, or nearly.
    fn body(&mut self, source: &mut Source<'_>) {
        let kind = source.byte();
        let mut content = source.bytes(48).to_vec();
        if kind & 16 != 0 {
            let names: [&[u8]; 5] =
                [b"grpc-status:", b"Grpc-Status: ", b"grpc-status", b"grpc-statuses:", b"a: b"];
            let ends: [&[u8]; 4] = [b"\r\n", b"\n", b" \t\r\n", b""];
            let status = source.pick(STATUSES);
            let line = [source.pick(&names), *status, source.pick(&ends)].concat();
            content.splice(..0, line);
        }
        if kind & 1 == 0 {
            self.body.extend(&content);
        } else {
            let flags = *source.pick(&[0, 0x80, 0x80, 0x80, 0x81, 1]);
            let lie = if kind & 2 == 0 { 0 } else { i64::from(source.byte()) - 128 };
            let size = (content.len() as i64 + lie) as u32;
            let frame = [&[flags], &size.to_be_bytes()[..], &content].concat();
            match self.model.is_text() {
                true => self.body.extend(web::encoded(&frame)),
                false => self.body.extend(frame),
            }
        }
        let size = usize::from(kind >> 2).min(self.body.len());
        self.piece(size);
    }

    fn piece(&mut self, size: usize) {
        let piece: Vec<u8> = self.body.drain(..size).collect();
        let now = self.now;
        self.show(Input::Body(&piece), |call| call.body(now, Some(&piece)));
    }

    /// Shows the call an input; what it says must be what the model says.
    fn show(&mut self, input: Input<'_>, see: impl FnOnce(&mut Call) -> Effect) {
        let effect = see(&mut self.call);
        self.model.take(self.now, &input, effect);
        self.model.check(&self.call, self.now);
    }

    /// Whatever came before, a call that is dropped is settled; and no call twice.
    fn end(&mut self) {
        if !self.body.is_empty() {
            self.piece(self.body.len());
        }
        for _ in 0..2 {
            let now = self.now;
            self.show(Input::Ended, |call| call.ended(now));
            self.show(Input::Dropped, |call| call.dropped(now));
            assert!(self.model.is_settled(), "dropped, and not settled");
        }
    }
}

fn upload(source: &mut Source<'_>) -> Upload {
    *source.pick(&[Upload::WaitsForClient, Upload::WaitsForUpstream, Upload::Complete])
}

/// The value of a field: mostly one that is known, else any bytes, or none.
fn value<'a>(source: &mut Source<'a>, known: &[&'static [u8]]) -> Option<&'a [u8]> {
    match source.byte() {
        0..=31 => None,
        choice @ 32..=191 => Some(known[usize::from(choice) % known.len()]),
        _ => Some(source.bytes(40)),
    }
}
