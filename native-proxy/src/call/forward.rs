//! A call that goes upstream.

use super::answer::{self, Answer};
use super::deadline;
use super::fallback::{self, StandIn};
use super::memory::Memory;
use super::retry::{self, Arrived, Tried};
use super::stream::{self, Streamed};
use super::tracked::TrackedCall;
use super::{AdmittedCall, Client, Deadline, hop, outgoing};
use crate::account::{End, RequestAccount};
use crate::attempt::{Attempt, AttemptError, ErrorKind};
use crate::framing::Interim;
use crate::stale::Filling;
use crate::upstream::{Aim, Checkout, Connection, ContinueGate, Endpoint, Upload, Upstream};
use crate::worker::Worker;
use bimetal_core::event::State;
use bimetal_core::fallback::FallbackKind;
use bimetal_core::{Instant, Rejected, call};
use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, CONTENT_LENGTH, HeaderValue, UPGRADE};
use hyper::{Request, Response, StatusCode, Version};
use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

/// For a connection, where the policy gives no time.
pub(super) const CONNECT: Duration = Duration::from_secs(5);

/// How long a call waits in the queue for a connection, where the policy gives no time for the
/// request.
pub(super) const QUEUE_WAIT: Duration = Duration::from_secs(5);

/// What a call needs beside its request to be sent.
pub(super) struct Sending<'a> {
    pub client: &'a Client,
    pub attempt: Attempt<'a>,
    pub queue_limit: Duration,
    pub version: Version,
    pub gate: Option<&'a ContinueGate>,
    /// The only endpoint that it may go to, where it was admitted for one.
    pub only: Option<Rc<Endpoint>>,
    /// Where its tries went that failed: a further one goes elsewhere if it can.
    pub avoided: Vec<Rc<Endpoint>>,
    /// Where the try under way goes; only of a call that may be tried again.
    pub goes_to: Option<RefCell<Option<Rc<Endpoint>>>>,
}

/// Sends a call upstream and answers with what comes back. Behind a `gate` the body waits for the
/// upstream's permission.
pub(super) async fn forward(
    client: &Client,
    upstream: &Rc<Upstream>,
    mut request: Request<Upload>,
    admitted: AdmittedCall,
    gate: Option<&ContinueGate>,
    account: &mut RequestAccount,
) -> Response<Answer> {
    let AdmittedCall { mut call, plan, deadline, state, endpoint, protocol } = admitted;
    let ask = outgoing::ask(&request, protocol.as_ref());
    let version = request.version();
    outgoing::prepare(client, &mut request, protocol.as_ref());
    let memory = Memory::of(&client.worker, call.policy(), upstream, &request);
    let (mut request, kept, mut retrying) = retry::keep(&mut call, request, protocol.is_some());
    outgoing::address(upstream, &mut request);
    let connect_limit = plan.connect_timeout.map_or(CONNECT, Duration::from);
    let attempt = Attempt {
        worker: &client.worker,
        upstream,
        ask,
        connect_limit,
        deadline: deadline.as_deref(),
    };
    let queue_limit = plan.request_timeout.map_or(QUEUE_WAIT, Duration::from);
    let avoided = Vec::new();
    let goes_to = retrying.is_some().then(RefCell::default);
    let mut sending =
        Sending { client, attempt, queue_limit, version, gate, only: endpoint, avoided, goes_to };
    let (mut request, mut from) = (Some(request), call.begun());
    let tried = loop {
        let sent = {
            // Pinned here, because a function around it would move all of its state.
            let sending = pin!(sending.send(from, &mut request, &mut call, account));
            let ends = deadline.as_ref().map(|one| client.worker.clock.timer_instant(one.at()));
            deadline::until(ends, sending).await
        };
        let tried = arrive(client, sent, protocol.as_ref(), &mut call, account);
        let (Some(retrying), Some(kept)) = (&mut retrying, &kept) else {
            break tried;
        };
        let seen = (&tried, request.is_some());
        let (worker, deadline) = (&client.worker, deadline.as_deref());
        if !Box::pin(retrying.goes_on(worker, &mut call, kept, seen, deadline, account)).await {
            break tried;
        }
        sending.avoid();
        give_up(client, upstream, tried, account);
        let mut next = retrying.request(kept, request.take());
        outgoing::address(upstream, &mut next);
        request = Some(next);
        from = call.now();
    };
    call.conclude();
    if let Tried::Failed(error) = &tried {
        account.failed(error);
        client.worker.upstream_failed(&upstream.settings().name, error);
    }
    let fallback = call.policy().filter(|policy| policy.fallback_when_failed().is_some());
    let elsewhere = match fallback.filter(|_| tried.has_failed()).cloned() {
        Some(policy) => {
            let (deadline, upstream) = (deadline.as_deref(), upstream.clone());
            let stand_in = StandIn { client, upstream, policy, deadline, version, gate };
            let seen = (&tried, request.is_some());
            // On its own: few calls need it, and all would carry its state.
            let found = fallback::to_failed(stand_in, seen, kept.as_deref(), account);
            let found = Box::pin(found).await;
            found.or_else(|| memory.as_ref()?.recall(&client.worker, account))
        }
        None => None,
    };
    let mut response = match (elsewhere, tried) {
        (Some(response), tried) => {
            if let Tried::Answered(Arrived { response, connection, .. }) = tried
                && connection.upload() == call::Upload::Complete
            {
                dismiss(&client.worker, response.into_body(), connection);
            }
            response
        }
        (None, Tried::Answered(arrived)) => receive(client, arrived, call, memory, account),
        (None, Tried::Failed(error)) => {
            unanswered(client, &error, &call, (deadline.as_deref(), state), account)
        }
    };
    if let Some(retrying) = retrying {
        retrying.mark(response.headers_mut());
    }
    if let Some(policy) = account.policy() {
        answer::debug(&mut response, policy, state);
    }
    client.requests.told().await;
    response
}

