//! The event lines of a host, read while it runs.

use crate::real::tail::Tail;
use serde::Deserialize;
use std::io::{self, Error};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long an event may take from its cause to the log.
const EVENT_WAIT: Duration = Duration::from_secs(10);
/// How often is looked for it.
const EVERY: Duration = Duration::from_millis(5);

/// One event line.
#[derive(Clone, Debug, Deserialize)]
pub struct Event {
    /// When the line had been read: what is sent later begins after the event.
    #[serde(skip)]
    pub read: Option<Instant>,
    /// `decision`, `settled` or `transition`.
    pub event: String,
    /// On the host's clock.
    pub at_ns: u64,
    /// The policy.
    pub policy: String,
    /// The number that the worker's engine gave the call; each worker counts for itself.
    pub call: Option<u64>,
    /// `admitted` or `breaker`.
    pub decision: Option<String>,
    /// The state before.
    pub from: Option<String>,
    /// The state after.
    pub to: Option<String>,
    /// Why.
    pub cause: Option<String>,
    /// Whether another worker made the change and this one followed.
    #[serde(default)]
    pub adopted: bool,
}

impl Event {
    /// Whether this is a change of state to `to` that the worker which wrote the line made itself.
    pub fn is_own_change_to(&self, to: &str) -> bool {
        !self.adopted && self.to.as_deref() == Some(to)
    }

    /// Whether a worker admitted a call.
    pub fn is_admission(&self) -> bool {
        self.decision.as_deref() == Some("admitted")
    }
}

/// The log of a host.
#[derive(Debug)]
pub(super) struct Log {
    tail: Tail,
    events: Vec<Event>,
}

impl Log {
    pub(super) fn follow(file: &Path) -> io::Result<Self> {
        Ok(Self { tail: Tail::follow(file)?, events: Vec::new() })
    }

    /// Every event so far.
    pub(super) fn events(&mut self) -> io::Result<&[Event]> {
        for (read, line) in self.tail.events_from(self.events.len()) {
            let event: Event = serde_json::from_str(&line)
                .map_err(|error| Error::other(format!("unreadable event {line}: {error}")))?;
            self.events.push(Event { read: Some(read), ..event });
        }
        Ok(&self.events)
    }

    /// Waits until the events show what is looked for.
    pub(super) async fn wait_for<T>(
        &mut self,
        what: &str,
        mut look: impl FnMut(&[Event]) -> Option<T>,
    ) -> io::Result<T> {
        let deadline = Instant::now() + EVENT_WAIT;
        loop {
            if let Some(found) = look(self.events()?) {
                return Ok(found);
            }
            if Instant::now() >= deadline {
                return Err(Error::other(format!("{what}: not in the log within {EVENT_WAIT:?}")));
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}
