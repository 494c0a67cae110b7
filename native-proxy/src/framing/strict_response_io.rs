//! An upstream's stream: its bytes are checked before the HTTP library reads them.

use super::answers::{AnswerScanner, Rest};
use super::held::Held;
use super::reply::Ask;
use super::{gather, interim};
use std::cell::{Cell, RefCell};
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// An upstream's stream. Reading from it yields unambiguous answers to our requests only. Whatever
/// else it sends reads as an error of the kind [`io::ErrorKind::InvalidData`].
#[derive(Debug)]
pub struct StrictResponseIo<T> {
    io: T,
    scanner: AnswerScanner,
    answers: Rc<Answers>,
    /// Also what came with an informational head.
    held: Held,
}

/// What the user of a connection must know of the answers on it, and they of the requests.
#[derive(Debug, Default)]
pub struct Answers {
    ask: Cell<Option<Ask>>,
    interim: RefCell<Vec<Interim>>,
    refused: Cell<Option<super::Refusal>>,
    write: Cell<Write>,
}

/// What became of the last write of the request under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Write {
    /// Nothing of it was written yet.
    #[default]
    None,
    /// The system took it.
    Taken,
    /// The system takes nothing at present.
    Pending,
    /// The connection takes nothing any more. What the upstream said before that can still be read.
    Broken,
    /// Nobody watches: the connection is a tunnel.
    Unwatched,
}

/// One informational head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interim {
    /// 100: the upstream wants the request's body.
    Continue(Vec<u8>),
    /// Any other.
    Other(Vec<u8>),
}

impl Answers {
    /// To be told before a request is written.
    pub fn ask(&self, ask: Ask) {
        self.ask.set(Some(ask));
        self.write.set(Write::None);
    }

    /// The connection is a tunnel from now on.
    pub fn switch(&self) {
        self.write.set(Write::Unwatched);
    }

    /// Whether the system takes nothing of the request at present.
    pub fn write_is_pending(&self) -> bool {
        self.write.get() == Write::Pending
    }

    /// Whether the rest of the request goes nowhere, because the connection broke under it.
    pub fn write_is_broken(&self) -> bool {
        self.write.get() == Write::Broken
    }

    /// Informational heads that came since the last time, as they go to a client.
    pub fn take_interim(&self) -> Vec<Interim> {
        self.interim.take()
    }

    /// Why nothing more comes through, where that is so.
    pub fn refused(&self) -> Option<super::Refusal> {
        self.refused.get()
    }
}

impl<T> StrictResponseIo<T> {
    /// Looks at what comes from `io`; `answers` belongs to the user of this connection.
    pub fn new(io: T, answers: Rc<Answers>) -> Self {
        Self { io, scanner: AnswerScanner::default(), answers, held: Held::default() }
    }

    fn refuse(&self, why: super::Refusal) {
        self.answers.refused.set(Some(why));
    }

    fn keep(&self, head: &[u8]) {
        let forwarded = interim::forwarded(head);
        self.answers.interim.borrow_mut().push(match interim::status(head) {
            b"100" => Interim::Continue(forwarded),
            _ => Interim::Other(forwarded),
        });
    }

    /// Looks at what is held, as far as it goes.
    fn look(&mut self) {
        loop {
            let scan = self.scanner.scan(&self.held.bytes);
            self.held.ready = scan.pass;
            match scan.rest {
                Rest::Waits => return,
                Rest::Interim(length) => {
                    let head: Vec<u8> = self.held.bytes.drain(..length).collect();
                    self.keep(&head);
                }
                Rest::Refused(why) => {
                    self.held.bytes.truncate(scan.pass);
                    return self.refuse(why);
                }
            }
        }
    }
}

impl<T: AsyncRead + Unpin> StrictResponseIo<T> {
    /// Reads into the parser's buffer and looks at the bytes there: an answer that comes whole is
    /// not copied. Whether anything can be handed over now.
    fn poll_in_place(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<bool>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        let fresh = buf.filled().get(before..).unwrap_or_default();
        if fresh.is_empty() {
            return Poll::Ready(Ok(true));
        }
        let scan = self.scanner.scan(fresh);
        match scan.rest {
            Rest::Waits if scan.pass == fresh.len() => return Poll::Ready(Ok(true)),
            Rest::Waits => {
                self.held.bytes.extend_from_slice(fresh.get(scan.pass..).unwrap_or_default());
            }
            Rest::Interim(length) => {
                // It stands at the front: nothing of an answer comes before it.
                self.keep(fresh.get(..length).unwrap_or_default());
                self.held.bytes.extend_from_slice(fresh.get(length..).unwrap_or_default());
                buf.set_filled(before);
                self.look();
                return Poll::Ready(Ok(false));
            }
            Rest::Refused(why) => self.refuse(why),
        }
        buf.set_filled(before + scan.pass);
        Poll::Ready(Ok(scan.pass > 0))
    }

    /// Reads behind what is held. Whether the stream is at its end.
    fn poll_behind(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut space = [MaybeUninit::uninit(); 4096];
        let mut fresh = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut fresh))?;
        if fresh.filled().is_empty() {
            // It ended within a head: nothing of it goes on.
            return Poll::Ready(Ok(true));
        }
        self.held.bytes.extend_from_slice(fresh.filled());
        self.look();
        Poll::Ready(Ok(false))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for StrictResponseIo<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.held.ready > 0 {
                this.held.hand_over(buf);
                return Poll::Ready(Ok(()));
            }
            if let Some(why) = this.answers.refused.get() {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)));
            }
            let is_over = if this.held.bytes.is_empty() {
                ready!(this.poll_in_place(cx, buf))?
            } else {
                ready!(this.poll_behind(cx))?
            };
            if is_over {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> StrictResponseIo<T> {
    /// Only once a request is written can an answer to it come.
    fn note_request(&mut self) {
        if let Some(ask) = self.answers.ask.take()
            && !self.scanner.ask(ask)
        {
            self.refuse(super::Refusal::Malformed("a request before the answer's end"));
        }
    }

    /// Watches over a write of `size` bytes. An upstream that refuses an upload answers and closes,
    /// and the write then breaks before the answer is read. So a write that breaks within a request
    /// is taken for one that went through: what is there to be read says what happened (RFC 9112,
    /// 9.5). A connection that was dead from the first byte on is told at once.
    fn written(&self, size: usize, write: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let before = self.answers.write.get();
        if before == Write::Unwatched {
            return write;
        }
        let (after, write) = match write {
            Poll::Ready(Ok(size)) => (Write::Taken, Poll::Ready(Ok(size))),
            Poll::Pending => (Write::Pending, Poll::Pending),
            Poll::Ready(Err(_)) if before != Write::None => (Write::Broken, Poll::Ready(Ok(size))),
            Poll::Ready(Err(error)) => (before, Poll::Ready(Err(error))),
        };
        self.answers.write.set(after);
        write
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for StrictResponseIo<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.note_request();
        if this.answers.write_is_broken() {
            return Poll::Ready(Ok(bytes.len()));
        }
        let write = Pin::new(&mut this.io).poll_write(cx, bytes);
        this.written(bytes.len(), write)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.note_request();
        let size = pieces.iter().map(|piece| piece.len()).sum();
        if this.answers.write_is_broken() {
            return Poll::Ready(Ok(size));
        }
        let write = gather::poll_write(&mut this.io, cx, pieces);
        this.written(size, write)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
