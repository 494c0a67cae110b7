//! The body of an upstream's answer on its way to the client.

use super::Client;
use super::answer::BrokeOff;
use super::connected::ConnectionAtWork;
use super::pace::Paced;
use super::tracked::TrackedCall;
use super::trailers;
use crate::account::{End, RequestAccount};
use crate::attempt::{AttemptError, ErrorKind};
use crate::framing::Requests;
use crate::stale::Filling;
use crate::upstream::{BodyStep, Connection};
use crate::worker::Worker;
use bimetal_core::Instant;
use bimetal_core::call::Upload;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

/// A body with the connection it comes from. The connection moves only when the client's side
/// asks for more: that is the backpressure. Dropped before its end, it closes the connection.
#[derive(Debug)]
pub(crate) struct Streamed {
    requests: Rc<Requests>,
    body: Incoming,
    // Present until the end.
    rest: Option<(Box<Connection>, TrackedCall)>,
    // From when the answer goes out until its end.
    account: Option<RequestAccount>,
    // Where its policy says how fast it may go.
    paced: Option<Box<Paced>>,
    // Its drop says that the client's connection is idle.
    _at_work: Option<ConnectionAtWork>,
    // Where the answer is kept.
    filling: Option<Filling>,
}

type Step = Poll<Option<Result<Frame<Bytes>, BrokeOff>>>;

impl Streamed {
    /// The body of an answer that has one.
    pub(crate) fn new(
        client: &Client,
        body: Incoming,
        connection: Box<Connection>,
        call: TrackedCall,
        filling: Option<Filling>,
    ) -> Box<Self> {
        let (requests, at_work) = (client.requests.clone(), client.at_work.take());
        requests.streams(true);
        let bandwidth = call.policy().and_then(|policy| policy.bandwidth_applied());
        let paced = bandwidth.map(|policy| Paced::new(policy, client.worker.clock));
        let rest = Some((connection, call));
        Box::new(Self { requests, body, rest, account: None, paced, _at_work: at_work, filling })
    }

    /// The answer goes out: its end is that of the request.
    pub(crate) fn follow(&mut self, account: RequestAccount) {
        self.account = Some(account);
    }

