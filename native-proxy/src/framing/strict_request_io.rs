//! The client's stream: its bytes are checked before the HTTP library reads them.

use super::gather;
use super::held::Held;
use super::requests::Requests;
use super::scan::{Refused, Scan, Scanner};
use crate::timer::{Alarm, Pause};
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What the parser gets in place of a refused request. Its answer is the refusal.
pub(super) const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";

/// What a client still sends behind its last answer is read and dropped for so long, and until it
/// is quiet for so long: closing on unread bytes would be a reset, which can overtake the answer
/// (RFC 9112, 9.6). Many clients read nothing before they have sent everything.
const LINGER: Duration = Duration::from_secs(30);
const LINGER_QUIET: Duration = Duration::from_secs(5);

/// Most bytes behind a request for an upgrade that are kept until its answer is known.
const MOST_EARLY: usize = 64 * 1024;

/// A client's stream. Reading from it yields well-formed requests only.
#[derive(Debug)]
pub struct StrictRequestIo<T> {
    io: T,
    scanner: Scanner,
    requests: Rc<Requests>,
    held: Held,
    state: State,
    /// When dropping ends, and when it was quiet for too long.
    linger: Option<Box<(Alarm, Pause)>>,
    /// The last read brought something.
    is_fresh: bool,
    /// Whether the client's end is there already: asked once, since the runtime may not know.
    is_at_end: Option<fn(&T) -> bool>,
    asks: bool,
    /// The client has sent all that it will send, and waits for its answers.
    is_half_closed: bool,
    /// A request's head is not there.
    head: Pause,
    /// The client asks for nothing.
    between: Pause,
    /// The client sends nothing of a body.
    reading: Pause,
    /// The client takes nothing.
    writing: Pause,
}

/// What a client's connection is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of a request's body.
    pub max_body: u64,
    /// How long the client may send nothing of a body that is waited for, or take nothing of what
    /// it is sent.
    pub idle: Duration,
    /// How long a head may take from its first byte; the first one, from the connection's begin.
    pub header: Duration,
    /// How long the client may ask for nothing between requests.
    pub keep_alive: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Requests come through.
    Open,
    /// So much of the stand-in has been handed over; the client gets the refusal for it.
    StandIn(usize),
    /// A body broke off.
    BadBody(super::Refusal),
}

impl<T> StrictRequestIo<T> {
    /// Looks at what comes from `io`; `requests` belongs to the service of this connection.
    pub fn new(io: T, requests: Rc<Requests>, limits: Limits) -> Self {
        Self {
            io,
            scanner: Scanner::with_max_body(limits.max_body),
            requests,
            held: Held::default(),
            state: State::Open,
            linger: None,
            is_fresh: false,
            is_at_end: None,
            asks: false,
            is_half_closed: false,
            head: Pause::new(limits.header),
            between: Pause::new(limits.keep_alive),
            reading: Pause::new(limits.idle),
            writing: Pause::new(limits.idle),
        }
    }

    /// Asks the system itself once whether the client's end came along with its first request.
    #[must_use]
    pub fn asking(mut self, is_at_end: fn(&T) -> bool) -> Self {
        self.is_at_end = Some(is_at_end);
        self
    }

    fn note(&mut self, scan: &Scan) {
        if scan.pass > 0 {
            self.head.moved();
            self.requests.note(self.scanner.unusual(), self.scanner.take_for_server());
        }
        match scan.refused {
            None => {}
            Some(Refused::Head(why)) => {
                self.requests.refuse(self.scanner.requests(), why);
                self.state = State::StandIn(0);
            }
            Some(Refused::Body(why)) => self.break_off(why),
        }
    }

    fn break_off(&mut self, why: super::Refusal) {
        self.requests.break_off(self.scanner.requests(), why);
        self.state = State::BadBody(why);
    }
}

