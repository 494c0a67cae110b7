//! One connection to an upstream.
//!
//! Whoever uses a connection also drives it: the request's own task polls it, so a request crosses
//! no task on its way, and dropping the request closes the connection, which is how an upstream
//! learns that a client went away. Between requests nobody polls it; the next request, or the
//! sweep of the pool, notices what happened meanwhile.

use super::pool::Slot;
use super::upload::Upload;
use crate::framing::{Answers, Ask, Interim, StrictResponseIo};
use crate::timer::{Alarm, Pause};
use bimetal_core::Instant;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::error::Error;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::unconstrained;

/// A connection, used by one request at a time.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: http1::SendRequest<Upload>,
    // None once it ended: a finished connection must not be polled, and only its drop gives a
    // request back that it never sent.
    http: Option<HttpConnection>,
    alarm: Option<Alarm>,
    answers: Rc<Answers>,
    /// How long it may stand still within an answer's body.
    pause: Pause,
    /// Since when it waits in the pool.
    pub idle_since: Instant,
    /// Its place among the upstream's connections; given back when the connection is dropped.
    pub slot: Slot,
}

type HttpConnection = http1::Connection<TokioIo<StrictResponseIo<TcpStream>>, Upload>;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Broken {
    /// Not one byte of the request left: it may go elsewhere.
    NotSent(Box<Request<Upload>>),
    /// The connection broke after the request, or a part of it, was sent.
    Reset,
    /// What came was not HTTP/1.
    Garbage,
    /// The client broke off its request.
    Client,
    /// No headers by the deadline.
    Timeout,
}

impl Connection {
    /// Begins HTTP/1 on a connection that was just made; its answers' bodies may stand still for
    /// `idle`.
    ///
    /// # Errors
    /// hyper's, which has none at this point for HTTP/1.
    pub(crate) async fn begin(
        stream: TcpStream,
        slot: Slot,
        idle: Duration,
    ) -> Result<Box<Self>, hyper::Error> {
        let answers = Rc::new(Answers::default());
        let stream = TokioIo::new(StrictResponseIo::new(stream, answers.clone()));
        let (sender, http) = http1::Builder::new().handshake(stream).await?;
        Ok(Box::new(Self {
            sender,
            http: Some(http),
            alarm: None,
            answers,
            pause: Pause::new(idle),
            idle_since: Instant::ZERO,
            slot,
        }))
    }

    /// Lets the connection do what it can.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) {
        if self.poll_end(cx).is_ready() {
            self.http = None;
        }
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.http {
            Some(http) => http.poll_without_shutdown(cx).map(drop),
            None => Poll::Ready(()),
        }
    }

    /// To be asked while an answer's body does not move: ready once that lasts for too long.
    pub(crate) fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.pause.poll(cx)
    }

    /// The answer's body moved.
    pub(crate) fn moved(&mut self) {
        self.pause.moved();
    }

    /// Whether it can take the next request.
    pub(crate) fn is_ready(&self) -> bool {
        self.http.is_some() && self.sender.is_ready() && !self.is_refused()
    }

    /// Whether the upstream sent what is no answer to us.
    pub(crate) fn is_refused(&self) -> bool {
        self.answers.refused().is_some()
    }

    /// Whether it still is good for anything; asked of connections that wait in the pool.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.is_ready()
    }

    /// Sends a request and waits for the headers of its answer, until `deadline`. Informational
    /// heads are handed to `tell` as they come.
    ///
    /// # Errors
    /// [`Broken`]; the connection is of no more use then.
    pub(crate) async fn exchange(
        &mut self,
        request: Request<Upload>,
        ask: Ask,
        deadline: Option<std::time::Instant>,
        tell: impl Fn(Interim),
    ) -> Result<Response<Incoming>, Broken> {
        self.answers.ask(ask);
        if let Some(deadline) = deadline {
            match &mut self.alarm {
                Some(alarm) => alarm.set(deadline),
                empty => *empty = Some(Alarm::new(deadline)),
            }
        }
        // Nobody but `drive` below can bring the answer, so its waker has nothing to do, and a
        // wake-up of this task by itself is saved. Unconstrained, because the runtime's budget
        // would wake that waker.
        let mut answer = pin!(unconstrained(self.sender.try_send_request(request)));
        poll_fn(|cx| {
            let noop = &mut Context::from_waker(Waker::noop());
            let end = self.poll_end(cx);
            self.answers.take_interim().into_iter().for_each(&tell);
            let mut answered = answer.as_mut().poll(noop);
            if end.is_ready() && answered.is_pending() {
                self.http = None;
                answered = answer.as_mut().poll(noop);
            }
            if let Poll::Ready(answered) = answered {
                return Poll::Ready(answered.map_err(|mut failed| match failed.take_message() {
                    Some(request) => Broken::NotSent(Box::new(request)),
                    None => Broken::from(&failed.into_error()),
                }));
            }
            match self.alarm.as_mut().filter(|_| deadline.is_some()) {
                Some(alarm) => Pin::new(alarm).poll(cx).map(|()| Err(Broken::Timeout)),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// The bare connection after a switch of protocols, and what was read beyond the answer; none
    /// where the connection ended meanwhile.
    pub(crate) fn into_tunnel(self) -> Option<(StrictResponseIo<TcpStream>, Bytes, Slot)> {
        let parts = self.http?.into_parts();
        Some((parts.io.into_inner(), parts.read_buf, self.slot))
    }
}

impl From<&hyper::Error> for Broken {
    fn from(error: &hyper::Error) -> Self {
        let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
        let is_refused = cause.is_some_and(|cause| cause.kind() == io::ErrorKind::InvalidData);
        if error.is_parse() || is_refused {
            Self::Garbage
        } else if error.is_user() {
            Self::Client
        } else {
            Self::Reset
        }
    }
}

impl Connection {
    /// Gives the connection back to its pool, or closes it where it cannot take another request.
    pub(crate) fn release(mut self: Box<Self>, now: Instant) {
        if self.is_ready() || self.is_alive() {
            let pool = self.slot.pool();
            pool.put(self, now);
        }
    }
}
