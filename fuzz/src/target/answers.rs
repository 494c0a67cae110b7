//! Whatever an upstream sends: the verdict does not depend on how the bytes were cut, and no byte
//! passes that is not of the one answer that was asked for, by another parser's reading.

use crate::Behaviour;
use bimetal_proxy::framing::Ask;
use bimetal_proxy::framing::answers::{AnswerScanner, Rest};
use bimetal_proxy::framing::scan::{MAX_FIELDS, MAX_HEAD};

/// Words of HTTP/1's answers.
pub(super) const WORDS: &[&str] = &[
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.0 200\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
    "HTTP/1.1 204 No Content\r\n",
    "HTTP/1.1 304 Not Modified\r\n",
    "HTTP/1.1 999 \r\n",
    "HTTP/2 200\r\n",
    "\r\n",
    "\r\n\r\n",
    "\r",
    "\n",
    " ",
    "\t",
    "\0",
    ":",
    "content-length: 5\r\n",
    "content-length: 0\r\n",
    "Content-Length: 5, 5\r\n",
    "content-length: +5\r\n",
    "content-length: 18446744073709551616\r\n",
    "transfer-encoding: chunked\r\n",
    "transfer-encoding: gzip, chunked\r\n",
    "5\r\nhello\r\n",
    "0\r\n\r\n",
    "0\r\nx-sum: 1\r\n\r\n",
    "ffffffffffffffff\r\n",
    ";a=b",
    "hello",
    "x: y\r\n",
    " folded\r\n",
    "connection: close\r\n",
];

/// The first byte says what was asked for and how the rest is cut.
pub(super) fn one(bytes: &[u8]) -> Behaviour {
    let Some((choice, bytes)) = bytes.split_first() else {
        return Behaviour::of("nothing");
    };
    let ask = match choice % 4 {
        0 => Ask::Head,
        1 => Ask::Upgrade,
        _ => Ask::Plain,
    };
    let at_once = fed(ask, bytes, usize::MAX);
    let size = 1 + usize::from(*choice >> 2);
    assert_eq!(fed(ask, bytes, size), at_once, "cut by {size}");
    assert_eq!(fed(ask, bytes, 1), at_once, "byte by byte");
    let gone: Vec<u8> =
        at_once.interim.iter().chain([&at_once.passed]).flatten().copied().collect();
    assert!(bytes.starts_with(&gone), "what goes on is changed");
    for head in &at_once.interim {
        let status = read(head).map(|head| head.status);
        assert!(matches!(status, Some(100 | 102..200)), "an informational head: {status:?}");
    }
    if !at_once.passed.is_empty() {
        judge(ask, &at_once.passed);
    }
    Behaviour::of((
        at_once.refused.map(|why| why.to_string()),
        at_once.interim.len().min(8),
        at_once.waiting.min(1),
        at_once.passed.len().min(1),
    ))
}

#[derive(Debug, PartialEq, Eq)]
struct Scanned {
    passed: Vec<u8>,
    interim: Vec<Vec<u8>>,
    refused: Option<bimetal_proxy::framing::Refusal>,
    /// Bytes that wait for more; zero after a refusal.
    waiting: usize,
}

fn fed(ask: Ask, bytes: &[u8], size: usize) -> Scanned {
    let mut scanner = AnswerScanner::default();
    assert!(scanner.ask(ask), "a new connection is free");
    let mut scanned =
        Scanned { passed: Vec::new(), interim: Vec::new(), refused: None, waiting: 0 };
    let mut pending = Vec::new();
    for piece in bytes.chunks(size.min(bytes.len()).max(1)) {
        pending.extend_from_slice(piece);
        loop {
            let scan = scanner.scan(&pending);
            scanned.passed.extend(pending.drain(..scan.pass));
            match scan.rest {
                Rest::Waits => break,
                Rest::Interim(length) => scanned.interim.push(pending.drain(..length).collect()),
                Rest::Refused(why) => {
                    scanned.refused = Some(why);
                    return scanned;
                }
            }
        }
        assert!(pending.len() <= MAX_HEAD + piece.len(), "more is held than a head");
    }
    scanned.waiting = pending.len();
    scanned
}

/// An answer's head by the other parser.
struct Head {
    status: u16,
    length: usize,
    lengths: Vec<Vec<u8>>,
    codings: usize,
}

fn read(bytes: &[u8]) -> Option<Head> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS + 1];
    let mut answer = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(length) = answer.parse(bytes).ok()? else {
        return None;
    };
    let named = |name: &str| {
        let fields = answer.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        fields.map(|field| field.value.to_vec()).collect::<Vec<_>>()
    };
    Some(Head {
        status: answer.code?,
        length,
        lengths: named("content-length"),
        codings: named("transfer-encoding").len(),
    })
}

/// What went on is one answer, and nobody can find a second one in it.
fn judge(ask: Ask, passed: &[u8]) {
    let Some(head) = read(passed) else {
        panic!("another parser finds no head in what went on");
    };
    assert!(head.codings == 0 || head.lengths.is_empty(), "two lengths");
    assert!(head.lengths.windows(2).all(|two| two[0] == two[1]), "lengths that differ");
    let body = passed.len() - head.length;
    if head.status == 101 {
        assert_eq!(ask, Ask::Upgrade, "a switch that nobody asked for");
    } else if ask == Ask::Head || matches!(head.status, 204 | 304) {
        assert_eq!(body, 0, "a body where none can be");
    } else if let Some(length) = head.lengths.first() {
        let text = std::str::from_utf8(length).ok().and_then(|text| text.trim().parse().ok());
        assert!(text.is_some_and(|most: u64| body as u64 <= most), "more than was promised");
    }
}
