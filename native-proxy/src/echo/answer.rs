//! One request's answer.

use super::body::{Content, EchoBody, Staged};
use super::fault::{Fault, Reset};
use super::received::{End, Trace};
use super::spans::RequestSpans;
use super::worker::{Control, Cut, Worker};
use super::{admin, worker};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Largest body that is read, in bytes.
const MAX_BODY: usize = 64 << 20;

pub(super) type Answer = Response<EchoBody>;

#[derive(Deserialize)]
struct Asked<'a> {
    /// The study's server takes a message that is not there for an empty one.
    #[serde(borrow, default)]
    message: Cow<'a, str>,
}

#[derive(Serialize)]
struct Echoed<'a> {
    message: &'a str,
    timestamp: u64,
}

/// Answers one request; what hyper calls.
pub(super) async fn answer(
    request: Request<Incoming>,
    worker: Rc<Worker>,
    control: Rc<Control>,
) -> Result<Answer, Infallible> {
    let (mut head, body) = request.into_parts();
    let path = head.uri.path();
    if path == "/healthz" {
        return Ok(json(StatusCode::OK, r#"{"status":"ok"}"#));
    }
    if worker.admin_is_here && admin::is_admin(path) {
        return Ok(admin::answer(&head, body, &worker.shared).await);
    }
    let mut trace = worker.shared.received.note(&head);
    trace.record(RequestSpans::begin(worker.tracer.as_ref(), worker.shared.clock, &mut head));
    let bytes = match read(body).await {
        Ok(bytes) => bytes,
        Err(refusal) => return Ok(given(refusal, trace)),
    };
    trace.body(bytes.len());
    if head.method == Method::POST && is_echo(&head) {
        trace.note(RequestSpans::is_echo);
    }
    let fault = match Fault::from_headers(&head.headers) {
        Ok(asked) => asked.or_else(|| worker.fault_by_plan()),
        Err(what) => return Ok(given(error(StatusCode::BAD_REQUEST, &what), trace)),
    };
    match fault {
        None => {
            let answer = route(&head, &bytes, &mut trace);
            Ok(given(answer, trace))
        }
        Some(fault) => Ok(fail(&head, &bytes, &fault, &worker, control, trace).await),
    }
}

/// An answer that goes out as it is.
fn given(answer: Answer, mut trace: Trace) -> Answer {
    note(&answer, &mut trace);
    trace.end(End::Answered);
    answer
}

/// Takes an answer down.
fn note(answer: &Answer, trace: &mut Trace) {
    let size = answer.body().size_hint().lower();
    trace.note(|spans| spans.constructed(answer.status().as_u16(), size));
}

fn is_echo(head: &Parts) -> bool {
    let path = head.uri.path();
    path == "/echo" || path.starts_with("/echo/")
}

/// The good answer, or why there is none.
fn route(head: &Parts, body: &[u8], trace: &mut Trace) -> Answer {
    if !is_echo(head) {
        return error(StatusCode::NOT_FOUND, "endpoint not found");
    }
    match head.method {
        Method::POST => echo(body, trace),
        Method::OPTIONS => {
            let mut answer = Response::new(EchoBody::Whole(None));
            *answer.status_mut() = StatusCode::NO_CONTENT;
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST, OPTIONS"));
            answer
        }
        _ => {
            let mut answer = error(StatusCode::METHOD_NOT_ALLOWED, "use POST");
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST, OPTIONS"));
            answer
        }
    }
}

fn echo(body: &[u8], trace: &mut Trace) -> Answer {
    match serde_json::from_slice::<Asked<'_>>(body) {
        Ok(asked) => {
            trace.note(|spans| spans.parsed(asked.message.chars().count()));
            let mut message = String::with_capacity(asked.message.len() + 6);
            message.push_str("Echo: ");
            message.push_str(&asked.message);
            let is_logged = trace.is_logged();
            trace.note(|spans| spans.processed(is_logged));
            let echoed = Echoed { message: &message, timestamp: unix_seconds() };
            match serde_json::to_string(&echoed) {
                Ok(text) => json(StatusCode::OK, text),
                Err(what) => error(StatusCode::INTERNAL_SERVER_ERROR, &what.to_string()),
            }
        }
        Err(what) => {
            let what = format!(r#"the body must be {{"message": "text"}}: {what}"#);
            error(StatusCode::BAD_REQUEST, &what)
        }
    }
}

/// Carries out `fault`: waits, then breaks the connection or answers as the fault says.
async fn fail(
    head: &Parts,
    body: &[u8],
    fault: &Fault,
    worker: &worker::Worker,
    control: Rc<Control>,
    mut trace: Trace,
) -> Answer {
    if let Some(name) = &fault.hold {
        worker.shared.holds.wait(name).await;
    }
    if !fault.delay.is_zero() {
        tokio::time::sleep(fault.delay).await;
    }
    if fault.reset == Some(Reset::BeforeHeaders) {
        trace.end(End::Broken);
        control.cut(Cut::Reset);
        // The connection is dropped, and this future with it, before it would be asked again.
        std::future::pending::<Infallible>().await;
    }
    let mut answer = injected(head, body, fault, &mut trace);
    if let Some(seconds) = fault.retry_after_s {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    let staged = fault.reset.is_some()
        || fault.truncate_after.is_some()
        || fault.body_bytes.is_some()
        || !fault.body_delay.is_zero();
    if !staged {
        return given(answer, trace);
    }
    note(&answer, &mut trace);
    let content = match (fault.body_bytes, answer.body_mut()) {
        (Some(bytes), _) => Content::Filler(bytes),
        (None, EchoBody::Whole(whole)) => Content::Given(whole.take().unwrap_or_default()),
        (None, EchoBody::Staged(_)) => Content::Filler(0),
    };
    answer.map(|_| EchoBody::Staged(Staged::new(content, fault, control, trace)))
}

/// The answer that a fault asks for, before anything is done to its body.
fn injected(head: &Parts, body: &[u8], fault: &Fault, trace: &mut Trace) -> Answer {
    if let Some(grpc) = fault.grpc_status {
        let mut answer = Response::new(EchoBody::Whole(None));
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from(u16::from(grpc)));
        return answer;
    }
    let status = fault.status.and_then(|status| StatusCode::from_u16(status).ok());
    match status {
        None => route(head, body, trace),
        Some(StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED) => {
            let mut answer = Response::new(EchoBody::Whole(None));
            *answer.status_mut() = status.unwrap_or_default();
            answer
        }
        Some(status) if status.as_u16() >= 400 => {
            error(status, &format!("injected fault: {}", status.as_u16()))
        }
        Some(status) => {
            let mut answer = route(head, body, trace);
            *answer.status_mut() = status;
            answer
        }
    }
}

/// Reads a whole body; a body in one piece is not copied.
pub(super) async fn read(mut body: Incoming) -> Result<Bytes, Answer> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = match frame {
            Ok(frame) => frame,
            Err(what) => return Err(error(StatusCode::BAD_REQUEST, &what.to_string())),
        };
        let Ok(piece) = frame.into_data() else {
            continue;
        };
        if first.len() + rest.len() + piece.len() > MAX_BODY {
            let what = format!("the body is larger than {MAX_BODY} bytes");
            return Err(error(StatusCode::PAYLOAD_TOO_LARGE, &what));
        }
        if first.is_empty() && rest.is_empty() {
            first = piece;
            continue;
        }
        rest.extend_from_slice(&std::mem::take(&mut first));
        rest.extend_from_slice(&piece);
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

/// An answer with a JSON body.
pub(super) fn json(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(EchoBody::Whole(Some(body.into())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

/// An answer that says what is wrong.
pub(super) fn error(status: StatusCode, what: &str) -> Answer {
    json(status, serde_json::json!({ "error": what }).to_string())
}

fn unix_seconds() -> u64 {
    // A clock before 1970 reads as 1970: the time is for people, nothing depends on it.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