impl<T: AsyncRead + Unpin> StrictRequestIo<T> {
    /// Reads into the parser's buffer and looks at the bytes there. The common case: heads that
    /// come whole are not copied. False where nothing could be handed over yet.
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
        if scan.refused.is_none() {
            self.held.bytes.extend_from_slice(fresh.get(scan.pass..).unwrap_or_default());
        }
        buf.set_filled(before + scan.pass);
        self.note(&scan);
        Poll::Ready(Ok(scan.pass > 0))
    }

    /// Reads behind a head that came in part. True at the end of the stream.
    fn poll_behind(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut space = [MaybeUninit::uninit(); 4096];
        let mut fresh = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut fresh))?;
        if fresh.filled().is_empty() {
            // The client left within a head: nothing of it goes on.
            return Poll::Ready(Ok(true));
        }
        self.held.bytes.extend_from_slice(fresh.filled());
        if !self.scanner.awaits_answer() {
            self.look();
        }
        Poll::Ready(Ok(false))
    }

    /// Looks at what is held.
    fn look(&mut self) {
        let scan = self.scanner.scan(&self.held.bytes);
        self.held.ready = scan.pass;
        if scan.refused.is_some() {
            self.held.bytes.truncate(scan.pass);
        }
        self.note(&scan);
    }

    /// One step on the way to more bytes for the parser. True at the end of the stream.
    fn poll_open(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<bool>> {
        let requests = self.scanner.requests();
        if self.scanner.awaits_answer() {
            if self.requests.has_answered(requests) {
                // It still speaks HTTP.
                self.scanner.go_on();
                self.look();
                return Poll::Ready(Ok(false));
            }
            if self.held.bytes.len() >= MOST_EARLY {
                return Poll::Pending;
            }
        }
        if self.is_half_closed {
            // Its end would read as the client's leaving, while there are answers to come.
            return if self.requests.is_busy(requests) {
                Poll::Pending
            } else {
                Poll::Ready(Ok(true))
            };
        }
        let before = buf.filled().len();
        let read = if self.held.bytes.is_empty() {
            self.poll_in_place(cx, buf)
        } else {
            self.poll_behind(cx)
        };
        match read {
            Poll::Ready(Ok(true))
                if buf.filled().len() == before && self.is_fresh && !self.scanner.is_in_body() =>
            {
                self.is_half_closed = true;
                Poll::Ready(Ok(false))
            }
            Poll::Ready(read) => {
                self.is_fresh = true;
                self.reading.moved();
                Poll::Ready(read)
            }
            Poll::Pending => {
                self.asks |= self.is_fresh && !self.scanner.is_in_body();
                self.is_fresh = false;
                self.poll_patience(cx)
            }
        }
    }

    /// Nothing came: how long that may last. True where the connection is to end.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let requests = self.scanner.requests();
        if self.scanner.is_in_body() {
            ready!(self.reading.poll_within(cx, self.requests.idle()));
            self.break_off(super::Refusal::Stalled);
            return Poll::Ready(Ok(false));
        }
        if self.requests.is_busy(requests) {
            return Poll::Pending;
        }
        if requests == 0 || !self.held.bytes.is_empty() {
            self.head.poll(cx).map(|()| Ok(true))
        } else {
            self.between.poll(cx).map(|()| Ok(true))
        }
    }

    /// Reads and drops what the client still sends; ready when there is no more of it.
    fn poll_drop(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut space = [MaybeUninit::uninit(); 4096];
        loop {
            let mut fresh = ReadBuf::uninit(&mut space);
            match ready!(Pin::new(&mut self.io).poll_read(cx, &mut fresh)) {
                Ok(()) if !fresh.filled().is_empty() => {
                    if let Some(linger) = &mut self.linger {
                        linger.1.moved();
                    }
                }
                _ => return Poll::Ready(()),
            }
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for StrictRequestIo<T> {
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
            match this.state {
                State::Open if this.requests.has_switched() => {
                    this.held.ready = this.held.bytes.len();
                    if this.held.ready == 0 {
                        return Pin::new(&mut this.io).poll_read(cx, buf);
                    }
                }
                State::Open => {
                    if ready!(this.poll_open(cx, buf))? {
                        return Poll::Ready(Ok(()));
                    }
                }
                State::StandIn(sent) if sent < STAND_IN.len() => {
                    let left = STAND_IN.get(sent..).unwrap_or_default();
                    let size = left.len().min(buf.remaining());
                    buf.put_slice(left.get(..size).unwrap_or_default());
                    this.state = State::StandIn(sent + size);
                    return Poll::Ready(Ok(()));
                }
                State::StandIn(_) => {
                    // The end of the stream would read as the client's leaving, and its answers
                    // would be dropped. There is no end until the refusal is sent.
                    let _ = this.poll_drop(cx);
                    return Poll::Pending;
                }
                State::BadBody(why) => {
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)));
                }
            }
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> StrictRequestIo<T> {
    /// Watches over a write: a client that takes nothing for too long is given up.
    fn watched(
        &mut self,
        cx: &mut Context<'_>,
        write: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if write.is_pending() && !self.requests.has_switched() {
            ready!(self.writing.poll_within(cx, self.requests.idle()));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.writing.moved();
        self.between.moved();
        write
    }

    /// Sends informational heads. Between two flushes nothing else is half sent: the HTTP library
    /// flushes only once its own buffer is empty.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.requests.interim().borrow().is_empty() {
            return Poll::Ready(Ok(()));
        }
        let requests = Rc::clone(&self.requests);
        let mut interim = requests.interim().borrow_mut();
        while !interim.is_empty() {
            let write = Pin::new(&mut self.io).poll_write(cx, &interim);
            match ready!(self.watched(cx, write))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                size => drop(interim.drain(..size)),
            }
        }
        // The answer may be waiting for it, in this very task.
        cx.waker().wake_by_ref();
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for StrictRequestIo<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let write = Pin::new(&mut this.io).poll_write(cx, bytes);
        this.watched(cx, write)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let write = gather::poll_write(&mut this.io, cx, pieces);
        this.watched(cx, write)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_interim(cx))?;
        // Last in a turn of the connection's task: an end that is there by now came along.
        if std::mem::take(&mut this.asks)
            && let Some(is_at_end) = this.is_at_end.take()
        {
            this.is_half_closed |= is_at_end(&this.io);
        }
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
            if this.state == State::Open && !this.scanner.is_in_body() {
                return Poll::Ready(Ok(()));
            }
            let end = Alarm::new(Instant::now() + LINGER);
            this.linger = Some(Box::new((end, Pause::new(LINGER_QUIET))));
        }
        if this.poll_drop(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        let Some((end, quiet)) = this.linger.as_deref_mut() else {
            return Poll::Ready(Ok(()));
        };
        if Pin::new(end).poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        quiet.poll(cx).map(Ok)
    }
}
