//! Upstreams: where they are, and this worker's connections to them.

mod connection;
mod pool;
mod resolve;
mod upload;

pub(crate) use connection::Connection;
pub(crate) use pool::{Checkout, Limits, Pool, Slot};
pub(crate) use resolve::Resolver;
pub(crate) use upload::{ContinueGate, Upload};

use crate::config;
use crate::serve;
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

/// One upstream as one worker sees it.
#[derive(Debug)]
pub(crate) struct Upstream {
    settings: Arc<config::Upstream>,
    resolver: Rc<Resolver>,
    turn: Cell<usize>,
    /// The worker's connections.
    pub pool: Rc<Pool>,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoConnection {
    /// Connections and queue are at their limits.
    Overflow,
    /// The system gives this process no more sockets; the text says why.
    Exhausted(String),
    /// No endpoint took a connection; the text says why the last one did not.
    Connect(String),
}

impl Upstream {
    /// An upstream for one of `workers` workers: each has its share of the connections.
    pub(crate) fn new(
        settings: Arc<config::Upstream>,
        resolver: Rc<Resolver>,
        workers: usize,
    ) -> Self {
        let share = |total: usize| total.div_ceil(workers.max(1));
        let pool = Pool::new(
            settings.name.clone(),
            Limits {
                max_connections: share(settings.pool.max_connections).max(1),
                max_pending: share(settings.pool.max_pending),
                idle: settings.pool.idle,
            },
        );
        Self { settings, resolver, turn: Cell::new(0), pool }
    }

    /// What it was made from.
    pub(crate) fn settings(&self) -> &Arc<config::Upstream> {
        &self.settings
    }

    /// A connection or permission to open one, waiting in the queue for at most `queue_wait`.
    ///
    /// # Errors
    /// [`NoConnection::Overflow`]
    pub(crate) async fn checkout(&self, queue_wait: Duration) -> Result<Checkout, NoConnection> {
        if let Some(checkout) = self.pool.take() {
            return Ok(checkout);
        }
        let place = self.pool.wait().ok_or(NoConnection::Overflow)?;
        match tokio::time::timeout(queue_wait, place).await {
            Ok(Ok(checkout)) => Ok(checkout),
            _ => Err(NoConnection::Overflow),
        }
    }

    /// Connects to the endpoint whose turn it is, or to the next one that takes the connection.
    ///
    /// # Errors
    /// [`NoConnection::Connect`], after `limit` at the latest.
    pub(crate) async fn open(
        &self,
        slot: Slot,
        limit: Duration,
    ) -> Result<Box<Connection>, NoConnection> {
        match tokio::time::timeout(limit, self.connect()).await {
            Ok(Ok(stream)) => {
                let begun = Connection::begin(stream, slot, self.settings.idle.into()).await;
                begun.map_err(|error| NoConnection::Connect(error.to_string()))
            }
            Ok(Err(none)) => Err(none),
            Err(_) => Err(NoConnection::Connect(format!("no connection within {limit:?}"))),
        }
    }

    async fn connect(&self) -> Result<TcpStream, NoConnection> {
        let endpoints = &self.settings.endpoints;
        let first = self.turn.get();
        self.turn.set(first.wrapping_add(1));
        let mut why = String::from("no endpoint");
        for step in 0..endpoints.len() {
            let Some(endpoint) = endpoints.get(first.wrapping_add(step) % endpoints.len()) else {
                continue;
            };
            match self.resolver.addresses(endpoint).await {
                Ok(addresses) => match connect_any(&addresses).await {
                    Ok(stream) => return Ok(stream),
                    Err(error) if is_exhaustion(&error) => {
                        return Err(NoConnection::Exhausted(error.to_string()));
                    }
                    Err(error) => why = format!("{endpoint}: {error}"),
                },
                Err(error) => why = error,
            }
        }
        Err(NoConnection::Connect(why))
    }
}

/// Whether a socket is not to be had on this side: no file descriptor (`EMFILE`, `ENFILE`), no
/// memory for it (`ENOBUFS`, `ENOMEM`), no port of our own (`EADDRNOTAVAIL`).
fn is_exhaustion(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(12 | 23 | 24 | 99 | 105))
}

async fn connect_any(addresses: &[SocketAddr]) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(addresses).await?;
    // For those that wait long for a word, and for tunnels: an end that died says nothing.
    socket2::SockRef::from(&stream).set_tcp_keepalive(&serve::alive())?;
    // Requests are written whole; waiting for more to send would only delay them.
    stream.set_nodelay(true)?;
    Ok(stream)
}
