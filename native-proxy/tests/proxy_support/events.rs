//! The stream of events of the admin listener.

use super::{Peer, TEST_DEADLINE};
use serde_json::Value;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

/// A client that watches.
pub(crate) struct Events {
    peer: Peer,
    /// The last whole picture.
    pub(crate) snapshot: Value,
}

impl Events {
    /// Asks for the events; gives the head of the answer and the client.
    pub(crate) fn ask(admin: SocketAddr, path: &str) -> (String, Peer) {
        let mut stream = TcpStream::connect(admin).unwrap();
        // HTTP/1.0 has no chunks.
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).unwrap();
        let mut peer = Peer::new(stream);
        (peer.head().unwrap(), peer)
    }

    /// Watches, before anything was told.
    pub(crate) fn listen(admin: SocketAddr, path: &str) -> Self {
        let (head, peer) = Self::ask(admin, path);
        assert!(head.starts_with("http/1.0 200") && head.contains("text/event-stream"), "{head}");
        Self { peer, snapshot: Value::Null }
    }

    /// Watches, from the first picture on.
    pub(crate) fn open(admin: SocketAddr, path: &str) -> Self {
        let mut events = Self::listen(admin, path);
        let (event, data) = events.next();
        assert_eq!(event, "snapshot");
        events.snapshot = data;
        events
    }

    /// The next event.
    pub(crate) fn next(&mut self) -> (String, Value) {
        let event = self.peer.line();
        let data = self.peer.line();
        assert_eq!(self.peer.line(), "\n");
        let data = data.strip_prefix("data: ").unwrap_or_else(|| panic!("{data}"));
        let event = event.strip_prefix("event: ").unwrap_or_else(|| panic!("{event}")).trim();
        (event.to_owned(), serde_json::from_str(data).unwrap())
    }

    /// Reads on until a change shows what is looked for.
    pub(crate) fn wait<T>(&mut self, what: &str, look: impl Fn(&Value) -> Option<T>) -> T {
        let end = Instant::now() + TEST_DEADLINE;
        loop {
            let (_, data) = self.next();
            if let Some(found) = look(&data) {
                return found;
            }
            assert!(Instant::now() < end, "no {what} in time");
        }
    }
}

/// The rows that a message sets in a table.
pub(crate) fn rows<'v>(message: &'v Value, table: &str) -> &'v [Value] {
    message["tables"][table]["set"].as_array().map_or(&[], Vec::as_slice)
}
