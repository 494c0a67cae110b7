//! The upstream of a scenario, which does with each call what the scenario says.
//!
//! It speaks HTTP/1.1 on bare sockets: it must answer before it has the whole request, send
//! informational heads, cut its frames, take nothing, and break connections wherever it is told to.

mod connection;

use crate::scenario::{Call, Scenario};
use connection::Connection;
use std::collections::BTreeMap;
use std::io::{self, Error};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::LocalSet;

/// The header that carries a call's name to the upstream.
pub(super) const STEP: &str = "x-step";
/// Bytes that the system takes in for a connection whose upstream takes nothing. Few, so that an
/// upload soon stops.
const RECEIVE_BUFFER: u32 = 64 * 1024;
/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;
/// Pause after a failed accept: the cause needs time to pass.
const RETRY: Duration = Duration::from_millis(20);

/// How often each call arrived, by its name.
type Received = Arc<Mutex<BTreeMap<String, usize>>>;

/// A running upstream. Ended when dropped.
pub(super) struct Upstream {
    address: SocketAddr,
    received: Received,
    /// When nobody listens: from, to.
    refusals: watch::Sender<Vec<(Instant, Instant)>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Upstream {
    /// Starts an upstream for the calls of `scenario`.
    pub(super) fn start(scenario: &Scenario) -> io::Result<Self> {
        let calls = scenario.calls().map(|(name, _, call)| (name, call.clone())).collect();
        let received = Received::default();
        let (refusals, planned) = watch::channel(Vec::new());
        let (stop, stopped) = oneshot::channel();
        let (said, address) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let counted = Arc::clone(&received);
        let thread = std::thread::spawn(move || {
            let server = Server { calls, received: counted };
            LocalSet::new().block_on(&runtime, async move {
                tokio::select! {
                    _ = stopped => {}
                    () = serve(Rc::new(server), planned, said) => {}
                }
            });
        });
        let address = address.recv().map_err(Error::other)??;
        Ok(Self { address, received, refusals, stop: Some(stop), thread: Some(thread) })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the port around every step whose upstream refuses. The scenario begins at `start`.
    pub(super) fn plan(&self, scenario: &Scenario, start: Instant) {
        let margin = scenario.tick * 5 / 2;
        let refusals = scenario
            .calls()
            .filter(|(_, _, call)| call.upstream == crate::scenario::Upstream::Refuses)
            .map(|(_, step, _)| {
                let at = start + step.at;
                (at.checked_sub(margin).unwrap_or(start), at + margin)
            });
        self.refusals.send_replace(refusals.collect());
    }

    /// How often each call arrived, by its name.
    pub(super) fn received(&self) -> BTreeMap<String, usize> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        // Whoever listened may be gone already.
        let _ = self.stop.take().map(|stop| stop.send(()));
        if let Some(thread) = self.thread.take() {
            // It panics nowhere; and if it did, answers would be missing, which shows.
            let _ = thread.join();
        }
    }
}

/// What all connections share.
struct Server {
    calls: BTreeMap<String, Call>,
    received: Received,
}

impl Server {
    /// The call that arrived, as this try of it is to be treated.
    fn call(&self, name: &str) -> Option<Call> {
        let mut received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        let count = received.entry(name.to_owned()).or_default();
        *count += 1;
        self.calls.get(name).map(|call| call.of_try(*count - 1))
    }
}

async fn serve(
    server: Rc<Server>,
    mut planned: watch::Receiver<Vec<(Instant, Instant)>>,
    said: mpsc::Sender<io::Result<SocketAddr>>,
) {
    let opened = open();
    let address = opened.as_ref().map(|(address, ..)| *address);
    // Whoever asked may have given up.
    let _ = said.send(address.map_err(|error| Error::new(error.kind(), error.to_string())));
    let Ok((address, _reserved, listener)) = opened else {
        return;
    };
    let mut listener = Some(listener);
    let (refuses, _) = watch::channel(false);
    loop {
        let now = Instant::now();
        let (refused, change) = {
            let refusals = planned.borrow();
            let refused = refusals.iter().any(|(from, to)| (*from..*to).contains(&now));
            let changes = refusals.iter().flat_map(|(from, to)| [*from, *to]);
            (refused, changes.filter(|at| *at > now).min())
        };
        refuses.send_replace(refused);
        if refused {
            listener = None;
        } else if listener.is_none() {
            // Another attempt follows with the next change.
            listener = listen(address).ok();
        }
        tokio::select! {
            stream = accept(listener.as_ref()) => {
                let (server, refuses) = (Rc::clone(&server), refuses.subscribe());
                tokio::task::spawn_local(async move {
                    // How it ends is seen by whoever is at its other end.
                    let _ = Connection::new(stream).serve(&server, refuses).await;
                });
            }
            () = sleep_until(change) => {}
            Ok(()) = planned.changed() => {}
        }
    }
}

/// A free port: its address, a socket that is bound and does not listen, so that the port stays ours
/// while nobody listens, and one that does.
fn open() -> io::Result<(SocketAddr, TcpSocket, TcpListener)> {
    let reserved = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let address = reserved.local_addr()?;
    Ok((address, reserved, listen(address)?))
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    bind(address)?.listen(BACKLOG)
}

fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseport(true)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.bind(address)?;
    Ok(socket)
}

