//! Headers that are for one hop alone (RFC 9110, 7.6.1), and those a proxy adds.

use super::trailers;
use hyper::HeaderMap;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, FORWARDED, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::{Method, Version};
use std::net::{IpAddr, SocketAddr};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// What senders say of where a request came from.
pub(super) const CLAIMS: [HeaderName; 4] =
    [FORWARDED_FOR, FORWARDED_PROTO, FORWARDED_HOST, FORWARDED];

const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// What is for one hop, whether or not `Connection` says so.
pub(super) const HOP_BY_HOP: [HeaderName; 7] =
    [CONNECTION, TRANSFER_ENCODING, KEEP_ALIVE, TE, UPGRADE, PROXY_CONNECTION, HTTP2_SETTINGS];

/// The switch of protocols that a request asks for, where it may: the first protocol of `Upgrade`
/// that is `allowed`, as it was written. A request with a body, of HTTP/1.0 or HEAD asks in vain; so
/// does one whose `Connection` does not name it.
pub(crate) fn upgrade(head: &Parts, allowed: &[Box<str>]) -> Option<HeaderValue> {
    let headers = &head.headers;
    let offered = headers.get_all(UPGRADE);
    let may_switch = head.version == Version::HTTP_11
        && head.method != Method::HEAD
        && !headers.contains_key(TRANSFER_ENCODING)
        && headers
            .get(CONTENT_LENGTH)
            .is_none_or(|length| length.as_bytes().iter().all(|digit| *digit == b'0'))
        && connection_options(headers).any(|option| option.eq_ignore_ascii_case(b"upgrade"));
    let may_be = |protocol: &&[u8]| {
        allowed.iter().any(|name| name.as_bytes().eq_ignore_ascii_case(protocol))
    };
    let protocol = offered.iter().flat_map(options).find(may_be).filter(|_| may_switch)?;
    HeaderValue::from_bytes(protocol).ok()
}

/// Whether an answer switches to the protocol that was asked for, and to no other.
pub(crate) fn switches_to(headers: &HeaderMap, asked: Option<&HeaderValue>) -> bool {
    let mut granted = headers.get_all(UPGRADE).iter().flat_map(options);
    let is_asked = |protocol: &[u8]| {
        asked.is_some_and(|asked| asked.as_bytes().eq_ignore_ascii_case(protocol))
    };
    granted.next().is_some_and(is_asked) && granted.next().is_none()
}

