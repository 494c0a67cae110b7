//! The body of a request on its way to the upstream.

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
    body: Incoming,
    gate: Option<Rc<ContinueGate>>,
    alarm: Option<Alarm>,
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
    pub(crate) fn new(body: Incoming, gate: Option<Rc<ContinueGate>>) -> Self {
        Self { body, gate, alarm: None }
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
        ready!(this.poll_gate(cx));
        Pin::new(&mut this.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
