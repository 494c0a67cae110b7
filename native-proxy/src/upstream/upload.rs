//! The body of a request on its way to the upstream.

use super::replay::{Reader, Replay};
use crate::call::trailers;
use crate::config::Underscores;
use crate::timer::Alarm;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

/// How long an upstream may take to ask for a body that waits for its 100 (Continue). After that it
/// gets the body unasked: many do not know the expectation (RFC 9110, 10.1.1).
const CONTINUE_WAIT: Duration = Duration::from_secs(1);

/// A client's body; behind a gate where the client waits for permission to send it.
///
/// Nobody looks at a body behind a closed gate, so nobody tells the client to send it: the HTTP
/// library says 100 (Continue) when it is looked at first.
#[derive(Debug)]
pub(crate) struct Upload {
    body: Source,
    gate: Option<Rc<ContinueGate>>,
    alarm: Option<Alarm>,
    progress: Option<Rc<UploadProgress>>,
    underscores: Underscores,
}

/// Where a body comes from.
#[derive(Debug)]
enum Source {
    /// From the client.
    Client(Incoming),
    /// From the client, and from what an earlier try sent of it.
    Kept(Reader),
}

/// A body that may be sent again.
#[derive(Debug)]
pub(crate) struct KeptUpload {
    replay: Rc<Replay>,
    gate: Option<Rc<ContinueGate>>,
    underscores: Underscores,
    is_empty: bool,
}

impl KeptUpload {
    /// Whether it can be sent from its beginning.
    pub(crate) fn can_be_sent_again(&self) -> bool {
        !self.replay.is_gone()
    }

    /// The body from its beginning. What an earlier one still sends stands still.
    pub(crate) fn again(&self) -> Upload {
        Upload {
            body: Source::Kept(self.replay.read()),
            gate: self.gate.clone(),
            alarm: None,
            progress: (!self.is_empty).then(Rc::default),
            underscores: self.underscores,
        }
    }
}

/// What whoever drives a connection knows of the body that goes out on it.
#[derive(Debug, Default)]
pub(crate) struct UploadProgress {
    waits_for_client: Cell<bool>,
    has_ended: Cell<bool>,
}

impl UploadProgress {
    /// Whether more was asked for and the client had none, or waits for permission itself: our own
    /// patience with its expectation is waiting for nobody.
    pub(crate) fn waits_for_client(&self) -> bool {
        self.waits_for_client.get()
    }

    /// Whether all of it was handed on.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended.get()
    }
}

/// Holds a request's body back until the upstream's 100 (Continue) opens it.
#[derive(Debug, Default)]
pub(crate) struct ContinueGate {
    is_open: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl ContinueGate {
    /// Lets the body pass.
    pub(crate) fn open(&self) {
        self.is_open.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Whether the body may pass.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open.get()
    }
}

impl Upload {
    /// The body of a request; with a gate it waits until that is opened.
    pub(crate) fn new(
        body: Incoming,
        gate: Option<Rc<ContinueGate>>,
        underscores: Underscores,
    ) -> Self {
        let progress = (!body.is_end_stream()).then(Rc::default);
        Self { body: Source::Client(body), gate, alarm: None, progress, underscores }
    }

    /// The same body as one that can be sent again until more than `most` bytes of it were sent.
    pub(crate) fn kept(self, most: u64) -> KeptUpload {
        let is_empty = self.is_end_stream();
        let replay = match self.body {
            Source::Client(body) => Replay::new(body, most),
            Source::Kept(reader) => reader.replay(),
        };
        KeptUpload { replay, gate: self.gate, underscores: self.underscores, is_empty }
    }

    /// What can be known of it once it is on its way; none for a body that is empty.
    pub(crate) fn progress(&self) -> Option<Rc<UploadProgress>> {
        self.progress.clone()
    }

    /// Without trailers that a head could not have either.
    fn checked(&self, frame: Frame<Bytes>) -> Frame<Bytes> {
        if frame.is_data() {
            return frame;
        }
        match frame.into_trailers() {
            Ok(mut sent) => {
                trailers::clean_request(&mut sent, self.underscores);
                Frame::trailers(sent)
            }
            Err(frame) => frame,
        }
    }

    fn poll_gate(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(gate) = self.gate.as_ref().filter(|gate| !gate.is_open()) else {
            return Poll::Ready(());
        };
        gate.waker.replace(Some(cx.waker().clone()));
        let alarm = self.alarm.get_or_insert_with(|| Alarm::new(Instant::now() + CONTINUE_WAIT));
        ready!(Pin::new(alarm).poll(cx));
        gate.open();
        Poll::Ready(())
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let step = match this.poll_gate(cx) {
            Poll::Ready(()) => {
                let step = match &mut this.body {
                    Source::Client(body) => Pin::new(body).poll_frame(cx),
                    Source::Kept(reader) => reader.poll_frame(cx),
                };
                step.map_ok(|frame| this.checked(frame))
            }
            Poll::Pending => Poll::Pending,
        };
        if let Some(progress) = &this.progress {
            progress.waits_for_client.set(step.is_pending());
            // A body of known length is not asked again after its last piece.
            let is_over = matches!(step, Poll::Ready(None)) || this.is_end_stream();
            progress.has_ended.set(is_over);
        }
        step
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            Source::Client(body) => body.is_end_stream(),
            Source::Kept(reader) => reader.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Source::Client(body) => body.size_hint(),
            Source::Kept(reader) => reader.size_hint(),
        }
    }
}
