//! The request that goes to an upstream, made of the client's.

use super::{Client, hop, unusual};
use crate::framing::Ask;
use crate::upstream::{Upload, Upstream};
use bimetal_core::call;
use hyper::body::Body;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderValue, TRANSFER_ENCODING, UPGRADE, VIA,
};
use hyper::{Method, Request, Uri, Version};

/// Makes of the client's request one that may go to any upstream.
pub(super) fn prepare(
    client: &Client,
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
    if let Some(protocol) = protocol {
        // With `TE` there is a Connection already.
        headers.append(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol.clone());
    }
}

/// Says in a request which host of `upstream` it is for.
pub(super) fn address(upstream: &Upstream, request: &mut Request<Upload>) {
    let headers = request.headers_mut();
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
}

/// What the answer to a request is to.
pub(super) fn ask(request: &Request<Upload>, protocol: Option<&HeaderValue>) -> Ask {
    match (request.method(), protocol) {
        (&Method::HEAD, _) => Ask::Head,
        (_, Some(_)) => Ask::Upgrade,
        (_, None) => Ask::Plain,
    }
}

/// How far a request is when it is handed over. An upgrade is complete at its head.
pub(super) fn upload_of(request: &Request<Upload>, ask: Ask) -> call::Upload {
    if ask == Ask::Upgrade || request.body().is_end_stream() {
        call::Upload::Complete
    } else {
        call::Upload::WaitsForUpstream
    }
}