/// What a client is told whose call has no answer.
fn unanswered(
    client: &Client,
    error: &AttemptError,
    call: &TrackedCall,
    (deadline, state): (Option<&Deadline>, Option<State>),
    account: &mut RequestAccount,
) -> Response<Answer> {
    match error.kind.transport() {
        // Its caller has given up: to the call that is a client who left.
        None if let (Some(deadline), Some(policy)) = (deadline, call.policy())
            && error.kind == ErrorKind::Deadline =>
        {
            call.given_up();
            let rejection = deadline.rejection(state);
            answer::rejection(&Rejected { policy, rejection })
        }
        // The client is gone or speaks no HTTP: the drop of the call says so.
        None => broke_off(client, account),
        Some(_) => {
            let policy = account.policy();
            match policy.and_then(|policy| answer::when_failed(policy, &error.text())) {
                Some(response) => {
                    account.falls_back(FallbackKind::Fixed);
                    response
                }
                None => answer::error(error.kind.status(), &error.text()),
            }
        }
    }
}

/// Tells the call what came of a try.
pub(super) fn arrive(
    client: &Client,
    sent: Result<(Response<Incoming>, Box<Connection>), AttemptError>,
    protocol: Option<&HeaderValue>,
    call: &mut TrackedCall,
    account: &mut RequestAccount,
) -> Tried {
    let sent = sent.and_then(|(response, connection)| {
        let is_switch = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if is_switch && !hop::switches_to(response.headers(), protocol) {
            let why = "a switch to another protocol than was asked for";
            return Err(AttemptError::new(ErrorKind::NotHttp, why));
        }
        Ok((response, connection))
    });
    match sent {
        Ok((response, connection)) => {
            let now = client.worker.clock.now();
            account.upstream_answered(now, response.status());
            let (status, is_over) = (response.status().as_u16(), response.body().is_end_stream());
            let has_failed = call.headers(now, status, response.headers(), is_over);
            Tried::Answered(Arrived { response, connection, now, has_failed })
        }
        Err(error) => {
            if let Some(how) = error.kind.transport() {
                call.broken(how);
            }
            Tried::Failed(error)
        }
    }
}

/// Another try comes: what came of the one before it is of no use any more.
fn give_up(client: &Client, upstream: &Upstream, tried: Tried, account: &mut RequestAccount) {
    match tried {
        Tried::Answered(Arrived { response, connection, .. }) => {
            account.tries_again();
            // While its request goes out still, nothing else can be sent on it.
            if connection.upload() == call::Upload::Complete {
                dismiss(&client.worker, response.into_body(), connection);
            }
        }
        Tried::Failed(error) => {
            account.retries(&error);
            client.worker.upstream_failed(&upstream.settings().name, &error);
        }
    }
}

/// Nobody wants the rest of an answer.
fn dismiss(worker: &Rc<Worker>, body: Incoming, connection: Box<Connection>) {
    if body.is_end_stream() {
        connection.release(worker.clock.now());
    } else {
        tokio::task::spawn_local(stream::discard(worker.clone(), body, connection));
    }
}

