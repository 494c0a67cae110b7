//! Who may ask the admin listener, and for what.
//!
//! A browser asks for whatever page it shows, so being on loopback is no defence: a stranger's page could ask
//! by a name that leads here (DNS rebinding), or send what it cannot read the answer of (cross-site requests).
//! The first is stopped by the name in `Host`, which the browser takes from the page's address; the second by
//! `Origin`, `Sec-Fetch-Site` and a token that no page has.

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HOST, HeaderValue, ORIGIN};
use hyper::http::uri::Authority;
use std::net::IpAddr;
use std::path::Path;

/// The longest token file.
const LONGEST_TOKEN: usize = 4096;

/// Why control is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The request comes from another site's page.
    CrossSite,
    /// Nobody is to control this proxy.
    NoControl,
    /// The token's file cannot be read, or is empty.
    NoToken,
    /// The token is missing or another.
    WrongToken,
}

/// Whether a request may come under the name in its `Host`: an address, `localhost`, a name without a dot, which
/// is no stranger's, or one of `hosts`. Whoever sends none is no browser.
pub(super) fn is_own_name(headers: &HeaderMap, hosts: &[String]) -> bool {
    let mut all = headers.get_all(HOST).iter();
    let host = match (all.next(), all.next()) {
        (None, _) => return true,
        (Some(host), None) => host,
        (Some(_), Some(_)) => return false,
    };
    let Some(authority) = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()) else {
        return false;
    };
    let name = authority.host().trim_end_matches('.').to_ascii_lowercase();
    let is_address = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    let is_local = name == "localhost" || name.ends_with(".localhost") || !name.contains('.');
    is_address || is_local || hosts.contains(&name)
}

/// Whether a request comes from a page of this proxy, or from no page at all.
fn is_same_site(headers: &HeaderMap) -> bool {
    let text =
        |value: Option<&HeaderValue>| value.map(|value| value.to_str().unwrap_or("?").to_owned());
    let site = text(headers.get("sec-fetch-site"));
    if site.is_some_and(|site| site != "same-origin" && site != "none") {
        return false;
    }
    let Some(origin) = text(headers.get(ORIGIN)) else {
        return true;
    };
    let host = text(headers.get(HOST)).unwrap_or_default();
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| !host.is_empty() && authority.eq_ignore_ascii_case(&host))
}

/// Whether a request may control breakers.
///
/// # Errors
/// Why not.
pub(super) fn may_control(headers: &HeaderMap, token_file: Option<&Path>) -> Result<(), Refused> {
    if !is_same_site(headers) {
        return Err(Refused::CrossSite);
    }
    let file = token_file.ok_or(Refused::NoControl)?;
    let wanted = std::fs::read(file).map_err(|_| Refused::NoToken)?;
    let wanted = wanted.trim_ascii();
    if wanted.is_empty() || wanted.len() > LONGEST_TOKEN {
        return Err(Refused::NoToken);
    }
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let (Some(one), None) = (given.next(), given.next()) else {
        return Err(Refused::WrongToken);
    };
    let one = one.as_bytes();
    let (scheme, token) = one.split_at_checked("Bearer ".len()).ok_or(Refused::WrongToken)?;
    if scheme.eq_ignore_ascii_case(b"Bearer ") && is_same(token.trim_ascii(), wanted) {
        Ok(())
    } else {
        Err(Refused::WrongToken)
    }
}

/// Whether two texts are the same. How long that takes says nothing of where they differ.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let differs = one.iter().zip(other).fold(0, |all, (one, other)| all | (one ^ other));
    one.len() == other.len() && std::hint::black_box(differs) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderName;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_strangers_name_is_not_ours() {
        let is_own = |host: &str| is_own_name(&headers(&[("host", host)]), &["ops.example".into()]);
        for host in [
            "127.0.0.1:9000",
            "[::1]:9000",
            "10.0.0.1",
            "localhost:9000",
            "a.localhost",
            "bimetal:9000",
            "ops.example",
            "OPS.example:80",
            "localhost.",
        ] {
            assert!(is_own(host), "{host}");
        }
        for host in ["evil.example:9000", "127.0.0.1.evil.example", "x.ops.example", "", "a b", "@"]
        {
            assert!(!is_own(host), "{host}");
        }
        assert!(is_own_name(&HeaderMap::new(), &[]), "no browser");
        assert!(!is_own_name(&headers(&[("host", "a"), ("host", "a")]), &[]));
    }

    #[test]
    fn a_page_of_another_site_is_told_apart() {
        let is_same = |fields: &[(&'static str, &str)]| is_same_site(&headers(fields));
        let host = ("host", "127.0.0.1:9000");
        assert!(is_same(&[host]));
        assert!(is_same(&[host, ("origin", "http://127.0.0.1:9000")]));
        assert!(is_same(&[host, ("sec-fetch-site", "same-origin")]));
        for origin in ["http://127.0.0.1:9001", "http://evil.example", "null", "127.0.0.1:9000", ""]
        {
            assert!(!is_same(&[host, ("origin", origin)]), "{origin}");
        }
        for site in ["cross-site", "same-site", "\u{e9}"] {
            assert!(!is_same(&[host, ("sec-fetch-site", site)]), "{site}");
        }
        assert!(!is_same(&[("origin", "http://")]));
    }

    #[test]
    fn control_needs_the_very_token() {
        let file = std::env::temp_dir().join(format!("bimetal-token-{}", std::process::id()));
        std::fs::write(&file, "secret word\n").unwrap();
        let may = |fields: &[(&'static str, &str)]| may_control(&headers(fields), Some(&file));
        assert_eq!(may(&[("authorization", "Bearer secret word")]), Ok(()));
        assert_eq!(may(&[("authorization", "bearer secret word")]), Ok(()));
        for wrong in [
            "Bearer secret wor",
            "Bearer secret words",
            "Bearer ",
            "secret word",
            "Basic secret word",
        ] {
            assert_eq!(may(&[("authorization", wrong)]), Err(Refused::WrongToken), "{wrong}");
        }
        let (one, other) = (("authorization", "Bearer secret word"), ("authorization", "Bearer x"));
        assert_eq!(may(&[one, other]), Err(Refused::WrongToken));
        assert_eq!(may(&[]), Err(Refused::WrongToken));
        assert_eq!(may(&[one, ("origin", "http://evil.example")]), Err(Refused::CrossSite));
        std::fs::write(&file, "\n").unwrap();
        assert_eq!(may(&[one]), Err(Refused::NoToken));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(may(&[one]), Err(Refused::NoToken));
        assert_eq!(may_control(&headers(&[one]), None), Err(Refused::NoControl));
    }
}
