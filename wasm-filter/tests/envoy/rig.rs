//! An upstream, an Envoy with the filter, and a client that can send anything.

use crate::upstream::Upstream;
use bimetal_conformance::envoy::{Config, Envoy, Filter, Update};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// What a test of this kind returns: the message of what went wrong.
pub(crate) type TestResult = Result<(), Box<dyn std::error::Error>>;

/// How long anything may take to show; long, because the machine may be busy.
pub(crate) const TEST_DEADLINE: Duration = Duration::from_secs(20);

/// The programs that these tests need.
#[derive(Clone, Debug)]
pub(crate) struct Tools {
    pub(crate) envoy: PathBuf,
    pub(crate) filter: PathBuf,
}

/// One Envoy in front of one upstream.
pub(crate) struct Rig {
    pub(crate) envoy: Envoy,
    pub(crate) upstream: Upstream,
    pub(crate) config: Config,
    _folder: tempfile::TempDir,
}

/// An answer as text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    text: String,
}

impl Answer {
    /// The value of a header; empty where there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        let head = self.text.split("\r\n\r\n").next().unwrap_or_default();
        head.lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map_or("", |(_, value)| value)
    }

    /// Everything behind the head.
    pub(crate) fn body(&self) -> &str {
        self.text.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }
}

/// A document with one policy: 3 consecutive failures trip, opened for `open`, and `more` on top.
pub(crate) fn policy(open: &str, more: Value) -> String {
    let mut policy = json!({
        "name": "echo",
        "scope": "policy",
        "breaker": {
            "trip": {"consecutive_failures": 3},
            "open": {"base": open, "multiplier": 1, "jitter": 0},
        },
    });
    merge(&mut policy, more);
    json!({"version": "v1", "policies": [policy]}).to_string()
}

fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}

impl Rig {
    /// Starts both with `policy` in force; `change` can change Envoy's configuration before.
    pub(crate) fn start(
        tools: &Tools,
        policy: &str,
        change: impl FnOnce(&mut Config),
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let upstream = Upstream::start()?;
        let mut config = Config::new(upstream.address).filter(Filter::new(&tools.filter, policy));
        change(&mut config);
        let folder = tempfile::tempdir()?;
        let envoy = Envoy::start(&tools.envoy, folder.path(), &config)?;
        Ok(Self { envoy, upstream, config, _folder: folder })
    }

    /// Gives Envoy another policy.
    pub(crate) fn update(&mut self, policy: &str) -> std::io::Result<Update> {
        if let Some(filter) = self.config.filters.first_mut() {
            filter.configuration = policy.to_owned();
        }
        self.envoy.update(&self.config)
    }

    /// Sends a request and reads the whole answer.
    pub(crate) fn get(&self, path: &str) -> std::io::Result<Answer> {
        self.send(path, b"")
    }

    /// As [`Rig::get`], with more header lines as bytes, each ended by CR LF.
    pub(crate) fn send(&self, path: &str, headers: &[u8]) -> std::io::Result<Answer> {
        Self::answer(self.begin(path, headers)?)
    }

    /// As [`Rig::get`], from another host.
    pub(crate) fn get_of(&self, host: &str, path: &str) -> std::io::Result<Answer> {
        Self::answer(self.begin_at(host, path, b"")?)
    }

