//! Malformed and ambiguous requests against a running proxy, in front of an upstream that keeps
//! every byte it gets.

#[path = "../src/framing/cases.rs"]
#[allow(dead_code, reason = "the unit tests use more of them")]
mod cases;
mod proxy_support;

use cases::{BAD, BAD_BODIES, CHUNKED, GET, POST};
use proxy_support::{Running, TEST_DEADLINE, file, get, ok, policy, wait_for};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// An upstream that keeps what it gets, and answers whatever ends like one of our requests.
struct Recorder {
    address: SocketAddr,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Recorder {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&bytes);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, log) = (stream.unwrap(), Arc::clone(&log));
                std::thread::spawn(move || {
                    let (mut piece, mut request) = ([0; 65536], Vec::new());
                    while let Ok(size @ 1..) = stream.read(&mut piece) {
                        log.lock().unwrap().extend_from_slice(&piece[..size]);
                        request.extend_from_slice(&piece[..size]);
                        let is_get = request.starts_with(b"GET") && request.ends_with(b"\r\n\r\n");
                        let is_post = request.ends_with(b"\r\n\r\nhello");
                        let is_chunked = request.ends_with(b"\r\n0\r\n\r\n");
                        if is_get || is_post || is_chunked {
                            request.clear();
                            let _ = stream.write_all(ok("fine").as_bytes());
                        }
                    }
                });
            }
        });
        Self { address, bytes }
    }

    /// What came since the last call.
    fn take(&self) -> String {
        let bytes = std::mem::take(&mut *self.bytes.lock().unwrap());
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// How the bytes of a case are written.
#[derive(Clone, Copy, Debug)]
enum Way {
    Whole,
    ByteByByte,
    BehindAGoodOne,
}

const WAYS: [Way; 3] = [Way::Whole, Way::ByteByByte, Way::BehindAGoodOne];

/// Sends `bytes` and reads until the proxy closes the connection.
fn exchange(address: SocketAddr, bytes: &[u8], way: Way) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(TEST_DEADLINE)).unwrap();
    let size = match way {
        Way::ByteByByte => 1,
        Way::Whole | Way::BehindAGoodOne => bytes.len(),
    };
    for piece in bytes.chunks(size) {
        // The proxy may have refused and closed by now.
        if stream.write_all(piece).is_err() {
            break;
        }
    }
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{error}: the connection is still open"),
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn statuses(answers: &str) -> Vec<&str> {
    let starts = answers.split("HTTP/1.1 ").skip(1);
    starts.map(|answer| &answer[..3]).collect()
}

fn shown(text: &str) -> String {
    text.chars().take(120).collect::<String>().escape_debug().to_string()
}

/// Every listed head, and those that are too long to list.
fn bad_heads() -> Vec<(u16, String)> {
    let listed = BAD.iter().map(|(status, text)| (*status, text.replace('^', "\0")));
    let mut all: Vec<_> = listed.collect();
    let host = "host: a\r\n";
    all.push((414, format!("GET /{} HTTP/1.1\r\n{host}\r\n", "a".repeat(9_000))));
    all.push((431, format!("GET / HTTP/1.1\r\n{host}x: {}\r\n\r\n", "a".repeat(66_000))));
    all.push((431, format!("GET / HTTP/1.1\r\n{host}{}\r\n", "a: b\r\n".repeat(100))));
    all.push((505, format!("GET / HTTP/2.0\r\n{host}\r\n")));
    all
}

