//! Whatever a client sends: the verdict does not depend on how the bytes were cut, and what passes
//! is seen alike by the parser behind.

// The second opinion of the room's own tests.
#[path = "../../../native-proxy/src/framing/independent.rs"]
mod independent;

use crate::Behaviour;
use bimetal_proxy::framing::scan::{MAX_HEAD, Refused, Scanner};

/// Words of HTTP/1.
pub(super) const WORDS: &[&str] = &[
    "GET / HTTP/1.1\r\n",
    "POST /echo HTTP/1.1\r\n",
    "OPTIONS * HTTP/1.1\r\n",
    "HTTP/1.0",
    "HTTP/2.0",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "CONNECT a:443 ",
    "http://a/",
    "host: a\r\n",
    "Host: ",
    "\r\n",
    "\r\n\r\n",
    "\r",
    "\n",
    "\n\n",
    " ",
    "\t",
    "\0",
    "\u{b}",
    "\u{7f}",
    ":",
    ": ",
    ";",
    ",",
    "=",
    "\"",
    "content-length: 5\r\n",
    "Content-Length:",
    "content-length : 5",
    "transfer-encoding: chunked\r\n",
    "Transfer-Encoding:",
    "chunked",
    "gzip, chunked",
    "identity",
    "+5",
    "-5",
    "0x5",
    "5, 5",
    "5\r\nhello\r\n",
    "0\r\n\r\n",
    "0\r\n",
    "00000000000000005",
    "ffffffffffffffff\r\n",
    ";a=b",
    " ;\ta = b",
    ";a=\"b\\\"c\"",
    "x: y\r\n",
    " folded\r\n",
    "connection: close\r\n",
    "upgrade: websocket\r\n",
    "expect: 100-continue\r\n",
    "x-sum: 1\r\n",
];

/// The first byte says how the rest is cut.
pub(super) fn requests(bytes: &[u8]) -> Behaviour {
    let Some((cut, bytes)) = bytes.split_first() else {
        return Behaviour::of("nothing");
    };
    let at_once = fed(bytes, |_| usize::MAX);
    let mut state = u32::from(*cut) | 1;
    let at_random = fed(bytes, |_| {
        // Small pieces, with a large one now and then.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        1 + (state >> 24) as usize % (1 << (state >> 20 & 7))
    });
    let by_size = fed(bytes, |_| 1 + usize::from(*cut >> 4));
    assert_eq!(at_random, at_once, "cut at random");
    assert_eq!(by_size, at_once, "cut by {}", 1 + (*cut >> 4));
    assert!(bytes.starts_with(&at_once.passed), "what passes is changed");
    let heads = at_once.requests - u64::from(matches!(at_once.refused, Some(Refused::Head(_))));
    assert_eq!(independent::requests(&at_once.passed), Ok(heads));
    // A refusal has an end, and what waits is never more than a head.
    if at_once.refused.is_none() {
        assert!(at_once.waiting <= MAX_HEAD);
    }
    let status = at_once.refused.map(|refused| match refused {
        Refused::Head(why) | Refused::Body(why) => {
            assert!([400, 414, 417, 431, 505].contains(&why.status().as_u16()));
            why.to_string()
        }
    });
    Behaviour::of((status, at_once.requests.min(8), at_once.waiting.min(1)))
}

#[derive(Debug, PartialEq, Eq)]
struct Scanned {
    passed: Vec<u8>,
    refused: Option<Refused>,
    requests: u64,
    /// Bytes that wait for more; zero after a refusal.
    waiting: usize,
}

fn fed(bytes: &[u8], mut size: impl FnMut(usize) -> usize) -> Scanned {
    let mut scanner = Scanner::default();
    let (mut passed, mut pending) = (Vec::new(), Vec::new());
    let (mut rest, mut refused) = (bytes, None);
    while !rest.is_empty() && refused.is_none() {
        let (piece, more) = rest.split_at(size(rest.len()).min(rest.len()));
        pending.extend_from_slice(piece);
        rest = more;
        let scan = scanner.scan(&pending);
        passed.extend(pending.drain(..scan.pass));
        refused = scan.refused;
    }
    Scanned {
        passed,
        refused,
        requests: scanner.requests(),
        waiting: if refused.is_some() { 0 } else { pending.len() },
    }
}
