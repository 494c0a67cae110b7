//! A request's target, before anybody looks at it: what is matched is what goes upstream.

use crate::framing::Refusal;
use bimetal_core::path::{HiddenDots, forwarded};
use hyper::Uri;
use hyper::http::uri::PathAndQuery;
use std::borrow::Cow;

/// Brings the path into the form that goes upstream; the query stays.
///
/// # Errors
/// Where an upstream could take the path for another.
pub(super) fn straighten(uri: &mut Uri) -> Result<(), Refusal> {
    let refused = |_| Refusal::Malformed(HiddenDots::WHY);
    let Cow::Owned(mut path) = forwarded(uri.path().as_bytes()).map_err(refused)? else {
        return Ok(());
    };
    if let Some(query) = uri.query() {
        path.push(b'?');
        path.extend(query.as_bytes());
    }
    // It cannot fail: what was taken away or decoded makes no new character.
    let target = PathAndQuery::try_from(path).ok().and_then(|target| {
        let mut parts = std::mem::take(uri).into_parts();
        parts.path_and_query = Some(target);
        Uri::from_parts(parts).ok()
    });
    *uri = target.ok_or(Refusal::Malformed("the target is no path"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_alone_changes() {
        for (came, goes) in [
            ("/a/../b?c/../d=%61#e", "/b?c/../d=%61"),
            ("/%61", "/a"),
            ("/a?", "/a?"),
            ("/./a?", "/a?"),
            ("//a//b", "//a//b"),
            ("*", "*"),
            ("http://host:80/x/../y?z", "http://host:80/y?z"),
            ("http://host?a=/../b", "http://host/?a=/../b"),
            ("http://host/..", "http://host/"),
            ("host:443", "host:443"),
            ("/a%2Fb%20c%00;d=%2e%2e?%2e", "/a%2Fb%20c%00;d=..?%2e"),
        ] {
            let mut uri: Uri = came.parse().unwrap();
            straighten(&mut uri).unwrap();
            assert_eq!(uri.to_string(), goes, "{came}");
        }
    }

    #[test]
    fn hidden_dots_are_refused() {
        let mut uri: Uri = "/a/..%2Fb".parse().unwrap();
        assert_eq!(straighten(&mut uri), Err(Refusal::Malformed(HiddenDots::WHY)));
    }
}