/// What a client is told whose request broke off; nothing that follows it would be understood.
pub(super) fn broke_off(client: &Client, account: &mut RequestAccount) -> Response<Answer> {
    let mut response = match client.requests.broken() {
        Some(why) => {
            account.ends(End::Refused(why));
            answer::error(why.status(), &why)
        }
        None => answer::error(StatusCode::BAD_REQUEST, &"the request broke off"),
    };
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

impl Sending<'_> {
    /// Where it may go.
    fn aim(&self) -> Aim<'_> {
        self.only.as_ref().map_or(Aim::Avoiding(&self.avoided), Aim::Only)
    }

    /// Sends the request, over as many connections as it takes to find one that is not dead
    /// already.
    pub(super) async fn send(
        &self,
        from: Instant,
        request: &mut Option<Request<Upload>>,
        call: &mut TrackedCall,
        account: &mut RequestAccount,
    ) -> Result<(Response<Incoming>, Box<Connection>), AttemptError> {
        let ask = self.attempt.ask;
        let upload =
            request.as_ref().map_or(call::Upload::Complete, |one| outgoing::upload_of(one, ask));
        let mut now = from;
        loop {
            if let Some(request) = request {
                account.attempted(request.headers_mut());
            }
            let checkout = self.check_out(now, upload, call).await?;
            match self.attempt.run(checkout, request, call, |head| self.tell(head)).await {
                Err(error) if error.may_retry => {
                    account.retries(&error);
                    now = call.now();
                }
                result => return result,
            }
        }
    }

    /// A connection or permission to make one, from the queue where none is free. Time in the queue
    /// is not the upstream's.
    async fn check_out(
        &self,
        now: Instant,
        upload: call::Upload,
        call: &mut TrackedCall,
    ) -> Result<Checkout, AttemptError> {
        let upstream = self.attempt.upstream;
        let checkout = match upstream.take(self.aim()) {
            Some(checkout) => {
                call.handed_over(now, upload);
                checkout
            }
            None => {
                call.queued(now);
                let checkout = upstream.checkout(self.queue_limit, self.aim()).await?;
                call.handed_over(call.now(), upload);
                checkout
            }
        };
        if let Some(goes_to) = &self.goes_to {
            goes_to.replace(checkout.endpoint().cloned());
        }
        Ok(checkout)
    }

    /// The try that was made last failed.
    fn avoid(&mut self) {
        self.avoided.extend(self.goes_to.as_ref().and_then(RefCell::take));
    }

    /// Passes an informational head on (RFC 9110, 15.2): not to a client that knows none. The
    /// client's own wish to hear 100 is granted by letting its body pass.
    fn tell(&self, head: Interim) {
        match (head, self.gate) {
            (Interim::Continue(_), Some(gate)) => gate.open(),
            (Interim::Continue(head) | Interim::Other(head), _) => {
                if self.version == Version::HTTP_11 {
                    self.client.requests.tell(&head);
                }
            }
        }
    }
}

/// Makes of the upstream's answer the client's.
pub(super) fn receive(
    client: &Client,
    arrived: Arrived,
    mut call: TrackedCall,
    memory: Option<Box<Memory>>,
    account: &mut RequestAccount,
) -> Response<Answer> {
    let worker = &client.worker;
    let Arrived { response, connection, now, has_failed } = arrived;
    let (mut head, body) = response.into_parts();
    if has_failed
        && let Some(policy) = call.policy()
        && let text = format_args!("upstream answered {}", head.status.as_u16())
        && let Some(response) = answer::when_failed(policy, &text)
    {
        dismiss(worker, body, connection);
        account.falls_back(FallbackKind::Fixed);
        return response;
    }
    account.answered_by_upstream();
    let switches = head.status == StatusCode::SWITCHING_PROTOCOLS;
    let protocols = match head.status {
        StatusCode::SWITCHING_PROTOCOLS | StatusCode::UPGRADE_REQUIRED => {
            head.headers.get_all(UPGRADE).iter().cloned().collect()
        }
        _ => Vec::new(),
    };
    hop::strip(&mut head.headers);
    head.version = Version::HTTP_11;
    for protocol in protocols {
        head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        head.headers.append(UPGRADE, protocol);
    }
    if switches {
        // It was asked for: `forward` has checked that.
        client.requests.switch();
        client.tunnel.replace(Some(connection));
        return Response::from_parts(head, Answer::Whole(None));
    }
    if head.status == StatusCode::NO_CONTENT {
        // RFC 9110, 8.6: not even a length of nothing.
        head.headers.remove(CONTENT_LENGTH);
    }
    let filling = memory.and_then(|memory| {
        let length = body.size_hint().exact();
        memory.arrived(worker, (head.status, &head.headers), has_failed, length)
    });
    if body.is_end_stream() {
        filling.into_iter().for_each(Filling::finish);
        call.finished(now);
        account.complete(now);
        connection.release(now);
        return Response::from_parts(head, Answer::Whole(None));
    }
    let body = Streamed::new(client, body, connection, call, filling);
    Response::from_parts(head, Answer::Streamed(body))
}
