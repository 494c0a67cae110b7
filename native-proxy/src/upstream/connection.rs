//! One connection to an upstream.
//!
//! Whoever uses a connection also drives it: the request's own task polls it, so a request crosses
//! no task on its way, and dropping the request closes the connection, which is how an upstream
//! learns that a client went away. Between requests nobody polls it; the next request, or the
//! sweep of the pool, notices what happened meanwhile.

use super::pool::Slot;
use super::quiet_waker::QuietWaker;
use super::upload::{Upload, UploadProgress};
use crate::attempt::{AttemptError, ErrorKind};
use crate::call::TrackedCall;
use crate::clock::Clock;
use crate::framing::{Answers, Ask, Interim, StrictResponseIo};
use crate::timer::{Alarm, Pause};
use bimetal_core::{Instant, call};
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Response, Version};
use hyper_util::rt::TokioIo;
use std::error::Error;
use std::future::{Future, poll_fn};
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
    waker: QuietWaker,
    answers: Rc<Answers>,
    /// The body of the request under way, where it has one.
    upload: Option<Rc<UploadProgress>>,
    /// It answered by HTTP/1.0. The HTTP library would send the next request by that as well, which
    /// has no chunks: a body of unknown length would be lost.
    is_old: bool,
    /// How long it may stand still within an answer's body.
    pause: Pause,
    /// The same of the call under way, where its policy says it.
    calls_pause: Option<Duration>,
    /// How many requests went over it.
    pub(super) requests: usize,
    /// Since when it waits in the pool.
    pub idle_since: Instant,
    /// Its place among the upstream's connections; given back when the connection is dropped.
    pub slot: Slot,
}

/// What a body gives when it is asked for its next piece.
pub(crate) type BodyStep = Poll<Option<Result<Frame<Bytes>, hyper::Error>>>;

