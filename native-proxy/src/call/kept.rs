//! A request that is kept, so that it can be sent once more: to try again, or to another upstream.

use crate::upstream::{KeptUpload, Upload};
use bimetal_core::retry::RetryAsk;
use hyper::header::HeaderName;
use hyper::{HeaderMap, Method, Request, Uri};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What is kept of a request.
pub(super) struct Kept {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: KeptUpload,
}

impl Kept {
    /// The request as it is sent first, and what is kept of it: of its body at most so many bytes.
    pub(super) fn of(request: Request<Upload>, most: u64) -> (Request<Upload>, Self) {
        let (head, body) = request.into_parts();
        let kept = Self {
            method: head.method.clone(),
            uri: head.uri.clone(),
            headers: head.headers.clone(),
            body: body.kept(most),
        };
        let request = Request::from_parts(head, kept.body.again());
        (request, kept)
    }

    /// What is known of it for whoever decides on another try.
    pub(super) fn ask(&self) -> RetryAsk<'_> {
        RetryAsk {
            method: self.method.as_str(),
            has_key: self.headers.contains_key(IDEMPOTENCY_KEY),
            can_be_sent_again: self.body.can_be_sent_again(),
        }
    }

    /// The request once more. What an earlier one still sends of its body stands still.
    pub(super) fn again(&self) -> Request<Upload> {
        let mut request = Request::new(self.body.again());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}
