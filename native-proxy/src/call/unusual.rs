//! What not every request has: headers with odd names, `Via`, `Max-Forwards`, targets that are no
//! paths. Requests without any of it never come here.

use super::answer::{self, Answer};
use super::{Client, hop};
use crate::account::{End, RequestAccount};
use crate::config::Underscores;
use crate::framing::Refusal;
use hyper::header::{ALLOW, HOST, HeaderValue, MAX_FORWARDS, VIA};
use hyper::http::request::Parts;
use hyper::http::uri::Scheme;
use hyper::{HeaderMap, Method, Response, StatusCode, Uri, Version};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::LazyLock;

/// What this process puts into `Via`, for requests of HTTP/1.0 and of HTTP/1.1 (RFC 9110, 7.6.3).
static VIAS: LazyLock<[HeaderValue; 2]> = LazyLock::new(|| {
    let name = format!("{NAME}{:016x}", RandomState::new().build_hasher().finish());
    // Kept for good, so that a copy costs no count that all workers would share.
    ["1.0", "1.1"].map(|version| {
        HeaderValue::from_static(Box::leak(format!("{version} {name}").into_boxed_str()))
    })
});

const NAME: &str = "bimetal-";

/// Our `Via` for a request that came by this version.
pub(super) fn via(version: Version) -> HeaderValue {
    let [old, new] = &*VIAS;
    if version == Version::HTTP_10 { old.clone() } else { new.clone() }
}

/// Makes of an unusual request a usual one, or answers it.
pub(super) fn look(
    client: &Client,
    head: &mut Parts,
    account: &mut RequestAccount,
) -> Option<Response<Answer>> {
    if client.rules.underscores == Underscores::Drop {
        hop::drop_odd(&mut head.headers);
    }
    if head.method == Method::CONNECT {
        return Some(refused_method("this proxy makes no tunnels"));
    }
    if client.rules.trusted_hops == 0 && head.uri.scheme() == Some(&Scheme::HTTPS) {
        // RFC 9110, 7.4: only whoever ended TLS before us could know that it was secured.
        let what = "https is not served over a plain connection";
        return Some(answer::error(StatusCode::MISDIRECTED_REQUEST, &what));
    }
    if client.requests.is_for_server() {
        for_server(head);
    }
    if has_been_here(&head.headers) {
        return Some(refuse(client, account, Refusal::Loop));
    }
    if head.method == Method::OPTIONS || head.method == Method::TRACE {
        return max_forwards(head);
    }
    None
}

/// Refuses a request whose head the parser has read.
pub(super) fn refuse(
    client: &Client,
    account: &mut RequestAccount,
    why: Refusal,
) -> Response<Answer> {
    client.requests.refused(why);
    account.ends(End::Refused(why));
    answer::error(why.status(), &why)
}

/// `OPTIONS http://host` is `OPTIONS *` with a `Host` (RFC 9112, 3.2.4).
fn for_server(head: &mut Parts) {
    let host = head.uri.authority().map(|authority| HeaderValue::from_str(authority.as_str()));
    if let Some(Ok(host)) = host {
        head.headers.insert(HOST, host);
        head.uri = Uri::from_static("*");
    }
}

/// Whether a `Via` names this process.
fn has_been_here(headers: &HeaderMap) -> bool {
    let own = VIAS.first().map_or(&b""[..], HeaderValue::as_bytes);
    let own = own.split(|byte| *byte == b' ').next_back().unwrap_or_default();
    // `protocol/version name (comment)`; names are compared as hosts are.
    let is_own = |word: &[u8]| word.eq_ignore_ascii_case(own);
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b',');
    headers.get_all(VIA).iter().any(|value| value.as_bytes().split(blank).any(is_own))
}

/// Counts the hops that a request may still go; one that may go no further is answered here (RFC
/// 9110, 7.6.2).
fn max_forwards(head: &mut Parts) -> Option<Response<Answer>> {
    let mut all = head.headers.get_all(MAX_FORWARDS).iter();
    let (first, more) = (all.next()?, all.next());
    let text = std::str::from_utf8(first.as_bytes()).unwrap_or_default();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if more.is_some() || !is_number {
        let what = "Max-Forwards is no number";
        return Some(answer::error(StatusCode::BAD_REQUEST, &what));
    }
    // More than any number here means the same: far enough.
    let left = text.parse().unwrap_or(u32::MAX);
    let Some(left) = left.checked_sub(1) else {
        return Some(last_hop(&head.method));
    };
    head.headers.insert(MAX_FORWARDS, HeaderValue::from(left));
    None
}

/// What the last hop says. What came is not sent back by TRACE: it may have secrets.
fn last_hop(method: &Method) -> Response<Answer> {
    if *method != Method::OPTIONS {
        return refused_method("this proxy sends no request back");
    }
    let mut response = answer::empty(StatusCode::OK);
    response.headers_mut().insert(ALLOW, ALLOWED);
    response
}

/// Refuses a method and says which are not refused (RFC 9110, 15.5.6).
fn refused_method(what: &'static str) -> Response<Answer> {
    let mut response = answer::error(StatusCode::METHOD_NOT_ALLOWED, &what);
    response.headers_mut().insert(ALLOW, ALLOWED);
    response
}

const ALLOWED: HeaderValue =
    HeaderValue::from_static("GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_its_own_name_among_others() {
        let own = via(Version::HTTP_11);
        let name = own.to_str().unwrap().strip_prefix("1.1 ").unwrap();
        let old = via(Version::HTTP_10);
        assert_eq!(old.to_str().unwrap(), format!("1.0 {name}"));
        assert!(name.starts_with(NAME) && name.len() == NAME.len() + 16, "{name}");
        for (said, own) in [
            (name.to_owned(), true),
            (format!("1.1 a, HTTP/1.1 {name} (what, it, is), 1.0 b"), true),
            (format!("1.1 {}", name.to_uppercase()), true),
            (format!("1.1 a,1.1\t{name}"), true),
            (format!("1.1 {name}x"), false),
            (format!("1.1 {NAME}0000000000000000"), false),
            (String::new(), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(VIA, HeaderValue::from_static("1.1 other"));
            headers.append(VIA, HeaderValue::from_str(&said).unwrap());
            assert_eq!(has_been_here(&headers), own, "{said}");
        }
    }

    #[test]
    fn hops_are_counted_down_to_none() {
        for (said, wanted) in [
            ("0", Err(200)),
            ("00", Err(200)),
            ("1", Ok("0")),
            ("010", Ok("9")),
            ("99999999999", Ok("4294967294")),
            ("", Err(400)),
            ("-1", Err(400)),
            ("1, 2", Err(400)),
        ] {
            let request = hyper::Request::builder().method("OPTIONS").header(MAX_FORWARDS, said);
            let mut head = request.body(()).unwrap().into_parts().0;
            let answered = max_forwards(&mut head).map(|answer| answer.status().as_u16());
            let left = head.headers.get(MAX_FORWARDS).unwrap().to_str().unwrap();
            assert_eq!(answered.map_or(Ok(left), Err), wanted, "{said:?}");
        }
    }
}
