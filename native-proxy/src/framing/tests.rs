//! Each form of bad framing, whole, byte by byte and behind a good request; and that how the bytes
//! are cut never matters.

use super::cases::{BAD, BAD_BODIES, CHUNKED, GET, GOOD, POST};
use super::head::MAX_EMPTY_LINES;
use super::scan::{MAX_FIELDS, MAX_HEAD, MAX_REQUEST_LINE, Refused, Scanner};
use super::strict_request_io::STAND_IN;
use super::{Limits, Refusal, Requests, StrictRequestIo, independent};
use proptest::prelude::*;
use std::io::ErrorKind;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};

const LIMITS: Limits = Limits {
    max_body: u64::MAX,
    idle: Duration::from_secs(60),
    header: Duration::from_secs(10),
    keep_alive: Duration::from_secs(75),
};

/// What went on, and why the rest did not.
#[derive(Debug, PartialEq, Eq)]
struct Scanned {
    passed: Vec<u8>,
    refused: Option<Refused>,
}

/// Feeds `bytes` in pieces of these sizes (the last one again and again).
fn feed(bytes: &[u8], sizes: &[usize]) -> Scanned {
    let mut scanner = Scanner::default();
    let (mut passed, mut pending) = (Vec::new(), Vec::new());
    let (mut rest, mut at) = (bytes, 0);
    while !rest.is_empty() {
        let size = sizes[at.min(sizes.len() - 1)].clamp(1, rest.len());
        at += 1;
        pending.extend_from_slice(&rest[..size]);
        rest = &rest[size..];
        let scan = scanner.scan(&pending);
        passed.extend(pending.drain(..scan.pass));
        if scan.refused.is_some() {
            return Scanned { passed, refused: scan.refused };
        }
    }
    Scanned { passed, refused: None }
}

fn whole(bytes: &[u8]) -> Scanned {
    feed(bytes, &[usize::MAX])
}

