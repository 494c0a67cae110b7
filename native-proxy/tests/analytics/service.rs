//! A running `bimetal analytics`, and a client of it.

use crate::echo_support::{Seen, TEST_DEADLINE, exchange, request, wait_for};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};

/// A running service; killed when dropped.
pub(crate) struct Service {
    pub(crate) child: Child,
    pub(crate) listen: SocketAddr,
}

impl Service {
    /// Starts one on a free port.
    pub(crate) fn start(flags: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_bimetal"))
            .args(["analytics", "--listen", "127.0.0.1:0", "--print-ports"])
            .args(flags)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let listen = lines.by_ref().find_map(|line| {
            let ports = serde_json::from_str::<Value>(&line.unwrap()).ok()?;
            ports["listen"].as_str()?.parse().ok()
        });
        // Nobody else reads what it says.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, listen: listen.expect("an address") }
    }

    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> Seen {
        exchange(self.listen, &request(method, path, "", body))
    }

    pub(crate) fn ingest(&self, body: &str) -> Seen {
        self.ask("POST", "/ingest", body)
    }

    pub(crate) fn analyze(&self) -> Value {
        let seen = self.ask("GET", "/analyze", "");
        assert_eq!(seen.status(), 200, "{seen:?}");
        seen.json()
    }

    /// The value of a metric's line.
    pub(crate) fn metric(&self, line: &str) -> Option<f64> {
        let page = self.ask("GET", "/metrics", "").body();
        let found = page.lines().find_map(|one| one.strip_prefix(line)?.strip_prefix(' '))?;
        found.parse().ok()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
    }

    pub(crate) fn end(&mut self) -> ExitStatus {
        wait_for("the end of the process", || self.child.try_wait().unwrap())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Already ended is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection that stays open over several requests.
pub(crate) struct Kept(BufReader<TcpStream>);

impl Kept {
    pub(crate) fn open(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(TEST_DEADLINE))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends the beginning of a request; the rest may follow later.
    pub(crate) fn send(&mut self, bytes: &str) -> std::io::Result<()> {
        self.0.get_mut().write_all(bytes.as_bytes())
    }

    /// The next answer's status and body.
    pub(crate) fn answer(&mut self) -> std::io::Result<(u16, String)> {
        let mut status = None;
        let mut length = 0;
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(text) = line.strip_prefix("content-length: ") {
                length = text.parse().unwrap();
            }
            status = status.or_else(|| line.split(' ').nth(1)?.parse().ok());
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        Ok((status.unwrap(), String::from_utf8(body).unwrap()))
    }

    pub(crate) fn ingest(&mut self, body: &str) -> std::io::Result<(u16, String)> {
        self.send(&format!(
            "POST /ingest HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))?;
        self.answer()
    }
}

/// An array of samples, one a second from `first` on.
pub(crate) fn batch(first: u64, rps: impl IntoIterator<Item = f64>) -> String {
    let rows = rps.into_iter().zip(first..);
    let rows: Vec<String> = rows
        .map(|(rps, second)| format!(r#"{{"timestamp":{second},"cpu":50,"rps":{rps}}}"#))
        .collect();
    format!("[{}]", rows.join(","))
}