type HttpConnection = http1::Connection<TokioIo<StrictResponseIo<TcpStream>>, Upload>;

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
            waker: QuietWaker::new(),
            answers,
            upload: None,
            is_old: false,
            pause: Pause::new(idle),
            calls_pause: None,
            requests: 0,
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
            Some(http) => http.poll_without_shutdown(&mut self.waker.driven_by(cx)).map(drop),
            None => Poll::Ready(()),
        }
    }

    /// The next piece of an answer's body, where it is there. Nobody but the connection can bring
    /// one, and whoever asks drives it: no wake-up is due.
    pub(crate) fn poll_body(&self, body: &mut Incoming) -> BodyStep {
        let noop = &mut Context::from_waker(Waker::noop());
        self.waker.without(|| Pin::new(body).poll_frame(noop))
    }

    /// To be asked while an answer's body does not move: ready once that lasts for too long.
    pub(crate) fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.pause.poll_within(cx, self.calls_pause)
    }

    /// The answer's body moved.
    pub(crate) fn moved(&mut self) {
        self.pause.moved();
    }

    /// Whether it can take the next request.
    pub(crate) fn is_ready(&self) -> bool {
        self.http.is_some() && self.sender.is_ready() && !self.is_refused() && !self.is_old
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

    /// Sends a request and waits for the headers of its answer, at most until the deadline of
    /// `call`, whose clock follows the request on its way. Informational heads are handed to `tell`
    /// as they come. The request is put back where nothing of it was sent.
    ///
    /// # Errors
    /// [`AttemptError`]; the connection is of no more use then.
    pub(crate) async fn exchange(
        &mut self,
        request: &mut Option<Request<Upload>>,
        ask: Ask,
        call: &mut TrackedCall,
        clock: &Clock,
        tell: impl Fn(Interim),
    ) -> Result<Response<Incoming>, AttemptError> {
        let Some(sending) = request.take() else {
            return Err(AttemptError::new(ErrorKind::Closed, "no request to send"));
        };
        self.requests = self.requests.saturating_add(1);
        self.answers.ask(ask);
        let idle = call.policy().and_then(|policy| policy.idle_applied());
        self.calls_pause = idle.map(Duration::from);
        // An upgrade is complete at its head: what follows belongs to the tunnel.
        self.upload = if ask == Ask::Upgrade { None } else { sending.body().progress() };
        let mut seen = self.upload();
        let mut is_timed = self.set_alarm(call, clock);
        // Nobody but `drive` below can bring the answer, so its waker has nothing to do, and a
        // wake-up of this task by itself is saved. Unconstrained, because the runtime's budget
        // would wake that waker.
        let sent = self.waker.without(|| self.sender.try_send_request(sending));
        let mut answer = pin!(unconstrained(sent));
        poll_fn(|cx| {
            let noop = &mut Context::from_waker(Waker::noop());
            let end = self.poll_end(cx);
            self.answers.take_interim().into_iter().for_each(&tell);
            let mut answered = answer.as_mut().poll(noop);
            if end.is_ready() && answered.is_pending() {
                self.http = None;
                answered = answer.as_mut().poll(noop);
            }
            let upload = self.upload();
            if upload != seen {
                let stood = [seen, upload].contains(&call::Upload::WaitsForClient);
                seen = upload;
                if stood {
                    call.upload(call.now(), upload);
                    is_timed = self.set_alarm(call, clock);
                } else {
                    // The clock goes on, and needs no look at ours.
                    call.upload(call.begun(), upload);
                }
            }
            if let Poll::Ready(answered) = answered {
                self.is_old =
                    answered.as_ref().is_ok_and(|answer| answer.version() == Version::HTTP_10);
                return Poll::Ready(answered.map_err(|mut failed| {
                    *request = failed.take_message();
                    let may_retry = request.is_some();
                    AttemptError { may_retry, ..self.error(&failed.into_error()) }
                }));
            }
            match self.alarm.as_mut().filter(|_| is_timed) {
                Some(alarm) => Pin::new(alarm)
                    .poll(cx)
                    .map(|()| Err(AttemptError::new(ErrorKind::Timeout, "no headers in time"))),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Sets the alarm to the deadline of `call`; false where there is none now.
    fn set_alarm(&mut self, call: &TrackedCall, clock: &Clock) -> bool {
        let Some(deadline) = call.deadline().map(|at| clock.timer_instant(at)) else {
            return false;
        };
        match &mut self.alarm {
            Some(alarm) => alarm.set(deadline),
            empty => *empty = Some(Alarm::new(deadline)),
        }
        true
    }

    /// How far the request under way is. What the kernel or the HTTP library took counts as taken.
    pub(crate) fn upload(&self) -> call::Upload {
        let is_complete = self.upload.as_ref().is_none_or(|upload| upload.has_ended());
        if self.answers.write_is_pending()
            || self.answers.write_is_broken() && self.upload.is_some()
        {
            call::Upload::WaitsForUpstream
        } else if is_complete {
            call::Upload::Complete
        } else if self.upload.as_ref().is_some_and(|upload| upload.waits_for_client()) {
            call::Upload::WaitsForClient
        } else {
            call::Upload::WaitsForUpstream
        }
    }

    /// What an error of the HTTP library is.
    pub(crate) fn error(&self, error: &hyper::Error) -> AttemptError {
        if let Some(why) = self.answers.refused() {
            return AttemptError::new(ErrorKind::NotHttp, why.to_string());
        }
        let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        let kind = if error.is_parse() {
            ErrorKind::NotHttp
        } else if error.is_user() {
            ErrorKind::Client
        } else if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
            ErrorKind::Closed
        } else {
            ErrorKind::Reset
        };
        AttemptError::new(kind, cause)
    }

    /// Closes it; its place is left.
    pub(super) fn close(self) -> Slot {
        self.slot
    }

    /// The bare connection after a switch of protocols, and what was read beyond the answer; none
    /// where the connection ended meanwhile.
    pub(crate) fn into_tunnel(self) -> Option<(StrictResponseIo<TcpStream>, Bytes, Slot)> {
        self.answers.switch();
        let parts = self.http?.into_parts();
        Some((parts.io.into_inner(), parts.read_buf, self.slot))
    }
}

impl Connection {
    /// Gives the connection back to its pool, or closes it where it cannot take another request.
    pub(crate) fn release(mut self: Box<Self>, now: Instant) {
        if self.is_ready() || self.is_alive() {
            self.waker.silence();
            let pool = self.slot.pool();
            pool.put(self, now);
        }
    }
}
