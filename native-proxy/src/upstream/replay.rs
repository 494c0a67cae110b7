//! A request's body that may be sent more than once (after linkerd's `ReplayBody`).
//!
//! What the client sends is passed on as it comes, and kept until it is more than the policy keeps: then
//! all of it is let go, and the body is gone once it was sent. A further try sends what was kept, and
//! reads on where the one before it stopped.

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// A body, and what of it was sent already.
#[derive(Debug)]
pub(crate) struct Replay {
    body: RefCell<Incoming>,
    kept: RefCell<Vec<Piece>>,
    /// How many bytes more may be kept.
    room: Cell<u64>,
    /// Whether something was sent that is not kept.
    is_gone: Cell<bool>,
    /// The number of the reader whose turn it is.
    turn: Cell<u32>,
}

#[derive(Clone, Debug)]
enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
}

impl From<Piece> for Frame<Bytes> {
    fn from(piece: Piece) -> Self {
        match piece {
            Piece::Data(data) => Self::data(data),
            Piece::Trailers(trailers) => Self::trailers(trailers),
        }
    }
}

/// One try's reader of a [`Replay`].
#[derive(Debug)]
pub(super) struct Reader {
    replay: Rc<Replay>,
    turn: u32,
    /// The next of the kept pieces.
    next: usize,
}

impl Replay {
    /// Of a body of which at most so many bytes are kept.
    pub(super) fn new(body: Incoming, most: u64) -> Rc<Self> {
        let is_longer = body.size_hint().lower() > most;
        Rc::new(Self {
            body: RefCell::new(body),
            kept: RefCell::default(),
            room: Cell::new(if is_longer { 0 } else { most }),
            is_gone: Cell::new(false),
            turn: Cell::new(0),
        })
    }

    /// Whether it cannot be sent from its beginning any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.is_gone.get()
    }

    /// A reader from the beginning. Those before it read no more.
    pub(super) fn read(self: &Rc<Self>) -> Reader {
        self.turn.set(self.turn.get() + 1);
        Reader { replay: self.clone(), turn: self.turn.get(), next: 0 }
    }

    fn keep(&self, frame: &Frame<Bytes>) {
        let piece = match (frame.data_ref(), frame.trailers_ref()) {
            (Some(data), _) => Piece::Data(data.clone()),
            (None, Some(trailers)) => Piece::Trailers(trailers.clone()),
            (None, None) => return,
        };
        let size = frame.data_ref().map_or(0, Bytes::len) as u64;
        match self.room.get().checked_sub(size) {
            Some(room) if !self.is_gone() => {
                self.room.set(room);
                self.kept.borrow_mut().push(piece);
            }
            _ => {
                self.is_gone.set(true);
                self.kept.take();
            }
        }
    }

    fn kept_size(&self, from: usize) -> u64 {
        let kept = self.kept.borrow();
        let size = |piece: &Piece| match piece {
            Piece::Data(data) => data.len() as u64,
            Piece::Trailers(_) => 0,
        };
        kept.iter().skip(from).map(size).sum()
    }
}

impl Reader {
    /// What it reads.
    pub(super) fn replay(self) -> Rc<Replay> {
        self.replay
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if self.turn != self.replay.turn.get() {
            // Whoever sent this is given up. An end would make a whole message of what it sent.
            return Poll::Pending;
        }
        let kept = self.replay.kept.borrow().get(self.next).cloned();
        if let Some(piece) = kept {
            self.next += 1;
            return Poll::Ready(Some(Ok(piece.into())));
        }
        let step = Pin::new(&mut *self.replay.body.borrow_mut()).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &step {
            self.replay.keep(frame);
            self.next += 1;
        }
        step
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.next >= self.replay.kept.borrow().len() && self.replay.body.borrow().is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let (kept, rest) =
            (self.replay.kept_size(self.next), self.replay.body.borrow().size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(kept));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(kept));
        }
        hint
    }
}
