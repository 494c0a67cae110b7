//! Answers of the proxy's own, and the body type of every answer.

use super::stream::Streamed;
use bimetal_core::event::{Json, State};
use bimetal_core::policy::Policy;
use bimetal_core::{Rejected, Reply};
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use std::error::Error;
use std::fmt::Display;
use std::pin::Pin;
use std::task::{Context, Poll};

const STATE: HeaderName = HeaderName::from_static("x-bimetal-state");
const POLICY: HeaderName = HeaderName::from_static("x-bimetal-policy");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What is said where there was no answer in time.
pub(crate) const TIMED_OUT: &str = "upstream request timed out";

/// Why an answer broke off within its body.
pub(crate) type BrokeOff = Box<dyn Error + Send + Sync>;

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum Answer {
    /// One that is known whole; none is left once it is sent.
    Whole(Option<Bytes>),
    /// The upstream's, passed on as it comes.
    Streamed(Box<Streamed>),
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BrokeOff;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokeOff>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Streamed(stream) => stream.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Streamed(stream) => stream.is_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Streamed(stream) => stream.size_hint(),
        }
    }
}

impl From<Bytes> for Answer {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response<Answer> {
    let mut response = Response::new(Answer::Whole(None));
    *response.status_mut() = status;
    response
}

/// `{"error": …}` with a status.
pub(crate) fn error<B: From<Bytes>>(status: StatusCode, text: &dyn Display) -> Response<B> {
    let body = format!(r#"{{"error":{}}}"#, Json(&text.to_string()));
    let mut response = Response::new(B::from(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// The answer to a rejected call.
pub(crate) fn rejection<B: From<Bytes>>(rejected: &Rejected<'_>) -> Response<B> {
    let mut response = written(rejected.reply());
    debug(&mut response, rejected.policy, Some(rejected.rejection.state()));
    response
}

/// The policy's answer in place of a failure that `text` describes, where it has one.
pub(crate) fn when_failed<B: From<Bytes>>(
    policy: &Policy,
    text: &dyn Display,
) -> Option<Response<B>> {
    policy.reply_when_failed(text).map(written)
}

/// An answer as the core describes it.
fn written<B: From<Bytes>>(reply: Reply<'_>) -> Response<B> {
    let mut response = Response::new(B::from(reply.body.into_owned().into()));
    let status = StatusCode::from_u16(reply.status);
    *response.status_mut() = status.unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    for (name, value) in reply.fields {
        if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
            set(response.headers_mut(), name, &value);
        }
    }
    response
}

/// Says policy and state, where the policy asks for that.
pub(crate) fn debug<B>(response: &mut Response<B>, policy: &Policy, state: Option<State>) {
    if policy.debug_headers {
        let headers = response.headers_mut();
        if let Some(state) = state {
            headers.insert(STATE, HeaderValue::from_static(state.name()));
        }
        set(headers, POLICY, &policy.name);
    }
}

// A text that cannot stand in a header is left out: the checker of policies lets none through.
fn set(headers: &mut hyper::HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}
