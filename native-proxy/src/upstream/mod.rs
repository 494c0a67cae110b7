//! Upstreams: where they are, and this worker's connections to them.

mod connection;
mod pool;
mod quiet_waker;
mod race;
mod resolve;
mod runner;
mod upload;

pub(crate) use connection::{BodyStep, Connection};
pub(crate) use pool::{Checkout, Limits, Pool, Slot};
pub(crate) use resolve::Resolver;
pub(crate) use upload::{ContinueGate, Upload};

use crate::clock::Clock;
use crate::config;
use crate::serve;
use race::{Race, WonLast};
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

/// A connection that is not open after so long is late.
const LATE: Duration = Duration::from_millis(50);

/// One upstream as one worker sees it.
#[derive(Debug)]
pub(crate) struct Upstream {
    settings: Arc<config::Upstream>,
    resolver: Rc<Resolver>,
    turn: Cell<usize>,
    family: WonLast,
    /// The worker's connections.
    pub pool: Rc<Pool>,
}

/// A connection for the next request.
#[derive(Debug)]
pub(crate) struct Ready {
    /// The connection.
    pub connection: Box<Connection>,
    /// Whether requests went over it before: then the upstream may have closed it.
    pub used_before: bool,
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoConnection {
    /// Connections and queue are at their limits.
    Overflow,
    /// The system gives this process no more sockets; the text says why.
    Exhausted(String),
    /// No address of any endpoint took a connection; the text says why.
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
        Self { settings, resolver, turn: Cell::new(0), family: WonLast::default(), pool }
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
        match tokio::time::timeout(queue_wait, place.served()).await {
            Ok(Some(checkout)) => Ok(checkout),
            _ => Err(NoConnection::Overflow),
        }
    }

    /// Opens a connection; once that is late, one that comes back to the pool serves as well. An upstream
    /// whose backlog is full drops what it cannot queue, and the system asks again after a second (RFC
    /// 6298, 2.1), when the calls before this one are long done. What was begun goes on and comes to the
    /// pool: to an upstream that is far, all connections are late, and the pool would never grow.
    ///
    /// # Errors
    /// As [`Upstream::open`].
    pub(crate) async fn open_or_reuse(
        self: &Rc<Self>,
        slot: Slot,
        limit: Duration,
        clock: Clock,
    ) -> Result<Ready, NoConnection> {
        let new = |connection| Ready { connection, used_before: false };
        let upstream = self.clone();
        let mut opening = Box::pin(async move { upstream.open(slot, limit).await });
        if let Ok(opened) = tokio::time::timeout(LATE, &mut opening).await {
            return opened.map(new);
        }
        let connection = tokio::select! {
            biased;
            Some(connection) = self.pool.returned() => connection,
            opened = &mut opening => return opened.map(new),
        };
        tokio::task::spawn_local(async move {
            if let Ok(opened) = opening.await {
                opened.release(clock.now());
            }
        });
        Ok(Ready { connection, used_before: true })
    }

    /// Connects to the endpoint whose turn it is, or to whichever of all addresses takes the
    /// connection first: see [`Race`].
    ///
    /// # Errors
    /// [`NoConnection::Connect`], after `limit` at the latest; [`NoConnection::Exhausted`].
    async fn open(&self, slot: Slot, limit: Duration) -> Result<Box<Connection>, NoConnection> {
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        let race = Race::new(&self.settings.endpoints, turn, &self.resolver, &self.family);
        let stream = race.run(limit).await?;
        let ready = set_up(&stream).map_err(|error| NoConnection::Connect(error.to_string()));
        let begun = match ready {
            Ok(()) => Connection::begin(stream, slot, self.settings.idle.into()).await,
            Err(none) => return Err(none),
        };
        begun.map_err(|error| NoConnection::Connect(error.to_string()))
    }
}

fn set_up(stream: &TcpStream) -> std::io::Result<()> {
    // For those that wait long for a word, and for tunnels: an end that died says nothing.
    socket2::SockRef::from(stream).set_tcp_keepalive(&serve::alive())?;
    // Requests are written whole; waiting for more to send would only delay them.
    stream.set_nodelay(true)
}
