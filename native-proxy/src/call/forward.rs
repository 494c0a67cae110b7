//! A call that goes upstream.

use super::answer::{self, Answer};
use super::settlement::Settlement;
use super::stream::{self, Streamed};
use super::{AdmittedCall, Client, hop};
use crate::framing::{Ask, Interim};
use crate::upstream::{Broken, Checkout, Connection, ContinueGate, NoConnection, Upload, Upstream};
use bimetal_core::Plan;
use bimetal_core::outcome::Transport;
use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use std::time::{Duration, Instant};

/// For a connection, where the policy gives no time.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a call waits in the queue for a connection, where the policy gives no time for the
/// request.
const QUEUE_WAIT: Duration = Duration::from_secs(5);

/// Why a call has no answer.
enum NoAnswer {
    /// The upstream's fault, or that of the way to it.
    Upstream(Transport, StatusCode, String),
    /// The client's own: its request broke off or its body is not HTTP.
    Client,
}

/// What a call needs beside its request to be sent.
struct Sending<'a> {
    client: &'a Client,
    upstream: &'a Upstream,
    plan: &'a Plan,
    ask: Ask,
    version: Version,
    gate: Option<&'a ContinueGate>,
}

/// Sends a call upstream and answers with what comes back. Behind a `gate` the body waits for the
/// upstream's leave.
pub(super) async fn forward(
    client: &Client,
    upstream: &Upstream,
    mut request: Request<Upload>,
    call: AdmittedCall,
    gate: Option<&ContinueGate>,
) -> Response<Answer> {
    let AdmittedCall { mut settlement, plan, state } = call;
    let protocol = hop::upgrade(request.headers());
    let ask = match (request.method(), &protocol) {
        (&Method::HEAD, _) => Ask::Head,
        (_, Some(_)) => Ask::Upgrade,
        (_, None) => Ask::Plain,
    };
    let version = request.version();
    prepare(client, upstream, &mut request, protocol);
    let policy = settlement.policy().cloned();
    let sending = Sending { client, upstream, plan: &plan, ask, version, gate };
    let mut response = match sending.send(request, &mut settlement).await {
        Ok((response, connection)) => receive(client, response, connection, settlement),
        Err(NoAnswer::Client) => broke_off(client),
        Err(NoAnswer::Upstream(how, status, text)) => {
            settlement.broken(how);
            match policy.as_ref().and_then(|policy| policy.fallback_when_failed()) {
                Some(fallback) => {
                    answer::fallback(fallback, StatusCode::SERVICE_UNAVAILABLE, &text)
                }
                None => answer::error(status, &text),
            }
        }
    };
    if let Some(policy) = &policy {
        answer::debug(&mut response, policy, state);
    }
    client.requests.told().await;
    response
}