/// Removes of a request what is not for the next hop. `TE: trailers` stays, because trailers pass
/// through.
pub(crate) fn strip_request(headers: &mut HeaderMap) {
    if strip(headers) {
        headers.insert(TE, HeaderValue::from_static("trailers"));
        // RFC 9110, 10.1.4: a hop that knows nothing of it must not pass it on.
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
}

/// Removes what is not for the next hop: the fixed set and whatever `Connection` names. Whether the
/// sender takes trailers.
pub(crate) fn strip(headers: &mut HeaderMap) -> bool {
    // Most messages have none of them, and looking at each name once is cheaper than six look-ups.
    let mut hop_by_hop = headers.keys().filter(|name| HOP_BY_HOP.contains(name));
    match (hop_by_hop.next(), hop_by_hop.next()) {
        (None, _) => return false,
        // What browsers and many servers say.
        (Some(&CONNECTION), None) if names_nothing(headers) => {
            headers.remove(CONNECTION);
            return false;
        }
        _ => {}
    }
    let named: Vec<HeaderName> = connection_options(headers)
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        // A message must not be able to take away what tells where it goes and how long it is.
        .filter(|name| *name != hyper::header::HOST && *name != hyper::header::CONTENT_LENGTH)
        .collect();
    trailers::withdraw(headers, &named);
    let takes_trailers = headers
        .get_all(TE)
        .iter()
        .any(|value| options(value).any(|option| option.eq_ignore_ascii_case(b"trailers")));
    for name in named {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    takes_trailers
}

/// Removes the headers that `goes` names.
pub(super) fn remove(headers: &mut HeaderMap, goes: impl Fn(&HeaderName) -> bool) {
    let names: Vec<_> = headers.keys().filter(|name| goes(name)).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// Whether some program may take the name for another one: CGI makes an underscore of each dash,
/// others of whatever is no letter and no digit.
pub(super) fn is_odd(name: &HeaderName) -> bool {
    !name.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Removes headers whose names may be taken for others.
pub(crate) fn drop_odd(headers: &mut HeaderMap) {
    remove(headers, is_odd);
}

/// Whether the one `Connection` there is names no header.
fn names_nothing(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONNECTION).iter().map(HeaderValue::as_bytes);
    let is_plain = |value: &[u8]| {
        value.eq_ignore_ascii_case(b"keep-alive") || value.eq_ignore_ascii_case(b"close")
    };
    values.next().is_some_and(is_plain) && values.next().is_none()
}

/// Says from whom a request came, by the rules of the table in `docs/proxy.md`:
/// - The connection's own address goes to the end of `x-forwarded-for`.
/// - Without trusted hops nothing else is believed: `x-forwarded-proto` is the protocol that it
///   came by, `x-forwarded-host` is taken away.
/// - `Forwarded` (RFC 7239) never goes on: it would contradict the others.
pub(crate) fn forwarded(headers: &mut HeaderMap, client: &HeaderValue, trusted_hops: usize) {
    // One look at each name, because most requests claim nothing.
    if !headers.keys().any(|name| CLAIMS.contains(name)) {
        headers.insert(FORWARDED_FOR, client.clone());
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static("http"));
        return;
    }
    let all: Vec<&[u8]> =
        headers.get_all(&FORWARDED_FOR).iter().map(HeaderValue::as_bytes).collect();
    let chain = if all.is_empty() {
        client.clone()
    } else {
        let chain = [&all.join(&b", "[..]), &b", "[..], client.as_bytes()].concat();
        HeaderValue::from_bytes(&chain).unwrap_or_else(|_| client.clone())
    };
    let protocol = match headers.get(FORWARDED_PROTO).map(HeaderValue::as_bytes) {
        Some(b"https") if trusted_hops > 0 => HeaderValue::from_static("https"),
        _ => HeaderValue::from_static("http"),
    };
    headers.insert(FORWARDED_FOR, chain);
    headers.insert(FORWARDED_PROTO, protocol);
    headers.remove(FORWARDED);
    if trusted_hops == 0 {
        headers.remove(FORWARDED_HOST);
    }
}

/// Says which host was asked for, where the upstream is told another; a trusted proxy that said so
/// knows better.
pub(crate) fn forwarded_host(headers: &mut HeaderMap, asked: HeaderValue) {
    // Without trusted hops there is none by now.
    headers.entry(FORWARDED_HOST).or_insert(asked);
}

/// The client's address as trusted proxies in front tell it: that many places from the end of
/// `x-forwarded-for`, as in Envoy (`xff_num_trusted_hops`). None where there is no address.
pub(crate) fn client(headers: &HeaderMap, trusted_hops: usize) -> Option<IpAddr> {
    let values = headers.get_all(FORWARDED_FOR).iter().rev();
    let mut places = values.flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
    let place = places.nth(trusted_hops.checked_sub(1)?)?;
    let text = std::str::from_utf8(place.trim_ascii()).ok()?;
    let address = text.parse::<IpAddr>().or_else(|_| text.parse::<SocketAddr>().map(|at| at.ip()));
    address.ok().map(|address| address.to_canonical())
}

fn connection_options(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers.get_all(CONNECTION).iter().flat_map(options)
}

/// The elements of a list; empty ones are overlooked (RFC 9110, 5.6.1).
pub(super) fn options(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    let options = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    options.filter(|option| !option.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn nothing_of_one_hop_goes_on() {
        let mut all = headers(&[
            ("connection", "close, X-Once"),
            ("connection", "x-twice,,host , content-length"),
            ("x-once", "1"),
            ("x-twice", "2"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("te", "gzip, trailers;q=0.5, trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("host", "a"),
            ("content-length", "0"),
            ("x-stays", "3"),
        ]);
        strip_request(&mut all);
        assert_eq!(
            all,
            headers(&[
                ("host", "a"),
                ("content-length", "0"),
                ("x-stays", "3"),
                ("te", "trailers"),
                ("connection", "te"),
            ])
        );
    }

    #[test]
    fn an_answer_says_nothing_of_what_its_sender_takes() {
        let mut all = headers(&[("te", "trailers"), ("connection", "te"), ("x-stays", "3")]);
        assert!(strip(&mut all));
        assert_eq!(all, headers(&[("x-stays", "3")]));
    }

    #[test]
    fn a_connection_that_names_nothing_goes_and_one_that_names_something_takes_it_along() {
        for (sent, kept) in [
            (&[("connection", "Keep-Alive"), ("x-a", "1")][..], &[("x-a", "1")][..]),
            (&[("connection", "close")], &[]),
            (&[("connection", "keep-alive"), ("connection", "x-a"), ("x-a", "1")], &[]),
            (&[("connection", "x-a"), ("x-a", "1")], &[]),
            (&[("connection", "close"), ("keep-alive", "5")], &[]),
        ] {
            let mut all = headers(sent);
            strip_request(&mut all);
            assert_eq!(all, headers(kept), "{sent:?}");
        }
    }

    fn asked(sent: &[(&'static str, &'static str)], method: Method, version: Version) -> String {
        let request = hyper::Request::builder().method(method).version(version).body(()).unwrap();
        let mut head = request.into_parts().0;
        head.headers = headers(sent);
        let allowed = [Box::from("websocket"), Box::from("tcp")];
        upgrade(&head, &allowed).map_or_else(String::new, |asked| asked.to_str().unwrap().into())
    }

    #[test]
    fn an_upgrade_is_one_only_where_all_agree_on_it() {
        const ASKED: (&str, &str) = ("connection", "keep-alive, Upgrade");
        for (sent, wanted) in [
            (&[("upgrade", "websocket"), ASKED][..], "websocket"),
            (&[("upgrade", "WebSocket"), ASKED], "WebSocket"),
            (&[("upgrade", "h2c, websocket"), ASKED], "websocket"),
            (&[("upgrade", "h2c"), ("upgrade", "tcp"), ASKED], "tcp"),
            (&[("upgrade", "websocket"), ASKED, ("content-length", "0")], "websocket"),
            (&[("upgrade", "websocket"), ASKED, ("content-length", "5")], ""),
            (&[("upgrade", "websocket"), ASKED, ("transfer-encoding", "chunked")], ""),
            (&[("upgrade", "websocket")], ""),
            (&[("upgrade", "websocket"), ("connection", "close")], ""),
            (&[("upgrade", "h2c"), ASKED], ""),
            (&[("upgrade", "H2C"), ASKED, ("http2-settings", "AAMAAABkAAQAAP__")], ""),
            (&[("upgrade", "websockets"), ASKED], ""),
            (&[("upgrade", "websocket/1"), ASKED], ""),
        ] {
            assert_eq!(asked(sent, Method::GET, Version::HTTP_11), wanted, "{sent:?}");
        }
        let sent = [("upgrade", "websocket"), ASKED];
        assert_eq!(asked(&sent, Method::POST, Version::HTTP_11), "websocket");
        assert_eq!(asked(&sent, Method::HEAD, Version::HTTP_11), "");
        assert_eq!(asked(&sent, Method::GET, Version::HTTP_10), "");
    }

    #[test]
    fn a_switch_is_to_what_was_asked_for_and_to_that_alone() {
        let asked = HeaderValue::from_static("websocket");
        for (granted, good) in [
            (&[("upgrade", "WebSocket")][..], true),
            (&[("upgrade", "h2c")], false),
            (&[("upgrade", "websocket, h2c")], false),
            (&[("upgrade", "websocket"), ("upgrade", "h2c")], false),
            (&[], false),
        ] {
            assert_eq!(switches_to(&headers(granted), Some(&asked)), good, "{granted:?}");
            assert!(!switches_to(&headers(granted), None));
        }
    }

    /// What is sent, with how many trusted hops, and what goes on; the peer is 10.0.0.1.
    type Row =
        (&'static [(&'static str, &'static str)], usize, &'static [(&'static str, &'static str)]);

    const FORWARDING: [Row; 7] = [
        (&[], 0, &[("x-forwarded-for", "10.0.0.1"), ("x-forwarded-proto", "http")]),
        (
            &[
                ("x-forwarded-for", "1.1.1.1"),
                ("x-forwarded-for", "2.2.2.2"),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-host", "evil"),
                ("forwarded", "for=3.3.3.3;host=evil"),
            ],
            0,
            &[("x-forwarded-for", "1.1.1.1, 2.2.2.2, 10.0.0.1"), ("x-forwarded-proto", "http")],
        ),
        (
            &[
                ("x-forwarded-for", "1.1.1.1"),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-host", "shop"),
                ("forwarded", "for=1.1.1.1"),
            ],
            1,
            &[
                ("x-forwarded-for", "1.1.1.1, 10.0.0.1"),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-host", "shop"),
            ],
        ),
        (
            &[("x-forwarded-proto", "gopher")],
            1,
            &[("x-forwarded-for", "10.0.0.1"), ("x-forwarded-proto", "http")],
        ),
        (
            &[("forwarded", "for=3.3.3.3")],
            1,
            &[("x-forwarded-for", "10.0.0.1"), ("x-forwarded-proto", "http")],
        ),
        (
            &[("forwarded", "for=3.3.3.3"), ("forwarded", "for=4.4.4.4")],
            0,
            &[("x-forwarded-for", "10.0.0.1"), ("x-forwarded-proto", "http")],
        ),
        (
            &[("x-forwarded-for", "")],
            0,
            &[("x-forwarded-for", ", 10.0.0.1"), ("x-forwarded-proto", "http")],
        ),
    ];

    #[test]
    fn what_is_said_of_the_way_here() {
        for (sent, hops, wanted) in FORWARDING {
            let mut all = headers(sent);
            forwarded(&mut all, &HeaderValue::from_static("10.0.0.1"), hops);
            assert_eq!(all, headers(wanted), "{sent:?} with {hops}");
        }
    }

    #[test]
    fn the_host_that_was_asked_for_is_told_once() {
        let mut none = headers(&[]);
        forwarded_host(&mut none, HeaderValue::from_static("asked"));
        assert_eq!(none, headers(&[("x-forwarded-host", "asked")]));
        forwarded_host(&mut none, HeaderValue::from_static("later"));
        assert_eq!(none, headers(&[("x-forwarded-host", "asked")]));
    }

    #[test]
    fn the_client_is_as_many_places_from_the_end_as_proxies_are_trusted() {
        let chain = headers(&[
            ("x-forwarded-for", "6.6.6.6, 1.1.1.1 ,[::1]:80"),
            ("x-forwarded-for", "::ffff:2.2.2.2,3.3.3.3:99, nobody"),
        ]);
        let wanted = [
            (0, None),
            (1, None),
            (2, Some("3.3.3.3")),
            (3, Some("2.2.2.2")),
            (4, Some("::1")),
            (5, Some("1.1.1.1")),
            (6, Some("6.6.6.6")),
            (7, None),
        ];
        for (hops, address) in wanted {
            let address = address.map(|text| text.parse().unwrap());
            assert_eq!(client(&chain, hops), address, "{hops}");
        }
        assert_eq!(client(&headers(&[]), 1), None);
    }
}
