//! Each form of answer that must not go on, whole, byte by byte and in random pieces.

use super::answers::{AnswerScanner, Rest};
use super::scan::{MAX_FIELDS, MAX_HEAD};
use super::{Answers, Ask, Interim, Refusal, StrictResponseIo, answer_cases};
use answer_cases::{BAD, GOOD};
use proptest::prelude::*;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What went on, what went its own way, and why the rest did not go anywhere.
#[derive(Debug, Default, PartialEq, Eq)]
struct Scanned {
    passed: Vec<u8>,
    interim: Vec<Vec<u8>>,
    refused: Option<Refusal>,
}

/// Feeds `bytes` in pieces of these sizes (the last one again and again).
fn feed(ask: Ask, bytes: &[u8], sizes: &[usize]) -> Scanned {
    let mut scanner = AnswerScanner::default();
    assert!(scanner.ask(ask));
    let mut scanned = Scanned::default();
    let (mut pending, mut rest, mut at) = (Vec::new(), bytes, 0);
    while !rest.is_empty() {
        let size = sizes[at.min(sizes.len() - 1)].clamp(1, rest.len());
        at += 1;
        pending.extend_from_slice(&rest[..size]);
        rest = &rest[size..];
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
    }
    scanned
}

fn bad() -> impl Iterator<Item = Vec<u8>> {
    let made = [
        format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "a".repeat(MAX_HEAD)),
        format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(MAX_FIELDS + 1)),
        "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(65),
        format!("HTTP/1.1 103 Early\r\nx: {}\r\n\r\n", "a".repeat(40_000)).repeat(2),
    ];
    let listed = BAD.iter().map(|text| text.replace('^', "\0"));
    listed.chain(made).map(String::into_bytes)
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(120).collect::<String>().escape_debug().to_string()
}

#[test]
fn good_answers_pass_unchanged() {
    for (ask, text) in GOOD {
        for size in [1, 2, 7, usize::MAX] {
            let scanned = feed(ask, text.as_bytes(), &[size]);
            assert_eq!(scanned.refused, None, "{} by {size}", shown(text.as_bytes()));
            let interim: Vec<u8> = scanned.interim.concat();
            let all = [&interim[..], &scanned.passed].concat();
            assert!(all == text.as_bytes(), "{} by {size}", shown(text.as_bytes()));
        }
    }
}

#[test]
fn bad_answers_are_refused_however_they_are_cut() {
    for bytes in bad() {
        let at_once = feed(Ask::Plain, &bytes, &[usize::MAX]);
        assert!(at_once.refused.is_some(), "{}", shown(&bytes));
        for sizes in [&[1][..], &[3, 5], &[1000]] {
            assert_eq!(feed(Ask::Plain, &bytes, sizes), at_once, "{}", shown(&bytes));
        }
    }
}

#[test]
fn what_follows_an_answer_is_refused_and_the_answer_is_not() {
    let extra = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    for (ask, answer) in GOOD {
        let endless = matches!(ask, Ask::Upgrade) || answer.contains("until the end");
        let bytes = format!("{answer}{extra}");
        for size in [1, usize::MAX] {
            let scanned = feed(ask, bytes.as_bytes(), &[size]);
            assert_eq!(scanned.refused.is_some(), !endless, "{}", shown(bytes.as_bytes()));
            if !endless {
                assert!(answer.as_bytes().ends_with(&scanned.passed), "{scanned:?}");
                assert!(!scanned.passed.is_empty());
            }
        }
    }
}

#[test]
fn the_limits_themselves_are_allowed() {
    let refused = |text: String| feed(Ask::Plain, text.as_bytes(), &[usize::MAX]).refused;
    let end = "HTTP/1.1 204 No\r\n\r\n";
    // A head of so many bytes, without its last line feed; and so many fields.
    let head = |length: usize| format!("HTTP/1.1 204 No\r\nx: {}\r\n\r\n", "a".repeat(length - 23));
    assert_eq!(head(100).len(), 101);
    assert_eq!(refused(head(MAX_HEAD)), None);
    assert_eq!(refused(head(MAX_HEAD + 1)), Some(Refusal::HeadTooLarge));
    let fields = |count| format!("HTTP/1.1 204 No\r\n{}\r\n", "a: b\r\n".repeat(count));
    assert_eq!(refused(fields(MAX_FIELDS)), None);
    assert_eq!(refused(fields(MAX_FIELDS + 1)), Some(Refusal::HeadTooLarge));
    // Informational heads: how many, and how long they are together.
    let too_many = Some(Refusal::Malformed("too many informational answers"));
    let hints = |count| format!("{}{end}", "HTTP/1.1 103 Hints\r\n\r\n".repeat(count));
    assert_eq!(refused(hints(64)), None);
    assert_eq!(refused(hints(65)), too_many);
    let long = |length: usize| format!("HTTP/1.1 103 A\r\nx: {}\r\n\r\n", "a".repeat(length - 23));
    assert_eq!(long(100).len(), 100);
    assert_eq!(refused(format!("{}{}{end}", long(60_000), long(65_536 - 60_000))), None);
    assert_eq!(refused(format!("{}{}{end}", long(60_000), long(65_537 - 60_000))), too_many);
}

#[test]
fn nothing_comes_unasked() {
    let mut scanner = AnswerScanner::default();
    let scan = scanner.scan(b"HTTP/1.1 200 OK\r\n\r\n");
    assert!((scan.pass, matches!(scan.rest, Rest::Refused(_))) == (0, true), "{scan:?}");
}

