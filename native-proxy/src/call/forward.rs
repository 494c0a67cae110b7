//! A call that goes upstream.

use super::answer::{self, Answer};
use super::deadline;
use super::retry::{self, Arrived, Tried};
use super::stream::{self, Streamed};
use super::tracked::TrackedCall;
use super::{AdmittedCall, Client, hop, unusual};
use crate::account::{End, RequestAccount};
use crate::attempt::{Attempt, AttemptError, ErrorKind};
use crate::framing::{Ask, Interim};
use crate::upstream::{Aim, Checkout, Connection, ContinueGate, Endpoint, Upload, Upstream};
use crate::worker::Worker;
use bimetal_core::{Instant, Rejected, call};
use hyper::body::{Body, Incoming};
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderValue, TRANSFER_ENCODING, UPGRADE, VIA,
};
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

/// For a connection, where the policy gives no time.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a call waits in the queue for a connection, where the policy gives no time for the
/// request.
const QUEUE_WAIT: Duration = Duration::from_secs(5);

/// What a call needs beside its request to be sent.
struct Sending<'a> {
    client: &'a Client,
    attempt: Attempt<'a>,
    queue_limit: Duration,
    version: Version,
    gate: Option<&'a ContinueGate>,
    /// The only endpoint that it may go to, where it was admitted for one.
    only: Option<Rc<Endpoint>>,
    /// Where its tries went that failed: a further one goes elsewhere if it can.
    avoided: Vec<Rc<Endpoint>>,
    /// Where the try under way goes; only of a call that may be tried again.
    goes_to: Option<RefCell<Option<Rc<Endpoint>>>>,
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
    let ask = match (request.method(), &protocol) {
        (&Method::HEAD, _) => Ask::Head,
        (_, Some(_)) => Ask::Upgrade,
        (_, None) => Ask::Plain,
    };
    let version = request.version();
    prepare(client, upstream, &mut request, protocol.as_ref());
    let connect_limit = plan.connect_timeout.map_or(CONNECT, Duration::from);
    let attempt = Attempt {
        worker: &client.worker,
        upstream,
        ask,
        connect_limit,
        deadline: deadline.as_deref(),
    };
    let queue_limit = plan.request_timeout.map_or(QUEUE_WAIT, Duration::from);
    let (request, mut retrying) = retry::keep(&mut call, request);
    let goes_to = retrying.is_some().then(RefCell::default);
    let avoided = Vec::new();
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
        let Some(retrying) = retrying.as_deref_mut() else {
            break tried;
        };
        let seen = (&tried, request.as_ref());
        let (worker, deadline) = (&client.worker, deadline.as_deref());
        if !Box::pin(retrying.goes_on(worker, &mut call, seen, deadline, account)).await {
            break tried;
        }
        sending.avoid();
        give_up(client, upstream, tried, account);
        request = Some(retrying.request(request.take()));
        from = call.now();
    };
    call.conclude();
    let mut response = match tried {
        Tried::Answered(arrived) => receive(client, arrived, call, account),
        Tried::Failed(error) => {
            account.failed(&error);
            client.worker.upstream_failed(&upstream.settings().name, &error);
            match error.kind.transport() {
                // Its caller has given up: to the call that is a client who left.
                None if let (Some(deadline), Some(policy)) = (&deadline, call.policy())
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
                    policy
                        .and_then(|policy| answer::when_failed(policy, &error.text()))
                        .unwrap_or_else(|| answer::error(error.kind.status(), &error.text()))
                }
            }
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

/// Tells the call what came of a try.
fn arrive(
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
fn broke_off(client: &Client, account: &mut RequestAccount) -> Response<Answer> {
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

/// Makes of the client's request the one that goes to the upstream.
fn prepare(
    client: &Client,
    upstream: &Upstream,
    request: &mut Request<Upload>,
    protocol: Option<&HeaderValue>,
) {
    if let Some(authority) = request.uri().authority() {
        // Absolute form becomes origin form, and its authority the Host (RFC 9112, 3.2.2).
        let host = HeaderValue::from_str(authority.as_str());
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = path.map_or_else(|| Uri::from_static("/"), Uri::from);
        if let Ok(host) = host {
            request.headers_mut().insert(HOST, host);
        }
    }
    let via = unusual::via(request.version());
    *request.version_mut() = Version::HTTP_11;
    let unknown_length =
        !request.body().is_end_stream() && request.body().size_hint().exact().is_none();
    let headers = request.headers_mut();
    hop::strip_request(headers);
    hop::forwarded(headers, &client.forwarded_for, client.rules.trusted_hops);
    // The names of other proxies stay: a line of its own is the same as one more in a list.
    headers.append(VIA, via);
    if unknown_length {
        // Said outright, because hyper takes a GET of unknown length for one without a body.
        headers.remove(CONTENT_LENGTH);
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if let Some(host) = &upstream.settings().host {
        if let Some(asked) = headers.insert(HOST, host.clone()) {
            hop::forwarded_host(headers, asked);
        }
    } else if !headers.contains_key(HOST)
        && let Ok(name) = HeaderValue::from_str(&upstream.settings().name)
    {
        // HTTP/1.0 knows no Host; what we send is HTTP/1.1.
        headers.insert(HOST, name);
    }
    if let Some(protocol) = protocol {
        // With `TE` there is a Connection already.
        headers.append(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol.clone());
    }
}

impl Sending<'_> {
    /// Where it may go.
    fn aim(&self) -> Aim<'_> {
        self.only.as_ref().map_or(Aim::Avoiding(&self.avoided), Aim::Only)
    }

    /// Sends the request, over as many connections as it takes to find one that is not dead
    /// already.
    async fn send(
        &self,
        from: Instant,
        request: &mut Option<Request<Upload>>,
        call: &mut TrackedCall,
        account: &mut RequestAccount,
    ) -> Result<(Response<Incoming>, Box<Connection>), AttemptError> {
        let ask = self.attempt.ask;
        let upload = request.as_ref().map_or(call::Upload::Complete, |one| upload_of(one, ask));
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

/// How far a request is when it is handed over. An upgrade is complete at its head.
fn upload_of(request: &Request<Upload>, ask: Ask) -> call::Upload {
    if ask == Ask::Upgrade || request.body().is_end_stream() {
        call::Upload::Complete
    } else {
        call::Upload::WaitsForUpstream
    }
}

/// Makes of the upstream's answer the client's.
fn receive(
    client: &Client,
    arrived: Arrived,
    mut call: TrackedCall,
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
    if body.is_end_stream() {
        call.finished(now);
        account.complete(now);
        connection.release(now);
        return Response::from_parts(head, Answer::Whole(None));
    }
    let at_work = client.at_work.take();
    let body = Streamed::new(client.requests.clone(), body, connection, call, at_work);
    Response::from_parts(head, Answer::Streamed(body))
}
