//! Listening sockets and the connections of clients.

use crate::call::{self, Client, ClientRules};
use crate::config::{Listener, Underscores};
use crate::framing::proxy_header::{self, NoHeader};
use crate::framing::{Limits, Refusal, Requests, StrictRequestIo};
use crate::timer::NoAlarms;
use crate::upstream::Connection;
use crate::worker::{Place, Worker};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tracing::warn;

/// Connections that the kernel holds for us until they are accepted.
const BACKLOG: i32 = 4096;

/// How long to let go of accepting when the system has no more file descriptors.
const RESPITE: Duration = Duration::from_millis(100);

/// Between two warnings of one kind: that nobody can be let in, that somebody speaks TLS.
const QUIET: Duration = Duration::from_secs(10);

/// How the system asks after ends that say nothing: after a minute, and it takes two to give them
/// up. So neither a stream of events nor a tunnel outlives its client for long.
pub(crate) fn alive() -> TcpKeepalive {
    TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15))
        .with_retries(4)
}

/// Whether other sockets of this process may listen on the same address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// None may: it fails where anybody listens already.
    Alone,
    /// Each worker has a socket, and the kernel spreads connections over them.
    Workers,
}

/// A listening socket, not blocking.
///
/// # Errors
/// The system's: the address is in use, or not ours, or the port needs a privilege.
pub(crate) fn bind(
    address: SocketAddr,
    sharing: Sharing,
) -> std::io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Lets a restart bind while old connections linger; two listeners still exclude each other.
    socket.set_reuse_address(true)?;
    if sharing == Sharing::Workers {
        socket.set_reuse_port(true)?;
    }
    // Accepted sockets have it from here, without a call for each.
    socket.set_tcp_keepalive(&alive())?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// One listening socket of one worker: its settings, and how many clients are connected to it.
#[derive(Debug)]
struct ListenerState {
    worker: Rc<Worker>,
    builder: http1::Builder,
    address: SocketAddr,
    max_connections: usize,
    limits: Limits,
    trusted_hops: usize,
    proxy_protocol: bool,
    underscores: Underscores,
    told_of_tls: Cell<Option<Instant>>,
    told_of_headers: Cell<Option<Instant>>,
    connections: Cell<usize>,
    left: Notify,
}

impl ListenerState {
    /// Says that somebody speaks TLS, at most now and then.
    fn tell_of_tls(&self, peer: SocketAddr) {
        if self.told_of_tls.get().is_none_or(|at| at.elapsed() >= QUIET) {
            self.told_of_tls.set(Some(Instant::now()));
            warn!("{peer} speaks TLS to {}, which is plain HTTP", self.address);
        }
    }
}

impl ListenerState {
    /// Whose connection it is, by the header that it begins with. None where it does not: then it ends.
    async fn client(&self, stream: &mut TcpStream, peer: SocketAddr) -> Option<IpAddr> {
        let header = proxy_header::read(stream);
        let limit = self.limits.header;
        let read = tokio::select! {
            read = tokio::time::timeout(limit, header) => read,
            // Nothing is lost: it has not asked for anything.
            () = self.worker.drains() => return None,
        };
        match read {
            Ok(Ok(client)) => return Some(client.unwrap_or_else(|| peer.ip())),
            // A look whether anybody listens, as balancers take it.
            Ok(Err(NoHeader::Gone(_))) => return None,
            Ok(Err(NoHeader::Wrong)) | Err(_) => {}
        }
        self.worker.refusals.count(Refusal::ProxyHeader);
        if self.told_of_headers.get().is_none_or(|at| at.elapsed() >= QUIET) {
            self.told_of_headers.set(Some(Instant::now()));
            warn!("{peer} begins without a PROXY header on {}, which expects one", self.address);
        }
        None
    }
}