fn bad() -> impl Iterator<Item = (u16, Vec<u8>)> {
    let listed = BAD.iter().map(|(status, text)| (*status, text.replace('^', "\0").into_bytes()));
    let host = "host: a\r\n";
    let long_target = format!("GET /{} HTTP/1.1\r\n{host}\r\n", "a".repeat(MAX_REQUEST_LINE));
    let long_head = format!("GET / HTTP/1.1\r\n{host}x: {}\r\n\r\n", "a".repeat(MAX_HEAD));
    let fields = format!("GET / HTTP/1.1\r\n{host}{}\r\n", "a: b\r\n".repeat(MAX_FIELDS));
    let version = |version| (505, format!("GET / HTTP/{version}\r\n{host}\r\n"));
    let made = [
        (414, long_target),
        (431, long_head),
        (431, fields),
        version("2.0"),
        version("0.9"),
        version("1.2"),
        (505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
    ];
    listed.chain(made.map(|(status, text)| (status, text.into_bytes())))
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(120).collect::<String>().escape_debug().to_string()
}

fn is_head_refusal(refused: Option<Refused>, status: u16) -> bool {
    matches!(refused, Some(Refused::Head(why)) if why.status().as_u16() == status)
}

#[test]
fn good_requests_pass_unchanged() {
    let all = [GET, POST, CHUNKED].iter().chain(&GOOD);
    let together: String = all.clone().copied().collect();
    for text in all.copied().chain([together.as_str()]) {
        for size in [1, 2, 7, usize::MAX] {
            let scanned = feed(text.as_bytes(), &[size]);
            assert_eq!(scanned.refused, None, "{} by {size}", shown(text.as_bytes()));
            assert!(scanned.passed == text.as_bytes(), "{} by {size}", shown(text.as_bytes()));
        }
    }
}

#[test]
fn bad_heads_are_refused_and_none_of_them_passes() {
    for (status, bytes) in bad() {
        for (sizes, how) in [(&[usize::MAX][..], "whole"), (&[1], "byte by byte")] {
            let scanned = feed(&bytes, sizes);
            assert!(
                is_head_refusal(scanned.refused, status),
                "{how} {}: {scanned:?}",
                shown(&bytes)
            );
            assert_eq!(scanned.passed, b"", "{how} {}", shown(&bytes));

            let behind = [POST.as_bytes(), &bytes].concat();
            let scanned = feed(&behind, sizes);
            assert!(is_head_refusal(scanned.refused, status), "{how} behind {}", shown(&bytes));
            assert_eq!(scanned.passed, POST.as_bytes(), "{how} behind {}", shown(&bytes));
        }
    }
}

#[test]
fn bodies_that_turn_bad_stop_where_they_do() {
    let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let extension = format!("5;{}\r\n", "a".repeat(300));
    let long = format!("0\r\na: {}\r\n\r\n", "b".repeat(9_000));
    let many = format!("0\r\n{}\r\n", "a: b\r\n".repeat(MAX_FIELDS + 1));
    let made = [(256, extension.as_str()), (3 + 8 * 1024, &long), (3 + 6 * MAX_FIELDS + 1, &many)];
    for (good, body) in BAD_BODIES.into_iter().chain(made) {
        let bytes = format!("{GET}{head}{body}");
        for size in [1, usize::MAX] {
            let scanned = feed(bytes.as_bytes(), &[size]);
            assert!(
                matches!(scanned.refused, Some(Refused::Body(_))),
                "{}",
                shown(body.as_bytes())
            );
            let passed = scanned.passed.len() - GET.len() - head.len();
            assert_eq!(passed, good, "{}", shown(body.as_bytes()));
        }
    }
}

#[test]
fn the_limits_themselves_are_allowed() {
    let line = |length: usize| format!("GET /{} HTTP/1.1\r", "a".repeat(length - 15));
    let request = |length| format!("{}\nhost: a\r\n\r\n", line(length));
    assert_eq!(line(100).len(), 100);
    for before in ["", "\r\n"] {
        let longest = format!("{before}{}", request(MAX_REQUEST_LINE));
        assert_eq!(whole(longest.as_bytes()).refused, None, "behind {before:?}");
    }
    let refused = whole(request(MAX_REQUEST_LINE + 1).as_bytes()).refused;
    assert_eq!(refused, Some(Refused::Head(Refusal::TargetTooLong)));
    let fields = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "a: b\r\n".repeat(MAX_FIELDS - 1));
    assert_eq!(whole(fields.as_bytes()).refused, None);
    let after = |lines: usize| "\r\n".repeat(lines) + "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    assert_eq!(whole(after(MAX_EMPTY_LINES).as_bytes()).refused, None);
    assert!(whole(after(MAX_EMPTY_LINES + 1).as_bytes()).refused.is_some());
    // The last line feed of a head is not counted.
    let head = |length: usize| {
        let head = "GET / HTTP/1.1\r\nhost: a\r\nx: ";
        format!("{head}{}\r\n\r\n", "a".repeat(length + 1 - head.len() - 4))
    };
    assert_eq!(whole(head(MAX_HEAD).as_bytes()).refused, None);
    let refused = whole(head(MAX_HEAD + 1).as_bytes()).refused;
    assert_eq!(refused, Some(Refused::Head(Refusal::HeadTooLarge)));
}

#[test]
fn a_body_above_the_limit_is_refused_before_it_passes() {
    let head = "POST / HTTP/1.1\r\nhost: a\r\n";
    let known = |size: u64| format!("{head}content-length: {size}\r\n\r\n");
    let refused = |text: &str, pass: usize, why: Option<Refused>| {
        for size in [1, 7, usize::MAX] {
            let mut scanner = Scanner::with_max_body(10);
            let (mut passed, mut pending, mut seen) = (0, Vec::new(), None);
            for piece in text.as_bytes().chunks(size.min(text.len())) {
                pending.extend_from_slice(piece);
                let scan = scanner.scan(&pending);
                passed += scan.pass;
                pending.drain(..scan.pass);
                seen = scan.refused;
                if seen.is_some() {
                    break;
                }
            }
            assert_eq!((passed, seen), (pass, why), "{text:?} by {size}");
        }
    };
    let whole = format!("{}0123456789", known(10));
    refused(&whole, whole.len(), None);
    refused(&known(11), 0, Some(Refused::Head(Refusal::BodyTooLarge)));
    let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n");
    let whole = format!("{chunked}5\r\nhello\r\n5\r\nhello\r\n0\r\n\r\n");
    refused(&whole, whole.len(), None);
    let over = format!("{chunked}5\r\nhello\r\n6\r\n");
    let good = over.len() - 1;
    refused(&format!("{over}hello!\r\n"), good, Some(Refused::Body(Refusal::BodyTooLarge)));
    let huge = format!("{chunked}fffffffffffffff\r\n");
    refused(&huge, huge.len() - 1, Some(Refused::Body(Refusal::BodyTooLarge)));
}

