//! One try of a call: one exchange on one connection to an upstream.
//!
//! What goes wrong is a value: what happened, whose doing it is, and whether the request may go
//! elsewhere (after the error model of Cloudflare's pingora). What that means for the breaker is the
//! core's to say.

use crate::call::{Deadline, TrackedCall};
use crate::framing::{Ask, Interim};
use crate::upstream::{Checkout, Connection, NoConnection, Ready, Upload, Upstream};
use crate::worker::Worker;
use bimetal_core::outcome::Transport;
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use std::borrow::Cow;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Why a try has no answer.
#[derive(Debug)]
pub(crate) struct AttemptError {
    /// What happened.
    pub kind: ErrorKind,
    /// The same for people: which rule of framing, which system error.
    pub detail: Cow<'static, str>,
    /// Whether not one byte of the request left: it may be tried again, and is where it was.
    pub may_retry: bool,
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ErrorKind {
    /// Connections and queue are at their limits.
    Overflow,
    /// The system gives this process no more sockets.
    Exhausted,
    /// No endpoint took a connection.
    Connect,
    /// No headers within the time the call had.
    Timeout,
    /// No headers within the time that the caller had.
    Deadline,
    /// The connection broke before the answer, by an error of the system.
    Reset,
    /// The upstream closed the connection before the answer.
    Closed,
    /// What came was not HTTP/1, or not beyond doubt.
    NotHttp,
    /// The answer's body broke off.
    BrokeOff,
    /// The answer's body stood still for too long.
    Stalled,
    /// The client broke off its request.
    Client,
}

/// Whose doing an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The client's.
    Client,
    /// The upstream's, or that of the way to it.
    Upstream,
    /// This process's own want.
    Own,
}

impl ErrorKind {
    /// Every kind that is a failure of a try: all but the client's doing.
    pub(crate) const FAILURES: [Self; 10] = [
        Self::Overflow,
        Self::Exhausted,
        Self::Connect,
        Self::Timeout,
        Self::Deadline,
        Self::Reset,
        Self::Closed,
        Self::NotHttp,
        Self::BrokeOff,
        Self::Stalled,
    ];

    /// The name in metrics and logs.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Overflow => "overflow",
            Self::Exhausted => "exhausted",
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Deadline => "deadline",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::NotHttp => "not_http",
            Self::BrokeOff => "broke_off",
            Self::Stalled => "stalled",
            Self::Client => "client",
        }
    }

    /// Whose doing it is.
    pub(crate) const fn whose(self) -> Whose {
        match self {
            Self::Client => Whose::Client,
            Self::Overflow | Self::Exhausted | Self::Deadline => Whose::Own,
            _ => Whose::Upstream,
        }
    }

    /// What the core is told of it; none where it is the client's doing. Our own want counts as our
    /// limits do.
    pub(crate) const fn transport(self) -> Option<Transport> {
        Some(match self {
            Self::Client | Self::Deadline => return None,
            Self::Overflow | Self::Exhausted => Transport::Overflow,
            Self::Connect => Transport::Connect,
            Self::Timeout | Self::Stalled => Transport::Timeout,
            Self::Reset | Self::Closed | Self::NotHttp | Self::BrokeOff => Transport::Reset,
        })
    }

    /// What the client is told. The statuses are Envoy's for the same events, so that clients see
    /// one behaviour.
    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::Timeout | Self::Deadline | Self::Stalled => StatusCode::GATEWAY_TIMEOUT,
            Self::NotHttp | Self::BrokeOff => StatusCode::BAD_GATEWAY,
            Self::Client => StatusCode::BAD_REQUEST,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl AttemptError {
    /// An error behind which the request is gone.
    pub(crate) fn new(kind: ErrorKind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, detail: detail.into(), may_retry: false }
    }

    /// What the client is told in words. Which rule or system error it was is for the log.
    pub(crate) fn text(&self) -> String {
        match self.kind {
            ErrorKind::Overflow => "all connections to the upstream are in use".into(),
            ErrorKind::Exhausted => {
                format!("the proxy can open no more connections: {}", self.detail)
            }
            ErrorKind::Connect => format!("upstream connection failed: {}", self.detail),
            ErrorKind::Timeout => crate::call::answer::TIMED_OUT.into(),
            ErrorKind::Deadline => "the caller's deadline has passed".into(),
            ErrorKind::Reset | ErrorKind::Closed => "upstream connection was reset".into(),
            ErrorKind::NotHttp => "upstream sent no valid HTTP".into(),
            ErrorKind::BrokeOff => "the upstream's answer broke off".into(),
            ErrorKind::Stalled => "the upstream's answer stands still".into(),
            ErrorKind::Client => "the request broke off".into(),
        }
    }
}

