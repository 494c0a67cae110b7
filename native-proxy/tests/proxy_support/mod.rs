//! A running proxy, upstreams made of raw sockets, and a client that sees every byte.
#![allow(dead_code, reason = "each test program uses its own part")]

pub(crate) mod events;
pub(crate) mod metrics;
pub(crate) mod program;

use bimetal_proxy::config::{self, Settings, Syntax};
use bimetal_proxy::log::Level;
use bimetal_proxy::proxy::Proxy;
use metrics::Metrics;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Longest wait for anything: a test that needs more is hung.
pub(crate) const TEST_DEADLINE: Duration = Duration::from_secs(20);

/// An address where nobody listens, and where nobody else can begin to: its port stays taken as long as
/// the test program runs.
pub(crate) fn nowhere() -> SocketAddr {
    use socket2::{Domain, Socket, Type};
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    std::mem::forget(socket);
    address
}

/// A proxy in this process; drained at once when dropped.
pub(crate) struct Running {
    proxy: Option<Proxy>,
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) health: SocketAddr,
}

impl Running {
    /// Starts one on free ports with one worker; `rest` is added to the file.
    pub(crate) fn start(upstream: SocketAddr, rest: &str) -> Self {
        Self::with(&file(upstream, rest))
    }

    /// Starts one with a whole file.
    pub(crate) fn with(file: &str) -> Self {
        Self::of(config::parse(file, Syntax::Yaml).unwrap_or_else(|wrong| panic!("{wrong}")))
    }

    /// Starts one with these settings.
    pub(crate) fn of(settings: Settings) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let proxy = runtime.block_on(Proxy::start(settings, Level::Info)).unwrap();
        let (listen, admin, health) = (proxy.listeners()[0], proxy.admin, proxy.health);
        Self { proxy: Some(proxy), listen, admin, health }
    }

    /// Has it take another whole file. The workers do so a little later.
    pub(crate) fn reload(&self, file: &str) {
        let settings = config::parse(file, Syntax::Yaml).unwrap_or_else(|wrong| panic!("{wrong}"));
        self.proxy.as_ref().unwrap().reload(settings);
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.listen)
    }

    /// One request on a connection of its own.
    pub(crate) fn ask(&self, request: &str) -> Answer {
        self.client().ask(request)
    }

    /// The metrics now.
    pub(crate) fn metrics(&self) -> Metrics {
        Metrics::of(self.admin)
    }

    /// A metric's value; its labels as they are written on the page. None where it is absent.
    pub(crate) fn metric(&self, line: &str) -> Option<f64> {
        self.metrics().line(line)
    }

    /// How many calls of the policy `p` counted as `outcome`, over all scopes.
    ///
    /// # Panics
    /// There is no such policy, it saw no call yet, or there is no such outcome.
    pub(crate) fn outcomes(&self, outcome: &str) -> f64 {
        self.metrics().sum("bimetal_outcomes_total", &[("policy", "p"), ("outcome", outcome)])
    }

    /// Waits until this many calls counted as `outcome`, and nothing is outstanding.
    pub(crate) fn wait_for_outcomes(&self, outcome: &str, count: f64) {
        let labels = [("policy", "p"), ("outcome", outcome)];
        wait_for(outcome, || {
            let metrics = self.metrics();
            let is_settled = metrics.line("bimetal_calls_outstanding") == Some(0.0);
            // Before its first call a policy has no row.
            let counted = metrics.find("bimetal_outcomes_total", &labels);
            (is_settled && counted == Some(count)).then_some(())
        });
    }
}

impl Running {
    /// Drains it within this time.
    pub(crate) fn drain(mut self, limit: Duration) {
        if let Some(proxy) = self.proxy.take() {
            proxy.drain(limit);
            proxy.join();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(proxy) = self.proxy.take() {
            proxy.drain(Duration::ZERO);
            proxy.join();
        }
    }
}

/// A file with one upstream `echo` behind every path.
pub(crate) fn file(upstream: SocketAddr, rest: &str) -> String {
    format!(
        "listeners: [{{address: '127.0.0.1:0'}}]\n\
         admin: {{address: '127.0.0.1:0'}}\n\
         health: {{address: '127.0.0.1:0'}}\n\
         workers: 1\n\
         upstreams: {{echo: {{endpoints: ['{upstream}']}}}}\n\
         routes: [{{upstream: echo}}]\n\
         {rest}\n"
    )
}

/// The same file with these endpoints, and more settings of the upstream.
pub(crate) fn file_of(endpoints: &[SocketAddr], upstream: &str, rest: &str) -> String {
    let list: Vec<_> = endpoints.iter().map(|endpoint| format!("'{endpoint}'")).collect();
    let one = format!("endpoints: ['{}']", endpoints[0]);
    let more = if upstream.is_empty() { String::new() } else { format!(", {upstream}") };
    file(endpoints[0], rest).replace(&one, &format!("endpoints: [{}]{more}", list.join(", ")))
}

/// A policy `p` that trips after three failures and has a time limit.
pub(crate) fn policy(more: &str) -> String {
    format!(
        "policies: [{{name: p, scope: policy, \
         breaker: {{trip: {{consecutive_failures: 3}}, open: {{base: 60s, jitter: 0}}}}, {more}}}]"
    )
}

/// A GET of `path`.
pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n")
}