/// A stream of requests, most of them good, some damaged in one byte.
fn traffic() -> impl Strategy<Value = Vec<u8>> {
    let texts: Vec<Vec<u8>> = [GET, POST, CHUNKED]
        .iter()
        .chain(&GOOD)
        .map(|text| text.as_bytes().to_vec())
        .chain(bad().map(|(_, bytes)| bytes).filter(|bytes| bytes.len() < 500))
        .collect();
    let damaged = (prop::sample::select(texts), any::<prop::sample::Index>(), any::<Option<u8>>())
        .prop_map(|(mut bytes, at, with)| {
            if let Some(with) = with {
                let at = at.index(bytes.len());
                bytes[at] = with;
            }
            bytes
        });
    prop::collection::vec(damaged, 1..5).prop_map(|requests| requests.concat())
}

proptest! {
    #[test]
    fn how_the_bytes_are_cut_does_not_matter(
        bytes in traffic(),
        sizes in prop::collection::vec(1_usize..40, 1..60),
    ) {
        let at_once = whole(&bytes);
        prop_assert_eq!(&feed(&bytes, &sizes), &at_once);
        prop_assert_eq!(&feed(&bytes, &[1]), &at_once);
        // What is read is the client's own bytes, however they come and are asked for.
        prop_assert_eq!(read_through(&bytes, &sizes), expected(&bytes, &at_once));
        prop_assert_eq!(read_through(&bytes, &[usize::MAX]), expected(&bytes, &at_once));
    }

    #[test]
    fn the_parser_behind_sees_the_same_requests(bytes in traffic()) {
        let mut scanner = Scanner::default();
        let scan = scanner.scan(&bytes);
        let refused = u64::from(matches!(scan.refused, Some(Refused::Head(_))));
        let expected = scanner.requests() - refused;
        prop_assert_eq!(independent::requests(&bytes[..scan.pass]), Ok(expected));
    }

    #[test]
    fn any_bytes_are_judged(
        good in 0_usize..3,
        noise in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let bytes = [GET.repeat(good).as_bytes(), &noise].concat();
        let scanned = whole(&bytes);
        prop_assert!(scanned.passed.len() >= GET.len() * good);
        prop_assert!(independent::requests(&scanned.passed).is_ok());
        prop_assert_eq!(read_through(&bytes, &[usize::MAX]), expected(&bytes, &scanned));
    }
}

/// What a connection's reader gets, and the error that it ends in.
type Read = (Vec<u8>, Option<ErrorKind>);

/// What the reader must get of `bytes` by the scanner's judgement: a beginning of them and, where a
/// head is refused, what stands in for it.
fn expected(bytes: &[u8], scanned: &Scanned) -> Read {
    let passed = &bytes[..scanned.passed.len()];
    match scanned.refused {
        None => (passed.to_vec(), None),
        Some(Refused::Head(_)) => ([passed, STAND_IN].concat(), None),
        Some(Refused::Body(_)) => (passed.to_vec(), Some(ErrorKind::InvalidData)),
    }
}

