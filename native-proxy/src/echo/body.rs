//! Bodies of answers: whole, or in stages with faults between them.

use super::fault::Fault;
use super::received::{End, Trace};
use super::worker::{Control, Cut};
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Sleep;

/// Size of the pieces that a staged body is sent in.
const PIECE: usize = 64 * 1024;
static FILLER: [u8; PIECE] = [b'x'; PIECE];

/// Pause before a connection is cut behind its headers, unless the fault says how long: a peer
/// shall have read what came before the cut, so that the case is the one that was asked for.
const PAUSE_BEFORE_CUT: Duration = Duration::from_millis(50);

/// The body of an answer.
pub(super) enum EchoBody {
    /// In one piece.
    Whole(Option<Bytes>),
    /// With pauses, or with a cut in it.
    Staged(Box<Staged>),
}

/// What the bytes of a staged body are.
pub(super) enum Content {
    /// These.
    Given(Bytes),
    /// So many `x`.
    Filler(u64),
}

pub(super) struct Staged {
    content: Content,
    /// How long the whole body is: what `content-length` promises.
    promised: u64,
    sent: u64,
    /// Where it stops, and how.
    stop: u64,
    cut: Option<Cut>,
    pause: Duration,
    /// The pause before the piece at hand.
    pausing: Option<Pin<Box<Sleep>>>,
    control: Rc<Control>,
    trace: Trace,
}

impl Staged {
    /// A body as `fault` wants it.
    pub(super) fn new(
        content: Content,
        fault: &Fault,
        control: Rc<Control>,
        trace: Trace,
    ) -> Box<Self> {
        let promised = match &content {
            Content::Given(bytes) => bytes.len() as u64,
            Content::Filler(bytes) => *bytes,
        };
        let (stop, cut) = match (fault.reset, fault.truncate_after) {
            (Some(_), _) => (0, Some(Cut::Reset)),
            (None, Some(after)) if after < promised => (after, Some(Cut::Close)),
            (None, _) => (promised, None),
        };
        let pause = match cut {
            Some(_) if fault.body_delay.is_zero() => PAUSE_BEFORE_CUT,
            _ => fault.body_delay,
        };
        let pausing = (!pause.is_zero()).then(|| Box::pin(tokio::time::sleep(pause)));
        let sent = 0;
        Box::new(Self { content, promised, sent, stop, cut, pause, pausing, control, trace })
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(pausing) = &mut self.pausing {
            ready!(pausing.as_mut().poll(cx));
            self.pausing = None;
        }
        let left = self.stop - self.sent;
        if left == 0 {
            let Some(cut) = self.cut else {
                self.trace.end(End::Answered);
                return Poll::Ready(None);
            };
            self.trace.end(End::Broken);
            self.control.cut(cut);
            // The connection ends before anybody would ask again.
            return Poll::Pending;
        }
        let piece = self.next_piece(left);
        self.sent += piece.len() as u64;
        if self.sent < self.stop || self.cut.is_some() {
            self.pausing =
                (!self.pause.is_zero()).then(|| Box::pin(tokio::time::sleep(self.pause)));
        } else {
            // hyper does not ask for more once the promised length is reached.
            self.trace.end(End::Answered);
        }
        Poll::Ready(Some(piece))
    }

    fn next_piece(&mut self, left: u64) -> Bytes {
        let size = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE);
        match &mut self.content {
            Content::Given(bytes) => bytes.split_to(size),
            Content::Filler(_) => Bytes::from_static(&FILLER).slice(..size),
        }
    }
}

impl Body for EchoBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = match self.get_mut() {
            Self::Whole(bytes) => bytes.take(),
            Self::Staged(staged) => ready!(staged.poll_piece(cx)),
        };
        Poll::Ready(piece.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Staged(staged) => staged.sent == staged.promised && staged.cut.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Whole(bytes) => bytes.as_ref().map_or(0, |bytes| bytes.len() as u64),
            Self::Staged(staged) => staged.promised - staged.sent,
        })
    }
}
