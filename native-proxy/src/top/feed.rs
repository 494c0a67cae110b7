//! The events of an admin listener.

use super::TopError;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// A proxy says something every two seconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest line: a picture of two thousand breakers.
const LONGEST_LINE: u64 = 64 << 20;

/// Events as they come.
#[derive(Debug)]
pub(super) struct Feed {
    lines: BufReader<TcpStream>,
    admin: String,
}

impl Feed {
    /// Begins to watch.
    pub(super) fn open(admin: &str) -> Result<Self, TopError> {
        let admin = admin.strip_prefix("http://").unwrap_or(admin).trim_end_matches('/');
        let failed = |what: &dyn std::fmt::Display| {
            TopError(format!("{admin}: {what}; is that a proxy's admin address?"))
        };
        let mut addresses = admin.to_socket_addrs().map_err(|error| failed(&error))?;
        let address = addresses.next().ok_or_else(|| failed(&"no address"))?;
        let stream = TcpStream::connect_timeout(&address, PATIENCE);
        let mut stream = stream.map_err(|error| failed(&error))?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(|error| failed(&error))?;
        // HTTP/1.0 has no chunks.
        let asked = stream.write_all(
            format!("GET /events?watch= HTTP/1.0\r\nhost: {address}\r\n\r\n").as_bytes(),
        );
        asked.map_err(|error| failed(&error))?;
        let mut feed = Self { lines: BufReader::new(stream), admin: admin.to_owned() };
        let status = feed.line()?;
        let code = status.split(' ').nth(1).unwrap_or_default().to_owned();
        while !feed.line()?.is_empty() {}
        match code.as_str() {
            "200" => Ok(feed),
            "503" => Err(TopError(format!("{admin}: too many watch already"))),
            _ => Err(failed(&format!("it answers {}", status.escape_debug()))),
        }
    }

    fn line(&mut self) -> Result<String, TopError> {
        let mut line = String::new();
        let read = (&mut self.lines).take(LONGEST_LINE).read_line(&mut line);
        match read {
            Ok(0) => Err(TopError(format!("{}: the proxy ended", self.admin))),
            Ok(_) => Ok(line.trim_end_matches(['\r', '\n']).to_owned()),
            Err(error) => Err(TopError(format!("{}: {error}", self.admin))),
        }
    }

    /// The next event: its name, and its data.
    pub(super) fn next(&mut self) -> Result<(String, Value), TopError> {
        let mut event = String::new();
        loop {
            let line = self.line()?;
            if let Some(name) = line.strip_prefix("event: ") {
                event = name.to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                let data = serde_json::from_str(data).map_err(|error| {
                    TopError(format!("{}: an event that is no JSON: {error}", self.admin))
                })?;
                return Ok((event, data));
            }
        }
    }
}
