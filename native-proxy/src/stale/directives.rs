//! Directives of `Cache-Control` that decide on stale answers, which the crate does not tell.

use hyper::HeaderMap;
use hyper::header::{CACHE_CONTROL, HeaderValue, PRAGMA, VARY};
use std::time::Duration;

/// The directives of some headers, each with its argument.
fn directives(headers: &HeaderMap) -> impl Iterator<Item = (&str, Option<&str>)> {
    let lines = headers.get_all(CACHE_CONTROL).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(|one| match one.split_once('=') {
        Some((name, value)) => (name.trim(), Some(value.trim().trim_matches('"'))),
        None => (one.trim(), None),
    })
}

/// The same headers with directives in lower case: their names mean the same in any (RFC 9111, 5.2), and the
/// crate takes `No-Store` for a word that it does not know.
pub(super) fn lowered(mut headers: HeaderMap) -> HeaderMap {
    for (_, line) in headers.iter_mut().filter(|(name, _)| **name == CACHE_CONTROL) {
        *line = line
            .to_str()
            .ok()
            .and_then(|text| HeaderValue::from_str(&text.to_ascii_lowercase()).ok())
            // What cannot be read may forbid anything.
            .unwrap_or(HeaderValue::from_static("no-store"));
    }
    headers
}

fn has(headers: &HeaderMap, names: &[&str]) -> bool {
    directives(headers).any(|(name, _)| names.iter().any(|one| name.eq_ignore_ascii_case(one)))
}

/// Whether an answer is said to be for everybody.
pub(super) fn is_public(answer: &HeaderMap) -> bool {
    has(answer, &["public", "s-maxage"])
}

/// Whether a stale answer may not be given: its server, or who asks, wants it validated (RFC 9111,
/// 4.2.4; `s-maxage` means `proxy-revalidate`, 5.2.2.10).
pub(super) fn forbids_stale(asked: &HeaderMap, answer: &HeaderMap) -> bool {
    has(answer, &["must-revalidate", "proxy-revalidate", "s-maxage", "no-cache"])
        || has(asked, &["min-fresh"])
}

/// Whether who asks wants no answer of that age (5.2.1), nor one that is kept at all.
pub(super) fn refuses(asked: &HeaderMap, age: Duration) -> bool {
    let limits = directives(asked).filter(|(name, _)| name.eq_ignore_ascii_case("max-age"));
    let is_too_old = |value: Option<&str>| {
        let most = value.and_then(|value| value.parse().ok()).unwrap_or(0);
        age > Duration::from_secs(most) || most == 0
    };
    let pragma = asked.get_all(PRAGMA).iter().filter_map(|line| line.to_str().ok());
    has(asked, &["no-cache", "no-store"])
        || !asked.contains_key(CACHE_CONTROL)
            && pragma.into_iter().any(|it| it.contains("no-cache"))
        || limits.map(|(_, value)| value).any(is_too_old)
}

/// Whether two requests select the same variant by the `Vary` of an answer: all lines of each field that it
/// names, and not the first alone.
pub(super) fn same_selection(one: &HeaderMap, other: &HeaderMap, answer: &HeaderMap) -> bool {
    let lines = answer.get_all(VARY).iter().filter_map(|line| line.to_str().ok());
    lines
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .all(|name| name != "*" && one.get_all(name).iter().eq(other.get_all(name).iter()))
}