/// What every try of a call has in common.
pub(crate) struct Attempt<'a> {
    /// The worker that drives it.
    pub worker: &'a Rc<Worker>,
    /// The upstream.
    pub upstream: &'a Rc<Upstream>,
    /// What the answer is to.
    pub ask: Ask,
    /// For a connection.
    pub connect_limit: Duration,
    /// When the caller's time ends, where it said so.
    pub deadline: Option<&'a Deadline>,
}

impl Attempt<'_> {
    /// Sends `request` on what was checked out and waits for the headers of the answer. The clock of
    /// `call` follows the request on its way; informational heads are handed to `tell`. The request
    /// is taken when it is sent, and put back where not one byte of it left.
    ///
    /// # Errors
    /// [`AttemptError`]; the connection is gone then.
    pub(crate) async fn run(
        &self,
        checkout: Checkout,
        request: &mut Option<Request<Upload>>,
        call: &mut TrackedCall,
        tell: impl Fn(Interim),
    ) -> Result<(Response<Incoming>, Box<Connection>), AttemptError> {
        let Ready { mut connection, used_before } = match checkout {
            Checkout::Connection(connection) => Ready { connection, used_before: true },
            Checkout::Slot(slot) => {
                let deadline = call.deadline().map(|at| self.worker.clock.timer_instant(at));
                let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
                let limit = left.map_or(self.connect_limit, |left| left.min(self.connect_limit));
                match self.upstream.open_or_reuse(slot, limit, self.worker.clock).await {
                    Ok(ready) => ready,
                    Err(_) if deadline.is_some_and(|at| at <= Instant::now()) => {
                        return Err(AttemptError::new(ErrorKind::Timeout, "no connection in time"));
                    }
                    Err(none) => return Err(none.into()),
                }
            }
        };
        if self.upstream.failure_rules().is_some()
            && let Some(endpoint) = connection.slot.endpoint()
        {
            call.goes_to(endpoint.clone());
        }
        // Only now: the queue and connecting took of the caller's time as well.
        if let (Some(deadline), Some(request)) = (self.deadline, request.as_mut()) {
            deadline.forward(request.headers_mut(), call.now());
        }
        match connection.exchange(request, self.ask, call, &self.worker.clock, tell).await {
            Ok(response) => Ok((response, connection)),
            // The upstream had closed it while it was idle. Nothing was sent, so nothing is sent
            // twice.
            Err(error) if used_before || !error.may_retry => Err(error),
            // A new connection on which the upstream spoke first, or which it closed at once.
            Err(error) => Err(AttemptError { may_retry: false, ..error }),
        }
    }
}

impl From<NoConnection> for AttemptError {
    fn from(none: NoConnection) -> Self {
        match none {
            NoConnection::Overflow => {
                Self::new(ErrorKind::Overflow, "connections and queue are at their limits")
            }
            NoConnection::Exhausted(why) => Self::new(ErrorKind::Exhausted, why),
            NoConnection::Connect(why) => Self::new(ErrorKind::Connect, why),
        }
    }
}