/// Serves a socket from now on. The task ends in a drain, when everybody who was connected is let in.
///
/// # Errors
/// The socket cannot be given to the runtime.
pub(crate) fn listen(
    worker: &Rc<Worker>,
    settings: Listener,
    socket: std::net::TcpListener,
    workers: usize,
) -> std::io::Result<JoinHandle<()>> {
    let listener = TcpListener::from_std(socket)?;
    let mut builder = http1::Builder::new();
    builder.timer(NoAlarms(Instant::now())).header_read_timeout(QUIET);
    let listening = Rc::new(ListenerState {
        worker: worker.clone(),
        builder,
        address: listener.local_addr()?,
        max_connections: settings.max_connections.div_ceil(workers.max(1)).max(1),
        limits: Limits {
            max_body: settings.max_body.unwrap_or(u64::MAX),
            idle: settings.idle.into(),
            header: settings.header_timeout.into(),
            keep_alive: settings.keep_alive.into(),
        },
        underscores: settings.underscores,
        told_of_tls: Cell::new(None),
        told_of_headers: Cell::new(None),
        trusted_hops: settings.trusted_hops,
        proxy_protocol: settings.proxy_protocol,
        connections: Cell::new(0),
        left: Notify::new(),
    });
    Ok(tokio::task::spawn_local(accept(listening, listener)))
}

async fn accept(listening: Rc<ListenerState>, listener: TcpListener) {
    let drains = listening.worker.drains();
    let mut drains = pin!(drains);
    let mut warned: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut drains => break,
            accepted = next(&listening, &listener) => accepted,
        };
        match accepted {
            Ok((stream, peer)) => admit(&listening, stream, peer),
            // The client was gone before we came to it.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                if warned.is_none_or(|at| at.elapsed() >= QUIET) {
                    warned = Some(Instant::now());
                    warn!("cannot accept on {}, trying on: {error}", listening.address);
                }
                tokio::time::sleep(RESPITE).await;
            }
        }
    }
    // Who stands in the kernel's queue has been told "connected": a close would reset him.
    let Ok(listener) = listener.into_std() else {
        return;
    };
    while let Ok((stream, peer)) = listener.accept() {
        let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
        if let Ok(stream) = stream {
            admit(&listening, stream, peer);
        }
    }
}

/// The next connection, once there is room for it: those beyond the limit wait in the kernel.
async fn next(
    listening: &ListenerState,
    listener: &TcpListener,
) -> std::io::Result<(TcpStream, SocketAddr)> {
    while listening.connections.get() >= listening.max_connections {
        listening.left.notified().await;
    }
    listener.accept().await
}

fn admit(listening: &Rc<ListenerState>, stream: TcpStream, peer: SocketAddr) {
    // Answers are written whole; waiting for more to send would only delay them. A socket that
    // refuses the option is broken, and says so at the first read.
    drop(stream.set_nodelay(true));
    let counted = CountedClient::enter(listening);
    tokio::task::spawn_local(serve(counted, listening.worker.enter(), stream, peer));
}

/// A connection that counts against the listener's limit.
#[derive(Debug)]
struct CountedClient {
    listening: Rc<ListenerState>,
}

impl CountedClient {
    fn enter(listening: &Rc<ListenerState>) -> Self {
        listening.connections.set(listening.connections.get() + 1);
        Self { listening: listening.clone() }
    }
}

impl Drop for CountedClient {
    fn drop(&mut self) {
        self.listening.connections.set(self.listening.connections.get().saturating_sub(1));
        self.listening.left.notify_one();
    }
}

/// Whether the client has ended its side and nothing is left to be read.
fn is_at_end(stream: &TcpStream) -> bool {
    let socket = socket2::SockRef::from(stream);
    socket.peek(&mut [std::mem::MaybeUninit::uninit()]).is_ok_and(|size| size == 0)
}

