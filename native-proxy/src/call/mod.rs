//! One request's life: route, decision, upstream, answer.

pub(crate) mod answer;
mod connected;
mod deadline;
mod decide;
mod facts;
mod fallback;
mod forward;
pub(crate) mod hop;
mod interactions;
mod kept;
mod memory;
mod outgoing;
mod pace;
mod retry;
mod scoped;
mod stream;
mod swallow;
mod target;
mod tracked;
pub(crate) mod trailers;
mod unusual;

pub(crate) use answer::Answer;
pub(crate) use deadline::Deadline;
use decide::{AdmittedCall, Decided, decide, wait};
pub(crate) use facts::RequestFacts;
use swallow::swallow;
pub(crate) use tracked::{Ledger, TrackedCall};

use connected::ConnectionAtWork;

use crate::account::{End, RequestAccount};
use crate::config::Underscores;
use crate::framing::Requests;
use crate::upstream::{Connection, ContinueGate, Upload};
use crate::worker::{Target, Worker};
use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, EXPECT, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Request, Response, StatusCode, Version};
use std::cell::RefCell;
use std::convert::Infallible;
use std::net::IpAddr;
use std::rc::Rc;

/// By what rules of its listener a client's requests are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientRules {
    /// So many proxies in front are believed.
    pub trusted_hops: usize,
    /// What becomes of names that others may take for other names.
    pub underscores: Underscores,
}

/// One client's connection.
#[derive(Debug)]
pub(crate) struct Client {
    worker: Rc<Worker>,
    address: IpAddr,
    // Made once for all its requests.
    forwarded_for: HeaderValue,
    rules: ClientRules,
    // The upstream's end, once both sides agreed to switch protocols.
    tunnel: RefCell<Option<Box<Connection>>>,
    // While a call is under way whose policy counts connections. One at a time is: this is HTTP/1.
    at_work: RefCell<Option<ConnectionAtWork>>,
    requests: Rc<Requests>,
}

impl Client {
    /// A client at `address`, served by `worker`.
    pub(crate) fn new(
        worker: Rc<Worker>,
        address: IpAddr,
        rules: ClientRules,
        requests: Rc<Requests>,
    ) -> Self {
        // A v4 address that came in by a v6 socket is still that v4 address.
        let address = address.to_canonical();
        let text = address.to_string();
        let forwarded_for =
            HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("unknown"));
        let tunnel = RefCell::new(None);
        let at_work = RefCell::new(None);
        Self { worker, address, forwarded_for, rules, tunnel, at_work, requests }
    }

    /// Whose call it is.
    fn caller(&self, headers: &HeaderMap) -> IpAddr {
        match self.rules.trusted_hops {
            0 => self.address,
            hops => hop::client(headers, hops).unwrap_or(self.address),
        }
    }
    /// The upstream's connection that this one is to be joined with, now that HTTP is over on it.
    pub(crate) fn take_tunnel(&self) -> Option<Box<Connection>> {
        self.tunnel.take()
    }
}

/// Answers one request.
///
/// # Errors
/// None: whatever goes wrong before the headers of an answer is an answer.
pub(crate) async fn answer(
    client: Rc<Client>,
    request: Request<Incoming>,
) -> Result<Response<Answer>, Infallible> {
    let client = &*client;
    // By its drop, because a function around this one would move all of its state.
    let _answered = Answered(&client.requests);
    let mut account = RequestAccount::open(&client.worker);
    let mut response = match client.requests.next() {
        None => {
            let (mut head, body) = request.into_parts();
            account.asked(&mut head, client.address);
            let is_unusual = client.requests.may_be_unusual();
            let gate = if is_unusual { gate(&mut head, &body) } else { None };
            let mut response = 'response: {
                if is_unusual && let Some(response) = unusual::look(client, &mut head, &mut account)
                {
                    swallow(body);
                    break 'response response;
                }
                if let Err(why) = target::straighten(&mut head.uri) {
                    swallow(body);
                    break 'response unusual::refuse(client, &mut account, why);
                }
                let decided = match decide(client, &head, &mut account, None) {
                    Ok(decided) => decided,
                    // On its own: few calls wait, and all would carry its state.
                    Err(call) => Box::pin(wait(client, &head, &mut account, call)).await,
                };
                match decided {
                    Decided::Goes(route, call) => match &route.target {
                        Target::Upstream(upstream) => {
                            let body = Upload::new(body, gate.clone(), client.rules.underscores);
                            let request = Request::from_parts(head, body);
                            let (gate, account) = (gate.as_deref(), &mut account);
                            forward::forward(client, upstream, request, call, gate, account).await
                        }
                        Target::TestFailure => {
                            swallow(body);
                            test_failure(call)
                        }
                    },
                    Decided::Elsewhere(one) => {
                        let body = Upload::new(body, gate.clone(), client.rules.underscores);
                        let request = Request::from_parts(head, body);
                        let gate = gate.as_deref();
                        Box::pin(fallback::elsewhere(client, *one, request, gate, &mut account))
                            .await
                    }
                    Decided::Ends(response) => {
                        swallow(body);
                        response
                    }
                }
            };
            let is_open = |gate: Rc<ContinueGate>| gate.is_open();
            if !gate.is_none_or(is_open) && response.status() != StatusCode::SWITCHING_PROTOCOLS {
                // Whether the body comes now, nobody can tell (RFC 9110, 10.1.1).
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            response
        }
        Some(refusal) => {
            // What stands here for the refused request is not the client's: nothing looks at it.
            account.refused_unread(refusal);
            answer::error(refusal.status(), &refusal)
        }
    };
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        // A body that is still to come has taken it along, and a tunnel keeps it.
        client.at_work.take();
    }
    account.answers(response.status());
    match response.body_mut() {
        Answer::Streamed(stream) => stream.follow(account),
        // What is known whole goes out as soon as the client takes it.
        Answer::Whole(_) => account.ends(End::Answered),
    }
    Ok(response)
}

/// Tells, at its drop, that the answer to the request under way is known.
struct Answered<'a>(&'a Requests);

impl Drop for Answered<'_> {
    fn drop(&mut self) {
        self.0.answered();
    }
}

/// The gate before the body of a client that waits for 100 (Continue).
fn gate(head: &mut Parts, body: &Incoming) -> Option<Rc<ContinueGate>> {
    if !head.headers.contains_key(EXPECT) {
        return None;
    }
    if head.version == Version::HTTP_11 && !body.is_end_stream() {
        return Some(Rc::default());
    }
    // HTTP/1.0 knows no expectations, and what we send is HTTP/1.1. Without content there is
    // nothing that could wait (RFC 9110, 10.1.1).
    head.headers.remove(EXPECT);
    None
}

/// `POST /test-failure`: the call was admitted, and fails.
fn test_failure(admitted: AdmittedCall) -> Response<Answer> {
    let AdmittedCall { mut call, state, .. } = admitted;
    call.failed_on_purpose();
    let mut response = answer::error(StatusCode::SERVICE_UNAVAILABLE, &"test failure");
    if let Some(policy) = call.policy() {
        answer::debug(&mut response, policy, state);
    }
    response
}
