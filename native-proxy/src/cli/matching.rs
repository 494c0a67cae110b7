//! Which policies are for a request, and what keeps the others from it.

use super::request::Request;
use bimetal_core::policy::{Document, HeaderMatch, Match, PathMatch};
use serde::Serialize;

/// One policy that was looked at.
#[derive(Debug, Serialize)]
pub(super) struct Considered {
    pub(super) policy: String,
    pub(super) matches: bool,
    pub(super) why: String,
}

/// The policies in the order of the document, up to the first that matches.
pub(super) fn consider(document: &Document, request: &Request) -> Vec<Considered> {
    let mut considered = Vec::new();
    for policy in &document.policies {
        let matches = policy.matcher.matches(request);
        let why = if matches {
            "is for it".to_owned()
        } else {
            format!("is not for it: {}", mismatch(&policy.matcher, request))
        };
        considered.push(Considered { policy: policy.name.to_string(), matches, why });
        if matches {
            break;
        }
    }
    considered
}

/// The first part of `matcher` that does not hold. Each part is asked by itself, of the core: so
/// this cannot explain other rules than those that decide.
fn mismatch(matcher: &Match, request: &Request) -> String {
    let holds = |part: Match| part.matches(request);
    if !holds(Match { direction: matcher.direction, ..Match::default() }) {
        return "it goes the other way, or which way is not known".to_owned();
    }
    if !holds(Match { path: matcher.path.clone(), ..Match::default() }) {
        return match &matcher.path {
            PathMatch::Any => "the path".to_owned(),
            PathMatch::Exact(path) => format!("the path is not {}", text(path)),
            PathMatch::Prefix(path) => format!("the path is not {} or below it", text(path)),
        };
    }
    if !holds(Match { methods: matcher.methods.clone(), ..Match::default() }) {
        let methods: Vec<_> = matcher.methods.iter().map(|method| text(method)).collect();
        return format!("the method is not {}", methods.join(" or "));
    }
    if !holds(Match { hosts: matcher.hosts.clone(), ..Match::default() }) {
        return "the host is none of its hosts".to_owned();
    }
    for (name, wanted) in &matcher.headers {
        let headers = vec![(name.clone(), wanted.clone())];
        if !holds(Match { headers, ..Match::default() }) {
            return match wanted {
                HeaderMatch::Present => format!("there is no header {name}"),
                HeaderMatch::Exact(value) => format!("the header {name} is not {}", text(value)),
            };
        }
    }
    "its parts together".to_owned()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