#[test]
fn bad_heads_are_refused_and_no_byte_of_them_goes_on() {
    let upstream = Recorder::start();
    let proxy = Running::start(upstream.address, "");
    for (status, head) in bad_heads() {
        for way in WAYS {
            let bytes = match way {
                Way::BehindAGoodOne => format!("{POST}{head}"),
                Way::Whole | Way::ByteByByte => head.clone(),
            };
            let answers = exchange(proxy.listen, bytes.as_bytes(), way);
            let refusal = status.to_string();
            let got = upstream.take();
            let context = format!("{way:?} {}: {}", shown(&head), shown(&answers));
            match way {
                Way::BehindAGoodOne => {
                    assert_eq!(statuses(&answers), ["200", &refusal], "{context}");
                    assert!(got.starts_with("POST /echo HTTP/1.1\r\n"), "{context}");
                    assert!(got.ends_with("\r\n\r\nhello"), "{context}: {got}");
                    assert_eq!(got.matches("HTTP/1.").count(), 1, "{context}: {got}");
                }
                Way::Whole | Way::ByteByByte => {
                    assert_eq!(statuses(&answers), [refusal.as_str()], "{context}");
                    assert_eq!(got, "", "{context}");
                }
            }
            assert!(answers.contains(r#"{"error":"#), "{context}");
        }
    }
    assert_eq!(proxy.ask(&get("/")).status, 200);
}

#[test]
fn bodies_that_turn_bad_break_off_both_sides() {
    let upstream = Recorder::start();
    let proxy = Running::start(upstream.address, &policy(""));
    let head = "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    for (_, body) in BAD_BODIES {
        for way in WAYS {
            let bytes = match way {
                Way::BehindAGoodOne => format!("{POST}{head}3\r\nabc\r\n{body}"),
                Way::Whole | Way::ByteByByte => format!("{head}3\r\nabc\r\n{body}"),
            };
            let answers = exchange(proxy.listen, bytes.as_bytes(), way);
            let context = format!("{way:?} {}: {}", shown(body), shown(&answers));
            let expected: &[&str] = match way {
                Way::BehindAGoodOne => &["200", "400"],
                Way::Whole | Way::ByteByByte => &["400"],
            };
            assert_eq!(statuses(&answers), expected, "{context}");
            let got = upstream.take();
            // What went on is a body without its end: nobody can take it for a whole request.
            assert!(!got.contains("\r\n0\r\n"), "{context}: {got}");
        }
    }
    // A client's fault is no failure of the upstream.
    wait_for("settlement", || {
        (proxy.metric("bimetal_calls_outstanding") == Some(0.0)).then_some(())
    });
    assert_eq!(proxy.outcomes("failure"), 0.0);
    assert_eq!(proxy.ask(&get("/")).status, 200);
}

#[test]
fn good_requests_go_through_however_they_are_cut() {
    let upstream = Recorder::start();
    let proxy = Running::start(upstream.address, "");
    let last = GET.replace("X: y z", "connection: close");
    for way in [Way::Whole, Way::ByteByByte] {
        let bytes = format!("{GET}{POST}{CHUNKED}{last}");
        let answers = exchange(proxy.listen, bytes.as_bytes(), way);
        assert_eq!(statuses(&answers), ["200"; 4], "{way:?} {answers}");
        let got = upstream.take();
        assert_eq!(got.matches("HTTP/1.1").count(), 4, "{way:?} {got}");
    }
}

#[test]
fn a_head_that_trickles_in_has_the_time_of_any_head() {
    let upstream = Recorder::start();
    let timed = "{address: '127.0.0.1:0', header_timeout: 300ms}";
    let file = file(upstream.address, "")
        .replace("{address: '127.0.0.1:0'}]\nadmin", &format!("{timed}]\nadmin"));
    assert!(file.contains(timed));
    let proxy = Running::with(&file);
    let mut stream = TcpStream::connect(proxy.listen).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(30))).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nx: ").unwrap();
    // Whatever it says, in the end the connection is closed.
    let mut answer = [0; 1024];
    wait_for("the end of the connection", || {
        match stream.read(&mut answer) {
            Ok(0) => Some(()),
            Ok(_) => None,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                // The next byte of the head; it may come too late.
                let _ = stream.write_all(b"y");
                None
            }
            Err(_) => Some(()),
        }
    });
    assert_eq!(upstream.take(), "");
}