    /// As [`Rig::send`], with another method.
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[u8]) -> std::io::Result<Answer> {
        Self::answer(self.begin_as(method, "echo", path, headers)?)
    }

    fn answer(mut stream: TcpStream) -> std::io::Result<Answer> {
        let mut bytes = Vec::new();
        // An answer that breaks off is an answer too.
        let _ = stream.read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Ok(Answer { status, text })
    }

    /// Sends a request and leaves the answer to the caller.
    pub(crate) fn begin(&self, path: &str, headers: &[u8]) -> std::io::Result<TcpStream> {
        self.begin_at("echo", path, headers)
    }

    fn begin_at(&self, host: &str, path: &str, headers: &[u8]) -> std::io::Result<TcpStream> {
        self.begin_as("GET", host, path, headers)
    }

    fn begin_as(
        &self,
        method: &str,
        host: &str,
        path: &str,
        headers: &[u8],
    ) -> std::io::Result<TcpStream> {
        let mut stream = TcpStream::connect(self.envoy.address())?;
        stream.set_read_timeout(Some(TEST_DEADLINE))?;
        write!(stream, "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n")?;
        stream.write_all(headers)?;
        stream.write_all(b"\r\n")?;
        Ok(stream)
    }

    /// Sends a request, waits until the upstream has it, and leaves.
    pub(crate) fn abort(&self, path: &str) -> TestResult {
        let before = self.upstream.requests(path).len();
        let stream = self.begin(path, b"")?;
        self.until("the request upstream", || {
            Ok((self.upstream.requests(path).len() > before).then_some(()))
        })?;
        stream.shutdown(Shutdown::Both)?;
        Ok(())
    }

    /// Waits for something, with a deadline.
    pub(crate) fn until<T>(
        &self,
        what: &str,
        look: impl Fn() -> std::io::Result<Option<T>>,
    ) -> Result<T, Box<dyn std::error::Error>> {
        let deadline = Instant::now() + TEST_DEADLINE;
        loop {
            if let Some(found) = look()? {
                return Ok(found);
            }
            if Instant::now() >= deadline {
                let events = self.envoy.events()?.join("\n");
                return Err(format!("no {what}; events:\n{events}").into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until this many calls were settled, and says as what, in order.
    pub(crate) fn outcomes(
        &self,
        number: usize,
    ) -> Result<Vec<String>, Box<dyn std::error::Error>> {
        self.until(&format!("{number} settled calls"), || {
            let found = self.outcomes_so_far()?;
            Ok((found.len() >= number).then_some(found))
        })
    }

    fn outcomes_so_far(&self) -> std::io::Result<Vec<String>> {
        let events = self.envoy.events()?;
        let outcome = |line: &String| {
            let event: Value = serde_json::from_str(line).ok()?;
            Some(event.get("outcome")?.as_str()?.to_owned())
        };
        Ok(events.iter().filter_map(outcome).collect())
    }

    /// The changes of state so far, as `closed→open`.
    pub(crate) fn transitions(&self) -> std::io::Result<Vec<String>> {
        let events = self.envoy.events()?;
        let change = |line: &String| {
            let event: Value = serde_json::from_str(line).ok()?;
            Some(format!("{}→{}", event.get("from")?.as_str()?, event.get("to")?.as_str()?))
        };
        Ok(events.iter().filter_map(change).collect())
    }

    /// At the end of every test: each admitted call was settled once, nothing failed, nothing
    /// trapped.
    pub(crate) fn finish(mut self) -> TestResult {
        self.close()
    }

    /// As [`Rig::finish`]; then what the access log says of each request, by its `x-step`: status,
    /// flags and details.
    pub(crate) fn finish_and_read_access_log(
        mut self,
    ) -> Result<BTreeMap<String, BTreeSet<String>>, Box<dyn std::error::Error>> {
        self.close()?;
        let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for line in self.envoy.access_log()?.lines() {
            let entry: Value = serde_json::from_str(line)?;
            let word = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or("-").to_owned();
            let text = format!("{} {}", word("flags"), word("details"));
            found.entry(word("step")).or_default().insert(text);
        }
        Ok(found)
    }

    fn close(&mut self) -> TestResult {
        self.until("balance of admitted and settled calls", || {
            let admitted =
                self.envoy.metric("bimetal_requests_total", &["decision=\"admitted\""])?;
            let settled = self.envoy.metric("bimetal_outcomes_total", &[])?;
            Ok((admitted == settled).then_some(()))
        })?;
        same(self.envoy.metric("bimetal_decision_errors_total", &[])?, 0.0)?;
        self.envoy.stop()?;
        let log = self.envoy.log()?;
        let events = self.envoy.events()?;
        let kind = |kind: &str| {
            let part = format!("\"event\":\"{kind}\"");
            events.iter().filter(|line| line.contains(&part)).collect::<Vec<_>>()
        };
        let admitted = kind("decision").iter().filter(|line| line.contains("\"admitted\"")).count();
        same(kind("settled").len(), admitted)?;
        for word in ["panicked", "Uncaught RuntimeError", "unreachable"] {
            if log.contains(word) {
                return Err(format!("the log says {word}:\n{log}").into());
            }
        }
        Ok(())
    }
}

/// An assertion that says both sides and where.
#[track_caller]
pub(crate) fn same<T: PartialEq + Debug>(found: T, expected: T) -> TestResult {
    if found == expected {
        return Ok(());
    }
    let at = std::panic::Location::caller();
    Err(format!("{}:{}: found {found:?}, expected {expected:?}", at.file(), at.line()).into())
}