/// An answer of 200 with a body of known length.
pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// Waits for something to be there.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + TEST_DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "no {what} in time");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// An upstream that does with each connection what the test says.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Upstream {
    pub(crate) fn start(serve: impl Fn(Peer) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let (count, serve) = (connections.clone(), Arc::new(serve));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let number = count.fetch_add(1, Ordering::SeqCst);
                let (stream, serve) = (stream.unwrap(), serve.clone());
                stream.set_read_timeout(Some(TEST_DEADLINE)).unwrap();
                std::thread::spawn(move || serve(Peer { stream, number, rest: Vec::new() }));
            }
        });
        Self { address, connections }
    }

    /// One that answers every request alike.
    pub(crate) fn answering(answer: impl Into<String>) -> Self {
        let answer = answer.into();
        Self::start(move |mut peer| {
            while peer.request().is_some() {
                peer.send(&answer);
            }
        })
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// One end of a connection that reads HTTP by hand.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    pub(crate) number: usize,
    rest: Vec<u8>,
}

impl Peer {
    /// The other side of `stream`, which is at its beginning.
    pub(crate) fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(TEST_DEADLINE)).unwrap();
        Self { stream, number: 0, rest: Vec::new() }
    }

    /// Head and body of the next request; none at the end of the connection.
    pub(crate) fn request(&mut self) -> Option<(String, Vec<u8>)> {
        let head = self.head()?;
        let body = self.body(&head, Rest::Nothing);
        Some((head, body))
    }

    /// The next head, in lower case.
    pub(crate) fn head(&mut self) -> Option<String> {
        self.raw_head().map(|head| head.to_lowercase())
    }

    /// The next head as it came.
    pub(crate) fn raw_head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.rest.windows(4).position(|four| four == b"\r\n\r\n") {
                let head: Vec<u8> = self.rest.drain(..end + 4).collect();
                return Some(String::from_utf8(head).unwrap());
            }
            self.more()?;
        }
    }

    /// The body that a head announces.
    pub(crate) fn body_of(&mut self, head: &str) -> Vec<u8> {
        self.body(&head.to_lowercase(), Rest::Nothing)
    }

    fn body(&mut self, head: &str, rest: Rest) -> Vec<u8> {
        if let Some(length) = value(head, "content-length") {
            let length: usize = length.parse().unwrap();
            return self.take(length);
        }
        if value(head, "transfer-encoding").is_some() {
            let mut body = Vec::new();
            loop {
                let line = self.line();
                let size = usize::from_str_radix(line.trim(), 16).unwrap();
                if size == 0 {
                    while !self.line().trim().is_empty() {}
                    return body;
                }
                body.extend(self.take(size));
                self.take(2);
            }
        }
        if let Rest::Everything = rest {
            while self.more().is_some() {}
            return std::mem::take(&mut self.rest);
        }
        Vec::new()
    }

    pub(crate) fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                return String::from_utf8(self.rest.drain(..=end).collect()).unwrap();
            }
            self.more().expect("a line");
        }
    }

    pub(crate) fn take(&mut self, length: usize) -> Vec<u8> {
        while self.rest.len() < length {
            self.more().expect("more of a body");
        }
        self.rest.drain(..length).collect()
    }

    /// Reads once; none at the end.
    fn more(&mut self) -> Option<usize> {
        let mut piece = [0; 65536];
        match self.stream.read(&mut piece) {
            Ok(0) => None,
            Ok(size) => {
                self.rest.extend(&piece[..size]);
                Some(size)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("nothing in time"),
            Err(_) => None,
        }
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.send_bytes(text.as_bytes());
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        // The proxy may be gone: what that means is for the test to see elsewhere.
        drop(self.stream.write_all(bytes));
    }

    /// Waits until the other side closes.
    pub(crate) fn closed(&mut self) {
        while self.more().is_some() {}
    }

    /// Ends the connection by a reset.
    pub(crate) fn reset(self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }
}

#[derive(Clone, Copy)]
enum Rest {
    Nothing,
    Everything,
}

/// A client's connection.
pub(crate) struct Client {
    pub(crate) peer: Peer,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self { peer: Peer::new(TcpStream::connect(address).unwrap()) }
    }

    pub(crate) fn ask(&mut self, request: &str) -> Answer {
        self.peer.send(request);
        self.answer().expect("an answer")
    }

    /// The next answer; none where the connection ended.
    pub(crate) fn answer(&mut self) -> Option<Answer> {
        let head = self.peer.head()?;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body = match status {
            204 | 304 => Vec::new(),
            _ => self.peer.body(&head, Rest::Everything),
        };
        Some(Answer { status, head, body })
    }

    /// Leaves.
    pub(crate) fn close(self) {
        self.peer.stream.shutdown(Shutdown::Both).unwrap();
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        value(&self.head, name)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

/// A header's value in a head of lower case.
pub(crate) fn value<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
}