/// Reads `bytes` where they come, and are asked for, in pieces of these sizes.
fn read_through(bytes: &[u8], sizes: &[usize]) -> Read {
    let client = Pieces { rest: bytes.to_vec(), sizes: sizes.to_vec(), at: 0 };
    let mut io = StrictRequestIo::new(client, Rc::default(), LIMITS);
    let mut read = Vec::new();
    for at in 0.. {
        let mut space = vec![0; sizes[at % sizes.len()].min(10_000)];
        let mut buf = ReadBuf::new(&mut space);
        match Pin::new(&mut io).poll_read(&mut Context::from_waker(Waker::noop()), &mut buf) {
            Poll::Ready(Ok(())) if buf.filled().is_empty() => break,
            Poll::Ready(Ok(())) => read.extend_from_slice(buf.filled()),
            Poll::Ready(Err(error)) => return (read, Some(error.kind())),
            // Behind a refusal there is no end of the stream.
            Poll::Pending => break,
        }
    }
    (read, None)
}

/// A client whose bytes come in pieces of these sizes, again and again; then it has left.
struct Pieces {
    rest: Vec<u8>,
    sizes: Vec<usize>,
    at: usize,
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let size = self.sizes[self.at % self.sizes.len()];
        self.at += 1;
        let size = size.min(self.rest.len()).min(buf.remaining());
        buf.put_slice(&self.rest.drain(..size).collect::<Vec<_>>());
        Poll::Ready(Ok(()))
    }
}

/// Reads what comes through until `count` bytes are here.
async fn through(io: &mut StrictRequestIo<tokio::io::DuplexStream>, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    io.read_exact(&mut bytes).await.unwrap();
    bytes
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test);
}

#[test]
fn the_refusal_stands_in_the_refused_requests_place() {
    run(async {
        for size in [1, 3, 10_000] {
            let (mut client, server) = tokio::io::duplex(100_000);
            let requests = Rc::new(Requests::default());
            let mut io = StrictRequestIo::new(server, Rc::clone(&requests), LIMITS);
            let bad = "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\nGET /more HTTP/1.1\r\n";
            let good = format!("{POST}{GET}");
            let mut all = Vec::new();
            for piece in format!("{good}{bad}").as_bytes().chunks(size) {
                client.write_all(piece).await.unwrap();
                all.extend_from_slice(piece);
            }
            assert_eq!(through(&mut io, good.len()).await, good.as_bytes());
            let mut rest = Vec::new();
            while !rest.ends_with(b"\r\n\r\n") {
                rest.push(io.read_u8().await.unwrap());
            }
            assert!(!rest.windows(4).any(|part| part == b"more"), "{}", shown(&rest));
            assert_eq!([requests.next(), requests.next()], [None, None]);
            assert_eq!(requests.next(), Some(Refusal::Malformed("more than one Host")));
        }
    });
}

#[test]
fn a_body_that_turns_bad_is_an_error_of_the_stream() {
    run(async {
        let (mut client, server) = tokio::io::duplex(10_000);
        let requests = Rc::new(Requests::default());
        let mut io = StrictRequestIo::new(server, Rc::clone(&requests), LIMITS);
        let head = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\n";
        client.write_all(format!("{GET}{head}helloX").as_bytes()).await.unwrap();
        let whole = GET.len() + head.len() + 5;
        assert!(through(&mut io, whole).await.ends_with(b"hello"));
        let error = io.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
        // It is the second request that is bad, and the first does not know of it.
        assert_eq!((requests.next(), requests.broken()), (None, None));
        assert_eq!(requests.next(), None);
        let why = Refusal::Malformed("a chunk ends without CR LF");
        assert_eq!(requests.broken(), Some(why));
    });
}

#[test]
fn after_a_switch_everything_passes() {
    run(async {
        let (mut client, server) = tokio::io::duplex(10_000);
        let requests = Rc::new(Requests::default());
        let mut io = StrictRequestIo::new(server, Rc::clone(&requests), LIMITS);
        client.write_all(GET.as_bytes()).await.unwrap();
        assert_eq!(through(&mut io, GET.len()).await, GET.as_bytes());
        requests.switch();
        client.write_all(b"\0\n\n\n not HTTP").await.unwrap();
        assert_eq!(through(&mut io, 13).await, b"\0\n\n\n not HTTP");
    });
}