/// Pieces of answers in any order: what nobody thought of.
fn words() -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(vec![
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 103 Early Hints\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n",
        "HTTP/1.1 204 No Content\r\n",
        "HTTP/1.0 304 Not Modified\r\n",
        "HTTP/1.0 ",
        "200",
        "\r\n",
        "\r\n\r\n",
        "\r",
        "\n",
        " ",
        ":",
        ";",
        "\0",
        "x: y\r\n",
        "content-length: 5\r\n",
        "Content-Length: 0\r\n",
        "content-length:",
        "transfer-encoding: chunked\r\n",
        "transfer-encoding: gzip, chunked\r\n",
        "hello",
        "5\r\nhello\r\n",
        "5;a=\"b\"\r\nhello\r\n",
        "0\r\n",
        "0\r\n\r\n",
        "ffffffffffffffff\r\n",
    ]);
    let begun = prop::sample::select(vec!["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 103 E\r\n\r\n"]);
    (begun, prop::collection::vec(word, 0..12))
        .prop_map(|(begun, words)| [begun.as_bytes(), words.concat().as_bytes()].concat())
}

proptest! {
    #[test]
    fn any_pieces_are_judged_alike_however_they_are_cut(
        bytes in words(),
        ask in prop::sample::select(vec![Ask::Plain, Ask::Head, Ask::Upgrade]),
        sizes in prop::collection::vec(1_usize..20, 1..20),
    ) {
        let at_once = feed(ask, &bytes, &[usize::MAX]);
        prop_assert_eq!(&feed(ask, &bytes, &sizes), &at_once);
        prop_assert_eq!(&feed(ask, &bytes, &[1]), &at_once);
        if ask == Ask::Plain && !at_once.passed.is_empty() {
            prop_assert_eq!(is_one_answer(&at_once.passed), Ok(()));
        }
    }

    #[test]
    fn how_the_bytes_are_cut_does_not_matter(
        which in any::<prop::sample::Index>(),
        damage in any::<Option<(prop::sample::Index, u8)>>(),
        sizes in prop::collection::vec(1_usize..40, 1..60),
    ) {
        let short = bad().filter(|bytes| bytes.len() < 500);
        let all: Vec<Vec<u8>> =
            GOOD.iter().map(|(_, text)| text.as_bytes().to_vec()).chain(short).collect();
        let mut bytes = which.get(&all).clone();
        if let Some((at, with)) = damage {
            let at = at.index(bytes.len());
            bytes[at] = with;
        }
        let at_once = feed(Ask::Plain, &bytes, &[usize::MAX]);
        prop_assert_eq!(&feed(Ask::Plain, &bytes, &sizes), &at_once);
        prop_assert_eq!(&feed(Ask::Plain, &bytes, &[1]), &at_once);
        if !at_once.passed.is_empty() {
            prop_assert_eq!(is_one_answer(&at_once.passed), Ok(()));
        }
    }
}

/// Whether hyper's own parser sees in `passed` the same answer, and nothing behind it.
fn is_one_answer(passed: &[u8]) -> Result<(), String> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut answer = httparse::Response::new(&mut headers);
    let parsed = answer.parse(passed).map_err(|error| error.to_string())?;
    let httparse::Status::Complete(length) = parsed else {
        return Err("a head that is cut".into());
    };
    let mut body = &passed[length..];
    let named = |name: &str| {
        let mut fields = answer.headers.iter();
        fields.find(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    };
    if matches!(answer.code, Some(204 | 304)) {
        return body.is_empty().then_some(()).ok_or_else(|| "a body that cannot be".into());
    }
    if let Some(size) = named("content-length") {
        let size = std::str::from_utf8(size).map_err(|error| error.to_string())?;
        let size: usize = size.parse().map_err(|_| format!("length {size:?}"))?;
        return (body.len() <= size).then_some(()).ok_or_else(|| "bytes behind a body".into());
    }
    if named("transfer-encoding").is_none() {
        return Ok(());
    }
    while let httparse::Status::Complete((length, size)) =
        httparse::parse_chunk_size(body).map_err(|error| format!("{error:?}"))?
    {
        let size = usize::try_from(size).map_err(|error| error.to_string())?;
        let chunk = length + size + 2;
        if size == 0 || body.len() <= chunk {
            break;
        }
        body = &body[chunk..];
    }
    Ok(())
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test);
}

#[test]
fn informational_heads_go_their_own_way_and_the_rest_comes_whole() {
    let hint = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
    let leave = "HTTP/1.1 100 Continue\r\n\r\n";
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
    run(async {
        for size in [1, 10, 50, 10_000] {
            let (mut server, client) = tokio::io::duplex(100_000);
            let answers = Rc::new(Answers::default());
            let mut io = StrictResponseIo::new(client, Rc::clone(&answers));
            for round in 0..2 {
                answers.ask(Ask::Plain);
                io.write_all(b"GET").await.unwrap();
                for piece in format!("{hint}{leave}{hint}{answer}").as_bytes().chunks(size) {
                    server.write_all(piece).await.unwrap();
                }
                let mut got = vec![0; answer.len()];
                io.read_exact(&mut got).await.unwrap();
                assert_eq!(got, answer.as_bytes(), "{round} by {size}");
                let hint = || Interim::Other(hint.into());
                let wanted = [hint(), Interim::Continue(leave.into()), hint()];
                assert_eq!(answers.take_interim(), wanted, "{round} by {size}");
            }
            assert_eq!(answers.refused(), None);
            server.write_all(b"H").await.unwrap();
            let error = io.read_u8().await.unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
            assert!(answers.refused().is_some());
        }
    });
}