    /// The next piece.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Step {
        if self.paced.is_none() { self.poll_next(cx) } else { self.poll_paced(cx) }
    }

    /// The next piece, when it is due. Until then the upstream waits.
    fn poll_paced(&mut self, cx: &mut Context<'_>) -> Step {
        loop {
            let Some(paced) = &mut self.paced else {
                return self.poll_next(cx);
            };
            if paced.poll_due(cx).is_pending() {
                // Its request may go on still.
                if let Some((connection, _)) = &mut self.rest
                    && connection.upload() != Upload::Complete
                {
                    connection.drive(cx);
                }
                return Poll::Pending;
            }
            if paced.held() > 0 {
                let piece = paced.take();
                self.is_sent();
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            match ready!(self.poll_next(cx)).map(|step| step.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => {
                    if let Some(paced) = &mut self.paced {
                        paced.hold(data);
                    }
                }
                Some(Ok(Err(frame))) => {
                    self.is_sent();
                    return Poll::Ready(Some(Ok(frame)));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    self.is_sent();
                    return Poll::Ready(None);
                }
            }
        }
    }

    /// The client's side has what was there: of an answer whose end has come that was all.
    fn is_sent(&mut self) {
        if self.rest.is_none() && self.held() == 0 {
            let now = self.account.as_ref().map(|account| account.worker().clock.now());
            self.end(End::Answered, now);
        }
    }

    fn held(&self) -> usize {
        self.paced.as_ref().map_or(0, |paced| paced.held())
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Step {
        let mut step = self.step();
        if step.is_pending() {
            if let Some((connection, _)) = &mut self.rest {
                connection.drive(cx);
            }
            step = self.step();
        }
        match step {
            Poll::Pending => self.stand_still(cx),
            Poll::Ready(Some(Ok(mut frame))) => {
                if let Some((connection, call)) = &mut self.rest {
                    connection.moved();
                    if let Some(trailers) = frame.trailers_mut() {
                        trailers::clean_answer(trailers);
                        call.trailers(call.now(), trailers);
                    } else if call.wants_body() {
                        call.body(frame.data_ref().map(|data| &**data));
                    }
                }
                if let (Some(filling), Some(data)) = (&mut self.filling, frame.data_ref()) {
                    filling.add(data);
                } else {
                    // Trailers are not kept, and an answer without them is another one.
                    self.filling = None;
                }
                // A body is not asked again after the last piece of a known length, nor after its
                // trailers.
                if frame.is_trailers() || self.body.is_end_stream() {
                    self.finish();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                self.finish();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                self.break_off(|connection| AttemptError {
                    kind: ErrorKind::BrokeOff,
                    ..connection.error(&error)
                });
                Poll::Ready(Some(Err(error.into())))
            }
        }
    }

    // Silence has an end: whoever reads may be gone without our knowing.
    fn stand_still(&mut self, cx: &mut Context<'_>) -> Step {
        if let Some((connection, _)) = &mut self.rest {
            ready!(connection.poll_stalled(cx));
            self.break_off(|_| AttemptError::new(ErrorKind::Stalled, "no byte for too long"));
            return Poll::Ready(Some(Err("the upstream's answer stands still".into())));
        }
        Poll::Pending
    }

    fn break_off(&mut self, why: impl FnOnce(&Connection) -> AttemptError) {
        let Some((connection, mut call)) = self.rest.take() else {
            return;
        };
        // A request that turns bad while it is being answered takes the answer with it.
        if let Some(why) = self.requests.broken() {
            call.not_evidence();
            return self.end(End::Refused(why), None);
        }
        let error = why(&connection);
        if let Some(account) = &mut self.account {
            account.failed(&error);
            account.worker().upstream_failed(connection.slot.pool().upstream(), &error);
        }
        call.upload(call.now(), connection.upload());
        if let Some(how) = error.kind.transport() {
            call.broken(how);
        }
        // The account knows how the call was settled.
        self.end(End::BrokeOff, None);
    }

    /// Whether nothing is left.
    pub(crate) fn is_end(&self) -> bool {
        (self.rest.is_none() || self.body.is_end_stream()) && self.held() == 0
    }

    /// How much is left, as far as it is known.
    pub(crate) fn size_hint(&self) -> SizeHint {
        let (mut left, held) = (self.body.size_hint(), self.held() as u64);
        if held > 0 {
            if let Some(upper) = left.upper() {
                left.set_upper(upper + held);
            }
            left.set_lower(left.lower() + held);
        }
        left
    }

    fn step(&mut self) -> BodyStep {
        match &self.rest {
            Some((connection, _)) => connection.poll_body(&mut self.body),
            None => Poll::Ready(None),
        }
    }

    fn finish(&mut self) {
        if let Some((connection, mut call)) = self.rest.take() {
            let now = call.now();
            call.finished(now);
            self.filling.take().into_iter().for_each(Filling::finish);
            // What is held back is the client's matter, and no longer the upstream's.
            if self.paced.is_none() {
                self.end(End::Answered, Some(now));
            }
            connection.release(now);
        }
    }

    fn end(&mut self, end: End, at: Option<Instant>) {
        if let Some(mut account) = self.account.take() {
            account.ends(end);
            if let Some(now) = at {
                account.complete(now);
            }
        }
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        self.requests.streams(false);
    }
}

/// Reads the rest of an answer that nobody wants, where it is short, so that its connection can be
/// used again.
pub(crate) async fn discard(
    worker: Rc<Worker>,
    mut body: Incoming,
    mut connection: Box<Connection>,
) {
    let mut left = MOST_DISCARDED;
    let read = std::future::poll_fn(|cx| {
        loop {
            let mut step = connection.poll_body(&mut body);
            if step.is_pending() {
                connection.drive(cx);
                step = connection.poll_body(&mut body);
            }
            match step {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(Some(())),
                Poll::Ready(Some(Err(_))) => return Poll::Ready(None),
                Poll::Ready(Some(Ok(frame))) => {
                    let size = frame.data_ref().map_or(0, Bytes::len);
                    match left.checked_sub(size) {
                        Some(rest) => left = rest,
                        None => return Poll::Ready(None),
                    }
                }
            }
        }
    });
    if let Ok(Some(())) = tokio::time::timeout(DISCARD_WAIT, read).await {
        connection.release(worker.clock.now());
    }
}

/// More than this of an unwanted answer is not worth its connection.
const MOST_DISCARDED: usize = 64 << 10;

/// How long the rest of an unwanted answer may take.
const DISCARD_WAIT: std::time::Duration = std::time::Duration::from_secs(1);
