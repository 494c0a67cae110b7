//! An upstream that does what a request's path says, down to broken bytes.

use crate::matrix::Notes;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// What arrived, as text: request line and headers.
pub(crate) type Seen = Arc<Mutex<Vec<String>>>;

/// A server on loopback that ends with the process.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    /// Requests that name themselves, and what their clients have seen of the answer.
    pub(crate) notes: Notes,
    seen: Seen,
    failing: Arc<AtomicU32>,
}

impl Upstream {
    pub(crate) fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let seen = Seen::default();
        let failing = Arc::new(AtomicU32::new(0));
        let notes = Notes::default();
        let (all, fails, own) = (seen.clone(), failing.clone(), notes.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, failing, notes) = (all.clone(), fails.clone(), own.clone());
                thread::spawn(move || serve(&stream, &seen, &failing, &notes));
            }
        });
        Ok(Self { address, notes, seen, failing })
    }

    /// Every request whose line contains `part`.
    pub(crate) fn requests(&self, part: &str) -> Vec<String> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter()
            .filter(|r| r.lines().next().is_some_and(|l| l.contains(part)))
            .cloned()
            .collect()
    }

    /// The next `times` requests to `/flaky` fail with 503.
    pub(crate) fn fail(&self, times: u32) {
        self.failing.store(times, Ordering::SeqCst);
    }
}

/// Answers on one connection until a path breaks it. A broken connection needs no report.
fn serve(stream: &TcpStream, seen: &Seen, failing: &AtomicU32, notes: &Notes) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let mut head = String::new();
        loop {
            let mut line = Vec::new();
            if reader.read_until(b'\n', &mut line).ok()? == 0 {
                return None;
            }
            let line = String::from_utf8_lossy(&line);
            if line.trim_end().is_empty() {
                break;
            }
            head.push_str(&line);
        }
        seen.lock().unwrap_or_else(PoisonError::into_inner).push(head.clone());
        let name = crate::matrix::name(|header| field(&head, header));
        let tries = notes.arrived(&name);
        let path = head.split(' ').nth(1)?.to_owned();
        let mut words = path.trim_start_matches('/').split('/');
        let (what, argument) = (words.next()?, words.next().unwrap_or("0"));
        match what {
            "status" => answer(stream, argument, "", "x")?,
            // Answers behind the request's body.
            "body" => {
                let length = field(&head, "content-length").parse().ok()?;
                let read =
                    std::io::copy(&mut (&mut reader).take(length), &mut std::io::sink()).ok()?;
                if read < length {
                    return None;
                }
                answer(stream, argument, "", "x")?;
            }
            "flaky" => {
                let fails = |left: u32| left.checked_sub(1);
                let failed =
                    failing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fails).is_ok();
                answer(stream, if failed { "503" } else { "200" }, "", "x")?;
            }
            "retry-after" => answer(stream, "503", &format!("retry-after: {argument}\r\n"), "x")?,
            "grpc" => {
                let headers =
                    format!("content-type: application/grpc\r\ngrpc-status: {argument}\r\n");
                answer(stream, "200", &headers, "")?;
            }
            "grpc-trailers" => {
                let mut stream = stream;
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\n\
                    transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n";
                let bytes = format!("{head}grpc-status: {argument}\r\n\r\n");
                stream.write_all(bytes.as_bytes()).ok()?;
            }
            "hostile" => {
                answer(stream, "500", "content-type: \u{80}\r\nretry-after: \u{ff}\r\n", "x")?
            }
            "slow" => {
                thread::sleep(Duration::from_millis(argument.parse().ok()?));
                answer(stream, "200", "", "x")?;
            }
            // Half an answer, then the end of the connection.
            "half" => {
                let mut stream = stream;
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").ok()?;
                stream.shutdown(Shutdown::Both).ok()?;
                return None;
            }
            // Half an answer, then nothing.
            "stall" => {
                let mut stream = stream;
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").ok()?;
            }
            "events" => {
                let mut stream = stream;
                let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n";
                stream.write_all(head).ok()?;
            }
            "close" => {
                stream.shutdown(Shutdown::Both).ok()?;
                return None;
            }
            "garbage" => {
                let mut stream = stream;
                stream.write_all(b"this is not HTTP\r\n\r\n").ok()?;
                return None;
            }
            // A connection that is cut and not ended.
            "reset" => {
                socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).ok()?;
                return None;
            }
            "half-reset" => {
                let mut stream = stream;
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").ok()?;
                notes.wait_for_client(&name);
                socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).ok()?;
                return None;
            }
            "drip" => {
                let mut stream = stream;
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n").ok()?;
                for _ in 0..5 {
                    thread::sleep(Duration::from_millis(50));
                    stream.write_all(b"x").ok()?;
                }
            }
            // Bytes as they stand here, then the end of the connection.
            "bytes" => {
                let mut stream = stream;
                stream.write_all(broken(argument).as_bytes()).ok()?;
                stream.shutdown(Shutdown::Both).ok()?;
                return None;
            }
            "fail-first" => {
                let failed = tries <= argument.parse().ok()?;
                answer(stream, if failed { "503" } else { "200" }, "", "x")?;
            }
            "redirect" => answer(stream, "302", "location: http://echo/status/200\r\n", "x")?,
            "continue" => {
                let mut stream = stream;
                stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
                answer(stream, "200", "", "x")?;
            }
            // Speaks another protocol from here on: an echo.
            "upgrade" => {
                let mut stream = stream;
                let head = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
                    upgrade: websocket\r\n\r\n";
                stream.write_all(head).ok()?;
                let mut byte = [0];
                while reader.read(&mut byte).ok()? == 1 {
                    stream.write_all(&byte).ok()?;
                }
                return None;
            }
            // "hang": the client's move.
            _ => {}
        }
    }
}

/// A header of a request as text; empty where there is none.
fn field(head: &str, name: &str) -> String {
    let pairs = head.lines().filter_map(|line| line.split_once(": "));
    let same = pairs.filter(|(key, _)| key.eq_ignore_ascii_case(name));
    same.map(|(_, value)| value.trim_end().to_owned()).next().unwrap_or_default()
}

/// Answers that are no proper HTTP.
fn broken(kind: &str) -> String {
    let ok = "HTTP/1.1 200 OK\r\n";
    match kind {
        "chunk-cut" => format!("{ok}transfer-encoding: chunked\r\n\r\na\r\nhalf"),
        "chunk-size" => format!("{ok}transfer-encoding: chunked\r\n\r\nzz\r\nhalf\r\n0\r\n\r\n"),
        "two-lengths" => format!("{ok}content-length: 1\r\ncontent-length: 2\r\n\r\nxx"),
        "long-head" => format!("{ok}x-long: {}\r\ncontent-length: 0\r\n\r\n", "x".repeat(100_000)),
        "half-head" => "HTTP/1.1 200 OK\r\nconte".to_owned(),
        // More than was announced: what is left over belongs to no request.
        _ => format!("{ok}content-length: 1\r\n\r\nxyz"),
    }
}

fn answer(mut stream: &TcpStream, status: &str, headers: &str, body: &str) -> Option<()> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} Status\r\ncontent-length: {length}\r\n{headers}\r\n");
    // One byte for each char: the hostile headers are not UTF-8 on the wire.
    let mut bytes: Vec<u8> = head.chars().map(|unit| unit as u8).collect();
    bytes.extend(body.bytes());
    stream.write_all(&bytes).ok()
}