/// The next connection; never, without a listener.
async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else {
        return std::future::pending().await;
    };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(_) => tokio::time::sleep(RETRY).await,
        }
    }
}

async fn sleep_until(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::super::client;
    use super::*;
    use crate::scenario::{Answer, StepKind, read_text};

    /// What a client gets that calls the upstream without a host between them.
    fn get(rest: &str) -> (Answer, usize) {
        let step = format!("{{step: a, at: 1s, call: POST /echo, expect: admitted, {rest}}}");
        let text = format!("title: t\npolicies: []\nsteps:\n  - {step}\nlog: ''\n");
        let scenario = read_text("s", &text).unwrap_or_else(|error| panic!("{error}"));
        let upstream = Upstream::start(&scenario).unwrap();
        upstream.plan(&scenario, Instant::now() - Duration::from_secs(1));
        let StepKind::Call(call) = &scenario.steps[0].kind else {
            unreachable!("a step with a call");
        };
        if call.upstream == crate::scenario::Upstream::Refuses {
            // The plan is carried out by a thread of its own.
            std::thread::sleep(Duration::from_millis(200));
        }
        let patience = call.abort.unwrap_or(Duration::from_secs(20));
        let answer = client::make(upstream.address(), "a", call, patience, &Answer::Gone);
        (answer, upstream.received().get("a").copied().unwrap_or(0))
    }

    #[test]
    fn it_does_what_a_step_says() {
        for (rest, answer) in [
            ("times: 1", Answer::Status(200)),
            (
                "upload: 200ms, upstream: {status: 404, after: 50ms, body: 50ms}",
                Answer::Status(404),
            ),
            ("upstream: 204", Answer::Status(204)),
            ("upstream: {grpc_status: 14}", Answer::Status(200)),
            ("upstream: {media: grpc, grpc_status: 14, body: 50ms}", Answer::Status(200)),
            ("upstream: {media: grpc-web, grpc_status: 14}", Answer::Status(200)),
            ("upstream: {after: 100ms, informs_every: 30ms}", Answer::Status(200)),
            ("upstream: {takes_after: 100ms}", Answer::Status(200)),
            ("upload: 30s, upstream: {status: 413, early: true}", Answer::Status(413)),
            ("upload: 30s, upstream: {early: true, breaks: true}", Answer::Broken),
            ("upstream: resets after headers", Answer::Broken),
            ("upstream: hangs, abort: 200ms", Answer::Gone),
            ("upstream: takes nothing, abort: 200ms", Answer::Gone),
            ("upload: 30s, abort: 200ms", Answer::Gone),
        ] {
            assert_eq!(get(rest), (answer, 1), "{rest}");
        }
        for (rest, seen) in [
            ("upstream: refuses", 0),
            ("upstream: resets before headers", 1),
            ("upload: 30s, upstream: resets within the upload", 1),
        ] {
            let (answer, received) = get(rest);
            assert!(matches!(answer, Answer::Nothing(_)), "{rest}: {answer:?}");
            assert_eq!(received, seen, "{rest}");
        }
    }
}