/// Serves one client until it leaves, or until its last answer during a drain.
async fn serve(counted: CountedClient, place: Place, mut stream: TcpStream, peer: SocketAddr) {
    let listening = &counted.listening;
    let client = if listening.proxy_protocol {
        // Apart: most listeners have no such state to keep.
        Box::pin(listening.client(&mut stream, peer)).await
    } else {
        Some(peer.ip())
    };
    let Some(client) = client else {
        return;
    };
    let worker = listening.worker.clone();
    let requests = Rc::new(Requests::new(worker.refusals.clone()));
    let stream = StrictRequestIo::new(stream, requests.clone(), listening.limits).asking(is_at_end);
    let rules =
        ClientRules { trusted_hops: listening.trusted_hops, underscores: listening.underscores };
    let client = Client::new(worker.clone(), client, rules, requests.clone());
    let client = Rc::new(client);
    let answerer = client.clone();
    let service = service_fn(move |request| call::answer(answerer.clone(), request));
    let mut connection = listening.builder.serve_connection(TokioIo::new(stream), service);
    let mut told_to_end = false;
    let mut looked = pin!(tokio::task::yield_now());
    // How it ended is for nobody: the client is gone, and calls have settled by themselves.
    let _ = poll_fn(|cx| {
        place.wake_on_drain(cx.waker());
        let mut connection = Pin::new(&mut connection);
        let polled = connection.as_mut().poll(cx);
        if requests.is_tls() {
            listening.tell_of_tls(peer);
        }
        if let Poll::Ready(end) = polled {
            return Poll::Ready(end);
        }
        if !told_to_end && worker.is_draining() {
            // After a look at the sockets and a poll: a request which already arrived is answered.
            // Of a connection that was just let in, nothing is known before that look.
            ready!(looked.as_mut().poll(cx));
            told_to_end = true;
            connection.as_mut().graceful_shutdown();
            return connection.poll(cx);
        }
        Poll::Pending
    })
    .await;
    if let Some(upstream) = client.take_tunnel() {
        let ended = connection.into_parts();
        // However it ends, both ends close.
        drop(join(ended.io.into_inner(), &ended.read_buf, upstream).await);
    }
}

/// Joins two connections that switched to another protocol, until both sides are done. A drain
/// waits for it, until the drain's own end.
async fn join<T: AsyncRead + AsyncWrite + Unpin>(
    mut client: T,
    early: &[u8],
    connection: Box<Connection>,
) -> std::io::Result<()> {
    let Some((mut upstream, answered, _slot)) = connection.into_tunnel() else {
        return Ok(());
    };
    // Either side may have begun to speak in the same breath as the switch.
    upstream.write_all(early).await?;
    client.write_all(&answered).await?;
    copy_bidirectional(&mut client, &mut upstream).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{Limits as PoolLimits, Pool};
    use tokio::io::AsyncReadExt;
    use tokio::runtime::{Builder, LocalOptions};

    #[test]
    fn what_was_read_already_is_the_first_of_a_tunnel() {
        let mut builder = Builder::new_current_thread();
        let runtime = builder.enable_all().build_local(LocalOptions::default()).unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let idle = Duration::from_secs(20);
            let limits = PoolLimits {
                max_connections: 1,
                max_pending: 0,
                idle: idle.into(),
                max_requests: None,
                max_requests_per_connection: None,
            };
            let slot = Pool::new("echo".into(), limits).slot();
            let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let connection = Connection::begin(stream, slot, idle).await.unwrap();
            let (mut client, ours) = tokio::io::duplex(64);
            client.write_all(b"LATER").await.unwrap();
            client.shutdown().await.unwrap();
            let upstream = async {
                let (mut upstream, _) = listener.accept().await.unwrap();
                let mut got = String::new();
                upstream.read_to_string(&mut got).await.unwrap();
                got
            };
            let (joined, got) = tokio::join!(join(ours, b"EARLY,", connection), upstream);
            joined.unwrap();
            assert_eq!(got, "EARLY,LATER");
        });
    }
}
