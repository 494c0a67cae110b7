//! A running `bimetal echo`, and a client that sees every byte.

use serde_json::Value;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for anything: a test that needs more is hung.
pub(crate) const TEST_DEADLINE: Duration = Duration::from_secs(20);

/// A running echo server; killed when dropped.
pub(crate) struct Echo {
    child: Child,
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Echo {
    /// Starts one on free ports.
    pub(crate) fn start(flags: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_bimetal"))
            .args(["echo", "--listen", "127.0.0.1:0", "--print-ports"])
            .args(flags)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let ports: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
        let address = |key: &str| ports[key].as_str().unwrap().parse().unwrap();
        Self { child, listen: address("listen"), admin: address("admin") }
    }

    /// Sends `signal`, and gives the exit status once the process ended.
    pub(crate) fn end_by(mut self, signal: &str) -> ExitStatus {
        self.signal(signal);
        wait_for("the end of the process", || self.child.try_wait().unwrap())
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
    }

    /// `POST /echo` with `{"message": "hi"}` and these headers, on a connection of its own.
    pub(crate) fn post(&self, headers: &str) -> Seen {
        let body = r#"{"message":"hi"}"#;
        exchange(self.listen, &request("POST", "/echo", headers, body))
    }

    /// An admin request.
    pub(crate) fn admin(&self, method: &str, path: &str, body: &str) -> Seen {
        exchange(self.admin, &request(method, path, "", body))
    }

    /// Puts a plan in force.
    pub(crate) fn plan(&self, plan: &str) {
        let seen = self.admin("PUT", "/faults", &format!(r#"{{"plan":{plan}}}"#));
        assert_eq!(seen.status(), 200, "{}", seen.text());
    }

    /// What it received.
    pub(crate) fn received(&self) -> Value {
        self.admin("GET", "/received", "").json()
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        // Already ended is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a connection ended for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Refused,
    Reset,
    Closed,
}

/// All that a client saw on one connection.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) bytes: Vec<u8>,
    pub(crate) ended: Ended,
}

impl Seen {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub(crate) fn status(&self) -> u16 {
        let text = self.text();
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
        status.unwrap_or_else(|| panic!("no status in {self:?}"))
    }

    pub(crate) fn has_header(&self, line: &str) -> bool {
        self.text().lines().any(|one| one == line)
    }

    pub(crate) fn body(&self) -> String {
        let text = self.text();
        let Some((_, body)) = text.split_once("\r\n\r\n") else {
            panic!("no end of a head in {self:?}");
        };
        body.to_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body()).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A request as bytes; `headers` are whole lines.
pub(crate) fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: echo\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    )
}

/// Sends `bytes` and reads to the end.
pub(crate) fn exchange(address: SocketAddr, bytes: &str) -> Seen {
    let without_an_answer = |ended| Seen { bytes: Vec::new(), ended };
    let mut stream = match TcpStream::connect_timeout(&address, TEST_DEADLINE) {
        Ok(stream) => stream,
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            return without_an_answer(Ended::Refused);
        }
        // A listener that closes resets what it has not accepted yet.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {
            return without_an_answer(Ended::Reset);
        }
        Err(error) => panic!("{error}"),
    };
    match stream.write_all(bytes.as_bytes()) {
        Ok(()) => read_all(&mut stream),
        Err(error)
            if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) =>
        {
            without_an_answer(Ended::Reset)
        }
        Err(error) => panic!("{error}"),
    }
}

/// Reads until the other side ends the connection.
pub(crate) fn read_all(stream: &mut TcpStream) -> Seen {
    stream.set_read_timeout(Some(TEST_DEADLINE)).unwrap();
    let mut bytes = Vec::new();
    let ended = match stream.read_to_end(&mut bytes) {
        Ok(_) => Ended::Closed,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ended::Reset,
        Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&bytes)),
    };
    Seen { bytes, ended }
}

/// Waits until `look` finds what it looks for.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + TEST_DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "gave up waiting for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
