//! Headers that are for one hop alone (RFC 9110, 7.6.1), and those a proxy adds.

use hyper::HeaderMap;
use hyper::header::{CONNECTION, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

const HOP_BY_HOP: [HeaderName; 6] =
    [CONNECTION, TRANSFER_ENCODING, KEEP_ALIVE, TE, UPGRADE, PROXY_CONNECTION];

/// The switch of protocols that a message asks for or grants: the value of `Upgrade`, where
/// `Connection` names it.
pub(crate) fn upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let protocol = headers.get(UPGRADE)?;
    connection_options(headers)
        .any(|option| option.eq_ignore_ascii_case(b"upgrade"))
        .then(|| protocol.clone())
}

/// Removes what is not for the next hop: the fixed set and whatever `Connection` names. `TE:
/// trailers` stays, because trailers pass through.
pub(crate) fn strip(headers: &mut HeaderMap) {
    // Most messages have none of them, and looking at each name once is cheaper than six look-ups.
    if !headers.keys().any(|name| HOP_BY_HOP.contains(name)) {
        return;
    }
    let named: Vec<HeaderName> = connection_options(headers)
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        // A message must not be able to take away what tells where it goes and how long it is.
        .filter(|name| *name != hyper::header::HOST && *name != hyper::header::CONTENT_LENGTH)
        .collect();
    let trailers = headers
        .get_all(TE)
        .iter()
        .any(|value| options(value).any(|option| option.eq_ignore_ascii_case(b"trailers")));
    for name in named {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// Says from whom a request came: the address goes to the end of `x-forwarded-for`. The protocol is
/// the one it came by; what a client claims of it is not believed.
pub(crate) fn forwarded(headers: &mut HeaderMap, client: &HeaderValue) {
    let all: Vec<&[u8]> =
        headers.get_all(&FORWARDED_FOR).iter().map(HeaderValue::as_bytes).collect();
    let chain = match all.is_empty() {
        true => client.clone(),
        false => {
            let chain = [&all.join(&b", "[..]), &b", "[..], client.as_bytes()].concat();
            HeaderValue::from_bytes(&chain).unwrap_or_else(|_| client.clone())
        }
    };
    headers.insert(FORWARDED_FOR, chain);
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static("http"));
}

fn connection_options(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    headers.get_all(CONNECTION).iter().flat_map(options)
}

fn options(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
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
        strip(&mut all);
        assert_eq!(
            all,
            headers(&[
                ("host", "a"),
                ("content-length", "0"),
                ("x-stays", "3"),
                ("te", "trailers")
            ])
        );
    }

    #[test]
    fn an_upgrade_is_one_only_where_connection_names_it() {
        assert_eq!(upgrade(&headers(&[("upgrade", "websocket")])), None);
        let asked = headers(&[("upgrade", "websocket"), ("connection", "keep-alive, Upgrade")]);
        assert_eq!(upgrade(&asked), Some(HeaderValue::from_static("websocket")));
    }

    #[test]
    fn the_chain_of_addresses_grows_at_its_end() {
        let client = HeaderValue::from_static("10.0.0.1");
        let mut all = headers(&[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "2.2.2.2")]);
        all.insert("x-forwarded-proto", HeaderValue::from_static("https"));
        forwarded(&mut all, &client);
        let chain: Vec<_> = all.get_all("x-forwarded-for").iter().collect();
        assert_eq!(chain, ["1.1.1.1, 2.2.2.2, 10.0.0.1"]);
        assert_eq!(all["x-forwarded-proto"], "http");
    }
}