/// What a client is told whose request broke off; nothing that follows it would be understood.
fn broke_off(client: &Client) -> Response<Answer> {
    let mut response = match client.requests.broken() {
        Some(why) => answer::error(why.status(), &why),
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
    protocol: Option<HeaderValue>,
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
    *request.version_mut() = Version::HTTP_11;
    let unknown_length =
        !request.body().is_end_stream() && request.body().size_hint().exact().is_none();
    let headers = request.headers_mut();
    hop::strip(headers);
    hop::forwarded(headers, &client.forwarded_for, client.trusted_hops);
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
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
}

impl Sending<'_> {
    /// Sends the request, over as many connections as it takes to find one that is not dead
    /// already.
    async fn send(
        &self,
        mut request: Request<Upload>,
        settlement: &mut Settlement,
    ) -> Result<(Response<Incoming>, Box<Connection>), NoAnswer> {
        let (worker, upstream, plan) = (&self.client.worker, self.upstream, self.plan);
        let queue_wait = plan.request_timeout.map_or(QUEUE_WAIT, Duration::from);
        let (mut checkout, now) = match upstream.pool.take() {
            Some(checkout) => (checkout, settlement.begun()),
            None => {
                let checkout = upstream.checkout(queue_wait).await?;
                (checkout, worker.clock.now())
            }
        };
        settlement.handed(now, plan.request_timeout);
        let deadline = plan.request_timeout.map(|limit| worker.clock.timer_instant(now + limit));
        loop {
            let (mut connection, used_before) = match checkout {
                Checkout::Connection(connection) => (connection, true),
                Checkout::Slot(slot) => {
                    let limit = plan.connect_timeout.map_or(CONNECT, Duration::from);
                    let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
                    let limit = left.map_or(limit, |left| left.min(limit));
                    match upstream.open(slot, limit).await {
                        Ok(connection) => (connection, false),
                        Err(_) if deadline.is_some_and(|at| at <= Instant::now()) => {
                            return Err(Broken::Timeout.into());
                        }
                        Err(none) => return Err(none.into()),
                    }
                }
            };
            match connection.exchange(request, self.ask, deadline, |head| self.tell(head)).await {
                Ok(response) => return Ok((response, connection)),
                // The upstream had closed it while it was idle. Nothing was sent, so nothing is
                // sent twice.
                Err(Broken::NotSent(back)) if used_before => {
                    request = *back;
                    drop(connection);
                    checkout = upstream.checkout(queue_wait).await?;
                }
                // A new connection on which the upstream spoke first.
                Err(Broken::NotSent(_)) if connection.is_refused() => {
                    return Err(Broken::Garbage.into());
                }
                Err(broken) => return Err(broken.into()),
            }
        }
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

/// Settles what the headers say, and makes of the upstream's answer the client's.
fn receive(
    client: &Client,
    response: Response<Incoming>,
    connection: Box<Connection>,
    mut settlement: Settlement,
) -> Response<Answer> {
    let worker = &client.worker;
    let now = worker.clock.now();
    let (mut head, body) = response.into_parts();
    let has_failed = settlement.headers(now, head.status.as_u16(), &head.headers);
    let fallback = settlement.policy().and_then(|policy| policy.fallback_when_failed());
    if has_failed && let Some(fallback) = fallback {
        let text = format_args!("upstream answered {}", head.status.as_u16()).to_string();
        let response = answer::fallback(fallback, StatusCode::SERVICE_UNAVAILABLE, &text);
        if body.is_end_stream() {
            connection.release(now);
        } else {
            tokio::task::spawn_local(stream::discard(worker.clone(), body, connection));
        }
        return response;
    }
    let protocol = hop::upgrade(&head.headers);
    hop::strip(&mut head.headers);
    head.version = Version::HTTP_11;
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        // Asked for it was, or it had not come this far.
        head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        if let Some(protocol) = protocol {
            head.headers.insert(UPGRADE, protocol);
        }
        client.requests.switch();
        client.tunnel.replace(Some(connection));
        return Response::from_parts(head, Answer::Whole(None));
    }
    if body.is_end_stream() {
        settlement.finished(now);
        connection.release(now);
        return Response::from_parts(head, Answer::Whole(None));
    }
    let body = Streamed::new(worker.clone(), client.requests.clone(), body, connection, settlement);
    Response::from_parts(head, Answer::Streamed(body))
}

impl From<NoConnection> for NoAnswer {
    fn from(none: NoConnection) -> Self {
        match none {
            NoConnection::Overflow => Self::Upstream(
                Transport::Overflow,
                StatusCode::SERVICE_UNAVAILABLE,
                String::from("all connections to the upstream are in use"),
            ),
            // Our own want is no fault of the upstream: it counts as our limits do.
            NoConnection::Exhausted(why) => Self::Upstream(
                Transport::Overflow,
                StatusCode::SERVICE_UNAVAILABLE,
                format!("the proxy can open no more connections: {why}"),
            ),
            NoConnection::Connect(why) => Self::Upstream(
                Transport::Connect,
                StatusCode::SERVICE_UNAVAILABLE,
                format!("upstream connection failed: {why}"),
            ),
        }
    }
}

impl From<Broken> for NoAnswer {
    fn from(broken: Broken) -> Self {
        // The statuses are Envoy's for the same events, so that clients see one behaviour.
        let (how, status, text) = match broken {
            Broken::Client => return Self::Client,
            Broken::Timeout => (Transport::Timeout, StatusCode::GATEWAY_TIMEOUT, answer::TIMED_OUT),
            Broken::Garbage => {
                (Transport::Reset, StatusCode::BAD_GATEWAY, "upstream sent no valid HTTP")
            }
            Broken::Reset | Broken::NotSent(_) => {
                (Transport::Reset, StatusCode::SERVICE_UNAVAILABLE, "upstream connection was reset")
            }
        };
        Self::Upstream(how, status, text.into())
    }
}
